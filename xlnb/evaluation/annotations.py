"""Judged comparisons from files: AlpacaEval's annotations.json, a run's eval folder, or CSV."""

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_text
from xlnb.common.languages import LANGUAGES

COLUMNS = ("index", "len_output", "len_baseline", "preference")

# responses of a file at most whose language the detector tells: a third of a millisecond each
TOLD = 200


@dataclass(frozen=True)
class Annotations:
    """One model's judged comparisons in one language, a row a prompt; lists of one length."""

    path: Path
    model: str
    lang: str
    index: list[
        float
    ]  # of AlpacaEval's instruction: the CSV's or the record's index, else its place from 0
    # what joins a prompt's languages: a record's id, else the index
    prompt: list[str]
    # or it is the place
    has_index: bool
    # or it is the place too
    has_prompt: bool
    # 1 (baseline wins) to 2 (model wins), NaN: not judged
    preference: list[float]
    # characters
    len_output: list[float]
    len_baseline: list[float]
    # whether responses, all or some, are in `lang`; None: not known
    in_language: list[bool] | None


def read_annotations(
    paths: Sequence[Path], *, model: str = "", lang: str = "", detect: bool = True
) -> dict[str, dict[str, Annotations]]:
    """{model: {lang: Annotations}} of files and folders; a folder stands for every annotations.json
    below it.

    Model and language are, in this order: `model` and `lang`; the path, where it is
    <model>/<lang>/annotations.json, <lang>/<model>.<csv or json>, <model>.<lang>.<csv or json> or
    <model>_<lang>.<csv or json>; for an annotations.json the records' generator_2 and lang;
    English. Where a file has responses and does not say which language they are in, `detect` has
    that told for at most `TOLD` of them, spread evenly. Raises InputError naming file and line or
    record, an id or index that is there twice or is missing in some records only, and both files
    where two hold the same model and language.
    """
    found: dict[str, dict[str, Annotations]] = {}
    for path in (file for given in paths for file in _files(given)):
        read = _read_csv if path.suffix == ".csv" else _read_records
        annotations = read(path, model, lang, detect)
        same = found.setdefault(annotations.model, {}).setdefault(annotations.lang, annotations)
        if same is not annotations:
            raise InputError(
                f"{path}: model {same.model} in {same.lang} is already in {same.path}; name files "
                "<model>.<lang>.csv, or give one at a time with --model and --lang"
            )
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if path.suffix not in (".csv", ".json"):
            raise InputError(
                f"{path}: expected a .csv or .json file, or a folder with annotations.json files"
            )
        return [path]
    files = sorted(path.rglob("annotations.json"))
    if not files:
        raise InputError(
            f"{path}: no annotations.json in this folder; run stage judge first, or name the files"
        )
    return files


def _named(path: Path, model: str, lang: str, record: Mapping[str, Any]) -> tuple[str, str]:
    """Model and language of a file, as `read_annotations` says."""
    folder = path.absolute().parent
    if path.stem == "annotations":
        generator = str(record.get("generator_2") or folder.name)
        if folder.name in LANGUAGES:
            return model or folder.parent.name or generator, lang or folder.name
        return model or generator, lang or str(record.get("lang") or "en")
    for separator in (".", "_"):
        stem, found, code = path.stem.rpartition(separator)
        if found and stem and code in LANGUAGES:
            return model or stem, lang or code
    return model or path.stem, lang or (folder.name if folder.name in LANGUAGES else "en")


def _read_csv(path: Path, model: str, lang: str, detect: bool) -> Annotations:
    rows = read_table(path, COLUMNS)
    prompt = _unique(path, "index", [_name(value) for value in rows["index"]])
    model, lang = _named(path, model, lang, {})
    return Annotations(
        path,
        model,
        lang,
        rows["index"],
        prompt,
        True,
        True,
        rows["preference"],
        rows["len_output"],
        rows["len_baseline"],
        None,
    )


