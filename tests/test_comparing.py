"""The comparer by hand: its labels, its rows, its loss, who is compared with whom, and the score."""

import math

import pytest
import torch
from families import FAMILIES, nf4
from hypothesis import given
from hypothesis import strategies as st

from xlnb.common.errors import InputError
from xlnb.common.records import Pair
from xlnb.comparing import (
    LABELS,
    comparison_rows,
    label_ids,
    question,
    question_ids,
    ring,
    win_probabilities,
)
from xlnb.engine.rows import collate_pairs
from xlnb.logprobs import response_logprobs
from xlnb.losses import PairLogps, dpo, smoothed
from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer, prompt_ids, response_ids
from xlnb.objective import Objective
from xlnb.presets import get_preset

PAIR = Pair("p0", "en", "How many?", "Two.", "Who knows, my friend.")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(get_preset("lab").models)


def text_of(tokenizer, ids):
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def test_a_question_shows_both_responses_under_their_labels(tokenizer):
    asked = question("How many?", "Two.", "Three.")
    assert asked == "How many?\n\nA: Two.\n\nB: Three.\n\nWhich is better, A or B?"
    labels = label_ids(tokenizer)
    assert labels.before == []
    ids = question_ids(tokenizer, labels, "p0", "How many?", "Two.", "Three.")
    assert ids == prompt_ids(tokenizer, asked) and asked in text_of(tokenizer, ids)


def test_each_pair_is_a_row_in_either_order(tokenizer):
    rows, dropped = comparison_rows(tokenizer, [PAIR], 100)
    assert dropped == 0 and len(rows) == 2
    for row, right, better_first in zip(rows, LABELS, (True, False), strict=True):
        assert text_of(tokenizer, row["chosen_ids"]) == right
        assert {*row["chosen_ids"], *row["rejected_ids"]} == {*label_ids(tokenizer)[1:]}
        shown = text_of(tokenizer, row["prompt_ids"])
        assert (shown.index(PAIR.chosen) < shown.index(PAIR.rejected)) == better_first
    assert comparison_rows(tokenizer, [PAIR], len(rows[0]["prompt_ids"])) == ([], 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_are_one_token_in_every_family(family):
    """And as the chat template has an answer begin, with a space or without."""
    tokenizer = load_tokenizer(nf4(family))
    before, *labels = label_ids(tokenizer)
    assert [text_of(tokenizer, [label]).strip() for label in labels] == [*LABELS]
    asked = question("a", "b", "c")
    for label, token in zip(LABELS, labels, strict=True):
        assert response_ids(tokenizer, asked, label)[:-1] == [*before, token]
    ids = question_ids(tokenizer, label_ids(tokenizer), "p0", "a", "b", "c")
    assert ids == [*prompt_ids(tokenizer, asked), *before]


def test_a_label_of_several_tokens_is_refused(tokenizer, monkeypatch):
    monkeypatch.setattr("xlnb.comparing.LABELS", ("first", "second"))
    with pytest.raises(InputError, match=r"comparer: this tokenizer writes its labels first and"):
        label_ids(tokenizer)
    monkeypatch.setattr("xlnb.comparing.LABELS", ("A", "A"))
    with pytest.raises(InputError, match=r"each must be one of its own; leave the score out"):
        label_ids(tokenizer)


def test_a_text_that_the_tokenizer_does_not_hold_is_named(tokenizer):
    with pytest.raises(InputError, match=r"^id p7: two responses cannot be compared: .* U\+FDD0"):
        question_ids(tokenizer, label_ids(tokenizer), "p7", "How many?", "Two.\ufdd0", "Three.")


def test_the_loss_is_the_cross_entropy_of_two_smoothed_labels_and_that_of_doubted_dpo():
    """By torch's own cross-entropy over the two logits, smoothed by 2s; and, in the limit of no
    smoothing, DPO's with β = 1 and a reference that prefers neither."""
    model, tokenizer = load_base(nf4("llama3")), load_tokenizer(nf4("llama3"))
    rows, _ = comparison_rows(tokenizer, [PAIR], 1000)
    batch = collate_pairs(rows)
    labels = torch.tensor(label_ids(tokenizer)[1:])
    logits = []
    for row in rows:
        logits.append(model(torch.tensor([row["prompt_ids"]])).logits[0, -1, labels])
    logps = response_logprobs(model, batch).sum(1)
    for s in (0.0, 0.05, 0.3):
        expected = torch.nn.functional.cross_entropy(
            torch.stack(logits).float(), torch.tensor([0, 1]), label_smoothing=2 * s
        )
        loss, _ = Objective("dpo", 1.0, 0.0, label_smoothing=s)(model, batch, lambda x: x)
        assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
        same = smoothed(dpo, PairLogps(logps, torch.zeros(4)), 1.0, s).losses.mean()
        assert loss.item() == pytest.approx(same.item(), abs=1e-6)


@given(n=st.integers(0, 12), half=st.integers(0, 8))
def test_all_meet_all_or_as_many_as_are_asked_for(n, half):
    pairs = ring(n, 2 * half)
    assert len({*pairs}) == len(pairs) and all(i < j for i, j in pairs)
    met = [sum(i in pair for pair in pairs) for i in range(n)]
    expected = n - 1 if half == 0 else min(2 * half, n - 1)
    assert met == [expected] * n


def test_the_neighbours_in_a_ring_are_met():
    assert ring(4, 2) == [(0, 1), (0, 3), (1, 2), (2, 3)]
    assert ring(3, 0) == ring(3, 2) == [(0, 1), (0, 2), (1, 2)]


def test_win_probabilities_by_hand():
    p_first = [[None, 0.9, None], [0.3, None, None], [None, None, None]]
    first, second, alone = win_probabilities(p_first)
    assert first == pytest.approx((0.9 + 0.7) / 2)
    assert second == pytest.approx((0.3 + 0.1) / 2)
    assert alone is None


def test_a_label_that_is_liked_wherever_it_stands_decides_nothing():
    """Both orders: what a model has for the label A is taken out, and the mean is one half."""
    strengths = [0.4, -1.2, 0.1, 2.0]
    p_first: list[list[float | None]] = []
    for i, mine in enumerate(strengths):
        row = [1 / (1 + math.exp(theirs - mine)) for theirs in strengths]
        p_first.append([None if i == j else p for j, p in enumerate(row)])
    wins = win_probabilities(p_first)
    assert sum(wins) / 4 == pytest.approx(0.5)
    assert sorted(range(4), key=wins.__getitem__) == [1, 2, 0, 3]
    always_a = [[None if i == j else 0.99 for j in range(4)] for i in range(4)]
    assert win_probabilities(always_a) == pytest.approx([0.5] * 4)
