"""Presets: overrides by dotted name, what they refuse, files of one's own, the way to JSON and
back."""

import dataclasses
import json
import math
from dataclasses import asdict

import pytest
from damage import DAMAGED
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from xlnb.common.errors import InputError
from xlnb.presets import (
    LAB,
    PRESETS,
    Training,
    get_preset,
    in_use,
    override,
    parse_overrides,
    preset_from_dict,
    to_json,
)
from xlnb.presets.files import dotted, yaml_lines
from xlnb.runs.stage import fields


def value(preset, key):
    for name in key.split("."):
        preset = getattr(preset, name)
    return preset


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("seed", "7", 7),
        ("seed", 7, 7),
        ("iterations", "3", 3),
        ("training.lr", "5e-5", 5e-5),
        # an integer is a float, as JSON may write it
        ("training.lr", 1, 1.0),
        ("english.steps", "10", 10),
        ("pairing.language_filter", "false", False),
        ("pairing.language_filter", "True", True),
        ("pairing.language_filter", False, False),
        ("models.base", "org/model", "org/model"),
        ("prompts.langs", "en,es", "en,es"),
        ("prompts.path", "", ""),
    ],
)
def test_an_override_is_read_by_its_fields_type(key, given, expected):
    changed = value(get_preset("lab", {key: given}), key)
    assert changed == expected
    assert type(changed) is type(expected)


def test_an_override_changes_nothing_else():
    changed = get_preset("lab", {"training.lr": "5e-5"})
    # the same type of section, under another name
    assert changed.english == LAB.english
    assert dataclasses.replace(changed, training=LAB.training) == LAB
    assert get_preset("lab") == LAB


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("seed", "one", "preset key 'seed': expected int, got 'one'"),
        ("seed", "1.5", "preset key 'seed': expected int, got '1.5'"),
        ("seed", 1.5, "preset key 'seed': expected int, got 1.5"),
        ("seed", True, "preset key 'seed': expected int, got True"),
        ("training.lr", "fast", "preset key 'training.lr': expected float, got 'fast'"),
        ("training.lr", None, "preset key 'training.lr': expected float, got None"),
        (
            "pairing.language_filter",
            "maybe",
            "preset key 'pairing.language_filter': expected bool, got 'maybe'",
        ),
        (
            "pairing.language_filter",
            1,
            "preset key 'pairing.language_filter': expected bool, got 1",
        ),
        ("prompts.langs", ["en"], "preset key 'prompts.langs': expected str, got ['en']"),
        ("sede", "1", "unknown preset key 'sede': did you mean 'seed'?"),
        ("trainig.lr", "1", "unknown preset key 'trainig.lr': did you mean 'training'?"),
        ("training.stepps", "1", "unknown preset key 'training.stepps': did you mean 'steps'?"),
        (
            "pairing.qqq",
            "1",
            "unknown preset key 'pairing.qqq': known here: alpha, language_filter, min_margin",
        ),
        ("", "1", "unknown preset key '': known here: "),
        (
            "pairing",
            "1",
            "'pairing' does not name a value; try: pairing.alpha, pairing.language_filter, "
            "pairing.min_margin",
        ),
        ("seed.first", "1", "preset key 'seed.first' does not name a value; try: seed"),
    ],
)
def test_a_bad_override_is_refused_with_what_was_expected(key, given, message):
    with pytest.raises(InputError) as error:
        get_preset("lab", {key: given})
    assert message in str(error.value)


NUMBERS = [key for key, value in dotted(asdict(LAB)).items() if type(value) in (int, float)]


