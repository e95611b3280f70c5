""""""

import json
import shutil
from pathlib import Path
from typing import Any

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import existing_folder, read_json, write_text
from xlnb.models.hub import is_hub_id
from xlnb.presets import get_preset, override, preset_from_dict, to_json
from xlnb.runs.layout import Run
from xlnb.runs.lock import held
from xlnb.runs.provenance import environment, versions

MIN_FREE = (
    256 * 2**20
)  # bytes of disk that a run must find: adapters, checkpoints and samples of the lab fit well


def open_run(path: str | Path, preset: str = "", overrides: dict[str, Any] | None = None) -> Run:
    """Open a run folder, making it where it is new.

    Without `preset`, the folder's own `preset.json` is used, with `overrides` on top. A changed preset does not
    undo anything here: each stage finds out by itself whether what it made is still current.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, not a run folder; name a folder")
    record = path / "preset.json"
    if preset:
        resolved = get_preset(preset, overrides)
    elif record.exists():
        saved = read_json(record)
        if not isinstance(saved, dict) or "name" not in (saved.get("preset") or {}):
            raise InputError(f"{record}: holds no preset; name one to start again in this folder")
        resolved = override(preset_from_dict(saved["preset"]), overrides or {})
    else:
        raise InputError(
            f"{path} is not a run folder (it has no preset.json); name a preset to start one"
        )
    if resolved.models.dpo and resolved.models.dpo_adapter:
        raise InputError("models.dpo and models.dpo_adapter both name π^0; give one of them")
    given = resolved.models.dpo_adapter
    if given and not is_hub_id(given) and not Path(given).is_dir():
        raise InputError(
            f"models.dpo_adapter {given}: neither a folder here nor ORG/NAME on the Hub; mend the name"
        )
    baseline = resolved.evaluation.baseline
    if "{lang}" not in baseline and baseline not in Run(path, resolved).models:
        raise InputError(
            f"evaluation.baseline '{baseline}': expected {', '.join(Run(path, resolved).models)}, or files as "
            "FOLDER/{lang}/NAME.json"
        )
    free = shutil.disk_usage(existing_folder(path)).free
    if free < MIN_FREE:
        raise InputError(
            f"{path}: only {free / 2**20:.0f} MiB of disk are free, a run needs {MIN_FREE / 2**20:.0f}; free some"
        )
    wanted = {"preset": json.loads(to_json(resolved)), "versions": versions()}
    # Reading a run with a later revision, or on another machine, leaves the record of what made it as it is.
    known = record.exists() and {name: read_json(record).get(name) for name in wanted} == wanted
    if not known and processes.is_main():
        with held(path):  # a command at work here goes by the record that there is
            write_text(
                record, json.dumps({"preset": wanted["preset"], **environment()}, indent=2) + "\n"
            )
    return Run(path, resolved)
