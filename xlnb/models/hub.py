"""The Hugging Face Hub: adapters from it, and what its errors mean."""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from huggingface_hub import get_token, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from xlnb.common.errors import InputError
from xlnb.models.places import hub_place

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

LOG_IN = "log in by `hf auth login` or set HF_TOKEN"


@cache
def adapter_folder(name: str) -> Path:
    """A folder with an adapter: `name` itself, or where the adapter of that Hub id was downloaded
    to."""
    if Path(name).is_dir() or not is_hub_id(name):
        return Path(name)
    repo, revision = hub_place(name)
    try:
        return Path(snapshot_download(repo, **revision, allow_patterns=list(ADAPTER_FILES)))
    except (OSError, ValueError) as error:
        raise InputError(f"adapter {name}: {explain(error, name)}") from None


def is_hub_id(name: str) -> bool:
    """Whether it reads as ORG/NAME or ORG/NAME@REVISION."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", name) is not None


def explain(error: BaseException, name: str) -> str:
    """Why `name` could not be loaded and what to do about it, in one line."""
    for cause in _causes(error):
        if isinstance(cause, GatedRepoError):
            token = "with the account of your token" if get_token() else f"then {LOG_IN}"
            return f"a gated model; accept its licence at https://huggingface.co/{name}, {token}"
        if isinstance(cause, RevisionNotFoundError):
            return (
                "the Hub has no such revision of it; name a branch, a tag or a commit behind the @"
            )
        if isinstance(cause, RepositoryNotFoundError | HFValidationError):
            return f"neither a folder here nor on the Hub; check the name{_private()}"
        if isinstance(cause, OfflineModeIsEnabled | LocalEntryNotFoundError | ConnectionError):
            offline = "the Hub cannot be reached"
            if os.environ.get("HF_HUB_OFFLINE"):
                offline = "HF_HUB_OFFLINE is set"
            return (
                f"no folder here, not in the Hub's cache, and {offline}; name a folder, or first "
                f"run `hf download {name}` where there is a network"
            )
        if isinstance(cause, HfHubHTTPError) and cause.response.status_code in (401, 403):
            return f"the Hub refused access{_private()}"
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _private() -> str:
    if get_token():
        return ", or, if it is private, whether your token may see it"
    return f"; for a private one {LOG_IN}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from: transformers wraps the Hub's errors in OSError."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
