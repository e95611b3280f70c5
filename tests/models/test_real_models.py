"""What a real model's run needs, on tiny random checkpoints of four families: the whole pipeline in both layouts, the
Hub's errors, held-out pairs, KTO, the model card and pushing."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import httpx2
import pytest
import torch
from datasets import Dataset
from families import checkpoint, fp32, nf4, save_adapter
from huggingface_hub import errors
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import KTOConfig, KTOTrainer

import xlnb.models.hub
import xlnb.runs.card
import xlnb.sampling
import xlnb.training
from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json, read_jsonl, write_jsonl
from xlnb.common.records import Pair
from xlnb.engine.rows import add_mismatched, hold_out, tokenize_pairs
from xlnb.logprobs import collate, response_logprobs
from xlnb.losses import kto_loss
from xlnb.models.adapters import load_model, new_adapter
from xlnb.models.base import attention, load_base
from xlnb.models.chat import load_tokenizer, prompt_ids
from xlnb.models.hub import adapter_folder
from xlnb.presets import PRESETS, Models, Training, get_preset
from xlnb.runs.run import open_run
from xlnb.training import add_reference, check_training, train_adapter

PROMPTS = {
    "en": ["What is the capital of France?", "Name a colour.", "Where is Paris?", "Who are you?"],
    "es": ["¿Cuál es la capital de Francia?", "Di un color.", "¿Dónde está París?", "¿Quién eres?"],
}
SMALL = {
    "sampling.n": "4",
    "sampling.temperature": "2",
    "sampling.max_new_tokens": "8",
    "sampling.batch_tokens": "2000",
    "scoring.batch_tokens": "2000",
    "pairing.language_filter": "false",  # random models speak no language
    "training.steps": "2",
    "training.batch": "2",
    "training.micro_batch": "2",
    "training.lr": "1e-2",
    "training.save_steps": "1",
    "training.lora_r": "4",
    "training.eval_fraction": "0",
    "evaluation.max_new_tokens": "5",
    "models.dtype": "float32",
}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompts")
    for split, ids in (("train", slice(0, 3)), ("eval", slice(3, 4))):
        for lang, texts in PROMPTS.items():
            records = [
                {"id": f"{split}-{i}", "instruction": text} for i, text in enumerate(texts[ids])
            ]
            write_jsonl(folder / split / f"{lang}.jsonl", records)
    return {"prompts.path": str(folder / "train"), "prompts.eval_path": str(folder / "eval")}


@pytest.fixture
def ends(monkeypatch):
    """A random model hardly ever ends its turn, and a cut response makes no pair: every fifth token is an end."""
    monkeypatch.setattr(xlnb.sampling, "end_ids", lambda *_: list(range(0, 600, 5)))


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    """π^0 of a family as a full checkpoint that differs from its π_I."""

    def make(family):
        folder = tmp_path_factory.mktemp(family) / "dpo"
        model = AutoModelForCausalLM.from_pretrained(checkpoint(family))
        torch.manual_seed(5)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(checkpoint(family)).save_pretrained(folder)
        return folder

    return make


LAYOUTS = [
    ("llama3", "two checkpoints", "none"),
    ("qwen2.5", "adapter", "nf4"),
    ("gemma2", "adapter", "none"),
    ("mistral", "two checkpoints", "nf4"),
    ("qwen2.5", "two checkpoints", "int8"),
]


@pytest.mark.parametrize(("family", "layout", "weights"), LAYOUTS)
def test_the_whole_pipeline(family, layout, weights, prompts, ends, two_checkpoints, tmp_path):
    models = {
        "models.base": str(checkpoint(family)),
        "models.quantization": weights,
        "models.dpo": "",
    }
    if layout == "adapter":
        models["models.dpo_adapter"] = str(save_adapter(fp32(family), tmp_path / "dpo", seed=3))
    else:
        models["models.dpo"] = str(two_checkpoints(family))
    run = open_run(tmp_path / "run", "llama3-8b", SMALL | prompts | models)
    assert [step.name for step in stages.steps(run)][:2] == ["prompts", "icr1/samples"]
    stages.run_until(run, stages.steps(run)[-1].name)

    for record in read_jsonl(run.path / "icr1/scores/es.jsonl"):
        # π^0 is not π_I.
        assert any(abs(reward) > 1e-3 for reward in record["scores"]["cross_lingual"])
    for t in (1, 2):
        trained = read_json(run.path / f"icr{t}/adapter/training.json")
        assert trained["pairs"] >= 3
        assert trained["log"][0]["dpo_loss"] == pytest.approx(
            0.6931, abs=2e-2 if weights == "int8" else 1e-3
        )
        assert trained["log"][0]["rewards/margins"] == pytest.approx(
            0, abs=2e-2 if weights == "int8" else 1e-3
        )
        assert trained["step"] == 2
        config = read_json(run.path / f"icr{t}/adapter/adapter_config.json")
        assert config["base_model_name_or_path"] == run.base("dpo").base
    outputs = {
        model: read_json(run.path / "eval" / model / "es" / "model_outputs.json")[0]["output"]
        for model in run.models
    }
    assert list(outputs) == ["sft", "dpo", "icr1", "icr2"]
    model = PeftModel.from_pretrained(load_base(run.base("icr2")), str(run.path / "icr2/adapter"))
    assert any(p.abs().sum() > 0 for name, p in model.named_parameters() if "lora_B" in name)

    card = (run.path / "icr1/adapter/README.md").read_text()
    for line in (
        "; held out 0",
        "Seed: 0",
        "under English instructions",
        '"prompts": {',
        '"steps": 2',
        "library_name: peft",
        "trl 1.",
        "stage train",
    ):
        assert line in card
    assert str(tmp_path) not in card


def test_a_killed_training_of_two_checkpoints_goes_on_where_it_was(
    prompts, ends, two_checkpoints, tmp_path
):
    models = {
        "models.base": str(checkpoint("llama3")),
        "models.dpo": str(two_checkpoints("llama3")),
    }
    overrides = (
        SMALL
        | prompts
        | models
        | {"iterations": "1", "training.steps": "4", "training.save_steps": "2"}
    )
    run = open_run(tmp_path / "run", "llama3-8b", overrides)
    stages.run_until(run, "icr1/pairs")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    killed = subprocess.run(
        [sys.executable, "tests/support/killed.py", str(run.path), "icr1/adapter"],
        cwd=ROOT,
        env=environment,
    )
    assert killed.returncode == -signal.SIGKILL
    assert [p.name for p in (run.path / "icr1/adapter/checkpoints").glob("checkpoint-*")] == [
        "checkpoint-2"
    ]
    resumed = (stages.train(run, 1) / "adapter_model.safetensors").read_bytes()
    log = read_json(run.path / "icr1/adapter/training.json")["log"]
    assert [record["step"] for record in log] == [1, 2, 3, 4]
    (run.path / "stages/icr1.adapter.json").unlink()
    assert (stages.train(run, 1) / "adapter_model.safetensors").read_bytes() == resumed


# Before a run.


@pytest.mark.parametrize("name", ["qwen2.5-0.5b", "qwen2.5-7b", "llama3-8b"])
def test_a_real_preset_has_the_release_s_numbers_and_wants_prompts(name, tmp_path):
    preset = get_preset(name)
    assert (preset.sampling.n, preset.sampling.temperature, preset.sampling.max_new_tokens) == (
        10,
        0.9,
        2400,
    )
    assert (preset.training.beta, preset.training.nll, preset.training.batch) == (0.1, 1.0, 32)
    assert (preset.training.micro_batch, preset.training.gradient_checkpointing) == (1, True)
    with pytest.raises(InputError, match=rf"preset {name}: prompts\.path is empty; name a folder"):
        stages.collect_prompts(open_run(tmp_path / "run", name))


def test_no_pi_0_and_two_of_them_are_refused(prompts, tmp_path):
    run = open_run(
        tmp_path / "run", "qwen2.5-0.5b", prompts | {"models.base": str(checkpoint("qwen2.5"))}
    )
    stages.collect_prompts(run)
    with pytest.raises(InputError, match=r"there is no π\^0; name it"):
        stages.sample(run, 0)
    with pytest.raises(InputError, match="both name π"):
        open_run(tmp_path / "two", "llama3-8b", {"models.dpo_adapter": "org/adapter"})


def test_lab_questions_to_another_model_are_announced(tmp_path, capsys):
    stages.collect_prompts(
        open_run(tmp_path / "run", "lab-quick", {"models.base": str(checkpoint("llama3"))})
    )
    assert "is asked the lab's questions" in capsys.readouterr().out
    assert PRESETS["lab"].lab.train


# Loading.


def hub_error(kind, status=401):
    return kind(
        "A server's text,\nin lines",
        response=httpx2.Response(status, request=httpx2.Request("GET", "https://x")),
    )


def wrapped(error):
    """As transformers hands the Hub's errors on."""
    try:
        raise OSError("You are trying to access something.\nMore") from error
    except OSError as outer:
        return outer


