"""Tastes, and what a score that is blind to them can reach."""

import random

import numpy as np
import pytest

from xlnb.common.errors import InputError
from xlnb.common.records import Response, Sample, Score
from xlnb.lab.documents import AUTHORS, MANNERS, respond
from xlnb.lab.oracle import FEATURES, judge
from xlnb.lab.tastes import OPPOSITE, TASTES, get_taste
from xlnb.lab.truth import ceiling, english_preferences, reward_accuracy
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
    assert seen.points("formal") == 1
    assert seen.points("anti-formal") == -1
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
            reward_accuracy(some, scores, "blind", taste)["pair_accuracy"]
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
    assert ceiling(some, name)["pair_accuracy"] == pytest.approx(1 - tied / 80)
    assert ceiling(some, OPPOSITE + name) == ceiling(some, name)


def test_english_pairs_of_a_taste_are_its_opposites_the_other_way_round():
    some = samples()
    liked = english_preferences(some, 0, "formal")
    disliked = english_preferences(some, 0, OPPOSITE + "formal")
    assert liked
    turned = [(pair.rejected, pair.chosen, pair.margin) for pair in disliked]
    assert [(pair.chosen, pair.rejected, pair.margin) for pair in liked] == turned
