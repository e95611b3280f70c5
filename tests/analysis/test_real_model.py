"""Tables of a real model's record."""

import pytest

from xlnb.analysis import real_model


def scores(**by_scorer):
    found = {}
    for scorer, values in by_scorer.items():
        by_lang = zip(("en", "de", "ru", real_model.OTHERS), values, strict=True)
        found[scorer] = {
            lang: {"pair_accuracy": value, "ci": [value - 0.1, value + 0.05], "n": 20}
            for lang, value in by_lang
        }
    return found


GOOD = scores(cross_lingual=(0.9, 0.8, 0.7, 0.75), random=(0.5, 0.4, 0.6, 0.5))
BAD = scores(cross_lingual=(0.8, 0.7, 0.6, 0.65), random=(0.5, 0.6, 0.4, 0.5))
RECORD = {
    "accuracy": {"t": {"t": GOOD, "anti-t": BAD}, "anti-t": {"t": GOOD, "anti-t": BAD}},
    "differences": {"t": {"random": {"pair_accuracy": 0.25, "ci": [-0.05, 0.3]}}},
    "per_token": {"t": {"cross_lingual": {"de": {"token": -0.04, "sentence": 2.0}}}},
}


def test_the_mean_of_other_languages_stands_with_its_ends():
    table = real_model.others(BAD).set_index("scorer")
    assert table.loc["cross_lingual"].tolist() == pytest.approx([0.65, 0.55, 0.7])


def test_accuracies_stand_with_their_intervals_the_mean_last():
    table = real_model.accuracy_table(BAD)
    assert [*table] == ["en", "de", "ru", real_model.OTHERS]
    assert table.loc["cross_lingual", "en"] == "0.800 [0.700, 0.850]"


def test_differences_are_signed():
    assert real_model.difference_table(RECORD).loc["random", "t"] == "+0.250 [-0.050, +0.300]"


def test_rewards_stand_under_what_they_learnt_and_what_they_did_not():
    both = {"t": GOOD | {"multilingual": GOOD["random"], "likelihood": GOOD["random"]}}
    both["anti-t"] = BAD | {"multilingual": BAD["random"], "likelihood": BAD["random"]}
    table = real_model.learnt_and_not({"accuracy": {"t": both}})
    assert table.loc["cross_lingual", "t"].to_dict() == {"t": 0.75, "anti-t": 0.65}


def test_what_a_token_costs_is_a_row_a_language():
    (row,) = real_model.per_token(RECORD).to_dict("records")
    expected = {"taste": "t", "scorer": "cross_lingual", "lang": "de"}
    assert row == expected | {"token": -0.04, "sentence": 2.0}


def entry(wr, answer):
    return {
        "wr": wr,
        "wr_ci": [wr - 5, wr + 4],
        "mean_score": 0.9,
        "checks": {"answer": {"rate": answer}},
        "in_language": 0.8,
        "mean_chars": 40.4,
    }


TRAINED = {
    "win_rates": {
        "t": {
            "dpo": {"en": entry(70.0, 0.4), real_model.OTHERS: entry(60.0, 0.3)},
            "icr1": {"en": entry(71.0, 0.2), real_model.OTHERS: entry(75.0, 0.1)},
        }
    },
    "languages": {
        "random": {"de": {"best": 0.9, "worst": 0.8, "all": 0.85}},
        "cross_lingual": {"de": {"best": 0.5, "worst": 1.0, "all": 0.85}},
    },
}


def test_answers_are_described_in_the_other_languages_or_in_one():
    table = real_model.answers_of(TRAINED, "t")
    assert [*table.loc["icr1"]] == ["75.0 [70.0, 79.0]", 0.9, 0.1, 0.8, 40]
    assert real_model.answers_of(TRAINED, "t", "en").loc["dpo", "holds an answer"] == 0.4


def test_win_rates_and_languages_stand_by_model_and_language():
    assert real_model.by_language(TRAINED, "t", "wr").loc["dpo"].to_dict() == {
        "en": 70.0,
        real_model.OTHERS: 60.0,
    }
    assert real_model.by_language(TRAINED, "t", "in_language").loc["dpo", "en"] == 0.8


def test_of_the_best_by_a_score_stands_how_many_are_in_the_language():
    table = real_model.languages_of_best(TRAINED)
    assert table.loc[("all responses", ""), "de"] == 0.85
    assert table.loc[("cross_lingual", "best"), "de"] == 0.5
