"""The paper's claims decided: tests over seeds and facts, Holm's correction, verdicts by rule."""

import numpy as np
import pytest
from two_arms import record_of

from xlnb.analysis.analyses import (
    arm_table,
    gap_table,
    holm,
    over_seeds,
    over_seeds_and_facts,
    verdicts,
)
from xlnb.common.tastes import OPPOSITE
from xlnb.lab.tastes import TASTES
from xlnb.presets import analyses as page
from xlnb.presets.analyses import ANALYSES
from xlnb.presets.claims import BASE, Analysis, Arm, Claim

PAIR = {"a": Arm(), "b": Arm({"training.nll": "0"})}


def decided(record, paper="WR 2 against 1"):
    claims = [Claim("a beats b", "a", "b", measure, paper) for measure in ("wr", "lc")]
    return verdicts(record, {"one": Analysis("?", PAIR, claims)})


@pytest.mark.parametrize(("gain", "expected"), [(20, "agree"), (-20, "disagree")])
def test_a_verdict_goes_by_the_sign(gain, expected):
    table = decided(record_of(gain))
    assert list(table["verdict"]) == [expected, expected]
    assert list(table["seeds"]) == [5, 5]
    assert (table["p"] < 0.05).all()


def test_without_a_difference_nothing_is_decided():
    table = decided(record_of(0.0))
    assert table["verdict"][0] == "undecided"


def test_without_a_figure_in_the_paper_nothing_is_compared():
    assert set(decided(record_of(20), paper="")["verdict"]) == {"not comparable"}


def test_too_few_seeds_are_said_whatever_they_show():
    for seeds in (1, 4):
        table = decided(record_of(20, seeds))
        assert set(table["verdict"]) == {"too few seeds"}
        assert table["why"][0] == f"{seeds} of 5 seeds are finished."
    none = decided({"runs": []})
    assert set(none["verdict"]) == {"too few seeds"} and set(none["seeds"]) == {0}


def test_holm_by_hand():
    # 4 × .01; then the greater of it and 3 × .011; and so on, at most 1.
    assert holm([0.011, 0.01, 0.5, np.nan, 0.6]) == pytest.approx(
        [0.04, 0.04, 1.0, np.nan, 1.0], nan_ok=True
    )


def test_the_interval_over_seeds_and_facts_covers_as_it_says():
    """Seeds and facts both have effects of their own: an interval over one alone is too narrow."""
    stream = np.random.default_rng(1)
    two_way = of_seeds = 0
    for _ in range(400):
        seeds, facts = stream.normal(0, 1, (5, 1)), stream.normal(0, 6, (1, 30))
        table = seeds + facts + stream.normal(0, 3, (5, 30))
        found, alone = over_seeds_and_facts(table), over_seeds(list(table.mean(axis=1)))
        two_way += found.low < 0 < found.high
        of_seeds += alone.low < 0 < alone.high
    assert two_way / 400 >= 0.94
    assert of_seeds / 400 < 0.9


def test_a_single_seed_has_a_difference_and_no_interval():
    found = over_seeds_and_facts(np.array([[1.0, 3.0]]))
    assert found.mean == 2 and np.isnan(found[1:]).all()


def test_arms_of_the_page_are_found_by_their_values():
    table = arm_table(record_of(20, 2), Analysis("?", PAIR), "lc")
    assert list(table["arm"]) == ["a", "a", "b", "b"]
    assert table["value"].tolist()[2:] == [50.0, 50.0]


def test_claims_of_one_unit_are_a_picture_with_the_verdicts_intervals():
    record = record_of(20)
    claims = [Claim(measure, "a", "b", measure) for measure in ("wr", "chars", "lc")]
    for run in record["runs"]:
        run["models"]["icr1"]["chars"] = {"es": 10.0 + run["seed"]}
    analysis = Analysis("?", PAIR, claims)
    gaps = gap_table(record, analysis, "points")
    assert gaps["claim"].tolist() == ["wr", "lc"]
    assert (gaps["seeds"] == 5).all()
    lc = gaps.iloc[1]
    assert (lc["low"] + lc["high"]) / 2 == pytest.approx(lc["mean"])
    shown = verdicts(record, {"one": analysis})["ours"][2]
    assert shown == f"{lc['mean']:+.1f} [{lc['low']:+.1f}, {lc['high']:+.1f}]"
    assert gap_table(record, analysis, "characters")["mean"].tolist() == [0.0]
    assert gap_table({"runs": []}, analysis, "points").empty


def test_what_a_record_of_an_earlier_revision_has_not_is_no_finished_run():
    record = record_of(20)
    claims = [
        Claim("?", "a", "b", "loss"),
        Claim("?", "π_I", "b", "lc"),
        Claim("?", "a", "b", "lc"),
    ]
    analysis = Analysis("?", {**PAIR, "π_I": Arm(model="sft")}, claims)
    assert verdicts(record, {"one": analysis})["seeds"].tolist() == [0, 0, 5]
    assert set(arm_table(record, analysis, "lc")["arm"]) == {"a", "b"}
    assert arm_table(record, analysis, "known").empty


@pytest.mark.parametrize("analysis", ANALYSES.values(), ids=ANALYSES)
def test_claims_name_arms_of_their_analysis(analysis):
    for claim in analysis.claims:
        assert {claim.more, claim.less} <= analysis.arms.keys()
    assert analysis.published.keys() <= analysis.arms.keys()


def test_every_taste_of_the_lab_and_its_opposite_is_an_arm():
    assert set(page.TASTES) == {sign + taste for taste in TASTES for sign in ("", OPPOSITE)}
    arms = ANALYSES["tastes"].arms
    assert arms["polite, π^1"].changed == BASE
    assert arms["anti-padding, π^0"] == Arm({"lab.taste": "anti-padding"}, "dpo")
    assert len(arms) == 2 * len(page.TASTES)
