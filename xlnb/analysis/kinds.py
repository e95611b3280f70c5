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


def of_language(records: Sequence[Record]) -> pd.Series:
    """`of_annotations` of the language that they are in."""
    return of_annotations(records, records[0]["lang"])


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


def chosen_and_rejected(
    all_kinds: Mapping[str, Iterable[str]], pairs: Mapping[str, Sequence[Record]]
) -> dict[str, dict[str, pd.Series]]:
    """{lang: {"all samples", "chosen", "rejected": `shares`}}. `all_kinds`: of each language's
    samples; `pairs`: its pairs."""
    found = {}
    for lang, kinds in all_kinds.items():
        sides = {side: of_pairs(pairs[lang], side) for side in ("chosen", "rejected")}
        found[lang] = {"all samples": shares(kinds), **sides}
    return found


def of_each_side(
    pairs: Mapping[str, Mapping[str, Sequence[Record]]], langs: Sequence[str]
) -> dict[str, dict[str, pd.Series]]:
    """{lang: {"chosen, for <model>", and "rejected, …": `shares`}}, of the pairs of each model."""
    found: dict[str, dict[str, pd.Series]] = {lang: {} for lang in langs}
    for model, by_lang in pairs.items():
        for lang, some in by_lang.items():
            for side in ("chosen", "rejected"):
                found[lang][f"{side}, for {model}"] = of_pairs(some, side)
    return found


def of_every_pair(sides: Mapping[str, Mapping[str, pd.Series]], kind: str) -> pd.DataFrame:
    """Of `of_each_side`, the share of one kind: languages by sides, in percent."""
    rows = {}
    for lang, by_side in sides.items():
        rows[lang] = {side: shares[kind] for side, shares in by_side.items()}
    return pd.DataFrame(rows).T
