"""Records appended as they are made, so that a killed command loses and repeats nothing."""

import glob
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from xlnb.common import interruption, processes
from xlnb.common.errors import InputError
from xlnb.common.files import (
    aside,
    json_text,
    named_errors,
    read_numbered_jsonl,
    write_jsonl,
)

# Damaged lines whose numbers are shown.
SHOWN = 5


class Journal:
    """Records appended to `<path>.part`; `finish` writes `path` whole. Each has a "prompt_id".

    A line is a record and its checksum. A line torn by a kill is dropped when the journal is opened
    again, one that was damaged is named, and their records are made anew. Of several processes each
    appends to a part of its own, `<path>.<rank>.part` beside the main one's, and reads them all, so
    that any number of processes takes up what another number left. Records lie on the disk alone:
    they may be more than memory holds.
    """

    def __init__(self, path: Path):
        self.path = path
        rank = "" if processes.is_main() else f".{processes.rank()}"
        self.part = path.with_name(f"{path.name}{rank}.part")
        with named_errors(self.part):
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.part.exists():
                _drop_torn(self.part)
        # the prompt ids of the records
        self.done: set[str] = set()
        for part in self._parts():
            damaged: list[int] = []
            self.done.update(record["prompt_id"] for record, _ in _each(part, damaged))
            if damaged and processes.is_main():
                _say(part, damaged)

    def records(self) -> Iterator[dict]:
        """The records of all parts, one after the other."""
        for part in self._parts():
            for record, _ in _each(part, []):
                yield record

    def append(self, records: Iterable[dict]) -> None:
        ids = []
        with named_errors(self.part), self.part.open("a", encoding="utf-8") as file:
            for record in records:
                file.write(_line(record))
                ids.append(record["prompt_id"])
            file.flush()
            os.fsync(file.fileno())
        self.done.update(ids)
        interruption.go_on()

    def finish(self, order: Sequence[str]) -> None:
        """Write the records of all parts in the order of these prompt ids and drop the parts.

        For the main process, once all have made theirs.
        """
        parts = self._parts()
        # of each record its part, and where it stands there
        places: dict[str, tuple[Path, int]] = {}
        for part in parts:
            for record, start in _each(part, []):
                places[record["prompt_id"]] = (part, start)
        write_jsonl(self.path, _in_order([places[prompt_id] for prompt_id in order]))
        for part in parts:
            part.unlink()

    def _parts(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{glob.escape(self.path.name)}.*part"))


def is_finished(path: Path, order: Sequence[str]) -> bool:
    """Whether a journal's file is there with a record for each of these prompt ids. One that holds
    anything else is said and set aside, to be made again."""
    if not path.exists():
        return False
    try:
        found = [record["prompt_id"] for _, record in read_numbered_jsonl(path)]
    except (InputError, KeyError):
        found = []
    if found == list(order):
        return True
    if processes.is_main():
        kept = aside(path)
        print(f"{path}: damaged or cut; made again, kept as {kept.name}", flush=True)
        path.rename(kept)
    return False


def _line(record: dict) -> str:
    text = json_text(record)
    return f"{text} {zlib.crc32(text.encode()):08x}\n"


def _drop_torn(part: Path) -> None:
    """Cut off what stands behind the last line end."""
    with part.open("r+b") as file:
        whole = 0
        for line in file:
            whole += len(line) if line.endswith(b"\n") else 0
        file.truncate(whole)


def _each(part: Path, damaged: list[int]) -> Iterator[tuple[dict, int]]:
    """The records of a part, each with where its line begins. To `damaged` it adds the numbers of
    lines that are; one that another process is writing is none."""
    start = 0
    with named_errors(part), part.open("rb") as file:
        for number, line in enumerate(file, 1):
            record = _record(line)
            if record is not None:
                yield record, start
            elif line.endswith(b"\n"):
                damaged.append(number)
            start += len(line)


def _record(line: bytes) -> dict | None:
    """The record of a line; None where that is torn or damaged."""
    text, _, checksum = line.rpartition(b" ")
    if not text or checksum != b"%08x\n" % zlib.crc32(text):
        return None
    record: dict = json.loads(text)
    return record


def _in_order(places: Iterable[tuple[Path, int]]) -> Iterator[dict]:
    """The records that stand at these places of parts."""
    files: dict[Path, BinaryIO] = {}
    with ExitStack() as opened:
        for part, start in places:
            if part not in files:
                files[part] = opened.enter_context(part.open("rb"))
            files[part].seek(start)
            record = _record(files[part].readline())
            assert record is not None, "it was whole a moment ago"
            yield record


def _say(part: Path, damaged: list[int]) -> None:
    numbers = ", ".join(f"{number}" for number in damaged[:SHOWN])
    more = f" and {len(damaged) - SHOWN} more" if len(damaged) > SHOWN else ""
    lines = "lines" if len(damaged) > 1 else "line"
    print(
        f"{part}, {lines} {numbers}{more}: damaged; what is whole is kept and the rest made again",
        flush=True,
    )
