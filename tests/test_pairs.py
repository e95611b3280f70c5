"""Pairs against cases worked out by hand."""

import json
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lengths import N_CHARS, REWARDS

from xlnb import pairs as pairs_module
from xlnb.common.errors import InputError
from xlnb.common.joining import join_scores
from xlnb.common.records import Pair, Response, Sample, Score
from xlnb.length_control import length_alpha
from xlnb.pairs import make_pairs

# What the responses below are ordered by, and a score beside it that must not matter.
SCORER = "cross_lingual"
OTHER = "brevity"
REASONS = (
    *("cut_off", "thinking", "empty", "wrong_language", "not_translated", "not_read"),
    "duplicate",
)
NOTHING = dict.fromkeys(REASONS, 0)


def record(responses, prompt_id="p0", lang="es", split="train"):
    """A sample and its scores from (text, score) or (text, score, finish_reason) tuples. A token
    is a character."""
    sampled = []
    for text, _, *end in responses:
        sampled.append(Response(text, list(map(ord, text)), end[0] if end else "stop"))
    scores = {
        OTHER: [-float(len(response[0])) for response in responses],
        SCORER: [response[1] for response in responses],
    }
    n_chars = [len(response[0]) for response in responses]
    return (
        Sample(prompt_id, lang, split, f"¿{prompt_id}?", sampled),
        Score(prompt_id, lang, split, n_chars, scores),
    )


def records(*prompts):
    """Samples and scores of prompts p0, p1, …"""
    both = [record(responses, f"p{i}") for i, responses in enumerate(prompts)]
    return [sample for sample, _ in both], [score for _, score in both]


def pair_language(samples, scores, **options):
    pairs, report = pairs_module.pair_language(samples, scores, scorer=SCORER, **options)
    return list(pairs), report


def candidates(sample, score):
    return pairs_module.candidates(sample, score, SCORER)


def texts_of(prompt):
    return [prompt.sample.responses[place].text for place in prompt.places]


def test_a_pair_as_trl_reads_it():
    samples, scores = records([("no", -1.5), ("sí, es Madrid", 2.0), ("Madrid", 0.5)])
    pairs, report = pair_language(samples, scores, find_alpha=None)
    chosen_ids = [115, 237, 44, 32, 101, 115, 32, 77, 97, 100, 114, 105, 100]
    assert pairs == [
        Pair("p0", "es", "¿p0?", "sí, es Madrid", "no", 2.0, -1.5, 3.5, chosen_ids, [110, 111]),
    ]
    line = {
        "prompt_id": "p0",
        "lang": "es",
        "prompt": [{"role": "user", "content": "¿p0?"}],
        "chosen": [{"role": "assistant", "content": "sí, es Madrid"}],
        "rejected": [{"role": "assistant", "content": "no"}],
        "score_chosen": 2.0,
        "score_rejected": -1.5,
        "margin": 3.5,
        "chosen_ids": chosen_ids,
        "rejected_ids": [110, 111],
    }
    assert list(pairs[0].to_json().items()) == list(line.items())
    assert Pair.from_json(line) == pairs[0]
    assert report == {
        "prompts": 1,
        "pairs": 1,
        "dropped": {
            "chosen_is_rejected": 0,
            "too_few_candidates": 0,
            "tied": 0,
            "below_min_margin": 0,
        },
        "responses": 3,
        "dropped_responses": NOTHING,
        "alpha": 0.0,
        "at_edge": False,
        "length_gap_before": 11.0,
        "length_gap": 11.0,
    }


def test_length_control_changes_the_pairs_and_the_report_says_by_how_much():
    prompts = [
        [("x" * c, s) for s, c in zip(*row, strict=True)]
        for row in zip(REWARDS, N_CHARS, strict=True)
    ]
    pairs, report = pair_language(*records(*prompts))
    alpha = length_alpha(REWARDS, N_CHARS).alpha
    assert report["alpha"] == alpha
    assert (report["length_gap_before"], report["length_gap"]) == (6.5, -0.5)
    assert [len(pair.chosen) for pair in pairs] == [4, 2]
    assert [len(pair.rejected) for pair in pairs] == [1, 6]
    assert pairs[0].score_chosen == pytest.approx(4 - 4 * alpha)
    assert pairs[0].score_rejected == pytest.approx(0 - 1 * alpha)
    assert pairs[0].margin == pytest.approx(4 - 3 * alpha)


