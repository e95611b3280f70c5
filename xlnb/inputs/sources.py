"""Where prompts and preferences come from: files, or a dataset on the Hub, as one table of rows
after the other.

A preset names a source in one text, WHERE[,OURS=THEIRS…]. WHERE is a folder, a file (.jsonl, .json
with a list, .csv with a header) or a dataset, hub:ORG/NAME[/CONFIGURATION][:SPLIT][@REVISION],
whose split is `train` unless named. OURS=THEIRS says which column of theirs holds what is ours,
such as instruction_id=prompt_id.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_numbered_csv, read_numbered_jsonl

# where it stands ("prompts.csv, line 7"), and what it holds
Row = tuple[str, dict[str, Any]]

SUFFIXES = (".jsonl", ".json", ".csv")

_NOTATION = re.compile(r"(?P<where>.+?)(?P<columns>(,\w+=[^,=]+)*)", re.DOTALL)

_HUB = re.compile(
    r"hub:(?P<repo>[^/:@]+/[^/:@]+)(/(?P<config>[^:@]+))?(:(?P<split>[^:@]+))?(@(?P<revision>.+))?"
)


@dataclass(frozen=True)
class Source:
    """What a preset's text names: `where` it is, and `columns`, our names of columns to theirs."""

    where: str
    columns: dict[str, str]

    @property
    def hub(self) -> bool:
        return self.where.startswith("hub:")

    @property
    def name(self) -> str:
        """What its data set is called: ORG/NAME, or the name of the folder or file."""
        return _hub(self.where)["repo"] if self.hub else Path(self.where).name

    def in_lang(self, name: str) -> "Source":
        """The source with `name` in place of {lang}."""
        return replace(self, where=self.where.replace("{lang}", name))


def parse_source(text: str) -> Source:
    """WHERE[,OURS=THEIRS…] as a Source. Raises InputError for a column named twice or a malformed
    hub: name."""
    found = _NOTATION.fullmatch(text)
    assert found, "any text but the empty one matches"
    named = [part.split("=") for part in found["columns"].split(",")[1:]]
    columns = {ours: theirs.strip() for ours, theirs in named}
    if len(columns) < len(named):
        raise InputError(f"{text}: a column is named twice")
    source = Source(found["where"], columns)
    if source.hub:
        _hub(source.where)
    return source


def read_rows(source: Source, needed: Collection[str]) -> Iterator[Row]:
    """The rows of a file or a dataset. A dataset's have no other columns than `needed` and those
    that `columns` names.

    Columns keep their own names, and those named get ours beside them. Raises InputError naming
    file and line (or record, row), or the dataset and what to do, for what cannot be read, and
    where there is no row.
    """
    empty = True
    for where, row in (
        _dataset_rows(source, needed) if source.hub else _file_rows(Path(source.where))
    ):
        for theirs in source.columns.values():
            if theirs not in row:
                raise InputError(
                    f"{where}: no column '{theirs}'; found: {', '.join(row) or 'nothing'}"
                )
        empty = False
        yield where, row | {ours: row[theirs] for ours, theirs in source.columns.items()}
    if empty:
        raise InputError(
            f"{source.where} holds no prompts or preferences: there is not one row in it"
        )


def missing_key(where: str, key: str, row: dict[str, Any], expected: str) -> InputError:
    """The error of a row without a key, which shows those that it has (of a dataset: of those that
    are read)."""
    return InputError(
        f"{where}: key '{key}' is missing; expected {expected}; found:"
        f" {', '.join(row) or 'none of these'}"
    )


def source_files(source: Source) -> list[Path]:
    """The files behind a source, whose content a stage depends on; none for a dataset on the Hub:
    `source_versions`."""
    path = Path(_hub(source.where)["repo"] if source.hub else source.where)
    # in a folder of that name, where there is one, as for load_dataset
    if source.hub:
        return sorted(file for file in path.rglob("*") if file.is_file())
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    return [path]


