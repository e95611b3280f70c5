"""Where a checkpoint lies that a preset names: a folder, a GGUF file, or a Hub id, which may end in
@REVISION."""

from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import ROOT


def base_path(base: str) -> str:
    """The folder or GGUF file that a preset names as a base (a relative one also from the project's
    root), else the Hub id that it is."""
    return _here(base) or base


def template_path(name: str) -> Path:
    """The file of `models.chat_template`, found as a base is."""
    found = Path(_here(name))
    if not found.is_file():
        raise InputError(f"models.chat_template {name}: no such file; name a Jinja file")
    return found


def hub_place(name: str) -> tuple[str, dict[str, Any]]:
    """ORG/NAME of ORG/NAME[@REVISION], and {"revision": its branch, tag or commit} where it has
    one. A folder that is called so is itself."""
    repo, at, revision = name.partition("@")
    return (repo, {"revision": revision}) if at and not is_here(name) else (name, {})


def is_gguf(base: str) -> bool:
    """Whether it reads as a GGUF file's name."""
    return base.lower().endswith(".gguf")


def is_here(base: str) -> bool:
    """Whether a base is a folder or a file of this machine."""
    return bool(_here(base))


def _here(name: str) -> str:
    for path in (ROOT / name, Path(name)) if name else ():
        if path.is_dir() or path.is_file():
            return str(path)
    return ""
