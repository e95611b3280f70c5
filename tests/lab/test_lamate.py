"""The lab's frozen base as an encoder, with a light decoder."""

import pytest
import torch

from xlnb.lab.lamate import Lamate, Pair, pairs_with_english, parallel_sentences, train
from xlnb.lab.world import load_world
from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer
from xlnb.presets import Models

MODELS = Models(quantization="none", dtype="float32")


@pytest.fixture(scope="module")
def parts():
    return load_base(MODELS), load_tokenizer(MODELS)


def made(parts, **options):
    torch.manual_seed(0)
    return Lamate(*parts, **options)


def test_gated_states_are_normed_together(parts):
    base, tokenizer = parts
    model = made(parts)
    with torch.no_grad():
        model.gates.copy_(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    seen = []
    model.narrow.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    text = "Was ist die Hauptstadt von Peru?"
    model.read([text])
    asked = [{"role": "user", "content": text}]
    ids = tokenizer.encode(
        tokenizer.apply_chat_template(asked, tokenize=False), add_special_tokens=False
    )
    layers = base.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[1:]
    # RMSNorm(Σ_g σ(w_g) h_g / G) of the four layers, by hand
    gates = torch.sigmoid(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    mean = sum(gate * layer for gate, layer in zip(gates, layers, strict=True)) / 4
    expected = mean / mean.pow(2).mean(-1, keepdim=True).sqrt()
    assert torch.allclose(seen[0], expected, atol=1e-4)


def test_what_fills_a_batch_up_changes_nothing(parts):
    model = made(parts).eval()
    short, long = "Lima.", "La capital de Perú es Lima y no otra."
    alone, _ = model.read([short])
    together, absent = model.read([short, long])
    assert absent[0].sum() == together.shape[1] - alone.shape[1] and not absent[1].any()
    assert torch.allclose(together[0, : alone.shape[1]], alone[0], atol=1e-4)


def test_the_base_stays_as_it_is_and_pairs_are_learnt(parts):
    base, _ = parts
    before = [weight.clone() for weight in base.parameters()]
    model = made(parts)
    assert not {id(one) for one in model.parameters()} & {id(one) for one in base.parameters()}
    pairs = pairs_with_english(parallel_sentences("train"))[:4]
    first = model.loss(pairs).item()
    train(model, pairs, steps=60, batch=4, seed=0)
    assert model.loss(pairs).item() < 0.1 < first
    assert model.translate([pairs[1].source], pairs[1].lang) == [pairs[1].target]
    assert all(map(torch.equal, before, base.parameters()))


def test_the_last_layer_alone_has_one_gate(parts):
    assert made(parts, fused=False).gates.numel() == 1
    assert made(parts).gates.numel() == parts[0].config.num_hidden_layers


def test_parallel_sentences_share_no_fact_between_splits():
    world = load_world()
    train_sentences, held_out = parallel_sentences("train"), parallel_sentences("eval")
    assert all(said.keys() == set(world.langs) for said in train_sentences)
    english = {said["en"] for said in train_sentences}
    assert not english & {said["en"] for said in held_out}
    said = next(one for one in held_out if one["en"] == "What is the capital of France?")
    pairs = pairs_with_english([said])
    assert len(pairs) == 10
    assert Pair(said["en"], "Was ist die Hauptstadt von Frankreich?", "de") in pairs
    assert Pair("Was ist die Hauptstadt von Frankreich?", said["en"], "en") in pairs
