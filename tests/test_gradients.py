"""Sketches of pairs' gradients: DPO's at its start, and that inner products are kept."""

import numpy as np
import pytest
import torch
from families import nf4
from families import save_adapter as random_adapter

from xlnb.common.records import Pair
from xlnb.engine.rows import tokenize_pairs
from xlnb.gradients import pair_gradients
from xlnb.logprobs import response_logprobs
from xlnb.models.adapters import load_model
from xlnb.models.chat import load_tokenizer
from xlnb.objective import Objective
from xlnb.training import add_reference

FAMILY = "llama3"
TEXTS = [("It is Paris.", "No."), ("Paris, as everybody knows.", "Berlin, I think.")]
BETA = 0.1


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A policy that is its own reference, and two pairs."""
    folder = random_adapter(nf4(FAMILY), tmp_path_factory.mktemp("start"), seed=1)
    model = load_model(nf4(FAMILY), {"default": folder})
    pairs = [Pair(f"p{i}", "en", "Which city is it?", *texts) for i, texts in enumerate(TEXTS)]
    rows, _ = tokenize_pairs(load_tokenizer(nf4(FAMILY)), pairs, max_tokens=256)
    add_reference(model, rows, "default", batch_tokens=500)
    model.set_adapter("default")
    return model, rows


def half_the_difference(model, batch, gather):
    chosen, rejected = response_logprobs(model, batch).sum(1).chunk(2)
    return -BETA / 2 * (chosen - rejected).sum(), {}


def test_at_the_start_dpos_gradient_is_the_differences_own(start):
    model, rows = start
    found = pair_gradients(model, rows, Objective("dpo", BETA, nll=0.0), dims=64)
    expected = pair_gradients(model, rows, half_the_difference, dims=64)
    assert found.shape == (2, 64)
    assert np.abs(expected).max() > 0
    assert found == pytest.approx(expected, abs=1e-4 * np.abs(expected).max())


def test_lengths_are_kept_in_the_mean(start):
    model, rows = start
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    batch_loss = []

    def kept(model, batch, gather):
        loss, _ = half_the_difference(model, batch, gather)
        gradients = torch.autograd.grad(loss, weights, retain_graph=True)
        batch_loss.append(sum(float(gradient.square().sum()) for gradient in gradients))
        return loss, {}

    sketches = pair_gradients(model, rows, kept, dims=4096, seed=1)
    assert (sketches**2).sum(1) == pytest.approx(batch_loss, rel=0.25)


def test_a_seed_is_a_sketch_and_the_model_is_left_as_it_was(start):
    model, rows = start
    assert not model.training
    objective = Objective("dpo", BETA, nll=1.0)
    twice = [pair_gradients(model, [rows[0], rows[0]], objective, dims=32, seed=s) for s in (0, 1)]
    assert not model.training
    assert all(weight.grad is None for weight in model.parameters())
    assert (twice[0][0] == twice[0][1]).all()
    assert (twice[0] != twice[1]).any()
