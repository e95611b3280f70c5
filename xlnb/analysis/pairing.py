"""Candidates, α and pairs of an iteration, and what each of them changes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from xlnb.analysis.read import Record, as_sample, as_score
from xlnb.analysis.responses import graded, verdict
from xlnb.common.joining import join_scores
from xlnb.common.language_id import in_language, wrong_language
from xlnb.common.text import shorten
from xlnb.evaluation.alpaca_eval import preference_of
from xlnb.evaluation.clusters import fact_of
from xlnb.length_control import Floats, LengthControl, grid_alpha, length_alpha, length_gap_curve
from xlnb.pairs import Candidates, candidates, make_pairs
from xlnb.pairs import usable as usable
from xlnb.winrates import bootstrap_interval, win_rate

SIDES = ("chosen", "rejected")

# The most responses whose language is told: the detector takes a third of a millisecond each.
TOLD = 5000


class AlphaFits(NamedTuple):
    """What length control does in one language."""

    # mean length gap over α: see `length_gap_curve`
    curve: tuple[Floats, Floats]
    # exact: the best α ≥ 0; grid: the release's; negative: the best of either sign
    fits: dict[str, LengthControl]


def train_candidates(
    samples: Sequence[Record], scores: Sequence[Record], langs: Sequence[str] | None
) -> list[Candidates]:
    """The candidates of a language's training prompts, as `pairs.pair_language` forms them.

    `langs`: the languages among which a response's is told, to leave out those in another than
    their prompt's; None: none are left out.
    """
    trained = [record for record in samples if record["split"] == "train"]
    scored = [record for record in scores if record["split"] == "train"]
    test = wrong_language(trained[0]["lang"], sorted(langs)) if langs and trained else None
    samples_ = [as_sample(record) for record in trained]
    scores_ = [as_score(record) for record in scored]
    joined = join_scores(samples_, scores_)
    return [candidates(sample, score, "reward", test) for sample, score in joined]


def made_pairs(
    prompts: Sequence[Candidates], alpha: float, min_margin: float = 0.0
) -> tuple[list[Record], Record]:
    """`pairs.make_pairs`, its pairs as the records of their files."""
    pairs, report = make_pairs(prompts, alpha=alpha, min_margin=min_margin)
    return [pair.to_json() for pair in pairs], report


def alpha_fits(prompts: Sequence[Candidates], beta: float) -> AlphaFits:
    """The length gap over α of these usable prompts, and the three choices of α."""
    rewards = [p.scores for p in prompts]
    n_chars = [p.n_chars for p in prompts]
    fits = {
        "exact": length_alpha(rewards, n_chars),
        "grid": grid_alpha(rewards, n_chars, beta=beta),
        "negative": length_alpha(rewards, n_chars, allow_negative=True),
    }
    return AlphaFits(length_gap_curve(rewards, n_chars), fits)


def alpha_table(found: Mapping[str, AlphaFits]) -> pd.DataFrame:
    """A row a language: the length gap (characters) at α = 0, and by each choice of α its value (β
    nats per 1,000 characters) and the gap that it leaves."""
    labels = {"exact": "α ≥ 0, exact", "grid": "release's grid", "negative": "any α"}
    rows = []
    for lang, (_, fits) in found.items():
        row: Record = {"lang": lang, "gap at α = 0": f"{fits['exact'].gap_before:+.1f}"}
        for name, label in labels.items():
            row[label] = f"{1000 * fits[name].alpha:.3f}, gap {fits[name].gap:+.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def marks(fits: Mapping[str, LengthControl]) -> dict[str, tuple[float, float]]:
    """{name: (α, gap)} of the fits, and "before", α = 0: what `figures` marks on the staircase."""
    before = (0.0, fits["exact"].gap_before)
    return {"before": before} | {name: (fit.alpha, fit.gap) for name, fit in fits.items()}


def text(pair: Record, side: str) -> str:
    """The response that a pair prefers ("chosen"), or the other ("rejected")."""
    return pair[side][0]["content"]


def oracle_prefers(pair: Record, taste: str) -> float:
    """AlpacaEval's preference of the oracle for chosen over rejected: 2, 1.5 or 1."""
    high, low = (verdict(pair["prompt_id"], pair["lang"], text(pair, side)) for side in SIDES)
    return float(preference_of(high.points(taste), low.points(taste)))


Made = tuple[Sequence[Record], Record]


def pair_table(paired: Mapping[str, Mapping[str, Made]], *, taste: str) -> pd.DataFrame:
    """A row a language: how many pairs there are and change with α, and by each choice of α their
    mean length gap (characters) and, with a taste, in how many of 100 the oracle prefers chosen,
    with its interval clustered by fact.

    `paired`: {lang: {choice, the first without α: what `made_pairs` returns}}.
    """
    rows = []
    for lang, choices in paired.items():
        (before, _), *_, (after, _) = choices.values()
        changed = len(moved(before, after).changed)
        row: Record = {"lang": lang, "pairs": len(after), "changed": changed}
        for name, (made, info) in choices.items():
            if made:
                row[f"gap, {name}"] = f"{info['length_gap']:+.1f}"
        for name, (made, _) in choices.items():
            if made and taste:
                row[f"oracle agrees (%), {name}"] = _oracle_agrees(made, taste)
        rows.append(row)
    return pd.DataFrame(rows)