def test_what_may_not_be_in_a_pair():
    sample, score = record(
        [
            ("best but cut", 9.0, "length"),
            (" \n", 8.0),
            ("a", 1.0),
            ("bb", 0.0),
            ("a", -5.0),
            ("a", -6.0),
        ]
    )
    kept = candidates(sample, score)
    assert texts_of(kept) == ["a", "bb"]
    # the first "a", not a later one
    assert kept.scores.tolist() == [1.0, 0.0]
    assert kept.places == [2, 3]
    assert kept.n_chars.tolist() == [1, 2]
    assert kept.dropped == {"cut_off": 1, "empty": 1, "duplicate": 2}


def test_a_cut_text_does_not_make_a_whole_one_a_duplicate():
    assert candidates(*record([("a", 1.0, "length"), ("a", 0.0)])).places == [1]


def test_prompts_dropped_and_why():
    samples, scores = records(
        [("a", 1.0), ("b", 0.0)],  # a pair
        [("a", 1.0), ("b", 0.0, "length")],  # one candidate
        [("", 1.0), ("b", 0.0, "length")],  # none
        [("a", 1.0), ("bbb", 1.0)],  # no preference: length must not make one
        [("a", 0.1), ("b", 0.0)],  # too weak a preference
        [
            ("a", 1.0),
            ("a", 1.0),
            ("b", 0.0, "length"),
        ],  # the same text would be chosen and rejected
    )
    pairs, report = pair_language(samples, scores, min_margin=0.5)
    assert [pair.prompt_id for pair in pairs] == ["p0"]
    assert report["dropped"] == {
        "chosen_is_rejected": 1,
        "too_few_candidates": 2,
        "tied": 1,
        "below_min_margin": 1,
    }
    assert report["dropped_responses"] == NOTHING | {"cut_off": 3, "empty": 1, "duplicate": 1}
    assert (report["prompts"], report["responses"]) == (6, 13)


def test_what_was_thought_about_is_no_candidate():
    sample, score = record([("a", 1.0), ("b", 0.0), ("c", -1.0)])
    first, *others = sample.responses
    sample = replace(sample, responses=[replace(first, thinking="Hm."), *others])
    kept = candidates(sample, score)
    assert (texts_of(kept), kept.dropped) == (["b", "c"], {"thinking": 1})


def test_what_no_model_can_read_is_no_candidate_and_counted_as_such():
    sample, score = record([("a", None), ("b", 1.0), ("c", None), ("d", 0.0), ("e", None)])
    reasons = ["too_long", None, "not_read_back", None, "alone"]
    kept = candidates(sample, replace(score, failures={SCORER: reasons}))
    assert (texts_of(kept), kept.dropped) == (["b", "d"], {"not_read": 3})


def test_what_was_not_translated_is_no_candidate_and_counted_once():
    sample, score = record([("a", None), ("b", 1.0), ("b", 1.0), ("c", None, "length"), ("d", 0.0)])
    reasons = ["empty", None, None, "no_whole_text", None]
    kept = candidates(sample, replace(score, failures={SCORER: reasons}))
    assert (texts_of(kept), kept.scores.tolist()) == (["b", "d"], [1.0, 0.0])
    assert kept.dropped == {"cut_off": 1, "not_translated": 1, "duplicate": 1}
    # Without a reason a missing score is an error, as ever; another score's reason is none.
    for failures in ({SCORER: [None, *reasons[1:]]}, {OTHER: reasons}, None):
        with pytest.raises(InputError, match="response 0: cross_lingual None is not finite"):
            candidates(sample, replace(score, failures=failures))


def test_a_margin_of_just_min_margin_is_kept():
    samples, scores = records([("a", 0.5), ("b", 0.0)])
    assert len(pair_language(samples, scores, min_margin=0.5)[0]) == 1


def test_alpha_ignores_what_cannot_be_in_a_pair():
    prompts = [
        [("x" * c, s) for s, c in zip(*row, strict=True)]
        for row in zip(REWARDS, N_CHARS, strict=True)
    ]
    noise = [("y" * 99, 99.0, "length"), ("x" * 10, 7.0)]
    tied = [("z" * 50, 1.0), ("z", 1.0)]
    _, report = pair_language(*records(prompts[0] + noise, prompts[1], tied))
    assert report["alpha"] == length_alpha(REWARDS, N_CHARS).alpha


def test_equal_scores_prefer_the_shorter():
    samples, scores = records([("long", 1.0), ("s", 1.0), ("x", 0.0), ("long too", 0.0)])
    (pair,), _ = pair_language(samples, scores, find_alpha=None)
    assert pair.chosen == "s"
    assert pair.rejected == "long too"


