"""A grid of presets: every combination of some keys' values, each with a folder's name."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

from xlnb.common.errors import InputError
from xlnb.presets.overrides import override, parse_overrides
from xlnb.presets.pages import Preset

# The values of each key, in their order.
Axes = dict[str, list[str]]

# Keys whose values are lists, with commas between.
LISTS = {
    "prompts.langs",
    "prompts.path",
    "prompts.eval_path",
    "prompts.checks",
    "localise.langs",
    "preferences.path",
    "sft.path",
    "scoring.scorers",
    "pairing.langs",
}

# Of a range.
MOST = 10_000

# What a file system takes.
LONGEST = 200


@dataclass(frozen=True)
class Point:
    """One combination."""

    # of the grid's keys alone
    values: dict[str, str]
    preset: Preset

    @property
    def name(self) -> str:
        parts = [f"{key}={value}" for key, value in self.values.items()]
        return re.sub(r"[^\w.=+-]", "-", "__".join(parts))


def parse_axes(items: Iterable[str]) -> Axes:
    """["training.lr=1e-4,2e-4", "seed=0..4"] as the values of each key, `seed` last: so that points
    that follow each other have least in common. Values that hold commas have a semicolon between
    them, and a last one where there is one value: "prompts.langs=en,es;en,de".

    Raises InputError for a key without values or given twice, and for one of `LISTS` of which it is
    not plain whether its commas stand between values or inside one.
    """
    axes: Axes = {}
    for item in items:
        ((key, text),) = parse_overrides([item]).items()
        if key in axes:
            raise InputError(f"{key} is given twice; put all of its values into one list")
        parts = text.removesuffix(";").split(";") if ";" in text else text.split(",")
        if key in LISTS and len(parts) > 1 and ";" not in text:
            raise InputError(
                f"{key}: a value may hold commas itself; put semicolons between values, as "
                f"'{key}={';'.join(parts)}', or one behind a single value, as '{key}={text};'"
            )
        axes[key] = []
        for part in parts:
            axes[key] += _values(key, part.strip())
    if not axes:
        raise InputError("no key to vary; name one, such as training.lr=1e-4,2e-4 or seed=0..4")
    if "seed" in axes:
        axes["seed"] = axes.pop("seed")
    return axes


def _values(key: str, text: str) -> list[str]:
    """What an entry of a key's list means: itself, or all integers of a range."""
    ends = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", text)
    found = [text] if text else []
    if ends:
        numbers = range(int(ends[1]), int(ends[2]) + 1)
        if len(numbers[: MOST + 1]) > MOST:
            raise InputError(f"{key}: {text} holds more than {MOST:,} values; name fewer")
        found = [str(number) for number in numbers]
    if not found:
        raise InputError(f"{key}: '{text}' holds no value; give some, as {key}=1,2 or {key}=0..4")
    return found


def grid(preset: Preset, axes: Axes, fixed: Mapping[str, str]) -> list[Point]:
    """All points. `fixed`: overrides of every one. Raises InputError as `override`, and where two
    points would be one."""
    for key in axes:
        if key in fixed:
            raise InputError(f"{key} is given twice, as a list and with -p; leave one out")
    points: dict[str, Point] = {}
    presets: list[Preset] = []
    for chosen in product(*axes.values()):
        values = dict(zip(axes, chosen, strict=True))
        point = Point(values, override(preset, {**fixed, **values}))
        name = point.name
        if name in points or point.preset in presets:
            raise InputError(f"two points are {name}; leave one of the equal values out")
        if len(name) > LONGEST:
            raise InputError(f"{name}: longer than {LONGEST} characters; vary fewer keys at once")
        points[name] = point
        presets.append(point.preset)
    return list(points.values())
