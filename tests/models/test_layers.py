"""Layers ranked by how much their activations differ across languages, and the control."""

from collections import Counter

import pytest
import torch
from families import fp32

from xlnb.common.errors import InputError
from xlnb.models.base import DEVICE, load_base
from xlnb.models.layers import language_deviations, most_different, random_layers
from xlnb.presets.values import layer_numbers

PROMPTS = {"en": [[5, 6, 7], [8, 9]], "es": [[10, 11], [12, 13, 14, 15]]}


@pytest.fixture(scope="module")
def model():
    return load_base(fp32("llama3"))


def test_by_hand(model):
    # The activation function of layer 1's feed-forward network, beside its gate in a pass apart.
    gates = []
    hook = model.model.layers[1].mlp.gate_proj.register_forward_hook(
        lambda _module, _args, output: gates.append(output[0])
    )
    shares = []
    for rows in PROMPTS.values():
        gates.clear()
        for row in rows:
            model(input_ids=torch.tensor([row], device=DEVICE))
        shares.append((torch.cat(gates) > 0).double().mean(0))
    hook.remove()
    expected = ((shares[0] - shares[1]) / 2).square().mean()
    found = language_deviations(model, PROMPTS)
    assert len(found) == 2
    assert found[1] == pytest.approx(expected.item())


def test_languages_that_are_the_same_do_not_differ(model):
    assert language_deviations(model, {"a": PROMPTS["en"], "b": PROMPTS["en"]}) == [0.0, 0.0]
    with pytest.raises(InputError, match="differ across languages; got en"):
        language_deviations(model, {"en": PROMPTS["en"]})


@pytest.mark.parametrize("family", ["qwen2.5", "gemma2", "mistral"])
def test_other_families_have_such_layers(family):
    assert min(language_deviations(load_base(fp32(family)), PROMPTS)) > 0


def test_a_choice_is_what_training_layers_takes():
    assert most_different([0.1, 0.4, 0.2, 0.4], 3) == "1+2+3"
    assert layer_numbers(most_different([0.1, 0.4, 0.2, 0.4], 1)) == [1]
    with pytest.raises(InputError, match="5 layers: expected 1 to 4"):
        most_different([0.1, 0.4, 0.2, 0.4], 5)


def test_the_control_takes_every_layer_as_often():
    assert random_layers(4, 2, seed=0) == random_layers(4, 2, seed=0)
    drawn: Counter[int] = Counter()
    for seed in range(400):
        drawn.update(layer_numbers(random_layers(4, 2, seed)))
    assert all(170 < drawn[layer] < 230 for layer in range(4))
