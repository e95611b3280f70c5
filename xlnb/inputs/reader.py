"""What a source of prompts or preferences is, and what reads one.

A new kind of source is a `Reader` in a file of its own, and its line in `xlnb.inputs.sources`.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.text import shorten

# In the place of a name, where what is named lies here.
HERE = "(files)"

# where it stands ("prompts.csv, line 7"), and what it holds
Row = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Source:
    """What a preset's text names: `where` it is, and `columns`, our names of columns to theirs."""

    where: str
    columns: Mapping[str, str]
    reader: "Reader"

    @property
    def name(self) -> str:
        """What its data set is called."""
        return self.reader.name(self.where)

    @property
    def text(self) -> str:
        """As a preset names it."""
        return ",".join(
            [self.where, *(f"{ours}={theirs}" for ours, theirs in self.columns.items())]
        )


class Reader(ABC):
    """Reads one kind of source."""

    # what follows a language's code in the error that its prompts are not there, as " ({lang}.csv)"
    expected = ""

    @abstractmethod
    def handles(self, where: str) -> bool:
        """Whether `where` names a source of this kind."""

    @abstractmethod
    def rows(self, source: Source, needed: Collection[str]) -> Iterator[Row]:
        """The rows of one table, with at least those of the columns `needed`, and of
        `source.columns`' theirs, that it has. Raises InputError for what cannot be read."""

    def languages(
        self, source: Source, called: Mapping[str, str], langs: Sequence[str]
    ) -> dict[str, Source] | None:
        """The table of each language, of at least those of `langs` (none: of all) that are there;
        None where all languages are in one table. `called`: what the source calls them."""
        return None

    def files(self, source: Source) -> list[Path]:
        """The files whose content a stage depends on."""
        return []

    def version(self, source: Source) -> str:
        """What tells one state of the source from another, where `files` does not."""
        return ""

    def known_as(self, where: str) -> str:
        """`where` without the place of what lies here, whose content counts."""
        return HERE if Path(where).exists() else where

    def name(self, where: str) -> str:
        """What its data set is called, in AlpacaEval's outputs."""
        return where.rpartition(":")[2]

    def table(self, where: str) -> str:
        """What the ids of rows without one begin with."""
        return self.name(where)


def missing_key(where: str, key: str, row: Mapping[str, Any], expected: str) -> InputError:
    """The error of a row without a key, which shows those that it has (of a dataset: of those that
    are read)."""
    found = shorten(", ".join(row), 200) or "none of these"
    return InputError(f"{where}: key '{key}' is missing; expected {expected}; found: {found}")