ERRORS = [
    (
        hub_error(errors.GatedRepoError),
        "",
        r"gated model; accept its licence at https://huggingface\.co/org/m, then log in",
    ),
    (
        hub_error(errors.GatedRepoError),
        "hf_x",
        "gated model; accept .* with the account of your token",
    ),
    (
        hub_error(errors.RepositoryNotFoundError),
        "",
        "neither a folder here nor on the Hub; .*; for a private one log in",
    ),
    (
        hub_error(errors.RepositoryNotFoundError, 404),
        "hf_x",
        "check the name, or, .* whether your token may see it",
    ),
    (
        errors.OfflineModeIsEnabled("offline"),
        "",
        "HF_HUB_OFFLINE is set; name a folder, or first run `hf download org/m`",
    ),
    (errors.LocalEntryNotFoundError("not cached"), "", "not in the Hub's cache"),
    (hub_error(errors.HfHubHTTPError, 403), "", "the Hub refused access; for a private one log in"),
    (errors.HFValidationError("Repo id must be"), "", "neither a folder here nor on the Hub"),
]


@pytest.mark.parametrize("wrap", [lambda error: error, wrapped], ids=["raw", "wrapped"])
@pytest.mark.parametrize(("error", "token", "message"), ERRORS)
def test_the_hub_s_errors_say_what_to_do_in_one_line(error, token, message, wrap, monkeypatch):
    def fail(*_, **__):
        raise wrap(error)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", fail)
    monkeypatch.setattr(xlnb.models.hub, "snapshot_download", fail)
    monkeypatch.setattr(xlnb.models.hub, "get_token", lambda: token)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    models = Models(base="org/m", quantization="none")
    for load in (load_base, load_tokenizer, lambda _: adapter_folder("org/m")):
        with pytest.raises(InputError, match=message) as raised:
            load(models)
        assert "\n" not in str(raised.value)


