"""Judged responses as columns, from annotations that lie in files: AlpacaEval's annotations.json, a
run's eval folder, or CSV."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from xlnb.checks.kinds import met
from xlnb.common import language_id
from xlnb.common.errors import InputError
from xlnb.common.files import read_numbered_csv
from xlnb.common.given import given_number
from xlnb.common.languages import LANGUAGES
from xlnb.evaluation import alpaca_eval
from xlnb.evaluation.alpaca_eval import Annotation, read_preferences
from xlnb.evaluation.clusters import fact_of
from xlnb.evaluation.pass_rates import Met
from xlnb.evaluation.runs import mean_of, rows_of

COLUMNS = ("index", "len_output", "len_baseline", "preference")

# Responses of a file at most whose language the detector tells: a third of a millisecond each.
TOLD = 200

# What all records of a file have in common, where they say it, and what several would be called.
IN_COMMON = {
    "generator_2": "models",
    "generator_1": "baselines",
    "annotator": "annotators",
    "lang": "languages",
}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One model's judged responses in one language, a row a prompt; lists of one length. Of several
    responses to a prompt a row holds the means."""

    path: Path
    model: str
    lang: str
    # of AlpacaEval's instruction: the CSV's or the record's index, else its place from 0
    index: list[float]
    # what joins a prompt's languages: a record's id, else the index
    prompt: list[str]
    # whether the index is given, or else it is the place
    has_index: bool
    # whether id or index are given, or else `prompt` is the place
    has_prompt: bool
    # from 1 (the baseline wins) to 2 (the model wins); NaN: not judged
    preference: list[float]
    # characters
    len_output: list[float]
    len_baseline: list[float]
    # whether responses, all or some, are in `lang`; None: not known
    in_language: Sequence[float] | None = None
    # the judge's score of the model's response; None: it gives none
    score: list[float] | None = None
    # of the checks that the prompts carry, which the model's response meets; None: they carry none
    met: list[Met] | None = None
    # the preferences of each prompt's responses; None: there is one of each
    runs: list[list[float]] | None = None

    @property
    def clusters(self) -> list[str]:
        """What each prompt is clustered by."""
        return [fact_of(prompt) for prompt in self.prompt]


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
    annotations = alpaca_eval.read_annotations(path)
    for name, several in IN_COMMON.items():
        said = dict.fromkeys(str(value) for one in annotations if (value := getattr(one, name)))
        if len(said) > 1:
            raise InputError(
                f"{path}: {several} are mixed in it ({name}: {', '.join(list(said)[:3])}); give "
                "each a file of its own"
            )
    model, lang = _named(path, model, lang, annotations[0])
    return judged_columns(path, model, lang, annotations, detect=detect)


def judged_columns(
    path: Path, model: str, lang: str, annotations: Sequence[Annotation], *, detect: bool = False
) -> Judged:
    """The columns of annotations, which are or will be at `path`."""
    given = _column(path, annotations, "index")
    index = [float(place) for place in range(len(annotations))] if given is None else given
    prompt = _unique(path, "index", [_name(value) for value in index])
    ids = _column(path, annotations, "prompt_id", "id")
    if ids is not None:
        _unique(path, "id", [annotation.question for annotation in annotations])
        prompt = ids
    outputs = [annotation.output_2 for annotation in annotations]
    in_language = _column(path, annotations, "in_language_2")
    if in_language is None and detect:
        some = outputs[:: math.ceil(len(outputs) / TOLD)]
        in_language = language_id.in_language(some, lang)
    preference = [annotation.preference for annotation in annotations]
    judged = Judged(
        path=path,
        model=model,
        lang=lang,
        index=index,
        prompt=prompt,
        has_index=given is not None,
        has_prompt=given is not None or ids is not None,
        preference=[math.nan if value is None else value for value in preference],
        len_output=[len(output) for output in outputs],
        len_baseline=[len(annotation.output_1) for annotation in annotations],
        in_language=in_language,
        score=_scores(path, annotations),
        met=_met(annotations, lang) if any(one.checks for one in annotations) else None,
    )
    return _by_prompt(judged) if len(set(prompt)) < len(prompt) else judged


def _by_prompt(judged: Judged) -> Judged:
    """A row a response, made a row a prompt."""
    places = rows_of(judged.prompt)
    found: dict[str, Any] = {}
    for name in ("preference", "len_output", "len_baseline", "in_language", "score"):
        values = getattr(judged, name)
        # Where the language of some responses alone was told, they belong to no row.
        if values is not None and len(values) == len(judged.prompt):
            found[name] = [mean_of(values, rows) for rows in places.values()]
    met: list[Met] = []
    runs = []
    for rows in places.values():
        runs.append([judged.preference[row] for row in rows])
        met.append(list(chain.from_iterable(judged.met[row] for row in rows if judged.met)))
    index = [judged.index[rows[0]] for rows in places.values()]
    return replace(
        judged,
        prompt=list(places),
        index=index,
        met=met if judged.met else None,
        runs=runs,
        **found,
    )


def _met(annotations: Sequence[Annotation], lang: str) -> list[Met]:
    found: list[Met] = []
    for one in annotations:
        checks = one.checks or []
        are_met = met(one.output_2, checks, lang)
        found.append([(c["kind"], is_met) for c, is_met in zip(checks, are_met, strict=True)])
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


def _column(path: Path, annotations: Sequence[Annotation], name: str, shown: str = "") -> Any:
    """What every annotation has under a name, or its judge said; None where none has it."""
    values = []
    for annotation in annotations:
        values.append(getattr(annotation, name, annotation.said.get(name)))
    missing = [number for number, value in enumerate(values) if value in (None, "")]
    if 0 < len(missing) < len(values):
        raise InputError(
            f"{path}, record {missing[0]}: {shown or name} is missing; give it to all of the "
            "records or to none"
        )
    return None if missing else values


def _scores(path: Path, annotations: Sequence[Annotation]) -> list[float] | None:
    values = _column(path, annotations, "score_2")
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
    for line, row in read_numbered_csv(path, columns):
        for name in columns:
            table[name].append(_cell(f"{path}, line {line}", name, row[name]))
    if not table[columns[0]]:
        raise InputError(f"{path}: no rows below the header")
    if "preference" in table:
        preferences = read_preferences(path, table["preference"])
        table["preference"] = [math.nan if value is None else value for value in preferences]
    return table


def _cell(where: str, name: str, text: str) -> Any:
    if name == "gamed_model":
        return text
    # They are read as a whole.
    return (where, text) if name == "preference" else given_number(where, name, text)
