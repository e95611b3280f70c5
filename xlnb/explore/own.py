"""Models and prompts of one's own, before a run of them: what a preset with them says, and the
command that runs it. Nothing is loaded."""

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.inputs.parallel_prompts import read_parallel
from xlnb.presets import Preset, get_preset, override, parse_overrides
from xlnb.runs.layout import Run

# Questions of the lab in files, in the place of prompts of one's own.
EXAMPLES = ROOT / "data" / "prompts"


def given(run: Run, mine: str, like: str = "") -> dict[str, str]:
    """Preset keys for one's own models and prompts: what `mine` names, "models.base=FOLDER
    prompts.path=FOLDER". Without models the run's stand in and, where the preset that is begun with
    has no prompts either, the examples."""
    named = parse_overrides(mine)
    stand_in = {}
    if not any(key.startswith("models.") for key in named):
        models, adapter = run.loaded, run.adapter("dpo")
        stand_in = {"models.base": models.base, "models.dpo": models.dpo}
        stand_in["models.dpo_adapter"] = str(adapter or "")
    if "prompts.path" not in named and not _begun_with(run, like).prompts.path:
        stand_in |= {
            "prompts.path": str(EXAMPLES),
            "prompts.langs": ",".join(read_parallel(EXAMPLES)),
        }
    return {key: value for key, value in {**stand_in, **named}.items() if value}


def own_run(run: Run, keys: Mapping[str, str], like: str = "") -> Run:
    """A run that is yet to be made, beside `run`: its preset, or the one called `like`, with these
    keys changed."""
    return Run(run.path.parent / "mine", override(_begun_with(run, like), keys))


def _begun_with(run: Run, like: str) -> Preset:
    return get_preset(like) if like else run.preset


def command(own: Run, keys: Mapping[str, str], like: str = "") -> str:
    """What runs it, a key a line."""
    lines = [f"python -m xlnb run --preset {shlex.quote(like or own.preset.name)} --run runs/mine"]
    lines += [f"-p {shlex.quote(f'{key}={value}')}" for key, value in keys.items()]
    return " \\\n    ".join(map(short, lines))


def refused(folder: Path = EXAMPLES) -> str:
    """What is said of parallel prompts in a folder where the last language lacks its last id."""
    with TemporaryDirectory() as place:
        copy = Path(shutil.copytree(folder, Path(place) / folder.name))
        last = max(copy.glob("*.jsonl"))
        lines = last.read_text(encoding="utf-8").splitlines(keepends=True)
        last.write_text("".join(lines[:-1]), encoding="utf-8")
        try:
            read_parallel(copy)
        except InputError as error:
            return str(error).replace(f"{place}/", "")
    raise InputError(f"{folder}: a missing id was not seen")


def short(text: str) -> str:
    """With paths from the project's root."""
    return text.replace(f"{ROOT}/", "")
