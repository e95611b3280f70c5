"""KTO: its loss by hand and beside TRL's, and what it needs of other prompts."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from datasets import Dataset
from families import fp32, nf4, save_adapter
from start import TRAINING, load_start
from trl import KTOConfig, KTOTrainer

from xlnb.common.errors import InputError
from xlnb.engine.rows import add_mismatched
from xlnb.losses import kto_loss
from xlnb.training import train_adapter


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = save_adapter(nf4("llama3"), tmp_path_factory.mktemp("start"), seed=1)
    return partial(load_start, folder)


def test_kto_of_four_numbers():
    # r = 2, -5 and z₀ = 1: 1 - σ(0.1·1) = 0.47502081, 1 - σ(0.1·6) = 0.35434369; a negative
    # estimate counts as 0.
    policy, ref = torch.tensor([-10.0, -20.0]), torch.tensor([-12.0, -15.0])
    desirable = torch.tensor([True, False])
    losses, rewards = kto_loss(policy, ref, desirable, torch.tensor(1.0), beta=0.1)
    assert losses.tolist() == pytest.approx([0.47502081, 0.35434369], abs=1e-6)
    assert rewards.tolist() == pytest.approx([0.2, -0.5])
    below, _ = kto_loss(policy, ref, desirable, torch.tensor(-3.0), beta=0.1)
    assert torch.equal(below, kto_loss(policy, ref, desirable, torch.tensor(0.0), beta=0.1)[0])


@pytest.mark.parametrize(("seed", "sign"), [(1, 1), (2, -1)])
def test_kto_is_trl_s(start, tmp_path, seed, sign):
    # TRL's own trainer on the same four responses and the same responses to other prompts, from a
    # policy that was moved so that the estimate of its KL term is positive, or negative, which
    # counts as 0 and is 0 in TRL's own metrics. With β = 1 a hundredth of it shows in the loss;
    # with 0.1 what it does to chosen and rejected nearly cancels.
    model, tokenizer, rows = start(fp32, kto=True)
    rows = rows[:2]
    args = KTOConfig(
        output_dir=str(tmp_path), beta=1.0, bf16=False, use_cpu=True, report_to="none", per_device_train_batch_size=4,
        remove_unused_columns=False,
    )  # fmt: skip
    examples = [
        {
            "prompt_ids": row["prompt_ids"],
            "completion_ids": row[f"{side}_ids"],
            "KL_completion_ids": row[f"other_{side}_ids"],
            "label": side == "chosen",
        }
        for side in ("chosen", "rejected")
        for row in rows
    ]

    class Given(KTOTrainer):
        def _prepare_dataset(self, dataset, *args):
            return dataset

    data = Dataset.from_list(examples)
    theirs = Given(model=model, args=args, train_dataset=data, processing_class=tokenizer)
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if ".default." in name:
            noise = torch.randn(parameter.shape, dtype=parameter.dtype)
            parameter.data += 0.02 * noise.to(parameter.device)
    batch = theirs._prepare_inputs(theirs.data_collator(examples))
    expected = theirs._compute_loss(model, batch, False).item()
    model.delete_adapter("ref")

    config = replace(TRAINING, loss="kto", nll=0.0, steps=1, beta=1.0)
    (first,), *_ = train_adapter(
        model, tokenizer, rows, config, seed=0, checkpoints=tmp_path / "ours"
    )
    assert first["loss"] == pytest.approx(expected, abs=1e-5)
    assert abs(expected - 0.5) > 1e-3
    (kl,) = theirs._metrics["eval"]["kl"]
    assert max(0.0, first["kl"]) == pytest.approx(kl, abs=1e-4)
    assert sign * first["kl"] > 0.3


def test_kto_separates_pairs_and_needs_other_prompts(start, tmp_path):
    model, tokenizer, rows = start(kto=True)
    assert all(row["other_chosen_ids"] for row in rows)
    log, *_ = train_adapter(
        model,
        tokenizer,
        rows,
        replace(TRAINING, loss="kto", nll=0.0, steps=12),
        seed=0,
        checkpoints=tmp_path,
    )
    assert log[0]["kto_loss"] == pytest.approx(0.5, abs=1e-4)
    assert log[-1]["rewards/margins"] > 0.1
    with pytest.raises(InputError, match="id p0: none of 0 other prompts here"):
        add_mismatched(rows[:1], 256)
