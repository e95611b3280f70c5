"""Where prompts and preferences come from: one table of rows after the other, whatever holds it.

A preset names a source in one text, WHERE[,OURS=THEIRS…]. WHERE is a folder, a file (.jsonl, .json
with a list, .csv with a header) or a dataset, hub:ORG/NAME[/CONFIGURATION][:SPLIT][@REVISION],
whose split is `train` unless named; or xquad:FOLDER[:PART], questions with known answers.
OURS=THEIRS says which column of theirs holds what is ours, such as instruction_id=prompt_id.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.text import shorten
from xlnb.inputs.files import FILE, Folder
from xlnb.inputs.hub import Hub
from xlnb.inputs.reader import Reader, Row, Source
from xlnb.inputs.xquad import XQuAD

# The first that handles a source reads it. Your own goes before the last, which handles any.
READERS: list[Reader] = [
    Hub(),
    XQuAD(),
    Folder(),
    FILE,
]

_NOTATION = re.compile(r"(?P<where>.+?)(?P<columns>(,\w+=[^,=]+)*)", re.DOTALL)


def parse_source(text: str) -> Source:
    """WHERE[,OURS=THEIRS…] as a Source. Raises InputError for a column named twice."""
    found = _NOTATION.fullmatch(text)
    assert found, "any text but the empty one matches"
    columns: dict[str, str] = {}
    for part in found["columns"].split(",")[1:]:
        ours, theirs = part.split("=")
        if ours in columns:
            raise InputError(f"{text}: a column is named twice")
        columns[ours] = theirs.strip()
    where = found["where"]
    return Source(where, columns, next(reader for reader in READERS if reader.handles(where)))


def read_rows(source: Source, needed: Collection[str]) -> Iterator[Row]:
    """The rows of a source. A dataset's have no other columns than `needed` and those that
    `columns` names.

    Columns keep their own names, and those named get ours beside them. Raises InputError naming
    file and line (or record, row), or the dataset and what to do, for what cannot be read, and
    where there is no row.
    """
    empty = True
    for where, row in source.reader.rows(source, needed):
        ours = {}
        for name, theirs in source.columns.items():
            if theirs not in row:
                found = shorten(", ".join(row), 200) or "nothing"
                raise InputError(f"{where}: no column '{theirs}'; found: {found}")
            ours[name] = row[theirs]
        empty = False
        yield where, row | ours
    if empty:
        raise InputError(
            f"{source.where} holds no prompts or preferences: there is not one row in it"
        )


def source_files(source: Source) -> list[Path]:
    """The files behind a source, whose content a stage depends on."""
    return source.reader.files(source)


def source_versions(sources: Sequence[Source]) -> dict[str, Any]:
    """The versions of what is in no file here, for a stage's key: {"datasets": {where: version}},
    of a dataset on the Hub its commit; {} without any."""
    found = {}
    for source in sources:
        version = source.reader.version(source)
        if version:
            found[source.where] = version
    return {"datasets": found} if found else {}
