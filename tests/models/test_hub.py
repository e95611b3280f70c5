"""Adapters from the Hub, and what its errors say."""

import pytest
from families import fp32, save_adapter
from hub import hub_error
from huggingface_hub import errors
from transformers import AutoModelForCausalLM, AutoTokenizer

import xlnb.models.hub
from xlnb.common.errors import InputError
from xlnb.models.adapters import check_adapter, load_model, new_adapter
from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer
from xlnb.models.hub import adapter_folder
from xlnb.presets import Models, Training
from xlnb.runs.run import open_run


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


def test_a_revision_is_asked_for(monkeypatch):
    asked = []

    def fail(name, **options):
        asked.append((name, options["revision"]))
        raise hub_error(errors.RevisionNotFoundError, 404)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", fail)
    for load in (load_base, load_tokenizer):
        with pytest.raises(InputError, match=r"org/m@it-SFT: .*no such revision"):
            load(Models(base="org/m@it-SFT", quantization="none"))
    assert asked == [("org/m", "it-SFT")] * 2


def test_a_new_adapter_knows_its_base_s_revision(tmp_path):
    base = load_base(fp32("llama3"))
    model = new_adapter(base, "org/m@v1", Training())
    model.save_pretrained(str(tmp_path))
    check_adapter(tmp_path, "org/m@v1")
    for other in ("org/m", "org/m@v2"):
        with pytest.raises(InputError, match="belongs to base 'org/m@v1', not to"):
            check_adapter(tmp_path, other)


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
    assert adapter_folder("org/adapter-of-a-test@v1.0") == folder
    assert asked[1][0] == "org/adapter-of-a-test" and asked[1][1]["revision"] == "v1.0"
    assert load_model(fp32("llama3"), {"dpo": run.adapter("dpo")}).peft_config.keys() == {"dpo"}
    assert adapter_folder("a folder/that is not there").name == "that is not there"
