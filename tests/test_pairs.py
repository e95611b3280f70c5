"""Length control against brute force in exact arithmetic, and pairs against cases worked out by hand."""

import json
import math
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlnb import pairs as pairs_module
from xlnb.common.errors import InputError
from xlnb.common.records import Pair, Response, Sample, Score
from xlnb.length_control import alpha_search, grid_alpha, length_alpha, length_gap_curve
from xlnb.pairs import join_scores, make_pairs

# Prompt 1 chooses 10 characters, 4 from α = 1/6 and 1 from α = 4/3; it rejects 1, and 10 from α = 5/9.
# Prompt 2 chooses 6, and 2 from α = 1/2, and rejects the other. Length gaps:
#   α from      0    1/6   1/2   5/9   4/3
#   prompt 1    9     3     3    -6    -9
#   prompt 2    4     4    -4    -4    -4
#   mean       6.5   3.5  -0.5   -5   -6.5
REWARDS = [[5.0, 4.0, 0.0], [2.0, 0.0]]
N_CHARS = [[10, 4, 1], [6, 2]]


NOTHING = {"cut_off": 0, "empty": 0, "wrong_language": 0, "not_translated": 0, "duplicate": 0}

pair_language = partial(pairs_module.pair_language, scorer="reward")


def candidates(sample, score):
    return pairs_module.candidates(sample, score, "reward")


def texts_of(kept):
    return [kept.sample.responses[place].text for place in kept.places]


def record(responses, prompt_id="p0", lang="es", split="train"):
    """A sample and its scores from (text, reward) or (text, reward, finish_reason) tuples. A
    token is a character."""
    turns = []
    for text, _, *end in responses:
        turns.append(Response(text, list(map(ord, text)), end[0] if end else "stop"))
    rewards = [response[1] for response in responses]
    n_chars = [len(response[0]) for response in responses]
    return (
        Sample(prompt_id, lang, split, f"¿{prompt_id}?", turns),
        Score(prompt_id, lang, split, n_chars, {"reward": rewards}),
    )


def records(*prompts):
    """Samples and scores of prompts p0, p1, …"""
    both = [record(responses, f"p{i}") for i, responses in enumerate(prompts)]
    return [sample for sample, _ in both], [score for _, score in both]


def exact_gap(rewards, n_chars, alpha):
    """The objective in exact arithmetic, ties as documented: the shorter is chosen, the longer rejected."""
    total = 0
    for s, c in zip(rewards, n_chars, strict=True):
        scored = [
            (Fraction(s_i) - Fraction(alpha) * Fraction(c_i), c_i)
            for s_i, c_i in zip(s, c, strict=True)
        ]
        total += (
            max(scored, key=lambda x: (x[0], -x[1]))[1]
            - min(scored, key=lambda x: (x[0], -x[1]))[1]
        )
    return total / len(rewards)


def brute_force(rewards, n_chars, allow_negative):
    """The smallest |gap| over every pairwise crossing, the middles between them, 0 and both ends."""
    crossings = {Fraction(0)}
    for s, c in zip(rewards, n_chars, strict=True):
        for i in range(len(s)):
            for j in range(i):
                if c[i] != c[j]:
                    crossings.add((Fraction(s[i]) - Fraction(s[j])) / (c[i] - c[j]))
    ordered = sorted(crossings)
    middles = [(a + b) / 2 for a, b in pairwise(ordered)]
    probes = [ordered[0] - 1, *ordered, *middles, ordered[-1] + 1]
    return min(
        abs(exact_gap(rewards, n_chars, alpha)) for alpha in probes if alpha >= 0 or allow_negative
    )


# Eighths and whole characters: crossings tie often, and no two of them are near without being equal.
responses_of_a_prompt = st.lists(
    st.tuples(st.integers(-16, 16), st.integers(0, 12)), min_size=1, max_size=5
)
tables = st.lists(responses_of_a_prompt, min_size=1, max_size=3).map(
    lambda prompts: ([[s / 8 for s, _ in p] for p in prompts], [[c for _, c in p] for p in prompts])
)


def test_curve_of_the_worked_example():
    alphas, gaps = length_gap_curve(REWARDS, N_CHARS)
    start = int(np.searchsorted(alphas, 0, side="right")) - 1
    assert alphas[start] < 0
    np.testing.assert_allclose(alphas[start + 1 :], [1 / 6, 1 / 2, 5 / 9, 4 / 3])
    assert gaps[start:].tolist() == [6.5, 3.5, -0.5, -5, -6.5]


def test_alpha_is_the_middle_of_the_best_step():
    control = length_alpha(REWARDS, N_CHARS)
    assert control.alpha == pytest.approx((1 / 2 + 5 / 9) / 2)
    assert control == (control.alpha, -0.5, 6.5, False)


