"""Presets: overrides by dotted name, what they refuse, and the way to JSON and back."""

import dataclasses
import json

import pytest

from xlnb.common.errors import InputError
from xlnb.presets import LAB, PRESETS, get_preset, parse_overrides, preset_from_dict, to_json


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
            "'pairing' does not name a value; try: pairing.alpha, pairing.language_filter, pairing.min_margin",
        ),
        ("seed.first", "1", "preset key 'seed.first' does not name a value; try: seed"),
    ],
)
def test_a_bad_override_is_refused_with_what_was_expected(key, given, message):
    with pytest.raises(InputError) as error:
        get_preset("lab", {key: given})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
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
        ({"training.loss": "ipo"}, "training.loss 'ipo': expected one of dpo, kto"),
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
            {"evaluation.judge": "gpt-4"},
            "evaluation.judge 'gpt-4': expected oracle, endpoint:MODEL or local:FOLDER",
        ),
        (
            {"english.loss": "kto", "english.micro_batch": 1},
            "english.micro_batch must be at least 2",
        ),
        (
            {"training.micro_batch": 3},
            "training.batch 32 must be a multiple of training.micro_batch 3",
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


def test_a_dict_with_an_unknown_key_or_preset_is_refused():
    values = json.loads(to_json(LAB))
    with pytest.raises(InputError, match=r"unknown preset key 'training\.momentum'"):
        preset_from_dict(values | {"training": values["training"] | {"momentum": 0.9}})
    with pytest.raises(InputError, match="unknown preset 'labb'"):
        preset_from_dict(values | {"name": "labb"})


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
