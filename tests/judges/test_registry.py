"""A judge of one's own is a file and a line in `JUDGES`."""

import pytest

from xlnb.common.errors import InputError
from xlnb.common.journal import Journal
from xlnb.evaluation.alpaca_eval import Annotation
from xlnb.judges import registry
from xlnb.judges.asking import ask_consent, judge_records
from xlnb.judges.registry import find_judge, get_judge


class Shorter:
    """The shorter response wins."""

    name = "shorter"

    def __call__(self, asked):
        length = len(asked.output_2) - len(asked.output_1)
        return {"preference": 1.5 - 0.5 * ((length > 0) - (length < 0)), "chars_more": length}


LINE = {"shorter": lambda model, evaluation, models: Shorter()}


def asked(number, output_1, output_2):
    return Annotation(
        prompt_id=f"{number}", lang="en", output_1=output_1, output_2=output_2, preference=None
    )


def test_a_judge_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "JUDGES", registry.JUDGES | LINE)
    judge = get_judge("shorter")
    some = [asked(0, "long", "s"), asked(1, "s", "long"), asked(2, "same", "same")]
    ask_consent(judge, some, price=1.0, yes=False)
    assert not capsys.readouterr().out
    judged = judge_records(judge, some, Journal(tmp_path / "en.jsonl"), label="judge")
    assert [one.preference for one in judged] == [2, 1, 1.5]
    assert [one.said for one in judged] == [{"chars_more": n} for n in (-3, 3, 0)]


def test_a_judges_name_is_asked_for_in_its_form(monkeypatch):
    monkeypatch.setattr(registry, "JUDGES", registry.JUDGES | LINE)
    for name in ("oracle", "shorter", "endpoint:m", "local:a/b:c"):
        assert find_judge(name)
    for name in ("oracle:x", "shorter:x", "endpoint", "local:", "", "longer"):
        with pytest.raises(InputError, match=rf"unknown judge '{name}'; known: .*, shorter$"):
            find_judge(name)
