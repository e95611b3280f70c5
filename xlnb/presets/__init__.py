"""Presets: every number a run depends on, its bounds and its meaning.

`-p training.lr=5e-5` changes one by its dotted key, `--preset mine.yaml` reads a preset of one's
own. `pages` says what a preset holds, `named` has the kit's own presets.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.presets.files import dotted, read_yaml
from xlnb.presets.named import LAB, PRESETS
from xlnb.presets.overrides import override, parse_overrides
from xlnb.presets.pages import (
    SFT,
    Comparer,
    Evaluation,
    Lab,
    Localise,
    Models,
    Pairing,
    Preferences,
    Preset,
    Prompts,
    Sampling,
    Scoring,
    Training,
)
from xlnb.presets.values import in_use


def get_preset(name: str, overrides: Mapping[str, object] | None = None) -> Preset:
    """The preset of that name or YAML file, with dotted overrides as {"training.lr": 5e-5}.

    Raises InputError for an unknown preset, for a file that is none, and as `override`.
    """
    preset = _from_file(Path(name)) if name.endswith((".yaml", ".yml")) else _named(name)
    return override(preset, overrides or {})


def _named(name: str) -> Preset:
    if name not in PRESETS:
        raise InputError(
            f"unknown preset '{name}'; known: {', '.join(PRESETS)}, or a file as mine.yaml"
        )
    return PRESETS[name]


def _from_file(path: Path) -> Preset:
    """A preset of one's own. `base` names the one it starts from; its own name is the file's."""
    text = read_yaml(path)
    try:
        values = dotted(text)
        if path.stem in PRESETS:
            raise InputError("a preset has that name; rename the file")
        if "name" in values:
            raise InputError("name: the file's name is the preset's; leave it out")
        base = _named(str(values.pop("base", "lab")))
        return override(base, {**values, "name": path.stem})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def preset_from_dict(values: Mapping[str, object]) -> Preset:
    """The inverse of `dataclasses.asdict`. Raises InputError as `override`, and where values are
    missing that no preset of that name has; options may be."""
    given = dotted(values)
    base = PRESETS.get(str(values["name"]))
    if base is None:
        # of a preset of one's own, whose file need not be there any more
        base = Preset(name="")
        missing = dotted(in_use(base)).keys() - given.keys()
        if missing:
            raise InputError(f"preset '{values['name']}' is incomplete: no {min(missing)}")
    return override(base, given)


def to_json(preset: Preset) -> str:
    return json.dumps(asdict(preset), indent=2)