@pytest.mark.parametrize("key", NUMBERS)
def test_no_number_of_a_preset_takes_a_value_that_is_not_finite(key, tmp_path):
    section, _, name = key.rpartition(".")
    for value in ("nan", "inf", "-inf", "1e400", "Infinity", float("nan"), float("inf"), True):
        with pytest.raises(InputError, match=f"{key}"):
            get_preset("lab", {key: value})
        text = f"{section}:\n  {name}: {value}\n" if section else f"{key}: {value}\n"
        (tmp_path / "mine.yaml").write_text(text)
        with pytest.raises(InputError, match=f"{key}"):
            get_preset(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"localise.min_chrf": 101}, "localise.min_chrf '101.0': expected at least 0, at most 100"),
        ({"sampling.n": 0}, "sampling.n '0': expected at least 1"),
        ({"sampling.temperature": 0}, "sampling.temperature '0.0': expected more than 0"),
        ({"sampling.top_p": 1.5}, "sampling.top_p '1.5': expected more than 0, at most 1"),
        ({"english.steps": 0}, "english.steps '0': expected at least 1"),
        ({"training.lora_r": 0}, "training.lora_r '0': expected at least 1"),
        ({"training.batch": 0}, "training.batch '0': expected at least 1"),
        ({"prompts.limit": -1}, "prompts.limit '-1': expected at least 0"),
        (
            {"english.eval_fraction": 1},
            "english.eval_fraction '1.0': expected at least 0, less than 1",
        ),
        ({"training.layers": "2-1"}, "training.layers '2-1': expected layers from 0, ranges upwa"),
        (
            {"training.layers": "0,1"},
            "training.layers '0,1': expected all, or layers from 0 as 0-3",
        ),
        ({"training.layers": "0-2+1"}, "training.layers '0-2+1': expected layers from 0, ranges"),
        (
            {"english.optimizer": "sgd"},
            "english.optimizer 'sgd': expected one of auto, adamw, paged_adamw_8bit",
        ),
        (
            {"training.report_to": "mlflow"},
            "training.report_to 'mlflow': expected one of none, tensorboard, wandb",
        ),
        (
            {"pairing.alpha": "exakt"},
            "pairing.alpha 'exakt': expected one of exact, signed, grid, none",
        ),
        (
            {"models.quantization": "nf5"},
            "models.quantization 'nf5': expected one of nf4, int8, none",
        ),
        (
            {"models.dtype": "float8"},
            "models.dtype 'float8': expected one of auto, float32, bfloat16, float16",
        ),
        (
            {"evaluation.judge_order": "sometimes"},
            "evaluation.judge_order 'sometimes': expected one of random, both",
        ),
        (
            {"scoring.scorers": "cross_lingual,,random"},
            "scoring.scorers 'cross_lingual,,random': expected names with commas between, each",
        ),
        (
            {"scoring.scorers": "random, brevity,random"},
            "scoring.scorers 'random, brevity,random': expected names with commas between, each",
        ),
        ({"scoring.scorers": ""}, "scoring.scorers '': expected names"),
        (
            {"localise.by": "gpt"},
            "localise.by 'gpt': expected endpoint:MODEL, local:FOLDER_OR_HUB_ID, seq2seq:FOLDER",
        ),
        ({"localise.drafts": 2}, "localise.drafts: only prompts are asked for again, in the lang"),
        ({"localise.drafts": 0}, "localise.drafts '0': expected at least 1"),
        ({"training.lr": "nan"}, "training.lr 'nan': expected a finite number"),
        ({"training.lr": "inf"}, "training.lr 'inf': expected a finite number"),
        ({"training.nll": "1e999"}, "training.nll 'inf': expected a finite number"),
        ({"pairing.min_margin": float("nan")}, "pairing.min_margin 'nan': expected a finite"),
        (
            {"models.dpo": "org/a", "models.dpo_adapter": "org/b"},
            "models.dpo and dpo_adapter both name π^0; give one of them",
        ),
        (
            {"evaluation.judge": "endpoint:"},
            "evaluation.judge 'endpoint:': expected a judge, such as oracle, verifiable, endpoint:MODEL",
        ),
        (
            {"training.micro_batch": 3},
            "training.batch 32 must be a multiple of micro_batch 3",
        ),
        (
            {"models.shard": True, "models.quantization": "int8"},
            "models.shard: 8-bit weights cannot be dealt out",
        ),
    ],
)
def test_a_value_that_no_stage_can_work_with_is_refused_at_once(given, message):
    with pytest.raises(InputError) as error:
        get_preset("lab", given)
    assert message in str(error.value)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="unknown preset 'labb'; known: lab, lab-quick"):
        get_preset("labb")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], {}),
        ("", {}),
        (["seed=1", "training.lr=5e-5"], {"seed": "1", "training.lr": "5e-5"}),
        (" seed=1   training.lr=5e-5 ", {"seed": "1", "training.lr": "5e-5"}),
        (["prompts.path=a folder/x=y"], {"prompts.path": "a folder/x=y"}),
        (["prompts.path="], {"prompts.path": ""}),
        (["seed=1", "seed=2"], {"seed": "2"}),
    ],
)
def test_parse_overrides(items, expected):
    assert parse_overrides(items) == expected


