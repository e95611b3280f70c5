"""Form against fact: which of two responses to one prompt a reward prefers, by what they are."""

from collections.abc import Callable, Sequence

import pandas as pd

Accuracy = Callable[[pd.DataFrame, str, str], float]

MANNERS = ("polite", "familiar")

# What is compared, better first: the fact at equal form, the form at equal fact, one against the
# other.
COMPARED = (
    ("right, polite", "wrong, polite"),
    ("right, neither", "wrong, neither"),
    ("right, familiar", "wrong, familiar"),
    ("right, polite", "right, neither"),
    ("right, neither", "right, familiar"),
    ("wrong, polite", "right, neither"),
    ("wrong, polite", "right, familiar"),
)


def with_form(table: pd.DataFrame) -> pd.DataFrame:
    """The responses that answer in the asked language, with a column `form`: "right, polite",
    "wrong, neither" … `table`: of `analysis.responses.responses`, with the oracle's columns."""
    answers = table["kind"].str.split(", ").str[0]
    said = answers.isin(["right", "wrong"]) & table["in_language"]
    table = table[said]
    manner = pd.Series("neither", table.index)
    for name in MANNERS:
        manner[table["reason"].str.contains(rf"\b{name}\b")] = name
    return table.assign(form=answers[said] + ", " + manner)


def matched_table(table: pd.DataFrame, langs: Sequence[str], accuracy: Accuracy) -> pd.DataFrame:
    """A row a comparison of `COMPARED`: in how many of 100 comparisons within a prompt the reward
    prefers the first, a column a language; how many there are stands beside it.

    `table`: of `with_form`; `accuracy`: of the learner, or the kit's own: see `exercises.rewards`.
    """
    rows = []
    for better, worse in COMPARED:
        row = {"prefers": better, "to": worse}
        for lang in langs:
            here = table[table["lang"] == lang]
            count = _comparisons(here, better, worse)
            row[lang] = f"{100 * accuracy(here, better, worse):.0f} ({count})" if count else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def _comparisons(table: pd.DataFrame, better: str, worse: str) -> int:
    sizes = table.groupby(["prompt_id", "form"]).size().unstack(fill_value=0)
    sizes = sizes.reindex(columns=[better, worse], fill_value=0)
    return int((sizes[better] * sizes[worse]).sum())
