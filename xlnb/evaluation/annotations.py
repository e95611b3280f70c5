"""Judged responses as columns, from annotations that lie in files: AlpacaEval's annotations.json, a
run's eval folder, or CSV."""

import math
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from xlnb.checks.kinds import met
from xlnb.common import language_id
from xlnb.common.errors import InputError
from xlnb.common.files import read_numbered_csv
from xlnb.common.given import given_number
from xlnb.common.languages import LANGUAGES
from xlnb.evaluation import alpaca_eval
from xlnb.evaluation.alpaca_eval import Annotation, Preferences
from xlnb.evaluation.judged import Judged, by_prompt
from xlnb.evaluation.pass_rates import Met

COLUMNS = ("index", "len_output", "len_baseline", "preference")

# Responses of a file at most whose language the detector tells: a third of a millisecond each.
TOLD = 200

NO_CHECKS: Met = []

# What all records of a file have in common, where they say it, and what several would be called.
IN_COMMON = {
    "generator_2": "models",
    "generator_1": "baselines",
    "annotator": "annotators",
    "lang": "languages",
}


def read_annotations(
    paths: Sequence[Path], *, model: str = "", lang: str = "", detect: bool = True
) -> dict[str, dict[str, Judged]]:
    """{model: {lang: Judged}} of files and folders; a folder stands for every annotations.json
    below it.

    Model and language are, in this order: `model` and `lang`; the path, where it is
    <model>/<lang>/annotations.json, <lang>/<model>.<csv or json>, <model>.<lang>.<csv or json> or
    <model>_<lang>.<csv or json>; for an annotations.json the records' generator_2 and lang;
    English. Where a file has responses and does not say which language they are in, `detect` has
    that told for at most `TOLD` of them, spread evenly. Raises InputError naming file and line or
    record, an id or index that is there twice or is missing in some records only, models,
    baselines, annotators or languages that are mixed in a file, and both files
    where two hold the same model and language.
    """
    found: dict[str, dict[str, Judged]] = {}
    for given in paths:
        for path in _files(given):
            read = _read_csv if path.suffix == ".csv" else read_judged
            judged = read(path, model, lang, detect=detect)
            same = found.setdefault(judged.model, {}).setdefault(judged.lang, judged)
            if same is not judged:
                raise InputError(
                    f"{path}: model {same.model} in {same.lang} is already in {same.path}; name "
                    "files <model>.<lang>.csv, or give one at a time with --model and --lang"
                )
    return found


def read_judged(path: Path, model: str = "", lang: str = "", *, detect: bool = False) -> Judged:
    """A file in AlpacaEval's form. Arguments and errors as for `read_annotations`."""
    annotations = alpaca_eval.each_annotation(path)
    # There is one.
    first = next(annotations)
    model, lang = _named(path, model, lang, first)
    every = _of_one_kind(path, chain([first], annotations))
    return judged_columns(path, model, lang, every, outputs=_some_outputs if detect else None)


def judged_columns(
    path: Path,
    model: str,
    lang: str,
    annotations: Iterable[Annotation],
    *,
    outputs: Callable[[Path, int], list[str]] | None = None,
) -> Judged:
    """The columns of annotations, which are or will be at `path`: numbers, and no text is held.

    `outputs`: gives every so many-th of the model's responses there, for their language to be told
    where the annotations do not say it.
    """
    columns: dict[str, list] = {name: [] for name in ("index", "in_language_2")}
    prompt_ids = []
    questions = []
    said = []
    preference = array("d")
    len_output = array("d")
    len_baseline = array("d")
    met: list[Met] = []
    for one in annotations:
        for name, values in columns.items():
            values.append(getattr(one, name))
        # Models and languages have the same.
        prompt_ids.append(sys.intern(one.prompt_id))
        questions.append(one.question)
        said.append(one.said.get("score_2"))
        preference.append(math.nan if one.preference is None else one.preference)
        len_output.append(len(one.output_2))
        len_baseline.append(len(one.output_1))
        met.append(_met(one, lang) if one.checks else NO_CHECKS)
    n = len(preference)
    given = _column(path, "index", columns["index"])
    index = array("d", range(n) if given is None else given)
    prompt = _unique(path, "index", [_name(value) for value in index])
    ids = _column(path, "id", prompt_ids)
    if ids is not None:
        _unique(path, "id", questions)
        prompt = ids
    in_language = _column(path, "in_language_2", columns["in_language_2"])
    if in_language is None and outputs:
        in_language = language_id.in_language(outputs(path, math.ceil(n / TOLD)), lang)
    judged = Judged(
        path=path,
        model=model,
        lang=lang,
        index=index,
        prompt=prompt,
        has_index=given is not None,
        has_prompt=given is not None or ids is not None,
        preference=preference,
        len_output=len_output,
        len_baseline=len_baseline,
        in_language=in_language,
        score=_scores(path, said),
        met=met if any(met) else None,
    )
    return by_prompt(judged) if len(set(prompt)) < n else judged