@pytest.mark.parametrize("items", [["seed"], "seed 1", ["training.lr:5e-5"]])
def test_an_override_without_a_value_is_refused(items):
    with pytest.raises(InputError, match="expected key=value, such as"):
        parse_overrides(items)


CHANGED = {
    "seed": 3,
    "pairing.language_filter": False,
    "training.lr": 1e-7,
    "prompts.langs": "en,es",
    "iterations": 1,
}


@pytest.mark.parametrize("overrides", [{}, CHANGED], ids=["as named", "overridden"])
@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name, overrides):
    preset = get_preset(name, overrides)
    assert preset.name == name
    assert preset_from_dict(json.loads(to_json(preset))) == preset


def test_a_dict_with_an_unknown_key_or_without_a_name_is_refused():
    values = json.loads(to_json(LAB))
    with pytest.raises(InputError, match=r"unknown preset key 'training\.momentum'"):
        preset_from_dict(values | {"training": values["training"] | {"momentum": 0.9}})
    with pytest.raises(InputError, match="preset key 'name': expected str, got None"):
        preset_from_dict(values | {"name": None})


def test_a_dict_of_a_preset_of_ones_own_needs_no_file():
    # As a run's preset.json holds it.
    mine = dataclasses.replace(get_preset("lab-quick", CHANGED), name="mine")
    values = json.loads(to_json(mine))
    assert preset_from_dict(values) == mine
    del values["training"]["lr"]
    with pytest.raises(InputError, match=r"preset 'mine' is incomplete: no training\.lr"):
        preset_from_dict(values)


def test_a_page_is_checked_wherever_it_is_made():
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Training(steps=0)
    with pytest.raises(ValidationError, match="finite number"):
        dataclasses.replace(LAB.training, lr=math.nan)
    with pytest.raises(ValidationError, match="batch 32 must be a multiple of micro_batch 3"):
        dataclasses.replace(LAB.training, micro_batch=3)
    changed = dataclasses.replace(LAB, training=dataclasses.replace(LAB.training, steps=7))
    assert dataclasses.asdict(changed)["training"]["steps"] == 7


def test_values_that_belong_together_are_changed_together():
    together = {"training.batch": "9", "training.micro_batch": "3"}
    for order in (together, dict(reversed(together.items()))):
        training = get_preset("lab", order).training
        assert (training.batch, training.micro_batch) == (9, 3)


# A preset of one's own in a file.

MINE = """
base: lab-quick
seed: 3
# a comment
prompts: {langs: "no,sw"}
training:
  lr: 5e-5
  gradient_checkpointing: true
english.steps: 7
"""


def test_a_file_is_a_preset_that_bears_its_name(tmp_path):
    path = tmp_path / "my.own.yaml"
    path.write_text(MINE)
    changes = {
        "name": "my.own",
        "seed": 3,
        "prompts.langs": "no,sw",
        "training.lr": 5e-5,
        "training.gradient_checkpointing": True,
        "english.steps": 7,
    }
    assert get_preset(str(path)) == get_preset("lab-quick", changes)
    assert get_preset(str(path), {"seed": "4"}) == get_preset("lab-quick", changes | {"seed": 4})


