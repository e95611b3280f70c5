"""Files written whole or not at all, and read with errors that name file and line."""

import csv
import hashlib
import io
import json
import math
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from xlnb.common.errors import InputError, system_error
from xlnb.common.text import shorten

# The folder that holds the package.
ABOVE = Path(__file__).resolve().parents[2]
INSTALLED = (ABOVE / "xlnb" / "data").is_dir()
# The folder of `data/` and `notebooks/`: a checkout, or the package itself where it was installed
# from a wheel, which holds copies of them.
ROOT = ABOVE / "xlnb" if INSTALLED else ABOVE


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with whole_file(path) as file:
        file.write(text)


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A file to write, which is there whole or not at all: under a temporary name, flushed to disk,
    then renamed."""
    temporary = temporary_file(path)
    with named_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def temporary_file(path: Path, suffix: str = "") -> Path:
    """Where a file is written before it has its name, by this process."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp{suffix}")


def sweep(folder: Path) -> None:
    """Remove what killed processes have left half written in a folder and below."""
    for path in folder.rglob(".*.tmp*"):
        owner = re.search(r"\.(\d+)\.tmp(\.\w+)?$", path.name)
        if owner and not _runs(int(owner[1])):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Another user's.
        return True
    return True


def json_text(value: object, indent: int | None = None) -> str:
    """JSON with every character as it is, but for halves of one (lone surrogates), which UTF-8
    lacks: \\ud83d. Numbers that are not finite, which JSON lacks, are null."""
    try:
        text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, indent=indent, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()


def _finite(value: Any) -> Any:
    """The value with None for every number in it that is not finite."""
    if isinstance(value, dict):
        return {name: _finite(inside) for name, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inside) for inside in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: object) -> None:
    write_text(path, json_text(value, indent=1) + "\n")


def write_jsonl(path: Path, records: Iterable[dict]) -> None:
    """Write records line by line: they may be more than memory holds."""
    with whole_file(path) as file:
        file.writelines(json_text(record) + "\n" for record in records)


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises InputError naming the file where it is missing, not UTF-8 or not
    JSON."""
    return parse_json(path, read_text(path), f"{path}")


def read_jsonl(path: Path) -> list[dict]:
    """Parse JSON lines. Raises InputError naming file and line for anything that is not one JSON
    object a line."""
    return [record for _, record in read_numbered_jsonl(path)]


def read_numbered_jsonl(path: Path) -> Iterator[tuple[int, dict]]:
    """As `read_jsonl`, one after the other, each record with its line number from 1."""
    # As bytes: text would also be split at U+2028 and others, which JSON strings may hold as they
    # are.
    with named_errors(path), path.open("rb") as file:
        for number, data in enumerate(file, 1):
            line = _decoded(path, data, number)
            if line.strip():
                record = parse_json(path, line, f"{path}, line {number}")
                if not isinstance(record, dict):
                    found = type(record).__name__
                    raise InputError(
                        f"{path}, line {number}: expected a JSON object, found {found}"
                    )
                yield number, record


def read_numbered_csv(
    path: Path, columns: Collection[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """The rows below a CSV file's header, each with the number of the line it begins in. Raises as
    `read_jsonl`, and where one of `columns` is not there."""
    # a field may be longer than Python's 131,072 characters
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    records, ended = [], 0
    try:
        header = next(reader, [])
        for name in header:
            if header.count(name) > 1:
                raise InputError(f"{path}, line 1: two columns are named {name!r}; rename one")
        for name in columns:
            if name not in header:
                raise InputError(f"{path}, line 1: no column {name}; expected {','.join(columns)}")
        ended = reader.line_num
        for values in reader:
            number, ended = ended + 1, reader.line_num
            if not values:
                # an empty line
                continue
            if len(values) != len(header):
                expected = f"{len(header)} ({','.join(header)})"
                raise InputError(
                    f"{path}, line {number}: {len(values)} columns, expected {expected}"
                )
            records.append((number, dict(zip(header, values, strict=True))))
    except csv.Error as error:
        raise InputError(
            f"{path}, line {ended + 1}: not valid CSV ({error}); mend the row"
        ) from None
    return records


def read_text(path: Path) -> str:
    with named_errors(path):
        data = path.read_bytes()
    # Not path.read_text, which would change the line ends inside of CSV's quotes.
    return _decoded(path, data, 1)


def _decoded(path: Path, data: bytes, first: int) -> str:
    """Bytes of a file as text; they begin in the line `first`."""
    try:
        return data.decode("utf-8-sig" if first == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = first + data[: error.start].count(b"\n")
        raise InputError(
            f"{path}, line {line}: not UTF-8 ({error.reason}); save the file as UTF-8"
        ) from None


def parse_json(path: Path, text: str, where: str) -> Any:
    try:
        return json_value(text)
    except json.JSONDecodeError as error:
        at = f", line {error.lineno}" if where == str(path) else ""
        raise InputError(
            f"{where}{at}: not valid JSON ({error.msg} at column {error.colno}); mend the line"
        ) from None
    except ValueError as error:
        # Without Python's advice where a whole number has more digits than it reads.
        raise InputError(f"{where}: {str(error).partition(';')[0]}; mend it") from None


def json_value(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for what is none, and for what Python would read
    otherwise than it stands there: of a key that is there twice, the last."""
    with _not_too_deep():
        return json.loads(text, object_pairs_hook=_object)


def next_value(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins at a place of a text, and where it ends. Raises as
    `json_value`."""
    with _not_too_deep():
        return DECODER.raw_decode(text, start)


@contextmanager
def _not_too_deep() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"key {shorten(name, 60)!a} is there twice in one object")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_object)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Errors of the operating system inside, as InputErrors that name the file."""
    try:
        yield
    except OSError as error:
        raise system_error(error, path) from error


def aside(path: Path) -> Path:
    """Where a file or folder is set aside: <name>.old, or .old2, .old3 … where that is taken."""
    place = path.with_name(f"{path.name}.old")
    number = 1
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}.old{number}")
    return place


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def relative(path: Path, base: Path) -> str:
    """The path from `base`, where it lies below it, else the path as it is."""
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()


def existing_folder(path: Path) -> Path:
    """The folder, or the nearest above it that there is; a file where a path leads through one."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