def test_alpha_is_0_where_the_gap_is_0_already():
    # The better of the first two is the shorter, of the last two the longer, by as much.
    assert length_alpha([[1.0, 0.0], [1.0, 0.0]], [[2, 5], [5, 2]]) == (0.0, 0.0, 0.0, False)
    assert length_alpha([[1.0, 0.0]], [[7, 7]]) == (0.0, 0.0, 0.0, False)
    assert length_alpha([[1.0]], [[7]]) == (0.0, 0.0, 0.0, False)


def test_of_two_steps_as_good_the_one_nearer_0():
    # One pair of responses: +3 below the crossing and -3 above.
    assert length_alpha([[1.0, 0.0]], [[5, 2]]) == (0.0, 3.0, 3.0, False)


def test_a_preference_for_short_responses_is_at_the_edge():
    rewards = [[-s for s in row] for row in REWARDS]
    assert length_alpha(rewards, N_CHARS) == (0.0, -6.5, -6.5, True)
    control = length_alpha(rewards, N_CHARS, allow_negative=True)
    assert control == (-length_alpha(REWARDS, N_CHARS).alpha, 0.5, -6.5, False)


def test_a_step_that_is_only_rounding_is_not_one():
    # Both prompts cross at α = 0.1, the first at 0.2/2 and the second at (0.3 - 0.1)/2 = 0.09999999999999999.
    rewards, n_chars = [[0.2, 0.0], [0.3, 0.1]], [[3, 1], [3, 1]]
    crossings = length_gap_curve(rewards, n_chars)[0][1:]
    assert len(crossings) == 2
    assert crossings[1] - crossings[0] < 1e-15
    assert length_alpha(rewards, n_chars) == (0.0, 2.0, 2.0, False)


@settings(deadline=None)
@given(tables, st.booleans())
def test_alpha_is_as_good_as_brute_force(table, allow_negative):
    control = length_alpha(*table, allow_negative=allow_negative)
    assert abs(control.gap) == float(brute_force(table[0], table[1], allow_negative))
    assert control.gap == float(exact_gap(table[0], table[1], control.alpha))
    assert control.gap_before == float(exact_gap(table[0], table[1], 0))
    assert control.alpha >= 0 or allow_negative
    assert control.at_edge == (not allow_negative and control.gap_before < 0)


@pytest.mark.parametrize("seed", range(6))
def test_alpha_is_as_good_as_brute_force_on_real_numbers(seed):
    rng = np.random.default_rng(seed)
    n_chars = [rng.integers(1, 300, size=rng.integers(1, 9)).tolist() for _ in range(6)]
    rewards = [(0.02 * np.array(c) + rng.normal(size=len(c))).tolist() for c in n_chars]
    control = length_alpha(rewards, n_chars)
    assert abs(control.gap) == float(brute_force(rewards, n_chars, allow_negative=False))
    assert control.gap == float(exact_gap(rewards, n_chars, control.alpha))


@settings(deadline=None)
@given(tables)
def test_the_curve_falls_and_is_the_gap(table):
    alphas, gaps = length_gap_curve(*table)
    assert (np.diff(gaps) < 0).all()
    for alpha, gap in zip((alphas[1:-1] + alphas[2:]) / 2, gaps[1:-1], strict=True):
        assert gap == float(exact_gap(table[0], table[1], alpha))


@settings(deadline=None)
@given(tables)
def test_grid_is_the_best_of_the_grid(table):
    # A factor that keeps every crossing but 0 off the points of the grid.
    table = ([[s * 2**-5 * 1.0001 for s in row] for row in table[0]], table[1])
    control = grid_alpha(*table)
    grid = np.arange(1000) / 1000
    # A thinned grid keeps brute force quick; no point of it is better.
    assert all(
        abs(control.gap) <= abs(exact_gap(table[0], table[1], alpha)) for alpha in grid[::100]
    )
    assert control.gap == float(exact_gap(table[0], table[1], control.alpha))
    assert abs(length_alpha(*table).gap) <= abs(control.gap)


def test_grid_needs_the_scores_without_beta():
    # The best step is 0.5 … 0.556; with β = 0.001 in the rewards it lies between two points of the grid.
    assert grid_alpha(REWARDS, N_CHARS) == (0.5, -0.5, 6.5, False)
    rewards = [[0.001 * s for s in row] for row in REWARDS]
    assert grid_alpha(rewards, N_CHARS).alpha == 0.001
    assert grid_alpha(rewards, N_CHARS).gap == -5
    assert length_alpha(rewards, N_CHARS).gap == -0.5
    assert grid_alpha(rewards, N_CHARS, beta=0.001) == (0.0005, -0.5, 6.5, False)
    assert alpha_search("grid", 0.001)(rewards, N_CHARS).alpha == 0.0005


