"""What crosses from one step to the next: frozen records, each with one form in a file.

`read_records` and `write_records` are the only way between a record and a line of JSON. One thing
has one name from file to figure: `prompt_id`, `lang`, `instruction`, `responses`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from xlnb.common.errors import InputError
from xlnb.common.files import read_numbered_jsonl, write_jsonl
from xlnb.common.given import shown


@dataclass(frozen=True)
class Record:
    """Reads itself from a JSON object and writes itself as one. A field that is None by default is
    left out of the file where it is None."""

    def to_json(self) -> dict[str, Any]:
        """Not by `asdict`, which copies every token id: it takes seven times as long."""
        optional = {field.name for field in fields(self) if field.default is None}
        return {
            name: value
            for name, value in vars(self).items()
            if not (value is None and name in optional)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Raises InputError for a key that is missing, and for a value of another type than its
        field's. Keys that are no fields are left alone."""
        given = {}
        found = _fields(cls)  # type: ignore[arg-type]
        for name, (needed, kind) in found.items():
            if name in values:
                given[name] = values[name]
                try:
                    kind.validate_python(values[name], strict=True)
                except ValidationError as error:
                    raise InputError(f"key '{name}' of {cls.__name__}: {_why(error)}") from None
            elif needed:
                raise InputError(f"key '{name}' of {cls.__name__} is missing")
        return cls(**given)


@cache
def _fields(cls: type[Record]) -> dict[str, tuple[bool, TypeAdapter]]:
    """Of every field whether it must be given, and its type."""
    kinds = get_type_hints(cls)
    found = {}
    for field in fields(cls):
        needed = field.default is MISSING and field.default_factory is MISSING
        found[field.name] = (needed, TypeAdapter(kinds[field.name]))
    return found


def _why(error: ValidationError) -> str:
    """What is wrong first, as "[3]: Input should be a valid string, got 7"."""
    first = error.errors()[0]
    place = "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
    return f"{place and place + ': '}{first['msg']}, got {shown(first['input'])}"


@dataclass(frozen=True)
class Prompt(Record):
    """An instruction in one language; `prompt_id` is the same in all of them."""

    prompt_id: str
    lang: str
    instruction: str
    # train, reward (held out, to compare rewards with the truth) or eval
    split: str
    # what a program can verify of a response: `xlnb.checks.kinds`
    checks: list[dict[str, Any]] | None = None
    # a given response, one more candidate beside those that are sampled (`prompts.references`)
    reference: str | None = None


@dataclass(frozen=True)
class Response(Record):
    """What a model said, as sampled. A control token that it sampled inside of it, as small models
    do now and then, stays among the ids, which are scored and trained on, and is no text."""

    # the ids decoded, without control tokens and without white space at its ends
    text: str
    # with the end-of-turn token where the response ended by itself
    token_ids: list[int]
    # stop, or length: cut off at the most tokens allowed
    finish_reason: str
    # what was thought aloud before `text`; its tokens are among `token_ids`, which therefore are
    # neither scored nor trained on
    thinking: str | None = None

    @property
    def ended(self) -> bool:
        return self.finish_reason == "stop"


@dataclass(frozen=True)
class Sample(Record):
    """A prompt and the responses sampled for it."""

    prompt_id: str
    lang: str
    split: str
    instruction: str
    responses: list[Response]

    def to_json(self) -> dict[str, Any]:
        responses = [response.to_json() for response in self.responses]
        return {**super().to_json(), "responses": responses}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        responses = [Response.from_json(response) for response in values["responses"]]
        return super().from_json({**values, "responses": responses})


# What knows the truth: the points of each of a prompt's responses.
Truth = Callable[[Sample], list[float]]


@dataclass(frozen=True)
class Logps(Record):
    """Log-probabilities, in nats, of a prompt's responses under a policy and its reference, as one
    scorer's prompt has them read. A value a response; None for one that could not be scored."""

    prompt_id: str
    lang: str
    split: str
    policy_logps: list[float | None]
    ref_logps: list[float | None]
    n_tokens: list[int | None]
    # why a response has none (of a translated response: its translation failed)
    failures: list[str | None] | None = None
    # nats of every token, where `scoring.keep_tokens` asks for them
    policy_token_logps: list[list[float] | None] | None = None
    ref_token_logps: list[list[float] | None] | None = None


@dataclass(frozen=True)
class Comparisons(Record):
    """How a comparer (`xlnb.comparing`) compared a prompt's responses, two at a time."""

    prompt_id: str
    lang: str
    split: str
    # a row a response: the probability that it is better where it is shown first, before each other
    # one; None where these two were not compared
    p_first: list[list[float | None]]
    # why a response was not compared with any
    failures: list[str | None] | None = None


@dataclass(frozen=True)
class Score(Record):
    """Every score asked for of a prompt's responses, by the score's name: rewards in β nats."""

    prompt_id: str
    lang: str
    split: str
    n_chars: list[int]
    scores: dict[str, list[float | None]]
    # by the score's name, as in `Logps`; only scores with failures are there
    failures: dict[str, list[str | None]] | None = None


@dataclass(frozen=True)
class Pair(Record):
    """A preference: to `instruction` the response `chosen` is better than `rejected`.

    In a file it has TRL's conversational form, so that `datasets` loads it straight into a trainer.
    `chosen_ids` and `rejected_ids` are the tokens that were sampled and scored, where there are.
    """

    prompt_id: str
    lang: str
    instruction: str
    chosen: str
    rejected: str
    score_chosen: float | None = None
    score_rejected: float | None = None
    margin: float | None = None
    chosen_ids: list[int] | None = None
    rejected_ids: list[int] | None = None

    ROLES: ClassVar = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}

    def to_json(self) -> dict[str, Any]:
        values = dict(vars(self))
        values["prompt"] = values.pop("instruction")
        for name, role in self.ROLES.items():
            values[name] = [{"role": role, "content": values[name]}]
        order = ("prompt_id", "lang", *self.ROLES, "score_chosen", "score_rejected", "margin")
        ids = {name: values[name] for name in ("chosen_ids", "rejected_ids") if values[name]}
        return {name: values[name] for name in order} | ids

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        texts = {}
        for name, role in cls.ROLES.items():
            texts[name] = values[name][0]["content"]
            if values[name] != [{"role": role, "content": texts[name]}]:
                raise InputError(f"key '{name}' of Pair: expected one message of role {role}")
        texts["instruction"] = texts.pop("prompt")
        return super().from_json({**values, **texts})


R = TypeVar("R", bound=Record)


def read_records(path: Path, kind: type[R]) -> list[R]:
    """The records of a JSON Lines file. Raises InputError naming file and line."""
    return list(each_record(path, kind))


def each_record(path: Path, kind: type[R]) -> Iterator[R]:
    """As `read_records`, one after the other: they may be more than memory holds."""
    for number, values in read_numbered_jsonl(path):
        try:
            yield kind.from_json(values)
        except (InputError, KeyError, TypeError, IndexError) as error:
            why = f"{error}" if isinstance(error, InputError) else f"no {kind.__name__} ({error})"
            raise InputError(f"{path}, line {number}: {why}; make the file again") from None


def write_records(path: Path, records: Iterable[Record]) -> None:
    write_jsonl(path, (record.to_json() for record in records))
