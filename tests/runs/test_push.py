"""Pushing an adapter to the Hub: whose, from where, and with what."""

import json
from pathlib import Path

import pytest
from hub import hub_error
from huggingface_hub import errors

import xlnb.runs.push
from xlnb.common.errors import InputError
from xlnb.runs.run import open_run


class Api:
    calls: list = []  # noqa: RUF012

    def create_repo(self, *args, **kwargs):
        self.calls.append((args, kwargs))

    def upload_folder(self, **kwargs):
        self.calls.append(kwargs)


def test_pushing_is_for_finished_adapters_of_this_run_with_a_token(tmp_path, monkeypatch):
    monkeypatch.setattr(xlnb.runs.push, "HfApi", Api)
    monkeypatch.setattr(xlnb.runs.push, "get_token", lambda: None)
    run = open_run(tmp_path / "run", "lab-quick")
    with pytest.raises(InputError, match="sft was not trained in this run"):
        xlnb.runs.push.push(run, "sft", "org/name")
    with pytest.raises(InputError, match=r"icr1/adapter/adapter_config\.json: not there"):
        xlnb.runs.push.push(run, "icr1", "org/name")
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
            xlnb.runs.push.push(run, "icr1", "org/name")
    monkeypatch.setattr(xlnb.runs.push, "get_token", lambda: "hf_secret")
    with pytest.raises(InputError, match="expected ORG/NAME"):
        xlnb.runs.push.push(run, "icr1", "name")
    assert Api.calls == []
    assert xlnb.runs.push.push(run, "icr1", "org/name") == "https://huggingface.co/org/name"
    (repository, kwargs), upload = Api.calls
    assert repository == ("org/name",) and kwargs == {"private": True, "exist_ok": True}
    assert set(upload["allow_patterns"]) == {path.name for path in folder.iterdir()}
    assert not any(
        "hf_secret" in path.read_text() for path in run.path.rglob("*") if path.is_file()
    )
    # A base that is a folder here is called by its Hub id there, and the run stays as it is.
    config = folder / "adapter_config.json"
    config.write_text('{"base_model_name_or_path": "/a/folder"}')
    sent = {}

    def upload(self, folder_path, **_):
        sent.update(json.loads((Path(folder_path) / "adapter_config.json").read_text()))

    monkeypatch.setattr(Api, "upload_folder", upload)
    xlnb.runs.push.push(run, "icr1", "org/name", "org/base")
    assert sent == {"base_model_name_or_path": "org/base"}
    assert "/a/folder" in config.read_text()
    monkeypatch.setattr(
        Api,
        "create_repo",
        lambda *_, **__: (_ for _ in ()).throw(hub_error(errors.HfHubHTTPError, 403)),
    )
    with pytest.raises(InputError, match="org/name: the Hub refused access"):
        xlnb.runs.push.push(run, "icr1", "org/name", "org/base")


def test_a_base_that_is_only_in_the_run_is_pushed_first(tmp_path, monkeypatch):
    monkeypatch.setattr(xlnb.runs.push, "HfApi", Api)
    monkeypatch.setattr(xlnb.runs.push, "get_token", lambda: "hf_secret")
    monkeypatch.setattr(Api, "calls", [])
    changes = {"sft.path": "mine.jsonl", "models.base": "org/untuned"}
    run = open_run(tmp_path / "run", "lab-quick", changes)
    with pytest.raises(InputError, match=r"sft/training\.json: not there; finish stage sft first"):
        xlnb.runs.push.push(run, "sft", "org/pi")
    folder = run.path / "icr1" / "adapter"
    for path in (folder, run.tuned):
        path.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "README.md", "training.json"):
        (folder / name).write_text("")
    config = json.dumps({"base_model_name_or_path": str(run.tuned)})
    (folder / "adapter_config.json").write_text(config)
    for base in ("", "org/untuned"):
        with pytest.raises(InputError, match="push that first \\(--model sft --to ORG/NAME\\)"):
            xlnb.runs.push.push(run, "icr1", "org/name", base)
    assert Api.calls == []

    sent = {}

    def upload(self, folder_path, allow_patterns, **_):
        assert sorted(allow_patterns) == sorted(path.name for path in Path(folder_path).iterdir())
        sent.update({path.name: path.read_text() for path in Path(folder_path).iterdir()})

    monkeypatch.setattr(Api, "upload_folder", upload)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (run.tuned / name).write_text(name)
    (run.tuned / "training.json").write_text('{"demonstrations": 7}')
    assert xlnb.runs.push.push(run, "sft", "org/pi") == "https://huggingface.co/org/pi"
    assert sent.keys() == {"model.safetensors", "config.json", "tokenizer.json", "README.md"}
    assert "org/untuned, fine-tuned on 7 demonstrations" in sent["README.md"]
    assert str(tmp_path) not in sent["README.md"]
    xlnb.runs.push.push(run, "icr1", "org/name", "org/pi")
    assert json.loads(sent["adapter_config.json"])["base_model_name_or_path"] == "org/pi"
