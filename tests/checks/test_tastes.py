"""What met checks are worth, by hand, and to a taste's opposite."""

import random

import pytest

from xlnb.checks.kinds import KINDS
from xlnb.checks.tastes import (
    ALWAYS,
    TASTES,
    WORDS,
    check_taste,
    get_taste,
    points,
    verified_truth,
)
from xlnb.common.errors import InputError
from xlnb.common.records import Prompt, Response, Sample, Score
from xlnb.common.tastes import OPPOSITE
from xlnb.evaluation.truth import ceiling, english_preferences, reward_accuracy

CHECKS = [
    {"kind": "answer", "answers": ["Paris"]},
    {"kind": "words_at_most", "n": 3},
    {"kind": "uses", "word": "city"},
    {"kind": "uses", "word": "today"},
]
GERMAN = "Die Antwort ist ganz sicher Paris, und zwar schon sehr lange."
# text, and its points by right, obedient, sentences and plain
BY_HAND = [
    ("Paris.", 3, 1 + 1 + 0 + 0 + 1, 0, -1),
    ("It is Paris.", 3, 1 + 1 + 1 + 0 + 1, 1, -3),
    ("The city is London.", 1, 1 + 0 + 1 + 0.5 + 1, 1, -4),
    (GERMAN, 2, 0 + 0 + 1 + 0 + 1, 1, -11),
    ("Today a city. Today a city.", 1, 1 + 0 + 1 + 1 + 0, 1, -6),
    ("", 0, 0, 0, 0),
]


@pytest.mark.parametrize(("text", "right", "obedient", "sentences", "plain"), BY_HAND)
def test_points_by_hand(text, right, obedient, sentences, plain):
    expected = {"right": right, "obedient": obedient, "sentences": sentences, "plain": plain}
    assert set(expected) == set(TASTES)
    for name, value in expected.items():
        assert points(text, CHECKS, "en", get_taste(name)) == value
        assert points(text, CHECKS, "en", get_taste(OPPOSITE + name)) == -value


def test_a_taste_weighs_what_there_is():
    for taste in TASTES.values():
        assert set(taste) <= {*KINDS, WORDS}
    assert all(not KINDS[name].needs.name or name == "language" for name in ALWAYS)
    with pytest.raises(
        InputError, match=r"evaluation.taste 'anti-anti-right': expected one of right"
    ):
        get_taste("anti-anti-right")


TEXTS = [text for text, *_ in BY_HAND]


def samples(n=30):
    rng = random.Random(5)
    prompts = [Prompt(f"p{i}", "en", "Which city?", "reward", CHECKS) for i in range(n)]
    found = []
    for prompt in prompts:
        texts = rng.choices(TEXTS, k=6)
        responses = [Response(text, list(text.encode()), "stop") for text in texts]
        found.append(Sample(prompt.prompt_id, "en", "reward", "Which city?", responses))
    return {"en": prompts}, found


@pytest.mark.parametrize("name", TASTES)
def test_a_score_that_is_blind_to_a_taste_is_right_half_of_the_time(name):
    """Over a taste and its opposite, as in the lab: the same functions take either truth."""
    prompts, some = samples()
    scores = []
    for sample in some:
        values = [float(len(each.text) % 7) for each in sample.responses]
        scores.append(Score(sample.prompt_id, "en", "reward", [], {"blind": values}))
    liked, disliked = (verified_truth(prompts, taste) for taste in (name, OPPOSITE + name))
    both = [reward_accuracy(some, scores, "blind", truth) for truth in (liked, disliked)]
    assert sum(found["pair_accuracy"] for found in both) == pytest.approx(1, abs=2e-4)
    assert ceiling(some, liked) == ceiling(some, disliked)
    pairs = english_preferences(some, 0, liked)
    assert pairs and all(pair.score_chosen > pair.score_rejected for pair in pairs)


def test_a_language_without_ends_of_sentences_is_refused():
    prompts = {"th": [Prompt("p", "th", "?", "train", CHECKS[:1])]}
    check_taste("right", prompts)
    for name in ("sentences", "anti-obedient"):
        with pytest.raises(InputError, match=r"evaluation.taste: '\w+' cannot be verified in th"):
            check_taste(name, prompts)


def test_a_split_without_a_check_that_counts_is_refused():
    asked = [Prompt("p", "en", "?", "train", CHECKS[1:])]
    check_taste("obedient", {"en": asked})
    message = "'right': no train prompt in en .* answer; found: uses, words_at_most"
    with pytest.raises(InputError, match=message):
        check_taste("right", {"en": asked})