def test_an_adapter_s_hub_id_is_downloaded_and_used(monkeypatch, tmp_path):
    folder = save_adapter(fp32("llama3"), tmp_path / "cached", seed=1)
    asked = []
    monkeypatch.setattr(
        xlnb.models.hub,
        "snapshot_download",
        lambda name, **kwargs: asked.append((name, kwargs)) or str(folder),
    )
    run = open_run(
        tmp_path / "run",
        "lab-quick",
        {"models.base": fp32("llama3").base, "models.dpo_adapter": "org/adapter-of-a-test"},
    )
    assert run.adapter("dpo") == folder == run.adapter("dpo")
    assert asked == [
        ("org/adapter-of-a-test", {"allow_patterns": list(xlnb.models.hub.ADAPTER_FILES)})
    ]  # no pickle
    assert load_model(fp32("llama3"), {"dpo": run.adapter("dpo")}).peft_config.keys() == {"dpo"}
    assert adapter_folder("a folder/that is not there").name == "that is not there"


def test_int8_computes_and_trains():
    models = replace(fp32("llama3"), quantization="int8")
    ids = torch.tensor([prompt_ids(load_tokenizer(models), "What is the capital of France?")])
    model, plain = load_base(models), load_base(fp32("llama3"))
    assert model.is_loaded_in_8bit
    ids = ids.to(model.device)
    with torch.no_grad():
        pair = torch.stack([m(input_ids=ids).logits.float().flatten() for m in (model, plain)])
    assert torch.corrcoef(pair)[0, 1] > 0.99
    assert not torch.equal(pair[0], pair[1])
    adapted = new_adapter(model, "base", Training(lora_r=4))
    adapted(input_ids=ids).logits.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in adapted.parameters())