def test_grid_is_at_its_edge_where_it_ends():
    assert grid_alpha([[90.0, 6.0, 0.0]], [[10, 9, 1]]).at_edge
    assert grid_alpha([[0.0, 1.0]], [[10, 1]]) == (0.0, -9.0, -9.0, True)


@pytest.mark.parametrize(
    ("rewards", "n_chars"),
    [([], []), ([[]], [[]]), ([[1.0, 2.0]], [[1]]), ([[math.nan, 1.0]], [[1, 2]])],
)
def test_length_control_refuses(rewards, n_chars):
    with pytest.raises(ValueError, match="length control needs"):
        length_alpha(rewards, n_chars)


def test_a_pair_as_trl_reads_it():
    samples, scores = records([("no", -1.5), ("sí, es Madrid", 2.0), ("Madrid", 0.5)])
    pairs, report = pair_language(samples, scores, find_alpha=None)
    chosen_ids = list(map(ord, "sí, es Madrid"))
    assert pairs == [
        Pair("p0", "es", "¿p0?", "sí, es Madrid", "no", 2.0, -1.5, 3.5, chosen_ids, [110, 111]),
    ]
    row = {
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
    assert pairs[0].to_json() == row
    assert Pair.from_json(row) == pairs[0]
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
    assert kept.scores.tolist() == [1.0, 0.0]  # the first "a", not a later one
    assert kept.n_chars.tolist() == [1, 2]
    assert kept.dropped == {"cut_off": 1, "empty": 1, "duplicate": 2}


def test_a_cut_text_does_not_make_a_whole_one_a_duplicate():
    assert texts_of(candidates(*record([("a", 1.0, "length"), ("a", 0.0)]))) == ["a"]


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


def test_what_was_not_translated_is_no_candidate_and_counted_once():
    sample, score = record([("a", None), ("b", 1.0), ("b", 1.0), ("c", None, "length"), ("d", 0.0)])
    failures = ["empty", None, None, "no_whole_text", None]
    score = replace(score, failures={"reward": failures})
    kept = candidates(sample, score)
    assert (texts_of(kept), kept.scores.tolist()) == (["b", "d"], [1.0, 0.0])
    assert kept.dropped == {"cut_off": 1, "not_translated": 1, "duplicate": 1}
    failures[0] = None  # without a reason a missing reward is an error, as ever
    with pytest.raises(InputError, match="response 0: reward None is not finite"):
        candidates(sample, score)


def test_the_searches_for_alpha_that_a_preset_names():
    short = [[-s for s in row] for row in REWARDS]
    assert alpha_search("exact", 0.1)(REWARDS, N_CHARS) == length_alpha(REWARDS, N_CHARS)
    assert alpha_search("exact", 0.1)(short, N_CHARS).at_edge
    assert alpha_search("signed", 0.1)(short, N_CHARS) == length_alpha(
        short, N_CHARS, allow_negative=True
    )
    assert alpha_search("none", 0.1) is None
    with pytest.raises(InputError, match="expected one of exact, signed, grid, none"):
        alpha_search("best", 0.1)


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


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, None])
def test_a_reward_that_is_not_finite_is_named(reward):
    samples, scores = records([("a", 1.0), ("b", 0.0)], [("a", 1.0), ("b", reward, "length")])
    with pytest.raises(InputError, match=r"prompt p1 \(es\), response 1: reward .* is not finite"):
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


def break_text(samples, scores):
    samples[1].responses[1] = Response("another text", [1], "stop")


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (break_missing, "has 1 sample and 0 score records"),
        (break_unknown, "has 0 sample and 1 score records"),
        (break_repeated, "has 2 sample and 1 score records"),
        (break_repeated_scores, "has 1 sample and 2 score records"),
        (break_language, "has 1 sample and 0 score records"),
        (break_number, "1 responses, 2 reward"),
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
        chosen, rejected = pair.chosen, pair.rejected
        assert chosen != rejected
        assert {chosen, rejected} <= allowed[int(pair.prompt_id[1:])]
        assert pair.margin == pair.score_chosen - pair.score_rejected
        assert pair.margin > 0
        assert pair.margin >= options["min_margin"]
    gaps = [len(pair.chosen) - len(pair.rejected) for pair in pairs]
    assert report["length_gap"] == (pytest.approx(np.mean(gaps)) if gaps else None)


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(texts, st.floats(-8, 8, width=32), max_size=6), max_size=4),
    options,
    st.data(),
)
def test_the_order_of_responses_does_not_matter(prompts, options, data):
    # One reward a text, and no two texts of a prompt as long and as good: only those are told apart by order.
    prompts = [
        list({(len(text), s): (text, s) for text, s in prompt.items()}.values())
        for prompt in prompts
    ]
    shuffled = [data.draw(st.permutations(prompt)) for prompt in prompts]
    assert pair_language(*records(*prompts), **options) == pair_language(
        *records(*shuffled), **options
    )
