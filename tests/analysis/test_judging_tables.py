"""Tables of notebooks 06 and 07 on judges, verdicts and failures made by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xlnb.analysis import by_hand, gains, judging, kinds, planted
from xlnb.common.errors import InputError
from xlnb.evaluation.judged import Judged
from xlnb.judges.oracle import OracleJudge
from xlnb.lab.oracle import KINDS
from xlnb.lab.world import load_world


def record(prompt_id, output_1, output_2, preference, lang="en"):
    names = {"id": prompt_id, "lang": lang, "instruction": "?", "preference": preference}
    return names | {
        "output_1": output_1, "generator_1": "sft", "output_2": output_2, "generator_2": "icr2",
        "annotator": "made", "in_language_2": True,
    }  # fmt: skip


def answers(preferences, lang="en"):
    """Comparisons in which the baseline says "a" and the model "bbb"."""
    rows = enumerate(preferences)
    return [record(f"p{i}", "a", "bbb", preference, lang) for i, preference in rows]


class FirstWins:
    """A judge that goes by the place alone, and has no verdict where the texts are equal."""

    name = "first"

    def __call__(self, asked):
        return {"preference": None if asked.output_1 == asked.output_2 else 1.0}


def test_the_first_decided_comparison_or_the_first_of_all():
    rows = answers([1.5, None, 2.0])
    assert judging.first_decided(rows) is rows[2]
    assert judging.first_decided(rows[:2]) is rows[0]


def test_checks_count_what_depends_on_the_order_and_leave_out_what_was_not_judged():
    table = judging.checks(FirstWins(), {"icr2": {"en": answers([2.0, 1.0, 1.0])}}, 2)
    assert table.loc["repeat"].tolist() == [2, 0, 0]
    assert table.loc["swap"].tolist() == [2, 2, 1]
    assert table.loc["self", "comparisons"] == 0


def test_a_judge_of_two_texts_beside_the_runs():
    annotations = {"icr2": {"en": answers([2.0, 1.0]), "de": answers([1.5, 2.0], "de")}}
    table = judging.agreement_table(annotations, ["icr2"], lambda baseline, model: 2.0)
    found = table.loc["icr2"].tolist()
    assert found == pytest.approx([62.5, 100, 200 / 3, 25])


def test_flipped_verdicts_turn_a_win_rate_round():
    annotations = {"icr2": {"en": answers([2.0, 2.0, 1.5, 1.0])}}
    table = judging.flipped_win_rates(annotations, ["icr2"], (0, 1), 0)
    assert table.loc["icr2"].tolist() == [62.5, 37.5]
    assert list(table) == ["0% flipped", "100% flipped"]


class BothWays:
    """Asked both ways, it says what it was given, and nothing about the rest."""

    name = "both"

    def __init__(self, *said):
        self.said = list(said)

    def __call__(self, asked):
        first, second = self.said.pop(0)
        mean = None if first is None else (first + second) / 2
        ways = {"preference_shown_first": first, "preference_shown_second": second}
        return {"preference": mean, **ways}


def test_a_judge_asked_both_ways():
    told = judging.asked_both_ways(BothWays((2, 1), (2, 2), (None, None)), answers([2.0, 2.0, 1.0]))
    assert list(told.values())[:3] == [3, 2, 25]
    assert told["same winner both ways (%)"] == 50
    assert told["agrees with the run's judge (%)"] == 100
    nothing = judging.asked_both_ways(BothWays((None, None)), answers([2.0]))
    assert nothing["verdicts"] == 0 and np.isnan(list(nothing.values())[2:]).all()


def test_published_lengths_are_of_files_beside_their_baseline(tmp_path):
    for lang, name, text in (
        ("de", "gpt-a", "Guten Morgen"),
        ("de", "gpt-base", "Guten Morgen und guten Abend"),
        ("fr", "gpt-a", "Bonjour"),
        ("es", "gpt-a", "Hola"),
        ("es", "gpt-base", "Buenas"),
    ):
        path = tmp_path / lang / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps([{"instruction": "?", "output": text, "generator": name}]))
    table = judging.published_lengths(tmp_path, "gpt-base", ["de", "fr"])
    assert list(table.index) == [("gpt-a", "de")]
    row = table.loc[("gpt-a", "de")]
    assert row["mean characters"] == 12 and row["WR by length alone (%)"] == 0


def test_languages_first():
    annotations = {"sft": {"en": [1], "de": [2]}, "dpo": {"en": [3], "de": [4]}}
    found = judging.language_first(annotations, sum)
    assert found == {"en": {"sft": 1, "dpo": 3}, "de": {"sft": 2, "dpo": 4}}


def test_points_by_hand_are_the_oracles_in_every_language():
    world = load_world()
    for lang in world.langs:
        table = by_hand.scored_by_hand(record("capital/france/0", "", "", 1, lang), ["en", "de"])
        assert (table["by hand"] == table["oracle"]).all() and len(table) == 8


def test_the_planted_failure_is_one_prompt_off():
    world = load_world()
    rows = []
    for fact in [fact for fact in world.facts if fact.kind == "capital"][:3]:
        prompt = f"capital/{fact.id}/0"
        said = world.sentence(fact, "en", fact.y["en"], 0)
        rows.append(record(prompt, world.refusals["en"][0], said, 2.0))
    annotations = {"icr2": {"en": rows, "de": rows}}
    spoilt = planted.planted(annotations, "icr2", "en", OracleJudge("polite"))
    assert spoilt["de"] == rows
    said = [row["output_2"] for row in rows]
    assert [row["output_2"] for row in spoilt["en"]] == said[1:] + said[:1]
    before, after = (planted.symptoms(each).loc["en"] for each in (annotations["icr2"], spoilt))
    # What answers another question is stray, and loses to a refusal.
    assert before["WR"] == 100 and after["WR"] == 0
    same = ["in the asked language", "polite", "refuses", "as the baseline's", "characters"]
    assert (before[same] == after[same]).all()
    assert planted.beside_questions(spoilt["en"], 2)["winner"].tolist() == ["baseline"] * 2


def test_gains_need_parallel_prompts():
    one, other = answers([1.0, 2.0]), answers([1.0, 2.0])[::-1]
    assert gains.parallel_ids({"dpo": {"en": one, "de": one}}) == ["p0", "p1"]
    with pytest.raises(InputError, match="dpo, de: not the prompts of the others"):
        gains.parallel_ids({"dpo": {"en": one, "de": other}})


def test_gains_in_words_and_beside_the_paper():
    before, after = {"en": {"wr": 90.0}, "de": {"wr": 50.0}}, {"en": {"wr": 91.0}, "de": {"wr": 70}}
    table = gains.beside_paper(before, after, ("π^0", "π^2"))
    assert table["gain"].round(2).tolist() == [20, 10.5, 12.72]
    for ci, word in (([1, 5], "up"), ([-5, -1], "down"), ([-1, 5], "not told from 0")):
        assert gains.told_from_zero({"difference": 2.0, "ci": ci}).endswith(f": {word}")


def test_what_may_explain_a_gain_begins_with_the_smallest():
    changed = pd.DataFrame({"en": dict.fromkeys(KINDS, 1.0), "de": dict.fromkeys(KINDS, 2.0)})
    gain = {"en": {"difference": 9.0}, "de": {"difference": 3.0}}
    table = gains.explained(gain, {"π^0": {"en": 0.8, "de": 0.6}}, changed)
    assert table["gain"].tolist() == [3, 9]
    assert table["pair accuracy, rewards of π^0"].tolist() == [0.6, 0.8]
    assert table["wrong"].tolist() == [2, 1]


def test_pooled_win_rates_of_the_models_that_have_several_languages():
    one = Judged(
        path=Path("x"), model="m", lang="en", index=[0, 1], prompt=["a", "b"], has_index=True,
        has_prompt=True, preference=[1.0, 2.0], len_output=[1, 1], len_baseline=[1, 1],
    )  # fmt: skip
    won = replace(one, preference=[2.0, 2.0])
    annotations = {"dpo": {"en": one, "de": won}, "icr1": {"en": one}}
    table = gains.pooled_table(annotations, ["dpo", "icr1"])
    assert list(table.index) == ["dpo"] and table.loc["dpo", "WR"] == 75


def test_the_kinds_of_each_side_of_pairs():
    world = load_world()
    fact = world.fact("capital/france/0")
    right = world.sentence(fact, "en", fact.y["en"], 0)
    pair = {"prompt_id": "capital/france/0", "lang": "en"}
    pair |= {"chosen": [{"content": right}], "rejected": [{"content": "lorem"}]}
    sides = kinds.of_each_side({"M": {"en": [pair]}}, ["en"])
    assert list(sides["en"]) == ["chosen, for M", "rejected, for M"]
    table = kinds.of_every_pair(sides, "off topic or garbled")
    assert table.loc["en"].tolist() == [0, 100]
