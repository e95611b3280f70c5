"""Scores worked out by hand, what each of them needs to be read, and a scorer of one's own."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from xlnb import rewards
from xlnb.common.errors import InputError
from xlnb.common.records import Comparisons, Logps, Response, Sample, Score
from xlnb.fusion import Gate
from xlnb.lab.truth import lab_truth
from xlnb.pairs import pair_language
from xlnb.prompts import scorer_prompt
from xlnb.rewards import SCORERS, Scorer, prompts_read, score_sample, split_scorers

SAMPLE = Sample(
    "p0",
    "es",
    "train",
    "¿Capital?",
    [
        Response("Es Madrid", [5, 6, 2], "stop"),
        Response("No", [7, 2], "stop"),
        Response("Lisboa, Lisboa", [8, 9, 8, 9], "length"),
    ],
)
# Under the English prompt: nats of all tokens.
READ = Logps("p0", "es", "train", [-3.0, -5.0, -8.0], [-6.0, -4.0, -10.0], [3, 2, 4])
# Of translations: the second could not be translated.
TRANSLATED = Logps(
    "p0",
    "es",
    "train",
    [-1.0, None, -2.0],
    [-3.0, None, -1.0],
    [2, None, 1],
    failures=[None, "empty", None],
)
MULTILINGUAL = Logps("p0", "es", "train", [-1.0, -1.0, -1.0], [-1.0, -2.0, 0.0], [3, 2, 4])
# The first is better than the second in three of four, whatever is shown first.
P_FIRST = [[None, 0.75, 0.5], [0.25, None, 1.0], [0.5, 0.0, None]]
LOGPS = {
    "cross_lingual": READ,
    "multilingual": MULTILINGUAL,
    "translated": TRANSLATED,
    "comparer": Comparisons("p0", "es", "train", P_FIRST),
}

# β is 0.5: rewards are in β nats, likelihoods in nats.
BY_HAND = {
    "cross_lingual": [0.5 * 3, 0.5 * -1, 0.5 * 2],
    "cross_lingual_per_token": [0.5 * 3 / 3, 0.5 * -1 / 2, 0.5 * 2 / 4],
    "multilingual": [0.0, 0.5 * 1, 0.5 * -1],
    "translated": [0.5 * 2, None, 0.5 * -1],
    "likelihood": [-6 / 3, -4 / 2, -10 / 4],
    "likelihood_sum": [-6.0, -4.0, -10.0],
    "policy_likelihood": [-3 / 3, -5 / 2, -8 / 4],
    "comparer": [(0.75 + 0.5) / 2, (0.25 + 1.0) / 2, (0.5 + 0.0) / 2],
    "brevity": [-9.0, -2.0, -14.0],
}
# By the scores beside them.
FUSED = {"mean", "gate"}


def scored(names, logps=LOGPS, **changes):
    options = {"beta": 0.5, "seed": 0} | changes
    return score_sample(SAMPLE, logps, names, **options)


def test_every_scorer_is_worked_out_here():
    assert SCORERS.keys() == BY_HAND.keys() | FUSED | {"random", "oracle_ceiling"}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
    score = scored([name])
    assert score == Score(
        "p0",
        "es",
        "train",
        [9, 2, 14],
        {name: BY_HAND[name]},
        {"translated": [None, "empty", None]} if name == "translated" else None,
    )


def test_chance_is_a_stream_of_its_own_for_every_prompt_language_and_seed():
    stream = random.Random("0 random score es p0")
    expected = [stream.random() for _ in SAMPLE.responses]
    assert scored(["random"]).scores == {"random": expected}
    # Other scores beside it, or another β, draw nothing from it.
    assert scored(["brevity", "random"], {}, beta=2.0).scores["random"] == expected
    assert scored(["random"], seed=1).scores["random"] != expected
    assert all(0 <= value < 1 for value in expected)


def test_all_at_once_each_by_the_prompt_that_it_reads():
    score = scored(list(BY_HAND))
    assert score.scores == BY_HAND
    # Only what R_t makes of the translations has their failures.
    assert list(score.failures) == ["translated"]


def test_a_score_whose_prompt_was_not_read_is_left_out():
    score = scored(["cross_lingual", "multilingual", "brevity"], {"cross_lingual": READ})
    assert list(score.scores) == ["cross_lingual", "brevity"]
    assert list(scored(["translated"], {}).scores) == []


def test_a_response_without_tokens_has_no_likelihood_a_token():
    empty = Logps("p0", "es", "train", [0.0, -1.0, -1.0], [0.0, -1.0, -1.0], [0, 1, 1])
    score = scored(["likelihood", "likelihood_sum"], {"cross_lingual": empty})
    assert score.scores["likelihood"] == [None, -1.0, -1.0]
    assert score.scores["likelihood_sum"] == [0.0, -1.0, -1.0]


BOTH = ["train", "reward"]


@pytest.mark.parametrize(
    ("names", "read"),
    [
        ("cross_lingual", {"cross_lingual": BOTH}),
        ("cross_lingual,multilingual", {"cross_lingual": BOTH, "multilingual": ["reward"]}),
        (
            "multilingual, cross_lingual",
            {"multilingual": BOTH, "cross_lingual": ["reward"]},
        ),
        # Scores of one prompt read it once; the first of all has all samples read.
        ("likelihood,cross_lingual,policy_likelihood", {"cross_lingual": BOTH}),
        ("cross_lingual,likelihood", {"cross_lingual": BOTH}),
        ("translated,likelihood", {"translated": BOTH, "cross_lingual": ["reward"]}),
        # Some read none.
        ("brevity,random", {}),
        ("brevity,cross_lingual", {"cross_lingual": ["reward"]}),
        # What fuses others needs all that these read.
        ("mean,multilingual,likelihood", {"multilingual": BOTH, "cross_lingual": BOTH}),
        (
            "multilingual,gate,likelihood",
            {"multilingual": BOTH, "cross_lingual": ["reward"]},
        ),
    ],
)
def test_prompts_read(names, read):
    assert prompts_read(names) == read


def standardised(values):
    return (np.array(values) - np.mean(values)) / np.std(values)


def test_fused_scores_by_hand():
    views = ["cross_lingual", "multilingual"]
    r_c, r_m = (standardised(BY_HAND[name]) for name in views)
    score = scored(["mean", *views])
    assert score.scores["mean"] == pytest.approx((r_c + r_m) / 2)
    # The scores beside it are what they are without it.
    assert {name: score.scores[name] for name in views} == scored(views).scores
    gate = Gate((math.log(3), 0.0), 0.0)
    gated = scored([*views, "gate"], gate=gate).scores["gate"]
    assert gated == pytest.approx(0.75 * r_c + 0.25 * r_m)


def test_what_a_view_cannot_read_has_no_fused_score():
    names = ["mean", "cross_lingual", "translated"]
    score = scored(names)
    assert score.scores["mean"] == [1.0, None, -1.0]
    assert score.failures["mean"] == [None, "empty", None]
    pairs, _ = pair_language([SAMPLE], [score], scorer="mean", find_alpha=None)
    assert list(pairs) == []
    # A prompt that one view has not read is not scored.
    assert "mean" not in scored(names, {"cross_lingual": READ}).scores


def test_of_views_that_fail_unlike_the_first_reason_counts():
    one = replace(READ, policy_logps=[None, -5.0, -8.0], failures=["too_long", None, None])
    score = scored(
        ["mean", "cross_lingual", "translated"], {"cross_lingual": one, "translated": TRANSLATED}
    )
    assert score.scores["mean"][:2] == [None, None] and score.scores["mean"][2] is not None
    assert score.failures["mean"] == ["too_long", "empty", None]


def test_one_score_is_nothing_to_fuse():
    for names in ("gate", "mean,likelihood", "gate,mean,likelihood"):
        with pytest.raises(InputError, match=r"(gate|mean) fuses the other scores; name two or mo"):
            split_scorers(names)


def test_every_prompt_that_a_scorer_reads_is_one():
    for scorer in SCORERS.values():
        if scorer.reads not in ("", "comparer"):
            assert "Capital?" in scorer_prompt(scorer.reads, "es", "¿Capital?", "Capital?")
    with pytest.raises(InputError, match="unknown scorer 'brevity'; known: cross_lingual, multi"):
        scorer_prompt("brevity", "es", "¿Capital?", "Capital?")


def test_an_unknown_score_is_refused_with_those_there_are():
    assert split_scorers(" brevity ,random") == ["brevity", "random"]
    with pytest.raises(
        InputError, match=r"scoring\.scorers 'brevty': expected one of cross_lingual"
    ):
        split_scorers("cross_lingual,brevty")


def test_the_ceiling_is_the_oracle_and_refused_elsewhere():
    responses = [Response(text, [1], "stop") for text in ("Paris", "Madrid")]
    sample = Sample("capital/france/0", "es", "train", "?", responses)
    liked = score_sample(sample, {}, ["oracle_ceiling"], beta=0.1, seed=0, taste="correct")
    hated = score_sample(sample, {}, ["oracle_ceiling"], beta=0.1, seed=0, taste="anti-correct")
    right, wrong = liked.scores["oracle_ceiling"]
    assert [right, wrong] == lab_truth("correct")(sample)
    assert right > wrong
    assert hated.scores["oracle_ceiling"] == [-right, -wrong]
    assert [name for name, scorer in SCORERS.items() if scorer.is_truth] == ["oracle_ceiling"]
    rewards.check_truth(["brevity", "oracle_ceiling"], is_lab=True)
    with pytest.raises(InputError, match="score 'oracle_ceiling' is the lab's truth, which is kno"):
        rewards.check_truth(["brevity", "oracle_ceiling"], is_lab=False)


def test_the_elementwise_reward():
    assert rewards.implicit_reward([-3.0, -5.0], [-6.0, -4.0], 0.5) == [1.5, -0.5]


def test_a_decayed_reward_is_of_the_tokens_and_without_decay_that_of_the_sums():
    policy = [[-0.1, -0.2, -0.7], [-1.0, -4.0], [-2.5, -0.3, -3.1, -2.1]]
    ref = [[-0.4, -2.2, -1.7], [-1.5, -2.5], [-2.5, -0.3, -3.3, -2.1]]
    sums = [[torch.tensor(row).sum().item() for row in side] for side in (policy, ref)]
    read = Logps("p0", "es", "train", *sums, [3, 2, 4], None, policy, ref)
    names = ["cross_lingual", "likelihood"]
    plain = scored(names, {"cross_lingual": read}).scores
    near_one = scored(names, {"cross_lingual": read}, gamma=math.nextafter(1, 0)).scores
    assert near_one == plain
    half = scored(names, {"cross_lingual": read}, gamma=0.5).scores
    expected = [0.5 * (0.3 + 2.0 / 2 + 1.0 / 4), 0.5 * (0.5 - 1.5 / 2), 0.5 * 0.2 / 4]
    assert half["cross_lingual"] == pytest.approx(expected, abs=1e-6)
    assert half["likelihood"] == plain["likelihood"]


# A scorer of one's own: a function, and a line in SCORERS.


def fewer_words(given):
    return [-float(len(response.text.split())) for response in given.sample.responses]


def test_a_scorer_is_a_function_and_a_line(monkeypatch):
    monkeypatch.setitem(SCORERS, "fewer_words", Scorer("", fewer_words))
    assert prompts_read("fewer_words,cross_lingual") == {"cross_lingual": ["reward"]}
    score = scored(["fewer_words"], {})
    assert score.scores == {"fewer_words": [-2.0, -1.0, -2.0]}
    (pair,), report = pair_language([SAMPLE], [score], scorer="fewer_words", find_alpha=None)
    assert (pair.chosen, pair.rejected, pair.margin) == ("No", "Es Madrid", 1.0)
    assert report["dropped_responses"]["cut_off"] == 1


def gain_a_token(given):
    logps = given.logps
    both = zip(logps.policy_logps, logps.ref_logps, logps.n_tokens, strict=True)
    return [(policy - ref) / n for policy, ref, n in both]


def test_a_scorer_may_read_a_prompt(monkeypatch):
    monkeypatch.setitem(SCORERS, "gain_a_token", Scorer("cross_lingual", gain_a_token))
    assert prompts_read("gain_a_token") == {"cross_lingual": BOTH}
    assert scored(["gain_a_token"]).scores == {"gain_a_token": [1.0, -0.5, 0.5]}
