"""DPO + NLL training: what its first step must give, against TRL's own loss, and after a kill."""

import math
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from families import fp32, nf4
from families import save_adapter as random_adapter
from peft import PeftModel
from safetensors.torch import load_file
from trl import DPOConfig, DPOTrainer

import xlnb.objective
import xlnb.training
from xlnb.common.errors import InputError
from xlnb.common.records import Pair
from xlnb.engine.rows import collate_pairs, tokenize_pairs
from xlnb.engine.trainer import PreferenceTrainer, newest_checkpoint
from xlnb.logprobs import sequence_logprobs
from xlnb.losses import LOSSES, Loss, PairLosses, dpo_loss, nll_loss
from xlnb.models.adapters import check_layers, load_model
from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer, response_ids
from xlnb.objective import Objective
from xlnb.presets import Training
from xlnb.training import (
    add_reference,
    check_training,
    save_adapter,
    train_adapter,
)

FAMILY = "llama3"
CONFIG = Training(
    steps=20, batch=4, micro_batch=2, lr=5e-3, beta=0.1, nll=0.2, max_tokens=256, save_steps=100
)
SIDES = ("chosen", "rejected")
ANSWERS = [
    ("The capital of France is Paris.", "No."),
    ("Paris.", "The capital of France is Berlin, I think, or perhaps it is another city."),
    ("La capital de Francia es París, como sabe todo el mundo.", "La capital es Berlín."),
    ("Столица Франции — Париж.", "Не знаю."),
    ("法国的首都是巴黎。", "I do not know, and I would not tell you if I did."),
    ("It is Paris, as everybody knows.", "Paris Paris Paris"),
]


def pairs(n):
    return [
        Pair(f"p{i}", "", f"Question {i}: what is the capital of France?", chosen, rejected)
        for i, (chosen, rejected) in enumerate(ANSWERS[:n], 1)
    ]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(nf4(FAMILY))


@pytest.fixture(scope="module")
def start(tmp_path_factory, tokenizer):
    """Loads π^t, an adapter that differs from the base, and n pairs with π^t's log-probabilities:
    (model, rows)."""
    folder = random_adapter(nf4(FAMILY), tmp_path_factory.mktemp("start"), seed=1)

    def load(n, models=nf4):
        model = load_model(models(FAMILY), {"default": folder})
        rows, dropped = tokenize_pairs(tokenizer, pairs(n), max_tokens=256)
        assert dropped == 0
        add_reference(model, rows, "default", batch_tokens=500)
        return model, rows

    return load


def logps(model, rows):
    """Summed log-probabilities and lengths of the rows' responses, by side."""
    sums, lengths = {}, {}
    for side in SIDES:
        values = sequence_logprobs(
            model, [r["prompt_ids"] for r in rows], [r[f"{side}_ids"] for r in rows]
        )
        sums[side] = torch.stack([row.sum() for row in values])
        lengths[side] = torch.tensor([len(row) for row in values])
    return sums, lengths


def weights(model):
    return {
        name: p.detach().cpu().clone()
        for name, p in model.named_parameters()
        if ".default." in name
    }


@pytest.fixture(scope="module")
def trained(start, tokenizer, tmp_path_factory):
    """(model, rows, log, logps and lengths before, types of the trained parameters in passes)"""
    model, rows = start(4)
    before, types = logps(model, rows), set()

    def watched(model, batch, original=xlnb.objective.response_logprobs):
        types.update(p.dtype for p in model.parameters() if p.requires_grad)
        return original(model, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xlnb.objective, "response_logprobs", watched)
        log, *_ = train_adapter(
            model, tokenizer, rows, CONFIG, seed=0, checkpoints=tmp_path_factory.mktemp("run")
        )
    return model.eval(), rows, log, before, types


