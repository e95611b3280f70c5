"""What a real model's run needs, on tiny random checkpoints of four families: the whole pipeline
with an adapter as π^0 and with a checkpoint of its own, and what is refused before it."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from families import checkpoint, fp32, save_adapter
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import xlnb.sampling
from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json, read_jsonl, write_jsonl
from xlnb.models.base import load_base
from xlnb.presets import PRESETS, get_preset
from xlnb.runs.run import open_run

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
    # random models speak no language
    "pairing.language_filter": "false",
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
    """A random model hardly ever ends its turn, and a cut response makes no pair: every fifth token
    is an end."""
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
    # Without a record of it, all of it is done once more.
    (run.path / "stages/icr1.adapter.json").unlink()
    run.history.unlink()
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
