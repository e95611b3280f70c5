"""What the values of a page may be, and which of them are options.

An option came after the stages that read it and is off by default: a run is then what it was
before there was the option, and so is what stages remember of it.
"""

import re
from dataclasses import field, fields, is_dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

# True is no number, 1.5 no whole one, and nan and inf are refused.
STRICT = ConfigDict(strict=True, allow_inf_nan=False)

AtLeast0 = Annotated[int, Field(ge=0)]
AtLeast1 = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Above0 = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
# more than one half would be the opposite opinion
Doubt = Annotated[float, Field(ge=0, le=0.5)]


def option(off: Any) -> Any:
    """The default of a field that is an option."""
    return field(default=off, metadata={"off": off})


def in_use(page: Any) -> dict[str, Any]:
    """A page's values, pages inside it included, without the options that are off."""
    found = {}
    for each in fields(page):
        value = getattr(page, each.name)
        if is_dataclass(value):
            found[each.name] = in_use(value)
        elif "off" not in each.metadata or value != each.metadata["off"]:
            found[each.name] = value
    return found


def _scorers(names: str) -> str:
    found = [name.strip() for name in names.split(",")]
    if "" in found or len(set(found)) < len(found):
        raise ValueError("names with commas between, each once")
    return names


def _judge(name: str) -> str:
    # Which judges there are is known where a run is opened.
    kind, colon, model = name.partition(":")
    if not kind or (colon and not model):
        raise ValueError(
            "a judge, such as oracle, verifiable, endpoint:MODEL or local:FOLDER_OR_HUB_ID"
        )
    return name


def _translator(name: str) -> str:
    kind, _, model = name.partition(":")
    if name and not (kind in ("endpoint", "local", "seq2seq") and model):
        raise ValueError(
            "endpoint:MODEL, local:FOLDER_OR_HUB_ID, seq2seq:FOLDER_OR_HUB_ID or nothing for π_I"
        )
    return name


def _model_here(name: str) -> str:
    kind, _, model = name.partition(":")
    if name and not (kind in ("local", "seq2seq") and model):
        raise ValueError("local:FOLDER_OR_HUB_ID, seq2seq:FOLDER_OR_HUB_ID or nothing for π_I")
    return name


def layer_numbers(text: str) -> list[int] | None:
    """The layers that "0-2+5" names, 0, 1, 2 and 5; None for "all". Raises ValueError for other
    texts."""
    if text == "all":
        return None
    found: list[int] = []
    for part in text.split("+"):
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not ends:
            raise ValueError("all, or layers from 0 as 0-3 or 0+2+5")
        found += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    if not found or len(set(found)) < len(found):
        raise ValueError("layers from 0, ranges upwards, each once, as 0-3 or 0+2+5")
    return found


def _layers(text: str) -> str:
    layer_numbers(text)
    return text


def template_values(text: str) -> dict[str, bool | int | str]:
    """Names and values of "enable_thinking=false,effort=low"; true, false and whole numbers are
    such. Raises ValueError for other texts."""
    found: dict[str, bool | int | str] = {}
    for part in text.split(",") if text else []:
        name, equals, value = (each.strip() for each in part.partition("="))
        if not (name.isidentifier() and equals and value) or name in found:
            raise ValueError("name=value with commas between, each once, as enable_thinking=false")
        known: dict[str, bool | int] = {"true": True, "false": False}
        found[name] = known.get(value.lower(), int(value) if value.isdecimal() else value)
    return found


def _template_values(text: str) -> str:
    template_values(text)
    return text


Layers = Annotated[str, AfterValidator(_layers)]
Scorers = Annotated[str, AfterValidator(_scorers)]
Judge = Annotated[str, AfterValidator(_judge)]
TemplateValues = Annotated[str, AfterValidator(_template_values)]
Translator = Annotated[str, AfterValidator(_translator)]
ModelHere = Annotated[str, AfterValidator(_model_here)]
