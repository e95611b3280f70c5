"""Pushing an adapter to the Hub: whose, from where, and with what."""

import json
from pathlib import Path

import pytest
from hub import hub_error
from huggingface_hub import errors

import xlnb.runs.card
from xlnb.common.errors import InputError
from xlnb.runs.run import open_run


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
    # A base that is a folder here is called by its Hub id there, and the run stays as it is.
    config = folder / "adapter_config.json"
    config.write_text('{"base_model_name_or_path": "/a/folder"}')
    sent = {}

    def upload(self, folder_path, **_):
        sent.update(json.loads((Path(folder_path) / "adapter_config.json").read_text()))

    monkeypatch.setattr(Api, "upload_folder", upload)
    xlnb.runs.card.push(run, "icr1", "org/name", "org/base")
    assert sent == {"base_model_name_or_path": "org/base"}
    assert "/a/folder" in config.read_text()
    monkeypatch.setattr(
        Api,
        "create_repo",
        lambda *_, **__: (_ for _ in ()).throw(hub_error(errors.HfHubHTTPError, 403)),
    )
    with pytest.raises(InputError, match="org/name: the Hub refused access"):
        xlnb.runs.card.push(run, "icr1", "org/name", "org/base")