def test_attention_is_what_is_installed_and_another_one_an_error(monkeypatch):
    assert attention(Models(attention="eager")) == "eager"
    assert load_base(fp32("gemma2")).config._attn_implementation == "eager"  # its scores are capped
    assert (
        load_base(replace(fp32("llama3"), attention="eager")).config._attn_implementation == "eager"
    )
    with pytest.raises(InputError, match="could not be loaded"):
        load_base(replace(fp32("llama3"), attention="no_such_attention"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    for device, dtype, expected in (
        ("cuda", "bfloat16", "flash_attention_2"),
        ("cuda", "float32", None),
        ("cpu", "bfloat16", None),
    ):
        monkeypatch.setattr("xlnb.models.base.DEVICE", torch.device(device))
        assert attention(Models(dtype=dtype)) == expected


# Training.

TRAINING = Training(steps=4, batch=2, micro_batch=2, lr=5e-2, max_tokens=256, save_steps=1)
TEXTS = [
    ("Paris.", "No."),
    ("It is Paris.", "Berlin, I think."),
    ("París.", "La luna."),
    ("Париж.", "Не знаю."),
] * 3


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """(model with a LoRA adapter, tokenizer, rows with reference log-probabilities)"""
    folder = save_adapter(nf4("llama3"), tmp_path_factory.mktemp("start"), seed=1)
    tokenizer = load_tokenizer(nf4("llama3"))
    pairs = [
        Pair(f"p{i}", "en", f"Question {i}: the capital of France?", chosen, rejected)
        for i, (chosen, rejected) in enumerate(TEXTS)
    ]

    def load(models=nf4, kto=False):
        model = load_model(models("llama3"), {"default": folder})
        rows, _ = tokenize_pairs(tokenizer, pairs, max_tokens=256)
        if kto:
            add_mismatched(rows, 256)
        add_reference(model, rows, "default", batch_tokens=500)
        return model, tokenizer, rows

    return load


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
        batch = collate(prompts, [[10, 11, 12], [13, 14, 15, 16, 17]])
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
        replace(TRAINING, lr=1.0),
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


def test_a_logger_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setitem(xlnb.training.LOGGERS, "wandb", lambda: False)
    with pytest.raises(
        InputError, match=r"english\.report_to: wandb is not installed \(pip install wandb\)"
    ):
        check_training(replace(TRAINING, report_to="wandb"), "english")


def test_the_optimizer_is_paged_and_8_bit_on_a_gpu_only(start, tmp_path, monkeypatch):
    asked = []

    def stop(**kwargs):
        asked.append(kwargs["optim"])
        raise InterruptedError

    monkeypatch.setattr(xlnb.training, "DPOConfig", stop)
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(xlnb.training, "DEVICE", torch.device(device))
        with pytest.raises(InterruptedError):
            train_adapter(None, None, [], TRAINING, seed=0, checkpoints=tmp_path)
    assert asked == ["adamw_torch_fused", "paged_adamw_8bit"]


# KTO.


def test_kto_of_four_numbers():
    # r = 2, -5 and z₀ = 1: 1 - σ(0.1·1) = 0.47502081, 1 - σ(0.1·6) = 0.35434369; a negative estimate counts as 0.
    policy, ref = torch.tensor([-10.0, -20.0]), torch.tensor([-12.0, -15.0])
    desirable = torch.tensor([True, False])
    losses, rewards = kto_loss(policy, ref, desirable, torch.tensor(1.0), beta=0.1)
    assert losses.tolist() == pytest.approx([0.47502081, 0.35434369], abs=1e-6)
    assert rewards.tolist() == pytest.approx([0.2, -0.5])
    below, _ = kto_loss(policy, ref, desirable, torch.tensor(-3.0), beta=0.1)
    assert torch.equal(below, kto_loss(policy, ref, desirable, torch.tensor(0.0), beta=0.1)[0])


@pytest.mark.parametrize(("seed", "sign"), [(1, 1), (2, -1)])
def test_kto_is_trl_s(start, tmp_path, seed, sign):
    # TRL's own trainer on the same four responses and the same responses to other prompts, from a policy that was moved
    # so that the estimate of its KL term is positive, or negative, which counts as 0 and is 0 in TRL's own metrics.
    # With β = 1 a hundredth of it shows in the loss; with 0.1 what it does to chosen and rejected nearly cancels.
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
            parameter.data += 0.02 * torch.randn_like(parameter)
    batch = theirs._prepare_inputs(theirs.data_collator(examples))
    expected = theirs._compute_loss(model, batch, False).item()
    model.delete_adapter("ref")

    config = replace(TRAINING, loss="kto", nll=0.0, steps=1, lr=0.0, beta=1.0)
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


# Pushing.


class Api:
    calls: list = []  # noqa: RUF012

    def create_repo(self, *args, **kwargs):
        self.calls.append((args, kwargs))

    def upload_folder(self, **kwargs):
        self.calls.append(kwargs)


def test_pushing_is_for_finished_adapters_of_this_run_with_a_token(tmp_path, monkeypatch):
    monkeypatch.setattr(xlnb.runs.card, "HfApi", Api)
    monkeypatch.setattr(xlnb.runs.card, "get_token", lambda: None)
    run = open_run(tmp_path / "run", "lab-quick")
    with pytest.raises(InputError, match="sft was not trained in this run"):
        xlnb.runs.card.push(run, "sft", "org/name")
    with pytest.raises(InputError, match=r"icr1/adapter/adapter_config\.json: not there"):
        xlnb.runs.card.push(run, "icr1", "org/name")
    folder = run.path / "icr1" / "adapter"
    folder.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "README.md", "training.json"):
        (folder / name).write_text("")
    for base, message in (
        ("/a/folder", "its base is a folder"),
        ("org/base", "needs a token that may write"),
    ):
        (folder / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{base}"}}')
        with pytest.raises(InputError, match=message):
            xlnb.runs.card.push(run, "icr1", "org/name")
    monkeypatch.setattr(xlnb.runs.card, "get_token", lambda: "hf_secret")
    with pytest.raises(InputError, match="expected ORG/NAME"):
        xlnb.runs.card.push(run, "icr1", "name")
    assert Api.calls == []
    assert xlnb.runs.card.push(run, "icr1", "org/name") == "https://huggingface.co/org/name"
    (repository, kwargs), upload = Api.calls
    assert repository == ("org/name",) and kwargs == {"private": True, "exist_ok": True}
    assert set(upload["allow_patterns"]) == {path.name for path in folder.iterdir()}
    assert not any(
        "hf_secret" in path.read_text() for path in run.path.rglob("*") if path.is_file()
    )
    monkeypatch.setattr(
        Api,
        "create_repo",
        lambda *_, **__: (_ for _ in ()).throw(hub_error(errors.HfHubHTTPError, 403)),
    )
    with pytest.raises(InputError, match="org/name: the Hub refused access"):
        xlnb.runs.card.push(run, "icr1", "org/name")
