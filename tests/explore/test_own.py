"""Models and prompts of one's own as a preset, and the command that makes the run."""

import shlex
from itertools import pairwise

import pytest

from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.explore import own
from xlnb.inputs.parallel_prompts import read_parallel


def test_without_names_the_runs_models_and_the_examples_stand_in(run):
    keys = own.given(run, "")
    assert keys == {
        "models.base": "data/lab/sft",
        "models.dpo_adapter": str(run.path / "dpo" / "adapter"),
        "prompts.path": str(ROOT / "data" / "prompts"),
        "prompts.langs": "en,de,sw",
    }
    made = own.own_run(run, keys)
    assert not made.is_lab and not made.trains_dpo and not made.path.exists()
    assert made.preset.training == run.preset.training
    config = made.preset.prompts
    assert list(read_parallel(config.path, config.langs)) == ["en", "de", "sw"]


def test_what_is_named_is_taken_alone(run):
    keys = own.given(run, "models.base=ORG/BASE models.dpo=ORG/DPO")
    assert keys.keys() == {"models.base", "models.dpo", "prompts.path", "prompts.langs"}
    made = own.own_run(run, keys, "qwen2.5-0.5b")
    assert made.preset.name == "qwen2.5-0.5b"
    assert (made.preset.models.base, made.preset.models.dpo) == ("ORG/BASE", "ORG/DPO")
    keys = own.given(run, "prompts.path=mine.csv")
    assert keys["prompts.path"] == "mine.csv" and "prompts.langs" not in keys
    has_prompts = own.own_run(run, keys)
    assert "prompts.path" not in own.given(has_prompts, "models.base=ORG/BASE")
    assert "prompts.path" in own.given(has_prompts, "models.base=ORG/BASE", "lab-quick")
    with pytest.raises(InputError, match="model"):
        own.own_run(run, own.given(run, "models.bas=ORG/BASE"))


def test_the_command_says_the_same_again(run):
    keys = own.given(run, "models.base='a folder' models.dpo=ORG/DPO")
    words = shlex.split(own.command(own.own_run(run, keys), keys).replace("\\\n", " "))
    said = [word for before, word in pairwise(words) if before == "-p"]
    assert words[:6] == ["python", "-m", "xlnb", "run", "--preset", "lab-quick"]
    assert "models.base=a folder" in said and "prompts.path=data/prompts" in said


def test_a_missing_id_is_refused_in_a_line():
    said = own.refused()
    assert said.startswith("prompts/sw.jsonl: id sum is missing; ") and "\n" not in said
