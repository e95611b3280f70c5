"""What a real model's run on prompts with a truth came to: notebook 12, of a committed record."""

import pandas as pd

from xlnb.analysis.read import Record
from xlnb.evaluation.pass_rates import PassRate

# Of a record's accuracies, what is of all languages but English together.
OTHERS = "other languages"


def others(record: Record, learnt: str, truth: str) -> pd.DataFrame:
    """A row a score: its pair accuracy in the languages other than English, mean, with the ends of
    its 95% interval over paragraphs, low and high. `learnt`: the taste that π^0 has learnt,
    `truth`: that by which its rewards are judged."""
    rows = []
    for scorer, by_lang in record["accuracy"][learnt][truth].items():
        low, high = by_lang[OTHERS]["ci"]
        mean = by_lang[OTHERS]["pair_accuracy"]
        rows.append({"scorer": scorer, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def accuracy_table(record: Record, learnt: str, truth: str) -> pd.DataFrame:
    """Pair accuracy with its 95% interval over paragraphs, scores by languages, in words; `learnt`
    and `truth` as for `others`."""
    rows = {}
    for scorer, by_lang in record["accuracy"][learnt][truth].items():
        rows[scorer] = {lang: _in_words(entry) for lang, entry in by_lang.items()}
    table = pd.DataFrame(rows).T
    return table[[*(lang for lang in table if lang != OTHERS), OTHERS]]


def _in_words(entry: Record) -> str:
    low, high = entry["ci"]
    return f"{entry['pair_accuracy']:.3f} [{low:.3f}, {high:.3f}]"


def pass_table(record: Record, kind: str) -> pd.DataFrame:
    """The share of responses that meet checks of a kind, in %, with its 95% interval, models by
    languages, in words."""
    rows = {}
    for model, by_lang in record["win_rates"].items():
        rows[model] = {lang: _share(entry["checks"][kind]) for lang, entry in by_lang.items()}
    return pd.DataFrame(rows).T


def _share(rate: PassRate) -> str:
    low, high = rate["ci"]
    return f"{100 * rate['rate']:.0f} [{100 * low:.0f}, {100 * high:.0f}]"


def answers(record: Record, lang: str) -> pd.DataFrame:
    """The answers of every model to some evaluation questions of a language."""
    rows = [row for row in record["answers"] if row["lang"] == lang]
    return pd.DataFrame(rows).drop(columns="lang")
