"""How often scores prefer the chosen response, by hand."""

import math

from xlnb.common.records import Pair, Score
from xlnb.evaluation.accuracy import accuracies, accuracy_text, preferred
from xlnb.inputs.given_responses import GivenPair

PAIRS = [
    GivenPair(Pair("1", "de", "?", "a", "b"), "chat"),
    GivenPair(Pair("1", "de", "?", "c", "d"), "chat"),
    GivenPair(Pair("2", "de", "?", "a", "b"), "code"),
    GivenPair(Pair("1", "es", "?", "a", "b"), "chat"),
]


def score(prompt_id, lang, cross, multi):
    scores = {"cross_lingual": cross, "multilingual": multi}
    return Score(prompt_id, lang, "eval", [1] * len(cross), scores)


SCORES = [
    score("1", "de", [2.0, 1.0, 3.0, 3.0], [0.0, 1.0, 0.0, 1.0]),
    score("2", "de", [2.0, 1.0], [None, 1.0]),
    score("1", "es", [1.0, 2.0], [2.0, 1.0]),
]


def test_preferences_by_pair():
    rows = preferred(PAIRS, SCORES)
    assert [row["preference"]["cross_lingual"] for row in rows] == [2, 1.5, 2, 1]
    by_m = [row["preference"]["multilingual"] for row in rows]
    assert by_m[:2] == [1, 1] and math.isnan(by_m[2]) and by_m[3] == 2


def test_accuracy_by_language_and_category_and_prompts_are_clusters():
    table = accuracies(preferred(PAIRS, SCORES))
    cross = table["languages"]["cross_lingual"]
    assert {lang: round(entry["accuracy"], 1) for lang, entry in cross.items()} == {
        "de": 83.3,
        "es": 0.0,
        "all": 62.5,
    }
    assert (cross["all"]["n"], cross["all"]["prompts"]) == (4, 2)
    # What has no score on a side counts for nothing.
    assert table["languages"]["multilingual"]["de"]["n"] == 2
    assert table["categories"]["cross_lingual"]["chat"]["accuracy"] == 50
    assert "code" not in table["categories"]["multilingual"]
    # All that both have read is of one prompt: no test.
    assert table["difference"] == {}


def test_the_paired_test_and_its_text():
    pairs = [GivenPair(Pair(f"{i}", "de", "?", "a", "b"), "") for i in range(4)]
    scores = [score(f"{i}", "de", [1.0, 0.0], [float(i > 1), 0.5]) for i in range(4)]
    table = accuracies(preferred(pairs, scores))
    assert table["difference"]["de"]["difference"] == 50
    assert 0 < table["difference"]["de"]["p_value"] < 0.5
    text = accuracy_text(table)
    assert "100.0 [100.0, 100.0]" in text and "+50.0" in text
    assert table["categories"] == {"cross_lingual": {}, "multilingual": {}}
