"""Shares of the kinds of responses that the oracle tells apart (`lab.oracle.KINDS`)."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from xlnb.analysis.read import Record
from xlnb.analysis.responses import verdict
from xlnb.lab.oracle import KINDS


def shares(kinds: Iterable[str]) -> pd.Series:
    """The share of each kind in percent, best kind first; 0 of one that is not there.

    All are 0 where there is no response.
    """
    counts = pd.Series(list(kinds), dtype=str).value_counts(normalize=True)
    return 100 * counts.reindex(list(KINDS), fill_value=0)


def of_annotations(records: Sequence[Record], lang: str) -> pd.Series:
    """`shares` of the model's responses in a language's annotations."""
    return shares(verdict(record["id"], lang, record["output_2"]).kind for record in records)


def of_pairs(pairs: Sequence[Record], side: str) -> pd.Series:
    """`shares` of one side, "chosen" or "rejected", of pairs."""
    texts = ((pair["prompt_id"], pair["lang"], pair[side][0]["content"]) for pair in pairs)
    return shares(verdict(*each).kind for each in texts)


def change(
    annotations: Mapping[str, Mapping[str, Sequence[Record]]], before: str, after: str
) -> pd.DataFrame:
    """From one model to another, kinds by languages: the change of each kind's share, in points."""
    columns = {}
    for lang in annotations[after]:
        shares = [of_annotations(annotations[model][lang], lang) for model in (after, before)]
        columns[lang] = shares[0] - shares[1]
    return pd.DataFrame(columns)


def moved_most(change: pd.Series) -> str:
    """What gained and what lost most, in a sentence; `change`: of shares, in points."""
    gained = f"'{change.idxmax()}' gained most ({change.max():+.1f})"
    return f"{gained}, '{change.idxmin()}' lost most ({change.min():+.1f})"


def of_every_pair(pairs: Mapping[str, Mapping[str, Sequence[Record]]], kind: str) -> pd.DataFrame:
    """A row a language: the share of a kind among what was chosen and rejected for each model, in
    percent. `pairs`: {model: {lang: its pairs}}."""
    columns = {}
    for model, by_lang in pairs.items():
        for side in ("chosen", "rejected"):
            shares = {lang: of_pairs(some, side)[kind] for lang, some in by_lang.items()}
            columns[f"{side}, for {model}"] = shares
    return pd.DataFrame(columns)
