"""Pushing to the Hub what a run has trained, on request only: an adapter, or the π_I that was made
here, on which the run's adapters stand."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import HfApi, get_token

from xlnb.common.errors import InputError
from xlnb.common.files import read_json, write_json, write_text
from xlnb.models.checkpoint import checkpoint_files
from xlnb.models.hub import ADAPTER_FILES, LOG_IN, explain, is_hub_id
from xlnb.models.places import hub_place
from xlnb.runs.card import tuned_card
from xlnb.runs.layout import Run
from xlnb.runs.records import check_whole


def push(run: Run, model: str, to: str, base: str = "") -> str:
    """Upload a model and its card to the Hub's repository `to`, made private where it is new; its
    address. `base`: of an adapter, the Hub id of a base that is a folder here."""
    made_here = [*(["sft"] if run.preset.sft.path else []), *run.models[1:]]
    trained = run.adapter(model) if model != "sft" else None
    changed: dict[str, Any]
    if model == "sft" and run.preset.sft.path:
        files, changed = _checkpoint(run), {"README.md": tuned_card(run)}
    elif trained is not None and trained == run.made_by(model).adapter:
        files, changed = _adapter(run, model), {ADAPTER_FILES[0]: _config(run, trained, base)}
    else:
        raise InputError(
            f"{model} was not trained in this run; push one of {', '.join(made_here)} that was"
        )
    if not is_hub_id(to) or "@" in to:
        raise InputError(f"--to '{to}': expected ORG/NAME")
    if not get_token():
        raise InputError(f"pushing to the Hub needs a token that may write; {LOG_IN}")
    _upload(files, changed, to, f"{run.path.name}: {model}")
    return f"https://huggingface.co/{to}"


def _checkpoint(run: Run) -> list[Path]:
    """The files of the π_I that was made here. Raises InputError where it is not finished."""
    record = run.tuned / "training.json"
    if not record.exists():
        raise InputError(f"{record}: not there; finish stage sft first")
    files = [run.tuned / name for name in checkpoint_files(str(run.tuned))]
    return _whole(run, files)


def _adapter(run: Run, model: str) -> list[Path]:
    """An adapter's files and those beside it. Raises InputError where one is not there."""
    made = run.made_by(model)
    weights = [made.adapter / name for name in ADAPTER_FILES]
    files = [*weights, made.card, made.training_record]
    for file in files:
        if not file.exists():
            raise InputError(f"{file}: not there; finish stage train first")
    _whole(run, weights)
    return files


def _whole(run: Run, files: list[Path]) -> list[Path]:
    try:
        check_whole(run, files)
    except InputError as error:
        raise InputError(f"push {error}") from None
    return files


def _config(run: Run, folder: Path, base: str) -> dict[str, Any]:
    """The adapter's config, its base named by a Hub id. Raises InputError where that is unknown, or
    is what the adapter does not stand on."""
    config = read_json(folder / ADAPTER_FILES[0])
    named = base or config["base_model_name_or_path"]
    if run.preset.sft.path and named in ("", str(run.tuned), run.preset.models.base):
        raise InputError(
            f"{folder / ADAPTER_FILES[0]}: its base is the π_I that this run made, which is not on "
            "the Hub; push that first (--model sft --to ORG/NAME), then this with --base ORG/NAME"
        )
    if not is_hub_id(named):
        raise InputError(
            f"{folder / ADAPTER_FILES[0]}: its base is a folder of this machine; name the base's "
            "Hub id: --base ORG/NAME"
        )
    repo, revision = hub_place(named)
    return config | {"base_model_name_or_path": repo} | revision


def _upload(files: list[Path], changed: Mapping[str, Any], to: str, message: str) -> None:
    """Of `changed` files what stands there is uploaded in place of them; the run stays as it is."""
    api = HfApi()
    try:
        api.create_repo(to, private=True, exist_ok=True)
        with TemporaryDirectory() as copies:
            for file in files:
                shutil.copy(file, copies)
            for name, content in changed.items():
                write = write_text if isinstance(content, str) else write_json
                write(Path(copies) / name, content)
            api.upload_folder(
                repo_id=to,
                folder_path=copies,
                allow_patterns=list(dict.fromkeys([*(file.name for file in files), *changed])),
                commit_message=message,
            )
    except (OSError, ValueError) as error:
        raise InputError(f"{to}: {explain(error, to)}") from None
