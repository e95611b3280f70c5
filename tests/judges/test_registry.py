"""Judges by name."""

import pytest

from xlnb.common.errors import InputError
from xlnb.judges import registry
from xlnb.judges.registry import find_judge, get_judge
from xlnb.presets import PRESETS


def test_a_judges_name_is_asked_for_in_its_form(monkeypatch):
    made = {"shorter": lambda *given: given}
    monkeypatch.setattr(registry, "JUDGES", registry.JUDGES | made)
    for name in ("oracle", "shorter", "endpoint:m", "local:a/b:c"):
        assert find_judge(name)
    assert get_judge("shorter", PRESETS["lab"])[0] == ""
    for name in ("oracle:x", "shorter:x", "endpoint", "local:", "", "longer"):
        with pytest.raises(InputError, match=rf"unknown judge '{name}'; known: .*, shorter$"):
            find_judge(name)
