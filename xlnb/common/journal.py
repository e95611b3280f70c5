"""Records appended as they are made, so that a killed command loses and repeats nothing."""

import glob
import json
import os
from collections.abc import Sequence
from pathlib import Path

from xlnb.common import processes
from xlnb.common.files import json_text, named_errors, whole_lines, write_jsonl


class Journal:
    """Records appended to `<path>.part`; `finish` writes `path` whole. Each has a "prompt_id".

    A line torn by a kill is dropped when the journal is opened again, and its record made anew. Of
    several processes each appends to a part of its own, `<path>.<rank>.part` beside the main one's,
    and reads them all, so that any number of processes takes up what another number left.
    """

    def __init__(self, path: Path):
        self.path = path
        rank = "" if processes.is_main() else f".{processes.rank()}"
        self.part = path.with_name(f"{path.name}{rank}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.part.exists():
            whole = whole_lines(self.part)
            with self.part.open("r+b") as file:
                file.truncate(len(whole))
        self.records = self._read()

    @property
    def done(self) -> set[str]:
        return {record["prompt_id"] for record in self.records}

    def append(self, records: list[dict]) -> None:
        with named_errors(self.part), self.part.open("a", encoding="utf-8") as file:
            file.writelines(json_text(record) + "\n" for record in records)
            file.flush()
            os.fsync(file.fileno())
        self.records += records

    def finish(self, order: Sequence[str]) -> list[dict]:
        """Write the records of all parts in the order of these prompt ids and drop the parts.

        For the main process, once all have made theirs.
        """
        by_id = {record["prompt_id"]: record for record in self._read()}
        ordered = [by_id[prompt_id] for prompt_id in order]
        write_jsonl(self.path, ordered)
        for part in self._parts():
            part.unlink()
        return ordered

    def _parts(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{glob.escape(self.path.name)}.*part"))

    def _read(self) -> list[dict]:
        records = []
        for part in self._parts():
            records += [json.loads(line) for line in whole_lines(part).splitlines()]
        return records
