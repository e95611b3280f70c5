"""What is overridden of TRL's trainer: what held-out pairs choose, and what stops an update."""

import re
import signal
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from families import fp32, nf4, save_adapter
from peft import PeftModel
from start import TRAINING, load_start

import xlnb.training
from xlnb.common.errors import InputError
from xlnb.common.interruption import Ended, interruptible
from xlnb.engine.rows import hold_out
from xlnb.models.base import load_base
from xlnb.training import train_adapter


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = save_adapter(nf4("llama3"), tmp_path_factory.mktemp("start"), seed=1)
    return partial(load_start, folder)


def test_held_out_prompts_choose_the_checkpoint(start, tmp_path):
    model, tokenizer, rows = start()
    kept, held_out = hold_out(rows, 0.3)
    assert kept and held_out and len(kept) + len(held_out) == len(rows)
    assert hold_out(rows[::-1], 0.3)[1] == held_out[::-1]  # by id, whatever the order
    with pytest.raises(InputError, match=r"eval_fraction 1\.0: it holds out 12 of 12 pairs"):
        hold_out(rows, 1.0)
    trained = train_adapter(
        model,
        tokenizer,
        kept,
        replace(TRAINING, lr=1.0, optimizer="adamw"),
        seed=0,
        checkpoints=tmp_path,
        held_out=held_out,
    )
    losses = {int(record["step"]): record["loss"] for record in trained.held_out}
    assert list(losses) == [1, 2, 3, 4]
    assert trained.step == min(losses, key=losses.get)
    assert trained.step < 4  # at such a learning rate the last is not the best
    best = PeftModel.from_pretrained(
        load_base(nf4("llama3")), tmp_path / f"checkpoint-{trained.step}"
    )
    for (name, mine), (_, theirs) in zip(
        model.named_parameters(), best.named_parameters(), strict=True
    ):
        if "lora_" in name:
            assert torch.equal(mine, theirs), name


def test_an_interruption_that_native_code_has_lost_ends_a_training(start, tmp_path, monkeypatch):
    model, tokenizer, rows = start()
    compute_loss, steps = xlnb.training.PreferenceTrainer.compute_loss, []

    def loses(self, *args, **kwargs):
        steps.append(self.state.global_step)
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        return compute_loss(self, *args, **kwargs)

    monkeypatch.setattr(xlnb.training.PreferenceTrainer, "compute_loss", loses)
    with pytest.raises(Ended), interruptible():
        train_adapter(model, tokenizer, rows, TRAINING, seed=0, checkpoints=tmp_path)
    assert steps == [0]


def test_a_gradient_that_is_not_finite_stops_before_the_update_and_names_the_pairs(
    start, tmp_path, monkeypatch
):
    model, tokenizer, rows = start()
    compute_loss, losses = xlnb.training.PreferenceTrainer.compute_loss, []

    def breaking(self, *args, **kwargs):
        losses.append(compute_loss(self, *args, **kwargs))
        return losses[-1] * (float("nan") if len(losses) == 3 else 1)

    monkeypatch.setattr(xlnb.training.PreferenceTrainer, "compute_loss", breaking)
    with pytest.raises(
        InputError, match=r"step 3: the gradient is not finite; .* ids p\d+ \(en\), p\d+ \(en\), or"
    ):
        train_adapter(model, tokenizer, rows, TRAINING, seed=0, checkpoints=tmp_path)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-1",
        "checkpoint-2",
    ]
    assert all(torch.isfinite(p).all() for p in model.parameters())


# float16, as on cards without bfloat16. accelerate scales losses on GPUs alone: here it is told to
# do on a CPU what it does there.


@pytest.fixture
def scaled(monkeypatch):
    """A function that has trainings compute in float16, their loss scaled from so much on."""
    make = Accelerator.__init__

    def begin(scale):
        def init(self, *args, **kwargs):
            make(self, *args, **kwargs)
            self.native_amp = True
            self.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
            self.state._mixed_precision = "fp16"

        monkeypatch.setattr(Accelerator, "__init__", init)

    yield begin
    AcceleratorState._reset_state()


def half(family):
    return replace(fp32(family), dtype="float16")


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_float16_trains_as_float32(start, tmp_path, scaled, quantization):
    training = replace(TRAINING, lr=1e-3)
    losses, changes = [], []
    for dtype in ("float32", "float16"):
        if dtype == "float16":
            scaled(2.0**10)
        model, tokenizer, rows = start(partial(typed, dtype, quantization))
        before = adapter_of(model)
        folder = tmp_path / dtype
        log = train_adapter(model, tokenizer, rows, training, seed=0, checkpoints=folder).log
        losses.append([record["loss"] for record in log])
        assert model.dtype == getattr(torch, dtype)
        after = adapter_of(model)
        assert after.dtype == torch.float32
        changes.append(after - before)
    full, found = losses
    assert found == pytest.approx(full, abs=0.05) and found != full
    assert torch.cosine_similarity(*changes, dim=0) > 0.9


def typed(dtype, quantization, family):
    return replace(fp32(family), quantization=quantization, dtype=dtype)


def adapter_of(model):
    weights = [p.detach().flatten() for n, p in model.named_parameters() if ".default." in n]
    return torch.cat(weights).clone()


def test_an_update_whose_loss_was_scaled_too_much_is_left_out_and_said(
    start, tmp_path, scaled, capsys
):
    model, tokenizer, rows = start(half)
    scaled(2.0**30)
    training = replace(TRAINING, steps=30, save_steps=100)
    train_adapter(model, tokenizer, rows, training, seed=0, checkpoints=tmp_path)
    left_out = re.search(
        r"^(\d+) of 30 updates were left out", capsys.readouterr().out, re.MULTILINE
    )
    assert 5 < int(left_out[1]) < 30
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_gradient_that_no_scale_makes_finite_stops(start, tmp_path, scaled, monkeypatch):
    model, tokenizer, rows = start(half)
    scaled(2.0**3)
    compute_loss = xlnb.training.PreferenceTrainer.compute_loss
    monkeypatch.setattr(
        xlnb.training.PreferenceTrainer,
        "compute_loss",
        lambda *args, **kwargs: compute_loss(*args, **kwargs) * float("nan"),
    )
    with pytest.raises(InputError, match="step 4: the gradient is not finite"):
        train_adapter(model, tokenizer, rows, TRAINING, seed=0, checkpoints=tmp_path)
