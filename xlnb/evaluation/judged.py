"""One model's judged responses in one language, as columns: a few numbers a prompt, and no text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from xlnb.evaluation.clusters import fact_of
from xlnb.evaluation.pass_rates import Met
from xlnb.evaluation.runs import mean_of, rows_of


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One model's judged responses in one language, a row a prompt; lists of one length. Of several
    responses to a prompt a row holds the means."""

    path: Path
    model: str
    lang: str
    # of AlpacaEval's instruction: the CSV's or the record's index, else its place from 0
    index: Sequence[float]
    # what joins a prompt's languages: a record's id, else the index
    prompt: list[str]
    # whether the index is given, or else it is the place
    has_index: bool
    # whether id or index are given, or else `prompt` is the place
    has_prompt: bool
    # from 1 (the baseline wins) to 2 (the model wins); NaN: not judged
    preference: Sequence[float]
    # characters
    len_output: Sequence[float]
    len_baseline: Sequence[float]
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


def by_prompt(judged: Judged) -> Judged:
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
