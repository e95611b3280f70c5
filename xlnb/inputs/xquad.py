"""Questions on paragraphs whose answers are known, in XQuAD's form (SQuAD's, a file a language):
xquad:FOLDER, or a part of it, xquad:FOLDER:tune, xquad:FOLDER:train and xquad:FOLDER:eval.

A prompt is a paragraph and a question, its id xquad/ARTICLE.PARAGRAPH/QUESTION, and it carries the
check that a response holds one of the known answers. Paragraphs are dealt out, not questions: the
parts share none. `tune` is for demonstrations, which π_I is made of.
"""

import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import read_json
from xlnb.common.languages import LANGUAGES
from xlnb.inputs.reader import HERE, Reader, Row, Source

PREFIX = "xquad:"
# Shares of the paragraphs, in this order.
PARTS = {"eval": 0.3, "tune": 0.25, "train": 0.45}
_FORM = re.compile(PREFIX + r"(?P<path>.+?)(:(?P<part>tune|train|eval))?")


class XQuAD(Reader):
    """A folder with {lang}.json; the source of one language names its file in the folder's
    place."""

    expected = " ({lang}.json)"

    def handles(self, where: str) -> bool:
        return where.startswith(PREFIX)

    def rows(self, source: Source, needed: Collection[str]) -> Iterator[Row]:
        path, part = _parts(source.where)
        for where, paragraph, given in _questions(path):
            if part in ("", part_of(paragraph)):
                row = {"instruction_id": f"xquad/{paragraph}/{given['id']}"}
                text = f"{given['context']}\n\n{given['question']}"
                answers = list(dict.fromkeys(given["answers"]))
                checks = [{"kind": "answer", "answers": answers}]
                yield where, row | {"instruction": text, "checks": checks}

    def languages(
        self, source: Source, called: Mapping[str, str], langs: Sequence[str]
    ) -> dict[str, Source]:
        folder, part = _parts(source.where)
        if not folder.is_dir():
            raise InputError(f"{source.where}: no such folder")
        found = {}
        for lang, name in (called or {lang: lang for lang in LANGUAGES}).items():
            path = folder / f"{name}.json"
            if path.is_file():
                where = f"{PREFIX}{path}" + (f":{part}" if part else "")
                found[lang] = replace(source, where=where)
        return found

    def files(self, source: Source) -> list[Path]:
        return [_parts(source.where)[0]]

    def known_as(self, where: str) -> str:
        return f"{PREFIX}{HERE}:{_parts(where)[1]}"

    def name(self, where: str) -> str:
        return "xquad"


def part_of(paragraph: str) -> str:
    """The part that a paragraph belongs to, whatever else is there."""
    (part,) = random.Random(f"xquad {paragraph}").choices([*PARTS], [*PARTS.values()])
    return part


def _parts(where: str) -> tuple[Path, str]:
    found = _FORM.fullmatch(where)
    if not found:
        raise InputError(f"'{where}': expected xquad:FOLDER, xquad:FOLDER:tune, :train or :eval")
    return Path(found["path"]), found["part"] or ""


def _questions(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where each question stands, its paragraph, and its id, context, question and answers."""
    content = read_json(path)
    for i, article in enumerate(_listed(f"{path}", content, "data"), 1):
        for j, paragraph in enumerate(_listed(f"{path}, article {i}", article, "paragraphs"), 1):
            where = f"{path}, article {i}, paragraph {j}"
            for k, asked in enumerate(_listed(where, paragraph, "qas"), 1):
                here = f"{where}, question {k}"
                answers = _listed(here, asked, "answers")
                yield (
                    here,
                    f"{i}.{j}",
                    {
                        "id": _text(here, asked, "id"),
                        "context": _text(where, paragraph, "context"),
                        "question": _text(here, asked, "question"),
                        "answers": [_text(here, answer, "text") for answer in answers],
                    },
                )


def _listed(where: str, given: Any, name: str) -> list[Any]:
    found = given.get(name) if isinstance(given, dict) else None
    if not isinstance(found, list) or not found:
        raise InputError(f"{where}: expected an object with a list '{name}', as XQuAD's files have")
    return found


def _text(where: str, given: Any, name: str) -> str:
    found = given.get(name) if isinstance(given, dict) else None
    if not isinstance(found, str):
        raise InputError(f"{where}: expected an object with a text '{name}', as XQuAD's files have")
    # Some files begin a text with a byte order mark.
    return found.strip("\ufeff \n")
