"""Prompts and preferences in files: .jsonl, .json with a list, .csv with a header; or in a folder,
a file a language.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_numbered_csv, read_numbered_jsonl
from xlnb.common.languages import LANGUAGES
from xlnb.inputs.reader import Reader, Row, Source

SUFFIXES = (".jsonl", ".json", ".csv")


class File(Reader):
    """A file, which holds one table."""

    def handles(self, where: str) -> bool:
        return True

    def rows(self, source: Source, needed: Collection[str]) -> Iterator[Row]:
        path = Path(source.where)
        suffix = path.suffix.lower()
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        if suffix not in SUFFIXES:
            raise InputError(
                f"{path}: expected a {', '.join(SUFFIXES)} file, a folder, or hub:ORG/NAME"
            )
        if suffix == ".json":
            yield from _list_rows(path)
            return
        read = read_numbered_jsonl if suffix == ".jsonl" else read_numbered_csv
        for number, record in read(path):
            yield f"{path}, line {number}", record

    def files(self, source: Source) -> list[Path]:
        path = Path(source.where)
        if not path.is_file():
            raise InputError(f"{path}: no such file or folder")
        return [path]

    def name(self, where: str) -> str:
        return Path(where).name


class Folder(File):
    """A folder with <lang>.jsonl, <lang>.json or <lang>.csv. Its sub-folders are not read."""

    expected = " ({lang}.jsonl, {lang}.json or {lang}.csv)"

    def handles(self, where: str) -> bool:
        return Path(where).is_dir()

    def languages(
        self, source: Source, called: Mapping[str, str], langs: Sequence[str]
    ) -> dict[str, Source]:
        found: dict[str, Path] = {}
        for path in _prompt_files(Path(source.where), langs):
            if path.stem in found:
                other = found[path.stem].name
                raise InputError(
                    f"{source.where}: both {other} and {path.name}; keep one file a language"
                )
            found[path.stem] = path
        for lang in langs or found:
            if lang in found and lang not in LANGUAGES:
                raise InputError(
                    f"{found[lang]}: unknown language code '{lang}', so no file of prompts; "
                    "rename it or take it out of the folder; "
                    f"known: {', '.join(LANGUAGES)}"
                )
        return {lang: Source(str(path), source.columns, FILE) for lang, path in found.items()}


def _prompt_files(folder: Path, langs: Sequence[str]) -> Iterator[Path]:
    """The files of prompts in a folder. Raises InputError for another that might be meant for one
    of `langs` (none: of all).

    Not meant so are sub-folders, hidden files and, under a name that is no language's, READMEs and
    other texts.
    """
    for path in sorted(folder.iterdir()):
        lang = path.name.partition(".")[0]
        suffix = path.suffix.lower()
        if path.is_dir() or not lang:
            continue
        if suffix in SUFFIXES:
            yield path
            continue
        text = suffix in (".md", ".txt") or lang.upper() in ("README", "LICENSE")
        if text and lang not in LANGUAGES:
            continue
        if not langs or lang in langs:
            raise InputError(
                f"{path}: not a form that is read (<lang>.jsonl, <lang>.json or <lang>.csv); "
                "convert it or take it out of the folder"
            )


def _list_rows(path: Path) -> Iterator[Row]:
    """The rows of a JSON file, which are not told apart by line."""
    records = read_json(path)
    if not isinstance(records, list):
        raise InputError(f"{path}: expected a JSON list of prompts, found {type(records).__name__}")
    for number, record in enumerate(records, 1):
        where = f"{path}, record {number}"
        if not isinstance(record, dict):
            raise InputError(f"{where}: expected a JSON object, found {type(record).__name__}")
        yield where, record


FILE = File()
