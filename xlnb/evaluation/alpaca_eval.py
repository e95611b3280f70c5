"""AlpacaEval's two forms of file: a model's outputs, and annotations, which are two models' outputs
and what a judge says of them.

In a file a prompt is known by AlpacaEval's `id`; everywhere else it is `prompt_id`. Files of others
need not have what has a default here.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from xlnb.checks.kinds import Check, given_checks
from xlnb.common.columns import Floats
from xlnb.common.errors import InputError
from xlnb.common.files import json_text, whole_file
from xlnb.common.given import given_id, given_number
from xlnb.common.json_list import each_value
from xlnb.common.records import Record

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class AlpacaEvalRecord(Record):
    """A record whose prompt_id is `id` in a file."""

    def to_json(self) -> dict[str, Any]:
        values = super().to_json()
        return {"id" if name == "prompt_id" else name: values[name] for name in values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        # Null is missing, but where a record has to say something.
        given = {
            name: value
            for name, value in values.items()
            if value is not None or name == "preference"
        }
        if "id" in given:
            given["prompt_id"] = str(given["id"])
        return super().from_json(given)


@dataclass(frozen=True, kw_only=True)
class Output(AlpacaEvalRecord):
    """A model's response to an instruction."""

    generator: str | None = None
    dataset: str | None = None
    prompt_id: str | None = None
    # which of the model's responses to the prompt, from 1; None: its only one
    run: int | None = None
    instruction: str
    output: str


@dataclass(frozen=True, kw_only=True)
class Annotation(AlpacaEvalRecord):
    """Two responses to one instruction: the baseline's (1) and the model's (2). A judge is given
    one without a preference, and what it returns is added by `judged`."""

    prompt_id: str = ""
    # which of the model's responses to the prompt, from 1; None: its only one
    run: int | None = None
    # the place of the instruction in AlpacaEval's list
    index: float | None = None
    lang: str = ""
    instruction: str = ""
    output_1: str
    generator_1: str = ""
    output_2: str
    generator_2: str = ""
    annotator: str = ""
    # whether the model's response is in `lang`, by a detector or the judge; None: not known
    in_language_2: bool | None = None
    # what a program can verify of both responses, where the prompt carries such checks
    checks: list[Check] | None = None
    # from 1 (the baseline wins) to 2 (the model wins); None or NaN: not judged
    preference: float | None
    # what else the judge said, by its own names; in a file it stands behind the preference
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """What the comparison is known by while it is judged: the prompt, and which response."""
        return f"{self.prompt_id}#{self.run}" if self.run else self.prompt_id

    def judged(self, answer: Mapping[str, Any]) -> "Annotation":
        """With a judge's answer: `preference`, and whatever explains it."""
        said = {name: value for name, value in answer.items() if name != "preference"}
        in_language = said.get("in_language_2", self.in_language_2)
        preference = answer.get("preference")
        return replace(self, preference=preference, in_language_2=in_language, said=said)

    def to_json(self) -> dict[str, Any]:
        values = super().to_json()
        said = values.pop("said")
        # What the judge itself says of the language stands behind its preference.
        if "in_language_2" in said:
            values.pop("in_language_2", None)
        return values | said

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        names = list(values)
        behind = names[names.index("preference") + 1 :]
        said = {name: values[name] for name in behind}
        return super().from_json({**values, "said": said})


def preference_of(model: ArrayLike, baseline: ArrayLike) -> Floats:
    """Preferences from two scores, or arrays of them: 2 where the model's is the higher, 1 where it
    is the lower, 1.5 for a tie; NaN where one is."""
    return 1.5 + 0.5 * np.sign(np.subtract(model, baseline))


def write_records(path: Path, records: Iterable[AlpacaEvalRecord]) -> None:
    """A JSON list, as `write_json` writes it, record by record."""
    with whole_file(path) as file:
        before = "[\n"
        for record in records:
            # Without the list's own brackets.
            file.write(before + json_text([record.to_json()], indent=1)[2:-2])
            before = ",\n"
        file.write("[]\n" if before == "[\n" else "\n]\n")


def read_outputs(path: Path) -> list[Output]:
    """Raises InputError naming file and record."""
    outputs = []
    for where, values in _objects(path, "records with instruction and output"):
        texts = [values.get("instruction"), values.get("output")]
        if not all(isinstance(text, str) for text in texts):
            raise InputError(f"{where}: expected a JSON object with instruction and output")
        outputs.append(_record(Output, where, values))
    return outputs


def each_annotation(path: Path) -> Iterator[Annotation]:
    """One after the other: they may be more than memory holds. Raises InputError naming file and
    record; what is wrong with preferences, which are on one scale in a file, at the end."""
    preferences = Preferences(path)
    for where, values in _objects(path, "annotations with output_1, output_2 and preference"):
        for name in ("output_1", "output_2"):
            if not isinstance(values.get(name), str):
                raise InputError(f"{where}: {name} is missing or not text")
        if "preference" not in values:
            raise InputError(
                f"{where}: preference is missing; expected 1 to 2, or null where not judged"
            )
        checked = {**values, "preference": preferences.read(where, values["preference"])}
        if values.get("index") is not None:
            checked["index"] = given_number(where, "index", values["index"])
        if "checks" in values:
            checked["checks"] = given_checks(where, values["checks"], str(values.get("lang", "")))
        yield _record(Annotation, where, checked)
    preferences.check()


def _record(kind: type[R], where: str, values: Mapping[str, Any]) -> R:
    try:
        return kind.from_json(values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _objects(path: Path, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON list, each with where it stands. There is at least one."""
    for number, value in enumerate(each_value(path, what)):
        where = f"{path}, record {number}"
        if not isinstance(value, dict):
            raise InputError(f"{where}: expected a JSON object, found {type(value).__name__}")
        if "id" in value:
            value["id"] = given_id(where, "id", value["id"])
        yield where, value


class Preferences:
    """The preferences of a file, on whose scale they are all together: in [1, 2], None for one that
    was not judged (null, empty or NaN), 0 for a tie, as of AlpacaEval's older annotators."""

    def __init__(self, path: Path):
        self._path = path
        self._least = math.inf
        self._most = -math.inf
        # Of the first one off the scale.
        self._wrong = ""

    def read(self, where: str, value: Any) -> float | None:
        """A preference, given with where it stands. Raises InputError for what is no number."""
        if isinstance(value, bool):
            raise InputError(
                f"{where}: preference is {value}, expected 1 (baseline wins) to 2 (model wins); "
                "write 2 for true and 1 for false, where true means that the model wins"
            )
        if value is None or str(value).strip().lower() in ("", "nan"):
            return None
        preference = given_number(where, "preference", value)
        self._least = min(self._least, preference)
        self._most = max(self._most, preference)
        if preference and not 1 <= preference <= 2 and not self._wrong:
            self._wrong = f"{where}: preference is {preference:g}"
        return 1.5 if preference == 0 else preference

    def check(self) -> None:
        """Raises InputError where one of them is off the scale, and for a file on a scale from 0 to
        1, which would have all its wins read as losses."""
        if 0 <= self._least < 1 and self._most <= 1:
            raise InputError(
                f"{self._path}: every preference is from 0 to 1, expected 1 (baseline wins) to 2 "
                "(model wins); where 1 means that the model wins, add 1 to each"
            )
        if self._wrong:
            raise InputError(f"{self._wrong}, expected 1 (baseline wins) to 2 (model wins)")
