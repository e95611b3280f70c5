"""What a real model's run on prompts with a truth came to: notebook 12, of a committed record."""

from typing import Any

import pandas as pd

from xlnb.analysis.read import Record

# Of a record's accuracies, what is of all languages but English together.
OTHERS = "other languages"


def others(by_scorer: Record) -> pd.DataFrame:
    """A row a score: its pair accuracy in the languages other than English, mean, with the ends of
    its 95% interval over paragraphs, low and high. `by_scorer`: one of the record's tables."""
    rows = []
    for scorer, by_lang in by_scorer.items():
        low, high = by_lang[OTHERS]["ci"]
        mean = by_lang[OTHERS]["pair_accuracy"]
        rows.append({"scorer": scorer, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def accuracy_table(by_scorer: Record) -> pd.DataFrame:
    """Pair accuracy with its 95% interval over paragraphs, scores by languages, in words."""
    rows = {}
    for scorer, by_lang in by_scorer.items():
        rows[scorer] = {lang: _in_words(entry) for lang, entry in by_lang.items()}
    table = pd.DataFrame(rows).T
    return table[[*(lang for lang in table if lang != OTHERS), OTHERS]]


def difference_table(record: Record) -> pd.DataFrame:
    """R_c less each other score, question by question: a row a score, a column a taste that was
    learnt, and the mean over both; with 95% intervals over paragraphs, in words."""
    rows = {}
    for taste, by_scorer in record["differences"].items():
        rows[taste] = {scorer: _in_words(entry, "+") for scorer, entry in by_scorer.items()}
    return pd.DataFrame(rows)


def learnt_and_not(record: Record) -> pd.DataFrame:
    """Pair accuracy in other languages, by whose rewards (rows) and by whose truth (columns)."""
    rows = {}
    for learnt, by_truth in record["accuracy"].items():
        for scorer in ("cross_lingual", "multilingual", "likelihood"):
            values = {of: by[scorer][OTHERS]["pair_accuracy"] for of, by in by_truth.items()}
            rows[scorer, learnt] = values
    table = pd.DataFrame(rows).T
    return table.rename_axis(index=["score", "learnt"], columns="truth")


def per_token(record: Record) -> pd.DataFrame:
    """A row a taste, reward and language: β nats a token, and for being a sentence."""
    rows: list[dict[str, Any]] = []
    for taste, by_reward in record["per_token"].items():
        for scorer, by_lang in by_reward.items():
            for lang, values in by_lang.items():
                rows.append({"taste": taste, "scorer": scorer, "lang": lang, **values})
    return pd.DataFrame(rows)


def _in_words(entry: Record, sign: str = "") -> str:
    low, high = entry["ci"]
    return f"{entry['pair_accuracy']:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def answers_of(record: Record, taste: str, langs: str = OTHERS) -> pd.DataFrame:
    """A row a model: what its answers to the evaluation questions are, in a language or in all but
    English.

    Columns: the win rate against π_I with its 95% interval over paragraphs, in words; shares that
    are good by the taste, hold a known answer and are in the asked language; characters.
    """
    rows = {}
    for model, by_lang in record["win_rates"][taste].items():
        entry = by_lang[langs]
        low, high = entry["wr_ci"]
        rows[model] = {
            "win rate": f"{entry['wr']:.1f} [{low:.1f}, {high:.1f}]",
            "good": round(entry["mean_score"], 2),
            "holds an answer": round(entry["checks"]["answer"]["rate"], 2),
            "in the language": round(entry["in_language"], 2),
            "characters": round(entry["mean_chars"]),
        }
    return pd.DataFrame(rows).T


def by_language(record: Record, taste: str, column: str) -> pd.DataFrame:
    """One number of win rates (`evaluation.summaries.WinRate`), such as wr in points or in_language
    as a share, models by languages."""
    rows = {}
    for model, by_lang in record["win_rates"][taste].items():
        rows[model] = {lang: entry[column] for lang, entry in by_lang.items()}
    return pd.DataFrame(rows).T


def languages_of_best(record: Record) -> pd.DataFrame:
    """Shares of π^0's responses that are in the asked language: all, and the best and the worst of
    a question by each score."""
    rows = {}
    for scorer, by_lang in record["languages"].items():
        for which in ("best", "worst"):
            rows[scorer, which] = {lang: shares[which] for lang, shares in by_lang.items()}
    every = {lang: shares["all"] for lang, shares in record["languages"]["random"].items()}
    return pd.DataFrame({("all responses", ""): every, **rows}).T
