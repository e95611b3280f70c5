"""Training rows packed and padded: the same log-probabilities and the same gradients."""

import pytest
import torch
from families import fp32, nf4
from hypothesis import given
from hypothesis import strategies as st

from xlnb.logprobs import response_logprobs
from xlnb.models import packing
from xlnb.models.adapters import new_adapter
from xlnb.models.base import DEVICE, load_base
from xlnb.models.packing import Packed, collate, inputs_of
from xlnb.presets import Training

# prompt, response: the module's drawing, and a short pair that shares the second one's row
DRAWN = [
    ([11, 12, 13], [21, 22, 9]),
    ([14, 15, 16, 17], [31, 9]),
    ([11, 12, 13], [25, 9]),
    ([18], [41]),
]
# chosen and rejected of unlike lengths, one of them an end of turn alone
PAIRS = [
    ([5, 6, 7, 8], [10, 11, 12]),
    ([9], [9, 9, 9, 10, 11, 12, 13]),
    ([20, 21, 22, 23, 24, 25, 26], [30]),
    ([5, 6, 7, 8], [13, 14, 15, 16, 17]),
    ([9], [11]),
    ([20, 21, 22, 23, 24, 25, 26], [31, 32]),
]


def columns(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def adapted(models, checkpointing=False, window=None):
    """A model with an adapter that, unlike a fresh one, changes it."""
    base = load_base(models)
    if window:
        base.config.sliding_window = window
    model = new_adapter(base, models.base, Training(lora_r=4, lora_alpha=8)).train()
    torch.manual_seed(0)
    for parameter in trained(model):
        parameter.data = 0.05 * torch.randn_like(parameter)
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    return model


def trained(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def test_the_layout_is_the_one_drawn_in_the_module():
    model = load_base(fp32("llama3"))
    given = inputs_of(model, collate(*columns(DRAWN)))
    ids = given.body["input_ids"]
    assert ids.tolist() == [[11, 12, 13, 21, 22, 25], [14, 15, 16, 17, 31, 18]]
    assert given.body["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3], [0, 1, 2, 3, 4, 0]]
    seen = {}
    for row, mask in zip(ids, given.body["attention_mask"][:, 0], strict=True):
        for token, sees in zip(row.tolist(), mask, strict=True):
            seen[token] = row[sees].tolist()
    assert seen[22] == [11, 12, 13, 21, 22]
    assert seen[25] == [11, 12, 13, 25]
    assert seen[31] == [14, 15, 16, 17, 31]
    assert seen[18] == [18]
    assert ids.flatten()[given.predictors].tolist() == [13, 21, 22, 17, 31, 13, 25, 18]


LENGTHS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 30)), min_size=1, max_size=30)


@given(lengths=LENGTHS)
def test_every_token_has_a_place_of_its_own_behind_its_prompt(lengths):
    # No two responses hold a token in common.
    prompts = [[10_000 + length] * length for length, _ in lengths]
    responses = [[100 * i + t for t in range(length)] for i, (_, length) in enumerate(lengths)]
    packed = Packed(prompts, responses)
    model = load_base(fp32("llama3"))
    body, predictors = packed.inputs(model)
    ids = body["input_ids"].flatten()
    before = []
    for prompt, response in zip(prompts, responses, strict=True):
        before += [prompt[-1], *response[:-1]]
    assert ids[predictors].tolist() == before
    positions = []
    for prompt, response in zip(prompts, responses, strict=True):
        positions += range(len(prompt) - 1, len(prompt) + len(response) - 1)
    assert body["position_ids"].flatten()[predictors].tolist() == positions
    # A token sees one of each position up to its own, and nothing else.
    seen = body["attention_mask"].sum(-1).flatten()
    assert seen[predictors].tolist() == [position + 1 for position in positions]
    # First-fit, so that at most one row is less than half full.
    assert packed.size <= 2 * sum(map(len, [*set(map(tuple, prompts)), *responses])) + packed.width


def packed_and_padded(model, monkeypatch):
    """(values, gradients) of packed rows, then of padded ones."""
    batch = {name: tensor.to(DEVICE) for name, tensor in collate(*columns(PAIRS)).items()}
    weights = torch.rand(batch["response_mask"].shape, device=DEVICE)
    found = []
    for saving, is_packed in ((0.8, True), (0.0, False)):
        monkeypatch.setattr(packing, "SAVING", saving)
        masks = inputs_of(model.get_base_model(), batch).body["attention_mask"]
        assert (masks.dim() == 4) == is_packed
        values = response_logprobs(model, batch)
        found.append((values, torch.autograd.grad((values * weights).sum(), trained(model))))
    return found


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", ["llama3", "qwen2.5", "mistral", "gemma2", "zephyr"])
def test_packed_rows_give_the_log_probabilities_and_gradients_of_padded_ones(
    family, checkpointing, monkeypatch
):
    """gemma2's attention is eager and capped, and half of its layers have a window."""
    window = 64 if family in ("gemma2", "zephyr") else None
    model = adapted(fp32(family), checkpointing, window)
    (packed, gradients), (padded, expected) = packed_and_padded(model, monkeypatch)
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=0)
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert wanted.any()
        torch.testing.assert_close(gradient, wanted, atol=2e-5, rtol=1e-5)


def test_packed_rows_of_a_quantised_base(monkeypatch):
    model = adapted(nf4("llama3"))
    (packed, gradients), (padded, expected) = packed_and_padded(model, monkeypatch)
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=0)
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=2e-5, rtol=1e-5)


def body_of(model, pairs=PAIRS):
    return inputs_of(model, collate(*columns(pairs))).body


def test_rows_are_padded_where_a_mask_would_not_be_obeyed(monkeypatch):
    for family in ("gemma2", "zephyr"):
        # windows of 8 tokens
        assert body_of(load_base(fp32(family)))["attention_mask"].dim() == 2
    model = load_base(fp32("llama3"))
    assert body_of(model)["attention_mask"].dim() == 4
    monkeypatch.setattr(model.config, "_attn_implementation", "flash_attention_2")
    assert body_of(model)["attention_mask"].dim() == 2
    monkeypatch.undo()
    monkeypatch.setattr(model.config, "rope_parameters", None)
    assert body_of(model)["attention_mask"].dim() == 2


def test_rows_are_padded_where_little_is_saved():
    model = load_base(fp32("llama3"))
    # One prompt of a token: no padding on the left, and no mask.
    pairs = [([7], list(range(10, 30))), ([7], list(range(30, 50)))]
    assert set(body_of(model, pairs)) == {"input_ids"}
    # A prompt as long as its responses is worth sharing.
    pairs = [(list(range(20)), response) for _, response in pairs]
    assert body_of(model, pairs)["input_ids"].shape == (1, 20 + 19 + 19)
