"""Related methods beside plain ICR: a row a claim, its three differences, and verdicts by rule."""

import pytest
from two_arms import record_of

from xlnb.analysis.related import gains, method_table, user_table
from xlnb.models.base import read_base
from xlnb.models.chat import load_tokenizer, prompt_ids
from xlnb.models.layers import language_deviations, most_different, random_layers
from xlnb.presets import get_preset
from xlnb.presets.claims import Analysis, Arm, Claim, points
from xlnb.presets.related import AT_RANDOM, MOST_DIFFERENT, PAGES, RELATED
from xlnb.stages.prompts import lab_questions

ONE = Analysis(
    "?",
    {"method": Arm(), "ICR": Arm({"training.nll": "0"})},
    [Claim("it gains", "method", "ICR", "wr", "+6 points")],
)


def table_of(gain, seeds=5, accuracy=(0.9, 0.875)):
    record = record_of(gain, seeds)
    for run in record["runs"]:
        plain = "training.nll" in run["values"]
        right = {"en": 0.0, "es": accuracy[plain]}
        # The first seed's machine had other work besides.
        busy = 10 * (1 + (run["seed"] == 0))
        run["models"]["icr1"] |= {"pair_accuracy": right, "seconds": 70.0 - 30 * plain + busy}
    return method_table(record, {"one": ONE}).iloc[0]


@pytest.mark.parametrize(("gain", "verdict"), [(20, "agree"), (0.0, "null"), (-20, "worse")])
def test_a_verdict_goes_by_win_rate(gain, verdict):
    row = table_of(gain)
    assert row["verdict"] == verdict
    assert row["by its authors"] == "+6 points"
    assert row["Δ accuracy"] == "+0.025 [+0.025, +0.025]"
    assert row["seconds"] == "80 (of 50)"


def test_what_is_drawn_is_what_the_table_says():
    drawn = gains(record_of(20), {"one": ONE}).iloc[0]
    assert drawn["name"] == "one: it gains"
    assert (drawn["seeds"], drawn["verdict"]) == (5, "agree")
    assert 18 < drawn["low"] < drawn["mean"] < drawn["high"] < 22
    none = gains({"runs": []}, RELATED)
    assert none["mean"].isna().all() and set(none["seeds"]) == {0}
    assert len(none) == sum(len(method.claims) for method in RELATED.values())


def test_users_are_means_over_the_seeds_that_have_them():
    runs = []
    for reward in (0.25, 0.75):
        labels = {"10": 0.5, "100": 0.5 + reward / 5}
        user = {"labels": labels, "reward": reward, "oracle": 0.5, "contested": 8, "seconds": 0.002}
        none = {"labels": {"10": None, "100": None}, "reward": None, "oracle": None}
        runs.append({"users": {"terse": user, "mild": none | {"contested": 0, "seconds": 0.0}}})
    table = user_table({"runs": [*runs, {"models": {}}]}).set_index("user")
    assert table.loc["terse"].to_dict() == pytest.approx(
        {
            "R_c": 0.5,
            "oracle's weights": 0.5,
            "10 labels": 0.5,
            "100 labels": 0.6,
            "contested": 8,
            "ms a user": 2.0,
            "seeds": 2,
        }
    )
    assert table.loc["mild"].isna()["100 labels"] and table.loc["mild"]["contested"] == 0
    assert user_table({"runs": []}).empty


def test_what_does_not_differ_is_called_the_same():
    assert table_of(20, accuracy=(0.9, 0.9))["Δ accuracy"] == "same"


def test_too_few_seeds_are_said():
    assert table_of(20, seeds=2)["verdict"] == "too few seeds"
    none = method_table({"runs": []}, {"one": ONE}).iloc[0]
    assert (none["verdict"], none["seeds"], none["Δ accuracy"]) == ("too few seeds", 0, "")


@pytest.mark.parametrize("method", RELATED.values(), ids=RELATED)
def test_methods_are_compared_with_plain_icr_or_a_control_of_theirs(method):
    assert method.arms["ICR"] == Arm()
    for claim in method.claims:
        assert {claim.more, claim.less} <= method.arms.keys()
        assert claim.measure == "wr" and claim.paper


def test_the_layers_are_the_ones_that_slams_measure_chooses():
    config = get_preset("lab").models
    model, tokenizer = read_base(config), load_tokenizer(config)
    rows = {}
    for lang in ("en", "ru", "sw"):
        asked = [prompt.instruction for prompt in lab_questions("train", 40, lang)]
        rows[lang] = [prompt_ids(tokenizer, text) for text in asked]
    deviations = language_deviations(model, rows)
    assert most_different(deviations, 2) == MOST_DIFFERENT
    assert random_layers(len(deviations), 2, seed=0) == AT_RANDOM


def test_every_arm_is_a_preset_and_the_page_is_small():
    own = points(get_preset("lab"), RELATED.values(), ["0"], {})
    theirs = points(get_preset("lab"), PAGES["analyses"].values(), ["0"], {})
    names = {point.name for point in own} - {point.name for point in theirs}
    assert len(names) <= 16
