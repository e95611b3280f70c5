"""Win rates from annotations that lie in files: AlpacaEval's annotations.json, a run's eval folder, or CSV."""

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlnb.errors import InputError
from xlnb.prompts import LANGUAGES
from xlnb.runs import json_text, read_json, read_text
from xlnb.winrates import bootstrap_interval, leaderboard_length_controlled, pooled, summary, win_rate

COLUMNS = ("index", "len_output", "len_baseline", "preference")
TOLD = 200  # responses of a file at most whose language the detector tells: a third of a millisecond each
JSON_KEYS = ("wr", "wr_se", "discrete_wr", "lc", "n", "mean_chars")


@dataclass(frozen=True)
class Annotations:
    """One model's judged comparisons in one language, a row a prompt; lists of one length."""

    path: Path
    model: str
    lang: str
    index: list[float]  # of AlpacaEval's instruction: the CSV's or the record's index, else its place from 0
    prompt: list[str]  # what joins a prompt's languages: a record's id, else the index
    has_index: bool  # or it is the place
    has_prompt: bool  # or it is the place too
    preference: list[float]  # 1 (baseline wins) to 2 (model wins), NaN: not judged
    len_output: list[float]  # characters
    len_baseline: list[float]
    in_language: list[bool] | None  # whether responses, all or some, are in `lang`; None: not known