def test_a_tie_made_by_alpha_is_dropped():
    prompt = candidates(*record([("xxx", 3.0), ("x", 1.0)]))
    pairs, report = make_pairs([prompt], alpha=1.0)
    assert pairs == []
    assert report["dropped"]["tied"] == 1
    assert report["length_gap"] is None


def test_the_chosen_response_lies_below_the_upper_bound():
    prompts = records(
        [("aaa", 3.0), ("b", 2.0), ("cc", 1.0)], [("d", 2.0), ("e", 9.0)], [("f", 5.0), ("g", 4.0)]
    )
    pairs, report = pair_language(*prompts, find_alpha=None, below=3.0)
    assert [(pair.chosen, pair.rejected, pair.margin) for pair in pairs] == [("b", "cc", 1.0)]
    # Of one of the others a single response lies below, of the other none.
    assert report["dropped"] == dict.fromkeys(report["dropped"], 0) | {"too_few_candidates": 2}
    assert pair_language(*prompts, find_alpha=None)[1]["pairs"] == 3


@pytest.mark.parametrize("prompts", [[], [[("a", 1.0)]]])
def test_no_pair_gives_a_report_that_json_takes(prompts):
    pairs, report = pair_language(*records(*prompts))
    assert pairs == []
    assert report["alpha"] == 0
    assert report["length_gap"] is None
    json.dumps(report, allow_nan=False)


def test_scores_are_joined_by_id_not_position():
    samples, scores = records([("a", 1.0), ("bb", 0.0)], [("ccc", 0.0), ("dddd", 1.0)])
    assert pair_language(samples, scores[::-1]) == pair_language(samples, scores)
    assert [sample.prompt_id for sample, _ in join_scores(samples, scores[::-1])] == ["p0", "p1"]


def test_no_more_samples_are_held_than_one():
    read, held = [], []

    class Read:
        """As a file, with new records each time."""

        def __init__(self, place):
            self.place = place

        def __iter__(self):
            for number in range(50):
                one = record([("a" * 9, 1.0), ("b" * (number % 5), 0.5)], f"p{number}")[self.place]
                read.append(weakref.ref(one))
                held.append(sum(ref() is not None for ref in read))
                yield one

    pairs, report = pairs_module.pair_language(Read(0), Read(1), scorer=SCORER)
    assert sum(1 for _ in pairs) == report["pairs"] == 40
    # The one that is read, the one before it, and their scores.
    assert len(held) == 150 and max(held) <= 4


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, None])
def test_a_score_that_is_not_finite_is_named(reward):
    samples, scores = records([("a", 1.0), ("b", 0.0)], [("a", 1.0), ("b", reward, "length")])
    with pytest.raises(
        InputError, match=r"prompt p1 \(es\), response 1: cross_lingual .* is not finite"
    ):
        pair_language(samples, scores)


def break_missing(samples, scores):
    del scores[1]


def break_unknown(samples, scores):
    del samples[1]


def break_repeated(samples, scores):
    samples.append(samples[1])


def break_repeated_scores(samples, scores):
    scores.append(scores[1])


def break_language(samples, scores):
    scores[1] = replace(scores[1], lang="fr")


def break_number(samples, scores):
    samples[1].responses.pop()


def break_lengths_number(samples, scores):
    scores[1].n_chars.pop()


def break_score(samples, scores):
    del scores[1].scores[SCORER]


def break_text(samples, scores):
    samples[1].responses[1] = replace(samples[1].responses[1], text="another text")


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (break_missing, "has 1 sample and 0 score records"),
        (break_unknown, "has 0 sample and 1 score records"),
        (break_repeated, "has 2 sample and 1 score records"),
        (break_repeated_scores, "has 1 sample and 2 score records"),
        (break_language, "has 1 sample and 0 score records"),
        (break_number, "1 responses, 2 cross_lingual"),
        (break_score, "no score 'cross_lingual'; score again"),
        (break_lengths_number, "2 responses, 1 n_chars"),
        (break_text, "response 1: n_chars 1, text has 12"),
    ],
)
def test_records_that_do_not_belong_together_are_named(breaks, message):
    samples, scores = records([("a", 1.0), ("b", 0.0)], [("a", 1.0), ("b", 0.0)])
    breaks(samples, scores)
    with pytest.raises(InputError, match=message) as error:
        pair_language(samples, scores)
    assert "p1 (es)" in str(error.value)


texts = st.text(alphabet="ab é", max_size=4)
ends = st.sampled_from(["stop", "stop", "stop", "length"])
prompts = st.lists(st.lists(st.tuples(texts, st.integers(-8, 8), ends), max_size=6), max_size=6)
options = st.fixed_dictionaries(
    {
        "find_alpha": st.sampled_from([length_alpha, None]),
        "min_margin": st.sampled_from([0.0, 0.5, 2.0]),
    }
)