def source_versions(sources: Sequence[Source]) -> dict[str, Any]:
    """The commits of datasets on the Hub for a stage's key, {"datasets": {where: commit}}, or {}
    without such ones.

    Where the Hub is out of reach it is the commit of the copy in the cache.
    """
    from datasets import load_dataset_builder

    found = {}
    for source in sources:
        if source.hub and not source_files(source):
            hub = _hub(source.where)
            with _hub_errors(source.where):
                builder = load_dataset_builder(hub["repo"], hub["config"], revision=hub["revision"])
            found[source.where] = str(builder.hash)
    return {"datasets": found} if found else {}


def variants(source: Source) -> list[str]:
    """The names that a dataset has in place of {lang}: of its configurations, else of its
    splits."""
    from datasets import get_dataset_config_names, get_dataset_split_names

    hub = _hub(source.where)
    by_config = "{lang}" in (hub["config"] or "")
    pattern = hub["config"] if by_config else hub["split"] or ""
    if source.where.count("{lang}") != 1 or "{lang}" not in pattern:
        raise InputError(
            f"{source.where}: {{lang}} may stand once, in the place of the configuration or of the"
            " split"
        )
    with _hub_errors(source.where):
        if by_config:
            names = get_dataset_config_names(hub["repo"], revision=hub["revision"])
        else:
            names = get_dataset_split_names(hub["repo"], hub["config"], revision=hub["revision"])
    form = re.compile(re.escape(pattern).replace(re.escape("{lang}"), "(.+)"))
    return [found[1] for name in names if (found := form.fullmatch(name))]


def _file_rows(path: Path) -> Iterator[Row]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: expected a {', '.join(SUFFIXES)} file, a folder, or hub:ORG/NAME"
        )
    if suffix == ".json":
        records = read_json(path)
        if not isinstance(records, list):
            raise InputError(
                f"{path}: expected a JSON list of prompts, found {type(records).__name__}"
            )
        for number, record in enumerate(records, 1):
            if not isinstance(record, dict):
                raise InputError(
                    f"{path}, record {number}: expected a JSON object, found"
                    f" {type(record).__name__}"
                )
            yield f"{path}, record {number}", record
        return
    for number, record in (
        read_numbered_jsonl(path) if suffix == ".jsonl" else read_numbered_csv(path)
    ):
        yield f"{path}, line {number}", record


def _dataset_rows(source: Source, needed: Collection[str]) -> Iterator[Row]:
    from datasets import load_dataset

    hub = _hub(source.where)
    with _hub_errors(source.where):
        dataset = load_dataset(
            hub["repo"],
            hub["config"],
            split=hub["split"] or "train",
            revision=hub["revision"],
            # The cache tells a dataset on the Hub by its commit, and a folder not at all.
            download_mode="force_redownload" if Path(hub["repo"]).is_dir() else None,
        )
    for theirs in source.columns.values():
        if theirs not in dataset.column_names:
            raise InputError(
                f"{source.where}: no column '{theirs}'; found: {', '.join(dataset.column_names)}"
            )
    wanted = {*needed, *source.columns.values()}
    dataset = dataset.select_columns([name for name in dataset.column_names if name in wanted])
    for number, row in enumerate(dataset, 1):
        yield f"{source.where}, row {number}", dict(row)


def _hub(where: str) -> dict[str, Any]:
    found = _HUB.fullmatch(where)
    if not found:
        raise InputError(f"'{where}': expected hub:ORG/NAME[/CONFIGURATION][:SPLIT][@REVISION]")
    return found.groupdict()


@contextmanager
def _hub_errors(where: str) -> Iterator[None]:
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    try:
        yield
    except DatasetNotFoundError as error:
        advice = "check the name, and for a private dataset"
        if "gated" in str(error):
            advice = (
                f"accept its terms at https://huggingface.co/datasets/{_hub(where)['repo']} and"
            )
        raise InputError(
            f"{where}: {_one_line(error)} {advice} log in (`hf auth login`, or set HF_TOKEN)"
        ) from None
    except (ConnectionError, httpx.HTTPError) as error:
        raise InputError(
            f"{where}: the Hub cannot be reached and the cache has no copy ({_one_line(error)});"
            " load it once where there is a connection, or name a file"
        ) from None
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        scripts = (
            "; a converted copy may be at @refs/convert/parquet" if "scripts" in str(error) else ""
        )
        raise InputError(f"{where}: {_one_line(error)}{scripts}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