def read_annotations(
    paths: Sequence[Path], *, model: str = "", lang: str = "", detect: bool = True
) -> dict[str, dict[str, Annotations]]:
    """{model: {lang: Annotations}} of files and folders; a folder stands for every annotations.json below it.

    Model and language are, in this order: `model` and `lang`; the path, where it is <model>/<lang>/annotations.json,
    <lang>/<model>.<csv or json>, <model>.<lang>.<csv or json> or <model>_<lang>.<csv or json>; for an annotations.json
    the records' generator_2 and lang; English. Where a file has responses and does not say which language they are in,
    `detect` has that told for at most `TOLD` of them, spread evenly. Raises InputError naming file and line or record,
    an id or index that is there twice or is missing in some records only, and both files where two hold the same model
    and language.
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


def read_leaderboard(difficulty: Path, gamed_baseline: Path) -> dict[str, Any]:
    """What the leaderboard's LC needs beside annotations: {"difficulty": {index: value}, "gamed": columns}.

    CSV files with index, instruction_difficulty and with gamed_model, index, len_baseline, len_output,
    pseudo_preference01. Raises InputError naming file and line.
    """
    rows = _table(difficulty, ("index", "instruction_difficulty"))
    columns = ("gamed_model", "index", "len_baseline", "len_output", "pseudo_preference01")
    return {
        "difficulty": dict(zip(rows["index"], rows["instruction_difficulty"], strict=True)),
        "gamed": _table(gamed_baseline, columns),
    }


def win_rates(
    annotations: Mapping[str, Mapping[str, Annotations]], leaderboard: Mapping[str, Any] | None = None
) -> dict[str, dict[str, dict[str, Any]]]:
    """{model: {lang: what `winrates.summary` returns, and in_language (0 to 1) where known}}.

    With `leaderboard`, from `read_leaderboard`, lc is AlpacaEval's; without, that for other data. The two do not
    compare.
    """
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for model, by_lang in annotations.items():
        table[model] = {}
        for lang, rows in by_lang.items():
            try:
                entry = summary(rows.preference, rows.len_output, rows.len_baseline)
                if leaderboard:
                    entry["lc"] = _leaderboard_lc(rows, leaderboard)
            except InputError as error:
                raise InputError(f"{rows.path}: {error}") from None
            if rows.in_language is not None:
                entry["in_language"] = sum(rows.in_language) / len(rows.in_language)
            table[model][lang] = entry
    return table


def pooled_win_rates(annotations: Mapping[str, Mapping[str, Annotations]]) -> dict[str, dict[str, Any]]:
    """{model: {"wr", "wr_se", "wr_ci"}} over all languages of each model that has several; a prompt is one draw.

    Raises InputError where records without id and index cannot be joined: their languages hold other prompts.
    """
    table: dict[str, dict[str, Any]] = {}
    for model, by_lang in annotations.items():
        if len(by_lang) > 1:
            first = next(iter(by_lang.values()))
            for other in by_lang.values():
                if not (first.has_prompt and other.has_prompt) and set(first.prompt) != set(other.prompt):
                    raise InputError(
                        f"{first.path} and {other.path}: {len(first.prompt)} and {len(other.prompt)} records that "
                        "cannot be joined over languages; give every record its id, or one language at a time"
                    )
            by_prompt = {lang: dict(zip(a.prompt, a.preference, strict=True)) for lang, a in by_lang.items()}
            preference = list(pooled(by_prompt).values())
            wr, wr_se = win_rate(preference)
            table[model] = {"wr": wr, "wr_se": wr_se, "wr_ci": bootstrap_interval(preference)}
    return table


def to_json(table: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """{model: {lang: {wr, wr_se, discrete_wr, lc, n, mean_chars}}}; an undefined SE (one row) is null."""
    plain = {
        model: {lang: {key: row[key] for key in JSON_KEYS} for lang, row in rows.items()}
        for model, rows in table.items()
    }
    for rows in plain.values():
        for row in rows.values():
            row["wr_se"] = None if math.isnan(row["wr_se"]) else row["wr_se"]
    return json_text(plain, indent=1)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if path.suffix not in (".csv", ".json"):
            raise InputError(f"{path}: expected a .csv or .json file, or a folder with annotations.json files")
        return [path]
    files = sorted(path.rglob("annotations.json"))
    if not files:
        raise InputError(f"{path}: no annotations.json in this folder; run stage judge first, or name the files")
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
    rows = _table(path, COLUMNS)
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
        raise InputError(f"{path}: expected a JSON list of annotations with output_1, output_2 and preference")
    preference: list[float] = []
    for number, record in enumerate(records):
        where = f"{path}, record {number}"
        if not isinstance(record, dict):
            raise InputError(f"{where}: expected a JSON object, found {type(record).__name__}")
        for key in ("output_1", "output_2"):
            if not isinstance(record.get(key), str):
                raise InputError(f"{where}: {key} is missing or not text")
        if "preference" not in record:
            raise InputError(f"{where}: preference is missing; expected 1 to 2, or null where not judged")
        value = record["preference"]
        preference.append(_preference(where, 1.5 if value == 0 else value))  # AlpacaEval's older ties are 0
    outputs = [record["output_2"] for record in records]
    model, lang = _named(path, model, lang, records[0])
    in_language: list[bool] | None = None
    if all(isinstance(record.get("in_language_2"), bool) for record in records):
        in_language = [record["in_language_2"] for record in records]
    elif detect:
        from xlnb import language_id  # loads the detector

        in_language = language_id.in_language(outputs[:: math.ceil(len(outputs) / TOLD)], lang)
    ids, given = _column(path, records, "id"), _column(path, records, "index")
    index = [_number(f"{path}, record {n}", "index", value) for n, value in enumerate(given or range(len(records)))]
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
        raise InputError(f"{path}, record {missing[0]}: {name} is missing; give it to all of the records or to none")
    return None if missing else values


def _unique(path: Path, name: str, values: list[str]) -> list[str]:
    value, times = Counter(values).most_common(1)[0]
    if times > 1:
        raise InputError(f"{path}: {name} {value} is there twice; a file holds one model and language, a row a prompt")
    return values


def _name(index: float) -> str:
    """An index as text, 7 for 7.0: the same of CSV and JSON."""
    return f"{index:.15g}"


def _leaderboard_lc(rows: Annotations, leaderboard: Mapping[str, Any]) -> float:
    """The leaderboard's LC of a file; instructions that it lacks count as not judged.

    Records without index, as AlpacaEval's own, are taken in its order, so none may be missing.
    """
    difficulty = leaderboard["difficulty"]
    if not rows.has_index and len(rows.index) != len(difficulty):
        raise InputError(
            f"{len(rows.index)} records without index for {len(difficulty)} difficulties, which does not tell whose "
            "they are; give every record the index of its instruction"
        )
    place = {index: row for row, index in enumerate(rows.index)}
    unknown = sorted(place.keys() - difficulty.keys())
    if unknown:
        raise InputError(f"index {unknown[0]:g} has no difficulty; the leaderboard's LC is for AlpacaEval's 805 only")
    preference, len_output, len_baseline = (
        [values[place[index]] if index in place else missing for index in difficulty]
        for values, missing in ((rows.preference, math.nan), (rows.len_output, 0.0), (rows.len_baseline, 0.0))
    )
    return leaderboard_length_controlled(
        preference,
        len_output,
        len_baseline,
        index=list(difficulty),
        difficulty=list(difficulty.values()),
        gamed=leaderboard["gamed"],
    )


def _table(path: Path, columns: Sequence[str]) -> dict[str, list[Any]]:
    """The named columns of a CSV file with a header: numbers, but for gamed_model; an empty preference is NaN."""
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
                    table[name].append(_preference(where, row[name] or None))
                else:
                    table[name].append(_number(where, name, row[name]))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from None
    if not table[columns[0]]:
        raise InputError(f"{path}: no rows below the header")
    return table


def _number(where: str, name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {name} is {value!r}, expected a number") from None


def _preference(where: str, value: Any) -> float:
    """A preference in [1, 2]; NaN where there was no judgement."""
    preference = math.nan if value is None else _number(where, "preference", value)
    if not (math.isnan(preference) or 1 <= preference <= 2):
        raise InputError(f"{where}: preference is {preference:g}, expected 1 (baseline wins) to 2 (model wins)")
    return preference
