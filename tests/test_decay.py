"""Temporal decay: its two limits, its half-life, and what of rewards and training it touches."""

import math

import pytest
import torch

from xlnb.common.errors import InputError
from xlnb.decay import decayed, half_life, half_life_chars, in_words
from xlnb.losses import check_loss
from xlnb.presets import get_preset


def test_without_decay_it_is_the_plain_sum_to_the_last_bit_and_so_is_its_gradient():
    logps = -5 * torch.rand(6, 400, generator=torch.Generator().manual_seed(0))
    plain, weighed = logps.clone().requires_grad_(), logps.clone().requires_grad_()
    assert torch.equal(decayed(weighed, 1.0), plain.sum(1))
    # A loss whose slope differs from row to row.
    (plain.sum(1) ** 2).sum().backward()
    (decayed(weighed, 1.0) ** 2).sum().backward()
    assert torch.equal(weighed.grad, plain.grad)


def test_a_token_counts_less_the_later_it_comes():
    logps = torch.tensor([[-1.0, -2.0, -4.0], [-3.0, -5.0, 0.0]])
    assert decayed(logps, 0.5).tolist() == [-1 - 2 / 2 - 4 / 4, -3 - 5 / 2]
    # In the other limit the first token alone is left.
    assert decayed(logps, 1e-30).tolist() == [-1.0, -3.0]


def test_the_half_life_in_tokens_and_in_characters_of_each_language():
    assert half_life(1.0) == math.inf
    assert 0.9 ** half_life(0.9) == pytest.approx(0.5)
    # Four characters a token in English, two in Thai: half as far.
    found = half_life_chars(0.5, [("en", "abcdefgh", [1, 2]), ("th", "abcd", [1, 2])])
    assert found == {"en": 4.0, "th": 2.0}
    said = "γ 0.5 halves every 1.0 tokens; characters: en 4, th 2"
    assert in_words(0.5, found) == said


def test_what_it_does_not_go_with_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^scoring\.gamma weighs .* scoring\.keep_tokens=true$"):
        get_preset("lab", {"scoring.gamma": "0.9"})
    kto = get_preset("lab", {"training.gamma": "0.9", "training.loss": "kto"}).training
    with pytest.raises(InputError, match=r"^training\.gamma 0\.9: kto estimates a KL .* to dpo$"):
        check_loss(kto, "training")
