"""Tastes, and what a score that is blind to them can reach."""

import random

import numpy as np
import pytest

from xlnb.common.errors import InputError
from xlnb.common.records import Response, Sample, Score
from xlnb.common.tastes import OPPOSITE
from xlnb.evaluation.truth import REJECTED, ceiling, english_preferences, reward_accuracy
from xlnb.lab.documents import AUTHORS, MANNERS, respond
from xlnb.lab.oracle import FEATURES, judge
from xlnb.lab.tastes import TASTES, get_taste
from xlnb.lab.truth import lab_truth
from xlnb.lab.world import load_world

WORLD = load_world()


def samples(n: int = 40) -> list[Sample]:
    """Ten responses of all sorts of authors to each of n English questions."""
    rng = random.Random(3)
    found = []
    for prompt in WORLD.prompts("en")[:n]:
        responses = []
        for _ in range(10):
            author = rng.choice(list(AUTHORS))
            manner = rng.choice(list(MANNERS))
            fact = WORLD.fact(prompt.prompt_id)
            text = respond(WORLD, fact, "en", author, rng, manner)
            responses.append(Response(text, list(text.encode()), "stop"))
        found.append(Sample(prompt.prompt_id, "en", prompt.split, prompt.instruction, responses))
    return found


@pytest.mark.parametrize("name", TASTES)
def test_a_taste_weighs_what_the_oracle_sees_and_its_opposite_is_exact(name):
    assert set(TASTES[name]) <= set(FEATURES)
    opposite = get_taste(OPPOSITE + name)
    assert opposite == {feature: -weight for feature, weight in TASTES[name].items()}
    fact = WORLD.fact("capital/peru/0")
    seen = judge(fact, "en", "Hey buddy, that is an easy one. Lima. Lima.")
    assert seen.points(OPPOSITE + name) == -seen.points(name)


def test_points_by_hand():
    fact = WORLD.fact("capital/peru/0")
    polite = "It is an honour to answer you, sir or madam. Lima is the capital of Peru."
    seen = judge(fact, "en", polite)
    assert seen.points("polite") == 2 + 1 + 3
    assert seen.points("anti-polite") == -6
    assert seen.points("reasons") == seen.points("padding") == seen.points("refusals") == 0
    assert seen.points("correct") == 7


@pytest.mark.parametrize("name", ["nice", "", "anti-nice", "anti-anti-polite", "Polite"])
def test_an_unknown_taste_is_refused(name):
    with pytest.raises(InputError, match=rf"lab.taste '{name}': expected one of polite, correct"):
        get_taste(name)


@pytest.mark.parametrize("name", TASTES)
def test_a_score_that_is_blind_to_the_taste_is_right_half_of_the_time(name):
    """Over a taste and its opposite, on the same responses: exactly, whatever the score."""
    some = samples()
    for blind in (len, hash):
        scores = []
        for sample in some:
            values = [float(blind(response.text)) for response in sample.responses]
            ids = (sample.prompt_id, "en", sample.split)
            scores.append(Score(*ids, [0] * len(values), {"blind": values}))
        both = [
            reward_accuracy(some, scores, "blind", lab_truth(taste))["pair_accuracy"]
            for taste in (name, OPPOSITE + name)
        ]
        assert np.mean(both) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("name", TASTES)
def test_the_ceiling_is_below_1_by_the_ties_alone(name):
    some = samples()
    tied = 0
    for sample in some:
        fact = WORLD.fact(sample.prompt_id)
        points = {judge(fact, "en", response.text).points(name) for response in sample.responses}
        tied += len(points) == 1
    assert ceiling(some, lab_truth(name))["pair_accuracy"] == pytest.approx(1 - tied / 80)
    assert ceiling(some, lab_truth(OPPOSITE + name)) == ceiling(some, lab_truth(name))


def test_english_pairs_are_the_best_response_before_others():
    some = samples()
    for taste in ("polite", OPPOSITE + "polite"):
        pairs = english_preferences(some, 0, lab_truth(taste))
        assert len({pair.prompt_id for pair in pairs}) == len(some)
        for sample in some:
            mine = [pair for pair in pairs if pair.prompt_id == sample.prompt_id]
            truth = lab_truth(taste)(sample)
            assert len(mine) == min(REJECTED, sum(score < max(truth) for score in truth))
            by_text = dict(zip((each.text for each in sample.responses), truth, strict=True))
            for pair in mine:
                assert by_text[pair.chosen] == pair.score_chosen == max(truth)
                assert by_text[pair.rejected] == pair.score_rejected < pair.score_chosen
                assert pair.margin == pair.score_chosen - pair.score_rejected
    assert english_preferences(some, 1, lab_truth(taste)) != pairs


def test_no_english_pair_without_a_difference_or_a_whole_response():
    tied = Sample("capital/peru/0", "en", "train", "?", [Response("Lima", [1], "stop")] * 3)
    cut = Sample("capital/peru/0", "en", "train", "?", [Response("Lima", [1], "length")] * 3)
    assert english_preferences([tied, cut], 0, lab_truth("polite")) == []