def test_a_file_starts_from_the_lab_where_it_does_not_say(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("")
    assert get_preset(str(path)) == dataclasses.replace(LAB, name="mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {stepps: 1}", ": unknown preset key 'training.stepps': did you mean 'steps'?"),
        ("trainig:\n  lr: 1", ": unknown preset key 'trainig.lr': did you mean 'training'?"),
        ("training:", ": preset key 'training' does not name a value; try: training.steps"),
        ("training: {lr: fast}", ": preset key 'training.lr': expected float, got 'fast'"),
        ("training: {lr: .nan}", ": preset key 'training.lr': expected float, got '.nan'"),
        ("training: {lr: nan}", ": training.lr 'nan': expected a finite number"),
        ("prompts: {langs: [en, es]}", ": preset key 'prompts.langs': expected str, got ['en'"),
        ("seed: {first: 1}", ": preset key 'seed.first' does not name a value; try: seed"),
        ("training.lr: 1\ntraining: {lr: 2}", ": preset key 'training.lr' is given twice"),
        ("seed: 1\nmodels: {}\nseed: 2", ", line 3: not valid YAML ('seed' is given twice)"),
        ("base: labb", ": unknown preset 'labb'; known: lab, lab-quick"),
        ("name: mine", ": name: the file's name is the preset's"),
        ("- seed: 1", ": expected keys and values, such as seed: 1"),
        ("seed: 1\nprompts: {langs: [en", ", line 2: not valid YAML (expected ',' or ']'"),
        ("seed: \0", ": not valid YAML (unacceptable character"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_key(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        get_preset(str(path))
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_takes_a_presets_name_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"mine\.yaml: no such file"):
        get_preset(str(tmp_path / "mine.yaml"))
    (tmp_path / "lab.yaml").write_text("seed: 1")
    with pytest.raises(InputError, match=r"lab\.yaml: a preset has that name; rename the file"):
        get_preset(str(tmp_path / "lab.yaml"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_page_is_a_file_of_the_same_preset(tmp_path, name):
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(yaml_lines(PRESETS[name], without=["name"])), encoding="utf-8")
    assert get_preset(str(path)) == dataclasses.replace(PRESETS[name], name="mine")


def test_every_value_of_a_page_has_a_comment():
    lines = yaml_lines(LAB, without=["name"])
    for above, line in zip(["", *lines], lines, strict=False):
        assert not line or line.lstrip().startswith("#") or above.lstrip().startswith("# "), line
    # Comments are sentences from the source, the fields' values are the preset's.
    assert lines[lines.index("  lr: 0.0001") - 1] == "  # decays linearly to 0"


def test_presets_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LAB.seed = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        LAB.training.lr = 1.0


def test_the_papers_values_are_the_defaults():
    # What an overridden preset falls back to.
    sampling, evaluation, training = (
        get_preset("lab").sampling,
        get_preset("lab").evaluation,
        LAB.training,
    )
    assert (sampling.n, sampling.temperature, sampling.top_p) == (10, 0.9, 1.0)
    assert (training.beta, training.nll, training.batch) == (0.1, 1.0, 32)
    fields = {field.name: field.default for field in dataclasses.fields(evaluation)}
    assert (fields["temperature"], fields["top_p"], fields["max_new_tokens"]) == (0.6, 0.9, 2048)


@DAMAGED
@given(data=st.data())
def test_any_override_is_read_as_it_stands_or_refused_with_its_key(data):
    known = sorted(dotted(asdict(LAB)))
    key = data.draw(st.sampled_from(known) | st.text(max_size=8))
    value = data.draw(
        st.sampled_from([str(LAB.seed), "0", "-1", "1e-5", "nan", "1e999", "", "true", "9" * 5000])
        | st.text(max_size=8)
    )
    refused = ""
    try:
        preset = override(LAB, {key: value})
    except InputError as error:
        refused = str(error)
    if refused:
        assert key.rpartition(".")[2] in refused
        return
    read = dotted(asdict(preset))
    changed = {name for name in known if read[name] != dotted(asdict(LAB))[name]}
    assert changed <= {key}
    kind = type(read[key])
    assert read[key] == (
        value if kind is str else value.lower() == "true" if kind is bool else kind(value)
    )
    assert preset_from_dict(json.loads(to_json(preset))) == preset


# Options.

# What a stage that trains remembered before there were any.
TRAINING_FIELDS = [
    *("steps", "batch", "micro_batch", "lr", "beta", "nll", "lora_r", "lora_alpha", "max_tokens"),
    *("save_steps", "gradient_checkpointing", "loss", "optimizer", "eval_fraction", "report_to"),
]


def test_an_option_that_is_off_is_no_part_of_what_stages_remember():
    assert list(in_use(LAB.training)) == TRAINING_FIELDS
    assert fields(LAB, "training", "prompts.limit", "prompts.checks") == {
        "training": in_use(LAB.training),
        "prompts": {"limit": 0},
    }
    asked = get_preset("lab", {"prompts.checks": "points"})
    assert fields(asked, "prompts.limit", "prompts.checks")["prompts"] == {
        "limit": 0,
        "checks": "points",
    }


def test_a_preset_of_ones_own_that_was_kept_before_an_option_can_be_read():
    mine = dataclasses.replace(get_preset("lab-quick", CHANGED), name="mine")
    values = json.loads(to_json(mine))
    del values["prompts"]["checks"]
    assert preset_from_dict(values) == mine