def _of_one_kind(path: Path, annotations: Iterable[Annotation]) -> Iterator[Annotation]:
    """The annotations. Raises InputError at their end where some do not belong together."""
    found: dict[str, dict[str, None]] = {name: {} for name in IN_COMMON}
    for one in annotations:
        for name, values in found.items():
            value = str(getattr(one, name))
            if value and len(values) < 3:
                values[value] = None
        yield one
    for name, values in found.items():
        if len(values) > 1:
            raise InputError(
                f"{path}: {IN_COMMON[name]} are mixed in it ({name}: {', '.join(values)}); give "
                "each a file of its own"
            )


def _some_outputs(path: Path, step: int) -> list[str]:
    """Every `step`-th of the model's responses."""
    return [one.output_2 for one in islice(alpaca_eval.each_annotation(path), 0, None, step)]


def _met(one: Annotation, lang: str) -> Met:
    checks = one.checks or []
    are_met = met(one.output_2, checks, lang)
    return [(c["kind"], is_met) for c, is_met in zip(checks, are_met, strict=True)]


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


def _named(path: Path, model: str, lang: str, first: Annotation | None = None) -> tuple[str, str]:
    """Model and language of a file, as `read_annotations` says."""
    folder = path.absolute().parent
    if first and path.stem == "annotations":
        generator = first.generator_2 or folder.name
        if folder.name in LANGUAGES:
            return model or folder.parent.name or generator, lang or folder.name
        return model or generator, lang or first.lang or "en"
    for separator in (".", "_"):
        stem, found, code = path.stem.rpartition(separator)
        if found and stem and code in LANGUAGES:
            return model or stem, lang or code
    return model or path.stem, lang or (folder.name if folder.name in LANGUAGES else "en")


def _column(path: Path, name: str, values: list) -> list | None:
    """What every annotation has under a name; None where none has it."""
    missing = [number for number, value in enumerate(values) if value in (None, "")]
    if 0 < len(missing) < len(values):
        raise InputError(
            f"{path}, record {missing[0]}: {name} is missing; give it to all of the records or to "
            "none"
        )
    return None if missing else values


def _scores(path: Path, said: list) -> list[float] | None:
    values = _column(path, "score_2", said)
    if values is None:
        return None
    return [
        given_number(f"{path}, record {number}", "score_2", value)
        for number, value in enumerate(values)
    ]


def _unique(path: Path, name: str, values: list[str]) -> list[str]:
    value, times = Counter(values).most_common(1)[0]
    if times > 1:
        raise InputError(
            f"{path}: {name} {value} is there twice; a file holds one model and language, a row a "
            "prompt"
        )
    return values


def _name(index: float) -> str:
    """An index as text, 7 for 7.0: the same of CSV and JSON."""
    return f"{index:.15g}"


def _read_csv(path: Path, model: str, lang: str, *, detect: bool) -> Judged:
    """A CSV file of lengths and preferences, which has no responses to detect a language of."""
    columns = read_columns(path, COLUMNS)
    model, lang = _named(path, model, lang)
    return Judged(
        path=path,
        model=model,
        lang=lang,
        index=columns["index"],
        prompt=_unique(path, "index", [_name(value) for value in columns["index"]]),
        has_index=True,
        has_prompt=True,
        preference=columns["preference"],
        len_output=columns["len_output"],
        len_baseline=columns["len_baseline"],
    )


def read_columns(path: Path, columns: Sequence[str]) -> dict[str, list]:
    """The named columns of a CSV file with a header: numbers, but for gamed_model; a preference is
    read as in JSON, an empty one is NaN."""
    table: dict[str, list] = {name: [] for name in columns}
    preferences = Preferences(path)
    for line, row in read_numbered_csv(path, columns):
        for name in columns:
            table[name].append(_cell(f"{path}, line {line}", name, row[name], preferences))
    if not table[columns[0]]:
        raise InputError(f"{path}: no rows below the header")
    preferences.check()
    return table


def _cell(where: str, name: str, text: str, preferences: Preferences) -> Any:
    if name == "gamed_model":
        return text
    if name != "preference":
        return given_number(where, name, text)
    preference = preferences.read(where, text)
    return math.nan if preference is None else preference
