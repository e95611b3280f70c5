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


def entry(rate):
    checks = {"answer": {"rate": rate, "ci": [rate - 0.1, rate + 0.1], "n": 30, "clusters": 9}}
    return {"wr": 50.0, "checks": checks}


GOOD = scores(cross_lingual=(0.9, 0.8, 0.7, 0.75), random=(0.5, 0.4, 0.6, 0.5))
BAD = scores(cross_lingual=(0.8, 0.7, 0.6, 0.65), random=(0.5, 0.6, 0.4, 0.5))
RECORD = {
    "seed": 0,
    "accuracy": {"t": {"t": GOOD, "anti-t": BAD}, "anti-t": {"t": GOOD, "anti-t": BAD}},
    "win_rates": {"sft": {"en": entry(0.25), "de": entry(0.1)}, "dpo": {"en": entry(0.5)}},
    "answers": [
        {"lang": "en", "question": "Who?", "sft": "Ann", "dpo": "It was Ann."},
        {"lang": "de", "question": "Wer?", "sft": "Ann", "dpo": "Es war Ann."},
    ],
}


def test_the_mean_of_other_languages_stands_with_its_ends():
    table = real_model.others(RECORD, "t", "anti-t").set_index("scorer")
    assert table.loc["cross_lingual"].tolist() == pytest.approx([0.65, 0.55, 0.7])


def test_accuracies_stand_with_their_intervals_the_mean_last():
    table = real_model.accuracy_table(RECORD, "t", "anti-t")
    assert [*table] == ["en", "de", "ru", real_model.OTHERS]
    assert table.loc["cross_lingual", "en"] == "0.800 [0.700, 0.850]"


def test_shares_are_in_percent():
    table = real_model.pass_table(RECORD, "answer")
    assert table.loc["sft", "en"] == "25 [15, 35]" and table.loc["sft", "de"] == "10 [0, 20]"


def test_answers_stand_side_by_side():
    table = real_model.answers(RECORD, "de")
    assert table.to_dict("records") == [{"question": "Wer?", "sft": "Ann", "dpo": "Es war Ann."}]
