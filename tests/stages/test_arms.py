"""What the analyses' arms change: label noise, a prompt's first responses, languages with pairs."""

import pytest

from xlnb.common.errors import InputError
from xlnb.common.records import Pair, Response, Sample, Score
from xlnb.evaluation.truth import flip
from xlnb.pairs import pair_language
from xlnb.presets import get_preset

PAIRS = [
    Pair("p", "en", "?", "good", "bad", 2.0, 1.0, 1.0, chosen_ids=[1], rejected_ids=[2])
    for _ in range(400)
]


def flipped(share, seed=0):
    return [i for i, pair in enumerate(flip(PAIRS, share, seed)) if pair.chosen == "bad"]


def test_a_share_of_the_pairs_changes_sides():
    assert flipped(0.0) == []
    assert len(flipped(1.0)) == 400
    assert len(flipped(0.2)) == pytest.approx(80, abs=24)
    assert set(flipped(0.1)) < set(flipped(0.2))
    assert flipped(0.2, seed=1) != flipped(0.2)
    (pair,) = flip(PAIRS[:1], 1.0, 0)
    assert (pair.chosen_ids, pair.rejected_ids) == ([2], [1])
    assert (pair.score_chosen, pair.score_rejected, pair.margin) == (1.0, 2.0, -1.0)


def test_noise_is_for_pairs_that_are_made_here():
    with pytest.raises(InputError, match="flipped is for pairs that are made here"):
        get_preset("lab", {"preferences.path": "x.jsonl", "preferences.flipped": "0.1"})


def test_the_first_responses_alone_make_the_pair():
    texts = ["aa", "bb", "cc", "dd"]
    sample = Sample("p", "es", "train", "?", [Response(text, [1], "stop") for text in texts])
    score = Score("p", "es", "train", [2] * 4, {"cross_lingual": [2.0, 1.0, 9.0, -9.0]}, None)
    chosen = {}
    for most in (None, 2, 3):
        (pair,), report = pair_language([sample], [score], scorer="cross_lingual", most=most)
        chosen[most] = (pair.chosen, pair.rejected, report["responses"])
    assert chosen == {None: ("cc", "dd", 4), 2: ("aa", "bb", 2), 3: ("cc", "bb", 3)}