def _read_records(path: Path, model: str, lang: str, detect: bool) -> Annotations:
    records = read_json(path)
    if not isinstance(records, list) or not records:
        raise InputError(
            f"{path}: expected a JSON list of annotations with output_1, output_2 and preference"
        )
    preference: list[float] = []
    for number, record in enumerate(records):
        where = f"{path}, record {number}"
        if not isinstance(record, dict):
            raise InputError(f"{where}: expected a JSON object, found {type(record).__name__}")
        for key in ("output_1", "output_2"):
            if not isinstance(record.get(key), str):
                raise InputError(f"{where}: {key} is missing or not text")
        if "preference" not in record:
            raise InputError(
                f"{where}: preference is missing; expected 1 to 2, or null where not judged"
            )
        value = record["preference"]
        preference.append(
            read_preference(where, 1.5 if value == 0 else value)
        )  # AlpacaEval's older ties are 0
    outputs = [record["output_2"] for record in records]
    model, lang = _named(path, model, lang, records[0])
    in_language: list[bool] | None = None
    if all(isinstance(record.get("in_language_2"), bool) for record in records):
        in_language = [record["in_language_2"] for record in records]
    elif detect:
        from xlnb.common import language_id

        in_language = language_id.in_language(outputs[:: math.ceil(len(outputs) / TOLD)], lang)
    ids, given = _column(path, records, "id"), _column(path, records, "index")
    index = [
        read_number(f"{path}, record {n}", "index", value)
        for n, value in enumerate(given or range(len(records)))
    ]
    prompt = _unique(path, "index", [_name(value) for value in index])
    if ids is not None:
        prompt = _unique(path, "id", [str(value) for value in ids])
    return Annotations(
        path,
        model,
        lang,
        index,
        prompt,
        given is not None,
        given is not None or ids is not None,
        preference,
        [len(output) for output in outputs],
        [len(record["output_1"]) for record in records],
        in_language,
    )


def _column(path: Path, records: Sequence[Mapping[str, Any]], name: str) -> list[Any] | None:
    """What every record has under a name; None where none has it."""
    values = [record.get(name) for record in records]
    missing = [number for number, value in enumerate(values) if value is None]
    if 0 < len(missing) < len(records):
        raise InputError(
            f"{path}, record {missing[0]}: {name} is missing; give it to all of the records or to"
            " none"
        )
    return None if missing else values


def _unique(path: Path, name: str, values: list[str]) -> list[str]:
    value, times = Counter(values).most_common(1)[0]
    if times > 1:
        raise InputError(
            f"{path}: {name} {value} is there twice; a file holds one model and language, a row a"
            " prompt"
        )
    return values


def _name(index: float) -> str:
    """An index as text, 7 for 7.0: the same of CSV and JSON."""
    return f"{index:.15g}"


def read_table(path: Path, columns: Sequence[str]) -> dict[str, list[Any]]:
    """The named columns of a CSV file with a header: numbers, but for gamed_model; an empty
    preference is NaN."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    missing = [name for name in columns if name not in (reader.fieldnames or [])]
    if missing:
        raise InputError(f"{path}, line 1: no column {missing[0]}; expected {','.join(columns)}")
    table: dict[str, list[Any]] = {name: [] for name in columns}
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            for name in columns:
                if row[name] is None:
                    raise InputError(f"{where}: {name} is missing; expected {','.join(columns)}")
                if name == "gamed_model":
                    table[name].append(row[name])
                elif name == "preference":
                    table[name].append(read_preference(where, row[name] or None))
                else:
                    table[name].append(read_number(where, name, row[name]))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from None
    if not table[columns[0]]:
        raise InputError(f"{path}: no rows below the header")
    return table


def read_number(where: str, name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {name} is {value!r}, expected a number") from None


def read_preference(where: str, value: Any) -> float:
    """A preference in [1, 2]; NaN where there was no judgement."""
    preference = math.nan if value is None else read_number(where, "preference", value)
    if not (math.isnan(preference) or 1 <= preference <= 2):
        raise InputError(
            f"{where}: preference is {preference:g}, expected 1 (baseline wins) to 2 (model wins)"
        )
    return preference
