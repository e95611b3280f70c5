"""Records appended as they are made, so that a killed command loses and repeats nothing."""

import glob
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from xlnb.common import interruption, processes
from xlnb.common.errors import InputError
from xlnb.common.files import (
    aside,
    json_text,
    named_errors,
    read_jsonl,
    whole_lines,
    write_jsonl,
)

# Damaged lines whose numbers are shown.
SHOWN = 5


class Journal:
    """Records appended to `<path>.part`; `finish` writes `path` whole. Each has a "prompt_id".

    A line is a record and its checksum. A line torn by a kill is dropped when the journal is opened
    again, one that was damaged is named, and their records are made anew. Of several processes each
    appends to a part of its own, `<path>.<rank>.part` beside the main one's, and reads them all, so
    that any number of processes takes up what another number left.
    """

    def __init__(self, path: Path):
        self.path = path
        rank = "" if processes.is_main() else f".{processes.rank()}"
        self.part = path.with_name(f"{path.name}{rank}.part")
        with named_errors(self.part):
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.part.exists():
                whole = whole_lines(self.part)
                with self.part.open("r+b") as file:
                    file.truncate(len(whole))
        self.records: list[dict] = []
        for part in self._parts():
            records, damaged = _read(part)
            self.records += records
            if damaged and processes.is_main():
                _say(part, damaged)
        # the prompt ids of the records
        self.done = {record["prompt_id"] for record in self.records}

    def append(self, records: list[dict]) -> None:
        with named_errors(self.part), self.part.open("a", encoding="utf-8") as file:
            file.writelines(_line(record) for record in records)
            file.flush()
            os.fsync(file.fileno())
        self.records += records
        self.done.update(record["prompt_id"] for record in records)
        interruption.go_on()

    def finish(self, order: Sequence[str]) -> list[dict]:
        """Write the records of all parts in the order of these prompt ids and drop the parts.

        For the main process, once all have made theirs.
        """
        by_id = {}
        for part in self._parts():
            by_id.update({record["prompt_id"]: record for record in _read(part)[0]})
        ordered = [by_id[prompt_id] for prompt_id in order]
        write_jsonl(self.path, ordered)
        for part in self._parts():
            part.unlink()
        return ordered

    def _parts(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{glob.escape(self.path.name)}.*part"))


def is_finished(path: Path, order: Sequence[str]) -> bool:
    """Whether a journal's file is there with a record for each of these prompt ids. One that holds
    anything else is said and set aside, to be made again."""
    if not path.exists():
        return False
    try:
        found = [record["prompt_id"] for record in read_jsonl(path)]
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


def _read(part: Path) -> tuple[list[dict], list[int]]:
    """The records of a part, and the numbers of its lines that are damaged."""
    records = []
    damaged = []
    for number, line in enumerate(whole_lines(part).split(b"\n")[:-1], 1):
        text, _, checksum = line.rpartition(b" ")
        if checksum == b"%08x" % zlib.crc32(text):
            records.append(json.loads(text))
        else:
            damaged.append(number)
    return records, damaged


def _say(part: Path, damaged: list[int]) -> None:
    numbers = ", ".join(f"{number}" for number in damaged[:SHOWN])
    more = f" and {len(damaged) - SHOWN} more" if len(damaged) > SHOWN else ""
    lines = "lines" if len(damaged) > 1 else "line"
    print(
        f"{part}, {lines} {numbers}{more}: damaged; what is whole is kept and the rest made again",
        flush=True,
    )