@settings(deadline=None)
@given(prompts, options)
def test_every_pair_is_one_and_every_prompt_is_counted(prompts, options):
    pairs, report = pair_language(*records(*prompts), **options)
    assert report["prompts"] == len(prompts) == len(pairs) + sum(report["dropped"].values())
    assert report["pairs"] == len(pairs)
    assert report["responses"] == sum(map(len, prompts))
    allowed = [
        {text for text, _, end in prompt if end == "stop" and text.strip()} for prompt in prompts
    ]
    assert sum(report["dropped_responses"].values()) == report["responses"] - sum(map(len, allowed))
    for pair in pairs:
        assert pair.chosen != pair.rejected
        assert {pair.chosen, pair.rejected} <= allowed[int(pair.prompt_id[1:])]
        assert pair.margin == pair.score_chosen - pair.score_rejected
        assert pair.margin > 0
        assert pair.margin >= options["min_margin"]
    gaps = [len(pair.chosen) - len(pair.rejected) for pair in pairs]
    assert report["length_gap"] == (pytest.approx(np.mean(gaps)) if gaps else None)


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(texts, st.floats(-8, 8, width=16), max_size=6), max_size=4),
    options,
    st.data(),
)
def test_the_order_of_responses_does_not_matter(prompts, options, data):
    # One reward a text, and no two texts of a prompt as long and as good, also when rounded: only
    # those are told apart by order.
    prompts = [
        list({(len(text), s): (text, s) for text, s in prompt.items()}.values())
        for prompt in prompts
    ]
    shuffled = [data.draw(st.permutations(prompt)) for prompt in prompts]
    assert pair_language(*records(*prompts), **options) == pair_language(
        *records(*shuffled), **options
    )


# Two prompts that tie, one within a margin of 1, one beyond it, one whose texts are equally long.
TIES = records(
    [("cc", 3.0), ("aaaa", 3.0), ("bbbbbbb", 3.0)],
    [("short", 1.0), ("longer one", 1.5)],
    [("b", 1.0), ("aa", 5.0)],
    [("ab", 2.0), ("cd", 2.0)],
)


def chosen_in(pairs):
    return {pair.prompt_id: (pair.chosen, pair.rejected) for pair in pairs}


def test_prompts_that_tie_have_a_pair_by_relative_length_where_it_is_asked_for():
    options = {"min_margin": 1.0, "find_alpha": None}
    pairs, report = pair_language(*TIES, **options, shorter=True)
    assert chosen_in(pairs) == {
        "p0": ("cc", "bbbbbbb"),
        "p1": ("short", "longer one"),
        "p2": ("aa", "b"),
    }
    mean = (2 + 4 + 7) / 3
    assert pairs[0].score_chosen == pytest.approx((mean - 2) / 500)
    assert pairs[0].score_rejected == pytest.approx((mean - 7) / 500)
    assert pairs[0].margin == pytest.approx(5 / 500)
    assert (report["by_length"], report["pairs"], report["dropped"]["tied"]) == (2, 3, 1)
    assert report["length_gap"] == pytest.approx((-5 - 5 + 1) / 3)
    dropped, before = pair_language(*TIES, **options)
    assert chosen_in(dropped) == {"p2": ("aa", "b")} and "by_length" not in before
    assert (before["dropped"]["tied"], before["dropped"]["below_min_margin"]) == (2, 1)
    # without a margin, exact ties alone
    pairs, report = pair_language(*TIES, find_alpha=None, shorter=True)
    assert chosen_in(pairs)["p1"] == ("longer one", "short") and report["by_length"] == 1


def test_the_reward_of_relative_length_is_cut_at_both_ends():
    (pair,), report = pair_language(*records([("x" * 10, 1.0), ("y" * 3000, 1.0)]), shorter=True)
    assert (pair.score_chosen, pair.score_rejected) == (1.0, -0.5)
    assert report["by_length"] == 1


@given(
    values=st.lists(st.floats(-5, 5), min_size=2, max_size=5, unique=True),
    alpha=st.sampled_from([None, length_alpha]),
)
def test_without_ties_the_option_changes_nothing(values, alpha):
    texts = [("x" * (i + 1), value) for i, value in enumerate(values)]
    options = {"find_alpha": alpha}
    plain, report = pair_language(*records(texts), **options)
    pairs, with_ties = pair_language(*records(texts), **options, shorter=True)
    if not with_ties.pop("by_length"):
        assert (pairs, with_ties) == (plain, report)
    else:
        assert plain == []