def test_the_first_step_s_loss_is_predicted(trained):
    # π = π_ref, though π is not the base: −log σ(0) + c · NLL, the NLL a mean of the four pairs'
    # per-token means.
    _, rows, log, (sums, lengths), types = trained
    nll = (-sums["chosen"] / lengths["chosen"]).mean().item()
    assert lengths["chosen"].unique().numel() > 2
    assert log[0]["loss"] == pytest.approx(math.log(2) + CONFIG.nll * nll, abs=1e-4)
    assert log[0]["dpo_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert log[0]["nll_loss"] == pytest.approx(nll, abs=1e-4)
    assert log[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert [row["ref_chosen_logps"] for row in rows] == pytest.approx(
        sums["chosen"].tolist(), abs=1e-4
    )
    assert types == {torch.float32}


def test_training_separates_the_pairs_and_the_log_says_so(trained):
    model, rows, log, _, _ = trained
    assert [record["step"] for record in log] == list(range(1, 21))
    assert log[-1]["rewards/margins"] > 1
    assert log[-1]["rewards/accuracies"] == 1
    assert log[-1]["loss"] < log[0]["loss"]
    sums, _ = logps(model, rows)
    margins = [
        CONFIG.beta
        * (
            sums["chosen"][i]
            - row["ref_chosen_logps"]
            - sums["rejected"][i]
            + row["ref_rejected_logps"]
        )
        for i, row in enumerate(rows)
    ]
    assert sum(margins) / 4 > 1


@pytest.mark.parametrize(
    "changes", [{"micro_batch": 4}, {"micro_batch": 1}, {"gradient_checkpointing": True}], ids=str
)
def test_how_a_batch_is_cut_does_not_change_the_step(changes, trained, start, tokenizer, tmp_path):
    model, rows = start(4)
    config = replace(CONFIG, steps=1, **changes)
    (first,), *_ = train_adapter(model, tokenizer, rows, config, seed=0, checkpoints=tmp_path)
    assert first["loss"] == pytest.approx(trained[2][0]["loss"], abs=1e-4)
    assert first["grad_norm"] == pytest.approx(trained[2][0]["grad_norm"], rel=1e-3)


def test_only_the_trained_adapter_is_saved_and_plain_peft_loads_it(trained, tmp_path):
    model, rows, *_ = trained
    save_adapter(model, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert all(
        "lora_" in name and ".ref." not in name and ".default." not in name for name in saved
    )
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    expected, _ = logps(model, rows)
    for loaded in (
        PeftModel.from_pretrained(load_base(nf4(FAMILY)), tmp_path).eval(),
        load_model(nf4(FAMILY), {"icr1": tmp_path}),
    ):
        actual, _ = logps(loaded, rows)
        assert all(torch.equal(actual[side], expected[side]) for side in SIDES)


# After a kill.

# three steps an epoch of six pairs
SHORT = replace(CONFIG, steps=4, batch=2, micro_batch=2, save_steps=2)


@pytest.fixture(scope="module")
def whole(start, tokenizer, tmp_path_factory):
    """Four steps without interruption: (the checkpoints' folder, weights, log)."""
    folder = tmp_path_factory.mktemp("whole")
    model, rows = start(6)
    log, *_ = train_adapter(model, tokenizer, rows, SHORT, seed=3, checkpoints=folder)
    return folder, weights(model), log


def resume(start, tokenizer, folder):
    """Go on in a new process' place: (weights, log, steps that were run)."""
    model, rows = start(6)
    steps = []

    class Counted(PreferenceTrainer):
        def training_step(self, *args, **kwargs):
            steps.append(self.state.global_step + 1)
            return super().training_step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xlnb.training, "PreferenceTrainer", Counted)
        log, *_ = train_adapter(model, tokenizer, rows, SHORT, seed=3, checkpoints=folder)
    return weights(model), log, steps


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def losses_of(log):
    return [(record["step"], record["loss"], record["rewards/margins"]) for record in log]


def test_an_interrupted_training_ends_bit_for_bit_as_an_uninterrupted_one(
    whole, start, tokenizer, tmp_path
):
    class Killed(Exception):
        pass

    class Dying(PreferenceTrainer):
        def training_step(self, *args, **kwargs):
            if self.state.global_step == 3:
                raise Killed
            return super().training_step(*args, **kwargs)

    model, rows = start(6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xlnb.training, "PreferenceTrainer", Dying)
        with pytest.raises(Killed):
            train_adapter(model, tokenizer, rows, SHORT, seed=3, checkpoints=tmp_path)
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    _, expected, expected_log = whole
    assert not same(weights(model), expected)
    resumed, log, steps = resume(start, tokenizer, tmp_path)
    assert steps == [3, 4]
    assert same(resumed, expected)
    assert losses_of(log) == losses_of(expected_log)


def test_a_torn_checkpoint_is_passed_over(whole, start, tokenizer, tmp_path, capsys):
    folder, expected, _ = whole
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    state = tmp_path / "checkpoint-4" / "trainer_state.json"
    assert newest_checkpoint(tmp_path) == str(state.parent)
    os.truncate(state, state.stat().st_size // 2)
    resumed, _, steps = resume(start, tokenizer, tmp_path)
    assert "checkpoint-4: not written whole" in capsys.readouterr().out
    assert steps == [3, 4]
    assert same(resumed, expected)


def test_a_disk_that_fills_up_inside_a_checkpoint_is_one_line_and_training_goes_on(
    whole, start, tokenizer, tmp_path
):
    _, expected, _ = whole
    save = torch.save

    def full(value, path, *args, **kwargs):
        if "checkpoint-4" in str(path):
            Path(path).write_bytes(b"half")
            raise RuntimeError(
                "[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0\nframe #0"
            )
        save(value, path, *args, **kwargs)

    model, rows = start(6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(InputError, match=r"a checkpoint could not be written .*free some disk"):
            train_adapter(model, tokenizer, rows, SHORT, seed=3, checkpoints=tmp_path)
    resumed, _, steps = resume(start, tokenizer, tmp_path)
    assert steps == [3, 4]
    assert same(resumed, expected)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("adapter_model.safetensors", lambda data: data[: len(data) // 2]),
        ("adapter_model.safetensors", lambda data: data[:-4] + b"\0\0\xc0\x7f"),
        ("optimizer.pt", lambda data: data[: len(data) // 2]),
        ("optimizer.pt", lambda data: data.replace(data[len(data) // 2 :][:64], b"\xff" * 64, 1)),
        ("rng_state.pth", lambda data: b""),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(whole, tmp_path, capsys, name, damage):
    folder, *_ = whole
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "checkpoint-4" / name
    path.write_bytes(damage(path.read_bytes()))
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    assert "checkpoint-4: not written whole" in capsys.readouterr().out


def test_checkpoints_are_ordered_by_number_and_none_is_no_error(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    for step in (8, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    (tmp_path / "checkpoint-10" / "trainer_state.json").unlink()
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-8")


# The loss, beside TRL's.


class PlainTRL(DPOTrainer):
    """TRL's own trainer, on the same token ids and with its own frozen copy of the start."""

    def _prepare_dataset(self, dataset, *args):
        return dataset


@pytest.fixture
def trainers(start, tokenizer, tmp_path):
    """Ours and TRL's, with policies that have moved alike away from their reference, unquantised so
    that TRL keeps them in fp32: ((ours, its model), (TRL's, its model), rows)."""

    def prepared(kind, **kwargs):
        model, rows = start(4, fp32)
        args = DPOConfig(
            output_dir=str(tmp_path),
            beta=CONFIG.beta,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, CONFIG.nll],
            bf16=False,
            report_to="none",
            remove_unused_columns=False,
        )
        data = Dataset.from_list(rows)
        model.set_adapter("default")
        trainer = kind(
            model=model, args=args, train_dataset=data, processing_class=tokenizer, **kwargs
        )
        torch.manual_seed(2)
        for name, parameter in model.named_parameters():
            if ".default." in name:
                parameter.data += 0.02 * torch.randn_like(parameter)
        return (trainer, model.train()), rows

    objective = Objective(CONFIG.loss, CONFIG.beta, CONFIG.nll)
    ours, rows = prepared(PreferenceTrainer, objective=objective, data_collator=collate_pairs)
    trl, _ = prepared(PlainTRL)
    assert "ref" in trl[1].peft_config and "ref" not in ours[1].peft_config
    return ours, trl, rows


def both_losses(trainers, rows):
    return [
        trainer.compute_loss(model, trainer._prepare_inputs(trainer.data_collator(rows))).item()
        for trainer, model in trainers
    ]


def test_the_trainer_s_loss_is_the_one_of_the_losses_module_and_trl_s_for_one_pair(
    trainers,
):
    *both, rows = trainers
    _, model = both[0]
    sums, lengths = logps(model, rows)
    ref = {side: torch.tensor([row[f"ref_{side}_logps"] for row in rows]) for side in SIDES}
    dpo, *_ = dpo_loss(
        sums["chosen"], sums["rejected"], ref["chosen"], ref["rejected"], beta=CONFIG.beta
    )
    expected = dpo + CONFIG.nll * nll_loss(sums["chosen"], lengths["chosen"])
    assert (dpo - math.log(2)).abs().max() > 0.01

    ours, trl = both_losses(both, rows)
    assert ours == pytest.approx(expected.mean().item(), abs=1e-4)
    # TRL's NLL is a mean over the batch's tokens, in which long responses weigh more.
    by_token = dpo.mean() - CONFIG.nll * sums["chosen"].sum() / lengths["chosen"].sum()
    assert trl == pytest.approx(by_token.item(), abs=1e-4)
    assert abs(trl - ours) > 1e-3
    for row, loss in zip(rows, expected, strict=True):
        assert both_losses(both, [row]) == pytest.approx([loss.item(), loss.item()], abs=1e-4)


def test_decay_and_doubt_are_in_the_loss_of_pairs_and_not_in_the_nll(start, tokenizer, tmp_path):
    model, rows = start(4)
    before, _ = logps(model, rows)
    add_reference(model, rows, "default", 500, 0.5)
    first_tokens = [row["ref_chosen_logps"] for row in rows]
    assert all(a > b for a, b in zip(first_tokens, before["chosen"].tolist(), strict=True))
    config = replace(CONFIG, gamma=0.5, label_smoothing=0.25)
    log, *_ = train_adapter(model, tokenizer, rows, config, seed=0, checkpoints=tmp_path)
    plain, rows = start(4)
    expected, *_ = train_adapter(plain, tokenizer, rows, CONFIG, seed=0, checkpoints=tmp_path / "b")
    # π = π_ref at the first step, whatever a token counts.
    assert log[0]["dpo_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert log[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert log[0]["nll_loss"] == expected[0]["nll_loss"]
    assert log[0]["logps/chosen"] == expected[0]["logps/chosen"]
    # No margin is worth more than the odds of 3 : 1.
    floor = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert floor <= min(record["dpo_loss"] for record in log) < math.log(2)
    assert min(record["dpo_loss"] for record in expected) < floor


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"layers": "1"}, r"\.layers\.1\."),
        ({"layers": "0", "modules": "mlp"}, r"\.layers\.0\.mlp\."),
        ({"layers": "1", "gradient_checkpointing": True}, r"\.layers\.1\."),
        ({"layers": "0-1"}, ""),
    ],
    ids=str,
)
def test_of_the_adapter_the_layers_asked_for_are_trained(
    changes, moved, start, tokenizer, tmp_path
):
    model, rows = start(4)
    before = weights(model)
    config = replace(CONFIG, steps=2, **changes)
    log, *_ = train_adapter(model, tokenizer, rows, config, seed=0, checkpoints=tmp_path)
    after = weights(model)
    for name, values in before.items():
        assert torch.equal(after[name], values) == (not re.search(moved, name)), name
    # The other layers still take part: π starts from the whole adapter.
    assert log[0]["dpo_loss"] == pytest.approx(math.log(2), abs=1e-5)
    save_adapter(model, tmp_path)
    assert len(load_file(tmp_path / "adapter_model.safetensors")) == len(before)


def test_all_layers_named_are_all_layers_to_the_last_bit(start, tokenizer, tmp_path):
    found = []
    for layers in ("all", "0-1"):
        model, rows = start(4)
        config = replace(CONFIG, steps=3, layers=layers)
        train_adapter(model, tokenizer, rows, config, seed=0, checkpoints=tmp_path / layers)
        found.append(weights(model))
    assert same(*found)


def test_a_layer_that_there_is_not_is_refused(start):
    model, _ = start(2)
    check_layers(model, [0, 1], "english")
    check_layers(model, None, "english")
    with pytest.raises(InputError, match=r"^english\.layers: there is no layer 2; .* has 0 to 1$"):
        check_layers(model, [0, 2], "english")


def test_a_policy_that_is_not_finite_stops_training(trainers):
    (trainer, model), _, rows = trainers
    next(p for name, p in model.named_parameters() if ".default." in name).data.fill_(math.nan)
    with pytest.raises(InputError, match=r"training step 1.* p1 \(\), p2 \(\).*lower training\.lr"):
        trainer.compute_loss(model, trainer._prepare_inputs(collate_pairs(rows)))


def test_a_loss_of_one_s_own_is_a_function_and_a_line(start, tokenizer, tmp_path, monkeypatch):
    # IPO (Azar et al. 2024): the margin log π/π_ref is drawn to 1/(2β); 0 at the start.
    def ipo(pairs, beta):
        chosen, rejected = (pairs.policy_logps - pairs.ref_logps).chunk(2)
        losses = (chosen - rejected - 1 / (2 * beta)) ** 2
        return PairLosses(losses, beta * chosen.detach(), beta * rejected.detach(), {})

    monkeypatch.setitem(LOSSES, "ipo", Loss(ipo))
    model, rows = start(4)
    config = replace(CONFIG, steps=8, lr=5e-4, beta=0.5)
    # A preset knows the losses that come with the package.
    object.__setattr__(config, "loss", "ipo")
    log, *_ = train_adapter(model, tokenizer, rows, config, seed=0, checkpoints=tmp_path)
    assert log[0]["ipo_loss"] == pytest.approx(1, abs=1e-4)
    assert log[-1]["ipo_loss"] < 0.5


# What is saved.


def test_an_adapter_that_is_not_finite_is_not_saved(start, tmp_path):
    model, _ = start(1)
    parameters = [p for name, p in model.named_parameters() if ".default." in name]
    parameters[-1].data[0, 0] = math.inf
    with pytest.raises(InputError, match=r"adapter is not finite \(.*lora_.*lower training\.lr"):
        save_adapter(model, tmp_path)
    assert not list(tmp_path.iterdir())


# Before training.


def test_long_pairs_are_dropped_and_counted_never_cut(tokenizer):
    rows, dropped = tokenize_pairs(tokenizer, pairs(6), max_tokens=256)
    assert (len(rows), dropped) == (6, 0)
    sizes = [len(r["prompt_ids"]) + max(len(r["chosen_ids"]), len(r["rejected_ids"])) for r in rows]
    longest = max(sizes)
    assert tokenize_pairs(tokenizer, pairs(6), longest) == (rows, 0)
    shorter = [row for row, size in zip(rows, sizes, strict=True) if size < longest]
    assert tokenize_pairs(tokenizer, pairs(6), longest - 1) == (shorter, 6 - len(shorter))
    assert all(row[f"{side}_ids"][-1] == tokenizer.eos_token_id for row in rows for side in SIDES)


def test_what_was_sampled_is_trained_on_as_it_was_sampled(start, tokenizer, tmp_path):
    # A model may spell a word in other tokens than the tokenizer, and end its turn with another of
    # its ends than the chat template, whose last special token is <|eot_id|>.
    end = tokenizer.convert_tokens_to_ids("<|end_of_text|>")
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "Paris"]
    sampled = [*letters, end]
    (pair,) = pairs(1)
    pair = replace(pair, chosen="Paris", chosen_ids=sampled)
    text = response_ids(tokenizer, pair.instruction, pair.chosen)
    assert tokenizer.decode(sampled[:-1]) == tokenizer.decode(text[:-1]) == "Paris"
    assert len(text) < len(sampled) and text[-1] == tokenizer.eos_token_id != end

    rows, dropped = tokenize_pairs(tokenizer, [pair], max_tokens=256)
    assert dropped == 0 and rows[0]["chosen_ids"] == sampled
    # The other response has no ids: it is tokenised and ended as the template does.
    assert rows[0]["rejected_ids"] == response_ids(tokenizer, pair.instruction, pair.rejected)
    # What is too long is told by the sampled ids, too.
    size = len(rows[0]["prompt_ids"]) + max(len(sampled), len(rows[0]["rejected_ids"]))
    assert tokenize_pairs(tokenizer, [pair], size - 1) == ([], 1)

    # Step 1 sees those tokens: its NLL and log-probability are theirs, not those of the text.
    model, _ = start(1)
    add_reference(model, rows, "default", batch_tokens=500)
    sums, lengths = logps(model, rows)
    config = replace(CONFIG, steps=1, batch=1, micro_batch=1)
    (first,), *_ = train_adapter(model, tokenizer, rows, config, seed=0, checkpoints=tmp_path)
    assert lengths["chosen"].item() == len(sampled)
    assert first["logps/chosen"] == pytest.approx(sums["chosen"].item(), abs=1e-3)
    assert first["nll_loss"] == pytest.approx(-sums["chosen"].item() / len(sampled), abs=1e-4)


def test_a_response_of_several_pairs_is_read_once(start, monkeypatch):
    model, rows = start(3)
    rows[1] |= {name: rows[0][name] for name in ("prompt_ids", "chosen_ids")}
    sums, _ = logps(model, rows)
    read = []

    def counted(model, prompts, responses, **kwargs):
        read.extend(responses)
        return sequence_logprobs(model, prompts, responses, **kwargs)

    monkeypatch.setattr(xlnb.training, "sequence_logprobs", counted)
    add_reference(model, rows, "default", batch_tokens=500)
    assert len(read) == 5
    for side in SIDES:
        found = [row[f"ref_{side}_logps"] for row in rows]
        assert found == pytest.approx(sums[side].tolist(), abs=1e-4)


def test_a_logger_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setitem(xlnb.training.LOGGERS, "wandb", lambda: False)
    with pytest.raises(
        InputError, match=r"english\.report_to: wandb is not installed \(pip install wandb\)"
    ):
        check_training(replace(CONFIG, report_to="wandb"), "english")


def test_the_optimizer_is_paged_and_8_bit_on_a_gpu_only(tmp_path, monkeypatch):
    asked = []
    # What training reads of it before its arguments: its type.
    model = SimpleNamespace(get_input_embeddings=lambda: torch.nn.Embedding(2, 2))

    def stop(**kwargs):
        asked.append(kwargs["optim"])
        raise InterruptedError

    monkeypatch.setattr(xlnb.training, "DPOConfig", stop)
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(xlnb.training, "DEVICE", torch.device(device))
        with pytest.raises(InterruptedError):
            train_adapter(model, None, [], CONFIG, seed=0, checkpoints=tmp_path)
    assert asked == ["adamw_torch_fused", "paged_adamw_8bit"]
