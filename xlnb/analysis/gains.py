"""From one model to another: gains over prompts, facts and seeds, and what goes with them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from xlnb.analysis.read import Record
from xlnb.common.columns import Floats
from xlnb.common.errors import InputError
from xlnb.evaluation.clusters import fact_of as fact_of
from xlnb.evaluation.judged import Judged
from xlnb.evaluation.tables import pooled_win_rates
from xlnb.evaluation.text_table import mean_over_languages
from xlnb.winrates import PairedDifference, paired_difference

# {lang: (n,) preferences}, the same prompts in the same order in every language
Preferences = Mapping[str, Floats]

# {lang: an entry of metrics.json}
Rates = Mapping[str, Mapping[str, float]]

NON_ENGLISH = "mean non-en"


def with_mean(preferences: Preferences) -> dict[str, Floats]:
    """The preferences, and `NON_ENGLISH`: each prompt's mean over the languages but English, NaN
    where one of them has no judgement."""
    others = [values for lang, values in preferences.items() if lang != "en"]
    return {**preferences, NON_ENGLISH: np.mean(others, axis=0)}


def gains(
    after: Preferences, before: Preferences, prompt_ids: Sequence[str] | None = None
) -> dict[str, PairedDifference]:
    """By language, and for their mean but English: `winrates.paired_difference`, in points, the
    lab's prompts clustered by fact where `prompt_ids` (n,) names them."""
    new, old = with_mean(after), with_mean(before)
    clusters = None if prompt_ids is None else [fact_of(prompt_id) for prompt_id in prompt_ids]
    return {name: paired_difference(new[name], old[name], clusters=clusters) for name in new}


def gain_table(gain: Mapping[str, PairedDifference], before: Rates, after: Rates) -> pd.DataFrame:
    """A row a language: the gain, its SE and p value, and the SE if prompts were not paired.

    `before`, `after`: the models' {lang: {"wr_se"}}; for a mean there is none: NaN.
    """
    table = pd.DataFrame(gain).T[["difference", "se", "p_value"]].astype(float)
    unpaired = []
    for name in gain:
        known = name in after
        ses = (before[name]["wr_se"], after[name]["wr_se"]) if known else (np.nan, np.nan)
        unpaired.append(np.hypot(*ses))
    table.insert(2, "SE if unpaired", unpaired)
    return table


def parallel_ids(annotations: Mapping[str, Mapping[str, Sequence[Record]]]) -> list[str]:
    """The ids of the prompts, the same in every language and of every model, as a mean over
    languages needs. Raises InputError where they are not."""
    found: list[str] = []
    for model, by_lang in annotations.items():
        for lang, records in by_lang.items():
            ids = [record["id"] for record in records]
            found = found or ids
            if ids != found:
                raise InputError(
                    f"{model}, {lang}: not the prompts of the others, in their order; expected "
                    "parallel prompts"
                )
    return found


def beside_paper(before: Rates, after: Rates, names: Sequence[str]) -> pd.DataFrame:
    """Mean win rates of two models, `names`, and the gain: this run's languages but English, all of
    them, and the paper's."""
    all_0, rest_0 = mean_over_languages(before, "wr")
    all_1, rest_1 = mean_over_languages(after, "wr")
    rows = {
        "this run, languages but English": (rest_0, rest_1),
        "this run, all languages": (all_0, all_1),
        "paper, 5 languages with English": (13.71, 26.43),
    }
    table = pd.DataFrame(rows, index=list(names)).T
    return table.assign(gain=table.iloc[:, 1] - table.iloc[:, 0])


def pooled_table(
    annotations: Mapping[str, Mapping[str, Judged]], models: Sequence[str]
) -> pd.DataFrame:
    """`pooled_win_rates` of these models, those that have several languages: a row each."""
    rows = {}
    pooled = pooled_win_rates(annotations)
    for model in models:
        if model in pooled:
            low, high = pooled[model]["wr_ci"]
            wr, se = pooled[model]["wr"], pooled[model]["wr_se"]
            rows[model] = {"WR": wr, "SE": se, "95% from": low, "to": high}
    return pd.DataFrame(rows).T


def explained(
    gain: Mapping[str, PairedDifference],
    accuracy: Mapping[str, Mapping[str, float]],
    changed: pd.DataFrame,
) -> pd.DataFrame:
    """A row a language, the smallest gain first: its gain, the accuracy of its pairs
    (`pair_accuracy`), and how kinds of responses changed (`kinds.change`), in points."""
    table = pd.DataFrame({"gain": {lang: gain[lang]["difference"] for lang in changed}})
    for model, by_lang in accuracy.items():
        table[f"pair accuracy, rewards of {model}"] = pd.Series(by_lang)
    kinds = ["right, polite", "refuses", "wrong", "off topic or garbled"]
    return table.join(changed.T[kinds]).sort_values("gain")


def told_from_zero(gain: PairedDifference) -> str:
    """What a gain's interval says of it, in words."""
    low, high = gain["ci"]
    direction = "not told from 0"
    if low > 0 or high < 0:
        direction = "up" if low > 0 else "down"
    return f"{gain['difference']:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}: {direction}"


def measures(rates: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """One model's languages by what metrics.json knows of wr, mean_score, in_language, mean_chars;
    of each where a language has it."""
    known = {name for entry in rates.values() for name in entry}
    columns = ("wr", "mean_score", "in_language", "mean_chars")
    return pd.DataFrame(rates).T[[name for name in columns if name in known]].astype(float)


def pair_accuracy(
    rewards: Mapping[str, Mapping[str, Rates]], scorer: str
) -> dict[str, dict[str, float]]:
    """{model: {lang: pair accuracy, 0 to 1}} of one scorer, of metrics.json's `rewards`."""
    found = {}
    for model, by_scorer in rewards.items():
        rows = by_scorer[scorer]
        found[model] = {lang: entry["pair_accuracy"] for lang, entry in rows.items()}
    return found