def _oracle_agrees(made: Sequence[Record], taste: str) -> str:
    said = [oracle_prefers(pair, taste) for pair in made]
    clusters = [fact_of(pair["prompt_id"]) for pair in made]
    low, high = bootstrap_interval(said, clusters=clusters)
    return f"{win_rate(said)[0]:.1f} [{low:.1f}, {high:.1f}]"


def flow(report: Record, n_candidates: int) -> dict[str, int]:
    """From all responses of a language to its pairs: what was left out, by reason."""
    column = {"responses": report["responses"]}
    for reason, number in report["dropped_responses"].items():
        column[f"− {reason}"] = number
    column |= {"= candidates": n_candidates, "prompts": report["prompts"]}
    for reason, number in report["dropped"].items():
        column[f"− {reason}"] = number
    return column | {"= pairs": report["pairs"]}


class Moved(NamedTuple):
    """Pairs of one language without α and with it."""

    # by prompt_id, of the prompts that give a pair either way
    before: dict[str, Record]
    after: dict[str, Record]
    # the prompts whose chosen or rejected response is another
    changed: list[str]


def moved(before: Sequence[Record], after: Sequence[Record]) -> Moved:
    """Where two lists of pairs of the same prompts differ."""
    old = {pair["prompt_id"]: pair for pair in before}
    new = {pair["prompt_id"]: pair for pair in after}
    both = [prompt_id for prompt_id in old if prompt_id in new]
    changed = []
    for prompt_id in both:
        if any(old[prompt_id][side] != new[prompt_id][side] for side in SIDES):
            changed.append(prompt_id)
    return Moved({i: old[i] for i in both}, {i: new[i] for i in both}, changed)


def moved_rows(
    pairs: Moved, alpha: float, question: Mapping[str, str], *, taste: str
) -> list[Record]:
    """A prompt's pair without α and with it; where none changed, one of the others as it is.

    `question`: a prompt's question to show, by prompt_id.
    """
    rows = []
    for prompt_id in (pairs.changed or list(pairs.before))[:1]:
        before, after = pairs.before[prompt_id], pairs.after[prompt_id]
        names = {"lang": before["lang"], "question": question[prompt_id]}
        rows.append(names | _pair_row(before, 0.0, taste))
        if pairs.changed:
            rows.append(dict.fromkeys(names, "") | _pair_row(after, alpha, taste))
    return rows


def _pair_row(pair: Record, alpha: float, taste: str) -> Record:
    row: Record = {"α per 1,000": f"{1000 * alpha:.3f}"}
    for side in SIDES:
        row[side] = shorten(text(pair, side), 70)
        seen = graded(pair["prompt_id"], pair["lang"], text(pair, side), taste=taste)
        if seen:
            row[f"oracle on {side}"] = f"{seen['oracle']:.1f}: {seen['why']}"
    return row | {"margin": pair["margin"]}


def asked_language(
    lang: str, prompt_ids: Sequence[str], texts: Sequence[str], *, lab: bool
) -> list[bool] | None:
    """For each text whether it is in the asked language, as the oracle says where `lab`, else the
    detector; None for a language that the detector does not know."""
    if not lab:
        return in_language(texts, lang)
    both = zip(prompt_ids, texts, strict=True)
    return [verdict(prompt_id, lang, each).in_language for prompt_id, each in both]


def trained_texts(samples: Sequence[Record]) -> tuple[list[str], list[str]]:
    """prompt_ids and texts of the responses to training prompts, about `TOLD` of them at most."""
    found = []
    for record in samples:
        if record["split"] == "train":
            found += [(record["prompt_id"], response["text"]) for response in record["responses"]]
    few = found[:: 1 + len(found) // TOLD]
    return [prompt_id for prompt_id, _ in few], [each for _, each in few]


def strangers(flags: Sequence[bool] | None) -> str:
    """How many of the responses are in the asked language, as a cell of a table."""
    if not flags:
        return "–"
    return f"{100 * np.mean(flags):.0f}% ({len(flags) - sum(flags)} not)"


def consistency(
    lang: str,
    samples: Sequence[Record],
    candidates: Mapping[str, Sequence[Candidates]],
    alpha: float,
    *,
    lab: bool,
) -> dict[str, str]:
    """A language's shares of responses in the asked language: all samples, then both sides of the
    pairs made of each of `candidates`, {"without" or "with" the filter of languages: …}."""
    row = {"lang": lang}
    row["all samples"] = strangers(asked_language(lang, *trained_texts(samples), lab=lab))
    for name, prompts in candidates.items():
        made, _ = make_pairs(prompts, alpha=alpha)
        ids = [pair.prompt_id for pair in made]
        for side in SIDES:
            texts = [getattr(pair, side) for pair in made]
            row[f"{side}, {name} filter"] = strangers(asked_language(lang, ids, texts, lab=lab))
    return row


def sides_moved(pairs: Moved) -> str:
    """How many of the pairs that changed have another chosen, and another rejected response."""
    counts = dict.fromkeys(SIDES, 0)
    for prompt_id in pairs.changed:
        for side in SIDES:
            counts[side] += pairs.before[prompt_id][side] != pairs.after[prompt_id][side]
    of_sides = ", ".join(f"{side} {count}" for side, count in counts.items())
    return f"{len(pairs.changed)} pairs changed: {of_sides}"
