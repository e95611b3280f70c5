"""Gradients of a training's first step, and how alike they are, against what is known by hand."""

import numpy as np
import pytest
import torch
from families import fp32, save_adapter

from xlnb.analysis.gradients import cosines, gradients, halves, of_ceiling
from xlnb.engine.rows import collate_pairs
from xlnb.lab.world import load_world
from xlnb.logprobs import sequence_logprobs
from xlnb.models.adapters import load_model
from xlnb.objective import Objective

ROWS = [
    {"prompt_id": "a", "lang": "en", "prompt_ids": [5, 6], "chosen_ids": [7], "rejected_ids": [8]},
    {
        "prompt_id": "b",
        "lang": "en",
        "prompt_ids": [5, 9, 4],
        "chosen_ids": [10, 11, 12],
        "rejected_ids": [13, 14],
    },
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_adapter(fp32("llama3"), tmp_path_factory.mktemp("adapter"), seed=1)
    model = load_model(fp32("llama3"), {"default": folder})
    model.set_adapter("default")
    return model


def trained_by(model, nll, train):
    """The gradient of the objective that training minimises, the policy its own reference."""
    rows = []
    for row in ROWS:
        asked = [row["prompt_ids"]] * 2
        logps = sequence_logprobs(model, asked, [row["chosen_ids"], row["rejected_ids"]])
        chosen, rejected = (each.sum().item() for each in logps)
        rows.append({**row, "ref_chosen_logps": chosen, "ref_rejected_logps": rejected})
    model.train(train)
    loss, _ = Objective("dpo", 0.4, nll)(model, collate_pairs(rows), None)
    weights = [each for each in model.parameters() if each.requires_grad]
    parts = torch.autograd.grad(loss, weights)
    model.eval()
    return torch.cat([part.flatten() for part in parts])


def test_they_are_those_of_training(model):
    found = gradients(model, ROWS)
    pairs = trained_by(model, 0.0, train=True)
    assert pairs.norm() > 0
    assert torch.allclose(0.4 / 2 * found["DPO"], pairs, atol=1e-5)
    both = trained_by(model, 3.0, train=True)
    assert torch.allclose(3 * found["NLL"], both - pairs, atol=1e-4)


def test_a_fact_is_in_one_half(model):
    rows = [{"prompt_id": prompt.prompt_id} for prompt in load_world().prompts("en")]
    one, other = halves(rows)
    assert len(one) + len(other) == len(rows)
    assert len(one) / len(rows) == pytest.approx(0.5, abs=0.1)
    facts = [{row["prompt_id"].rpartition("/")[0] for row in half} for half in (one, other)]
    assert not facts[0] & facts[1]
    # Whatever else there is.
    assert halves(rows[:50]) == (
        [row for row in rows[:50] if row in one],
        [row for row in rows[:50] if row in other],
    )


def test_cosines_by_hand():
    x, y, z = torch.eye(3)
    table = cosines({"es": (x + y, x - y + z), "en": (x, x + y)})
    assert table.loc["es", "es"] == pytest.approx(0)
    assert table.loc["en", "en"] == pytest.approx(0.5**0.5)
    # of x + y with x + y, and of x − y + z with x
    assert table.loc["es", "en"] == table.loc["en", "es"] == pytest.approx((1 + 3**-0.5) / 2)


def test_pairs_in_common_do_not_make_two_losses_alike():
    """The same noise in the same half of both names is not counted."""
    stream = torch.Generator().manual_seed(1)
    noise = tuple(torch.randn(5000, generator=stream) for _ in range(2))
    table = cosines({"DPO": noise, "NLL": noise})
    assert table.to_numpy() == pytest.approx(0, abs=0.05)


def test_two_names_for_the_same_pairs_reach_their_ceiling():
    stream = torch.Generator().manual_seed(0)
    true = torch.randn(5000, generator=stream)
    noisy = {}
    for name in ("a", "b"):
        noisy[name] = tuple(true + torch.randn(5000, generator=stream) for _ in range(2))
    noisy["other"] = tuple(torch.randn(5000, generator=stream) for _ in range(2))
    table = cosines(noisy)
    assert table.loc["a", "a"] == pytest.approx(0.5, abs=0.05)
    shares = of_ceiling(table)
    assert shares.loc["a", "b"] == pytest.approx(1, abs=0.1)
    # What is noise alone has a ceiling about 0, of which there are no shares worth a number.
    assert np.isnan(of_ceiling(table * 0 - 1)).all(axis=None)
