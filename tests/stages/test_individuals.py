"""Tastes as users, on the responses of a small run: what is counted, and who gains."""

import random

import numpy as np
import pytest
from small import SMALL

from xlnb.common.errors import InputError
from xlnb.common.records import Response, Sample, Score, write_records
from xlnb.lab.documents import AUTHORS, MANNERS, respond
from xlnb.lab.truth import lab_truth
from xlnb.lab.world import load_world
from xlnb.runs.run import open_run
from xlnb.stages import individuals
from xlnb.stages.individuals import LABELS, Known, of_tastes


def known(rows, **points):
    by_taste = {name: np.array(values, float) for name, values in points.items()}
    return Known("es", np.array(rows, float), by_taste)


def test_labels_are_the_pairs_that_a_user_tells_apart():
    prompt = known([[1, 0, 0], [0, 2, 0], [0, 0, 4]], user=[1, 0, 0], oracle=[0, 1, 0])
    assert individuals._labels(prompt, "user").tolist() == [[1, -2, 0], [1, 0, -4]]
    # The oracle does not tell the first from the third: that pair is not contested.
    assert individuals._labels(prompt, "user", not_by="oracle").tolist() == [[1, -2, 0]]
    assert individuals._labels(prompt, "user", not_by="user").shape == (0, 3)


def test_accuracy_is_the_mean_over_languages_and_ties_count_half():
    contested = [
        ("de", np.array([[1.0, 0, 0], [-1.0, 0, 0]])),
        ("es", np.array([[0.0, 5, 0]])),
        ("es", np.array([[2.0, 0, 0]])),
        ("ru", np.empty((0, 3))),
    ]
    assert individuals._accuracy(contested, np.array([1.0, 0, 0])) == (0.5 + 0.75) / 2
    assert np.isnan(individuals._accuracy(contested[3:], np.array([1.0, 0, 0])))
    assert individuals._mean([]) is None and individuals._mean([np.nan]) is None


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A run whose reward is the truth of its own taste, on responses of all sorts of authors."""
    run = open_run(tmp_path_factory.mktemp("run") / "users", "lab-quick", SMALL)
    here = run.iteration(1).shared
    world = load_world()
    rng = random.Random(3)
    for lang in ("en", "es"):
        samples, scores = [], []
        for prompt in [one for one in world.prompts(lang) if one.split == "reward"][:20]:
            said = []
            for _ in range(8):
                author, manner = rng.choice(list(AUTHORS)), rng.choice(list(MANNERS))
                fact = world.fact(prompt.prompt_id)
                text = respond(world, fact, lang, author, rng, manner)
                said.append(Response(text, [1], "stop"))
            sample = Sample(prompt.prompt_id, lang, "reward", prompt.instruction, said)
            truth = [points / 10 for points in lab_truth(run.taste)(sample)]
            values = {"cross_lingual": truth, "likelihood": [rng.random() for _ in said]}
            samples.append(sample)
            n_chars = [len(response.text) for response in said]
            scores.append(Score(sample.prompt_id, lang, "reward", n_chars, values))
        write_records(here.samples(lang), samples)
        write_records(here.scores(lang), scores)
    return run


def test_english_labels_teach_what_users_like_in_spanish(scored):
    users = of_tastes(scored)
    assert len(users) == 9 and scored.taste not in users
    for user in users.values():
        assert list(user["labels"]) == [str(number) for number in LABELS]
        # A reward that is the oracle's is wrong wherever a user contests it.
        assert user["reward"] == 0 or not user["contested"]
    for name in ("anti-polite", "padding"):
        user = users[name]
        few, *_, many = [accuracy for accuracy in user["labels"].values() if accuracy is not None]
        assert user["contested"] > 20 and user["oracle"] < 0.5
        assert many > 0.75 and many >= few
    assert of_tastes(scored)["padding"]["labels"] == users["padding"]["labels"]


def test_numbers_of_labels_that_are_not_to_be_had_are_left_open(scored, monkeypatch):
    monkeypatch.setattr("xlnb.stages.individuals.LABELS", (10, 100_000))
    labels = of_tastes(scored)["padding"]["labels"]
    assert labels["10"] is not None and labels["100000"] is None


def test_without_likelihoods_there_are_no_users(scored):
    run = open_run(scored.path, overrides={"scoring.scorers": "cross_lingual"})
    with pytest.raises(InputError, match="a user is weights on likelihood, too; add it"):
        of_tastes(run)
