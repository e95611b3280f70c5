"""The first layers as a model: all of them are the model, fewer are what a shorter one is."""

import copy

import numpy as np
import pytest
import torch
from families import FAMILIES, fp32, save_adapter

from xlnb.analysis.layers import cascade, rank_agreement, rewards_by_layer
from xlnb.common.errors import InputError
from xlnb.logprobs import sequence_logprobs
from xlnb.models.adapters import load_model
from xlnb.models.base import load_base
from xlnb.models.early_exit import first_layers
from xlnb.rewards import score_responses

PROMPTS = [[5, 6, 7, 8], [5, 6, 7, 8], [9, 10]]
RESPONSES = [[11, 12, 13], [14, 15], [16, 17]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_adapter(fp32("llama3"), tmp_path_factory.mktemp("adapter"), seed=1)
    return load_model(fp32("llama3"), {"dpo": folder})


def both(model, layers, share_prefix):
    sides = score_responses(
        model,
        "dpo",
        None,
        PROMPTS,
        RESPONSES,
        batch_tokens=100,
        share_prefix=share_prefix,
        layers=layers,
    )
    return [torch.cat(side) for side in sides]


@pytest.mark.parametrize("share_prefix", [True, False])
def test_all_layers_are_the_model_to_the_last_bit_and_it_is_left_whole(model, share_prefix):
    whole = both(model, 0, share_prefix)
    one = both(model, 1, share_prefix)
    for layers in (0, 2):
        found = both(model, layers, share_prefix)
        assert all(torch.equal(a, b) for a, b in zip(found, whole, strict=True))
    assert not any(torch.allclose(a, b) for a, b in zip(one, whole, strict=True))


@pytest.mark.parametrize("share_prefix", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_layer_is_the_model_of_one_layer(family, share_prefix):
    model = load_base(fp32(family))
    shorter = copy.deepcopy(model.config)
    shorter.num_hidden_layers = 1
    if getattr(shorter, "layer_types", None):
        shorter.layer_types = shorter.layer_types[:1]
    alone = type(model)(shorter).eval()
    alone.load_state_dict(model.state_dict(), strict=False)
    expected = sequence_logprobs(alone, PROMPTS, RESPONSES, share_prefix=share_prefix)
    with first_layers(model, 1):
        found = sequence_logprobs(model, PROMPTS, RESPONSES, share_prefix=share_prefix)
    torch.testing.assert_close(found, expected)


def test_layers_that_there_are_not_are_refused(model, monkeypatch):
    with pytest.raises(InputError, match=r"^scoring\.layers 3: expected 0 to 2"):
        first_layers(model, 3).__enter__()
    monkeypatch.setattr("xlnb.models.early_exit.is_sharded", lambda _: True)
    with pytest.raises(InputError, match="set it to 0, or models"):
        first_layers(model, 1).__enter__()


def test_what_fails_inside_leaves_the_model_whole(model):
    with pytest.raises(ZeroDivisionError), first_layers(model, 1):
        1 / 0  # noqa: B018
    assert len(model.get_base_model().model.layers) == 2


def test_rewards_by_layer_end_with_those_of_the_whole(model):
    found = rewards_by_layer(
        model, "dpo", None, PROMPTS, RESPONSES, beta=0.5, batch_tokens=100, share_prefix=False
    )
    policy, ref = score_responses(
        model, "dpo", None, PROMPTS, RESPONSES, batch_tokens=100, share_prefix=False
    )
    expected = [0.5 * (a.sum().item() - b.sum().item()) for a, b in zip(policy, ref, strict=True)]
    assert len(found) == 2 and found[1].tolist() == expected != found[0].tolist()
    assert rank_agreement(found[1], found[1], "ppq") == 1.0


def test_agreement_by_hand():
    # p has three pairs, of which one is turned and one tied; those of two prompts are none.
    assert rank_agreement([1, 2, 2, 0, 9], [1, 2, 0.5, 7, 7], "pppqq") == pytest.approx(1.5 / 3)
    assert rank_agreement([1.0], [1.0], "p") != rank_agreement([1.0], [1.0], "p")


def test_a_cascade_reads_both_ends_and_with_all_kept_it_is_the_whole():
    first, whole = [3, 1, 2, 0, 5, 4], [0.3, 0.1, 0.2, 0.9, 0.5, 0.4]
    scores, share = cascade(first, whole, "pppppq", keep=1)
    assert np.array_equal(scores, [np.nan, np.nan, np.nan, 0.9, 0.5, 0.4], equal_nan=True)
    assert share == 0.5
    scores, share = cascade(first, whole, "pppppq", keep=3)
    assert (scores.tolist(), share) == (whole, 1.0)
