"""The answer head a chunk at a time: gradients. (Values are compared in tests/test_logprobs.py.)"""

import pytest
import torch
from families import fp32

import xlnb.models.output_head
from xlnb.logprobs import response_logprobs
from xlnb.models.adapters import new_adapter
from xlnb.models.base import DEVICE, load_base
from xlnb.models.packing import collate
from xlnb.presets import Training


@pytest.mark.parametrize("family", ["llama3", "gemma2"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_the_full_logits(family, checkpointing, monkeypatch):
    monkeypatch.setattr(xlnb.models.output_head, "CHUNK", 3)
    model = new_adapter(load_base(fp32(family)), "base", Training(lora_r=4)).train()
    torch.manual_seed(0)
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.data = 0.05 * torch.randn_like(parameter)
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    for prompts in (
        [[5, 6, 7, 8]] * 2,
        [[5, 6, 7, 8], [9]],
    ):  # without and with padding on the left
        rows = collate(prompts, [[10, 11, 12], [13, 14, 15, 16, 17]])
        batch = {name: tensor.to(DEVICE) for name, tensor in rows.items()}
        width = batch["response_mask"].shape[1]
        names = ("input_ids", "attention_mask", "position_ids")
        logits = model(**{name: batch[name] for name in names}, use_cache=False).logits[
            :, -width - 1 : -1
        ]
        full = (
            logits.log_softmax(-1).gather(-1, batch["input_ids"][:, -width:, None])[..., 0]
            * batch["response_mask"]
        )
        weights = torch.rand_like(full)
        values = response_logprobs(model, batch)
        torch.testing.assert_close(values, full, atol=1e-5, rtol=0)
        expected = torch.autograd.grad((full * weights).sum(), trained)
        for actual, wanted in zip(
            torch.autograd.grad((values * weights).sum(), trained), expected, strict=True
        ):
            torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=1e-5)
        assert "forward" not in vars(model.get_base_model())
