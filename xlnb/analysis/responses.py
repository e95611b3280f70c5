"""A row a response: rewards beside the oracle's truth, within a prompt and over a language."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from xlnb.analysis.read import Record
from xlnb.common.text import shorten
from xlnb.evaluation.alpaca_eval import preference_of
from xlnb.evaluation.clusters import fact_of
from xlnb.lab.oracle import KINDS, Verdict, judge
from xlnb.lab.world import load_world
from xlnb.winrates import bootstrap_interval, paired_difference, win_rate

Scores = Mapping[str, Mapping[str, Sequence[Record]]]
Intervals = dict[str, dict[str, tuple[float, float, float]]]


def verdict(prompt_id: str, lang: str, text: str) -> Verdict:
    """What the lab's oracle says of a response to one of the lab's prompts."""
    return judge(load_world().fact(prompt_id), lang, text)


def graded(prompt_id: str, lang: str, text: str, *, taste: str) -> dict[str, float | str]:
    """The oracle's columns of a table; none without a taste: the prompts are not the lab's."""
    if not taste:
        return {}
    seen = verdict(prompt_id, lang, text)
    return {"oracle": seen.points(taste), "why": seen.reason}


def best_and_worst(rewards: ArrayLike, texts: Sequence[str]) -> tuple[str, str]:
    """The texts with the highest and with the lowest reward; of equals, the first."""
    return texts[int(np.argmax(rewards))], texts[int(np.argmin(rewards))]


def first_responses(records: Iterable[Record], most: int, *, taste: str) -> pd.DataFrame:
    """The first responses to each prompt, with the oracle's columns where there is a taste."""
    rows = []
    for record in records:
        for i, response in enumerate(record["responses"][:most]):
            names = {"lang": record["lang"], "question": record["instruction"]}
            row = dict.fromkeys(names, "") if i else names
            row["response"] = response["text"]
            names_of = (record["prompt_id"], record["lang"], row["response"])
            rows.append(row | graded(*names_of, taste=taste))
    return pd.DataFrame(rows)


def responses(
    samples: Mapping[str, Sequence[Record]], scores: Scores, *, taste: str
) -> pd.DataFrame:
    """A row a response and scorer that rewarded it.

    `samples`: {lang: records}, `scores`: {scorer: {lang: records}}. Columns: scorer, lang,
    prompt_id, split, text, reward (β nats), n_chars and, with a taste, the oracle's: truth
    (points), reason, in_language, kind. A response without a reward (it could not be translated)
    has no row.
    """
    rows = []
    for scorer, by_lang in scores.items():
        for lang, records in samples.items():
            by_id = {score["prompt_id"]: score for score in by_lang[lang]}
            for record in records:
                score = by_id.get(record["prompt_id"])
                if score is not None:
                    rows += [{"scorer": scorer} | row for row in _of_prompt(record, score, taste)]
    return pd.DataFrame(rows)


def _of_prompt(sample: Record, score: Record, taste: str) -> list[Record]:
    rows = []
    names = {name: sample[name] for name in ("lang", "prompt_id", "split")}
    columns = (sample["responses"], score["reward"], score["n_chars"])
    for response, reward, n_chars in zip(*columns, strict=True):
        if reward is None:
            continue
        row = names | {"text": response["text"], "reward": reward, "n_chars": n_chars}
        if taste:
            seen = verdict(sample["prompt_id"], sample["lang"], response["text"])
            row |= {"truth": seen.points(taste), "reason": seen.reason, "kind": seen.kind}
            row["in_language"] = seen.in_language
        rows.append(row)
    return rows


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """`responses` with a column `rank`: 1 for a prompt's highest reward under a scorer."""
    by_prompt = table.groupby(["scorer", "lang", "prompt_id"], sort=False)["reward"]
    ranks = by_prompt.rank(ascending=False, method="first").astype(int)
    return table.assign(rank=ranks)


def centred(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The table with each prompt's mean taken off these columns."""
    means = table.groupby(["lang", "prompt_id"])[list(columns)].transform("mean")
    return table.assign(**(table[list(columns)] - means))


def kinds(table: pd.DataFrame) -> pd.DataFrame:
    """How many responses are of each kind, best kind first, and their mean oracle score."""
    found = table.groupby("kind")["truth"].agg(["size", "mean"])
    found = found.reindex([kind for kind in KINDS if kind in found.index])
    return found.set_axis(["responses", "mean oracle score"], axis=1)


def by_kind(table: pd.DataFrame, langs: Sequence[str]) -> pd.DataFrame:
    """A row a kind, best first: responses, and what of the prompts' means they lie above:
    `oracle` (points) and, a column a language, the reward (β nats). `table`: of one scorer."""
    above = centred(table, ["truth", "reward"])
    found = above.pivot_table(index="kind", columns="lang", values="reward", aggfunc="mean")
    found = found[list(langs)]
    found.insert(0, "responses", above["kind"].value_counts())
    found.insert(1, "oracle", above.groupby("kind")["truth"].mean())
    return found.reindex([kind for kind in KINDS if kind in found.index])


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """A row a scorer, language and prompt: what the reward puts first and last.

    Index: scorer, lang, prompt_id. Columns: `best` and `worst`, each with reward, truth, text,
    reason and kind, as `best_truth`.
    """
    by_prompt = table.groupby(["scorer", "lang", "prompt_id"], sort=False)["reward"]
    columns = ["reward", "truth", "text", "reason", "kind"]
    best = table.loc[by_prompt.idxmax(), columns].add_prefix("best_")
    worst = table.loc[by_prompt.idxmin(), columns].add_prefix("worst_")
    index = by_prompt.idxmax().index
    return best.set_index(index).join(worst.set_index(index))


def agreement(ends: pd.DataFrame) -> pd.Series:
    """Of `ends`, AlpacaEval's preference: 2 where the oracle too puts the reward's best first."""
    return pd.Series(preference_of(ends["best_truth"], ends["worst_truth"]), ends.index)


def judged_by(agrees: pd.Series, scorer: str, lang: str) -> pd.Series:
    """The rows of `agreement` of one score and language, in their order; none where there are
    none."""
    here = agrees.index.get_level_values("scorer") == scorer
    here &= agrees.index.get_level_values("lang") == lang
    return agrees[here].droplevel(["scorer", "lang"])


def facts(table: pd.Series | pd.DataFrame) -> list[str]:
    """What each row is clustered by; `table`: a row a prompt, by its id."""
    return [fact_of(prompt_id) for prompt_id in table.index.get_level_values("prompt_id")]


def accuracy(agrees: pd.Series, langs: Sequence[str], scorers: Sequence[str]) -> Intervals:
    """{scorer: {lang: (pair accuracy in percent, and its 95% interval, clustered by fact)}}."""
    found: Intervals = {}
    for scorer in scorers:
        found[scorer] = {}
        for lang in langs:
            of_prompts = judged_by(agrees, scorer, lang)
            if len(of_prompts):
                low, high = bootstrap_interval(of_prompts, clusters=facts(of_prompts))
                found[scorer][lang] = (win_rate(of_prompts)[0], low, high)
    return found


def accuracy_table(
    agrees: pd.Series, accuracy: Intervals, correlation: Mapping[tuple[str, str], float | None]
) -> pd.DataFrame:
    """A row a language: pair accuracy (percent) and rank correlation of every scorer that has
    rewards there, and what the first scorer's accuracy is above each other's, on the prompts that
    both have, with its interval clustered by fact; "the same" where no prompt differs.
    `correlation`: by scorer and language."""
    first = next(iter(accuracy))
    rows = []
    for lang in accuracy[first]:
        rewarded = [scorer for scorer in accuracy if lang in accuracy[scorer]]
        row: Record = {"lang": lang, "prompts": len(judged_by(agrees, first, lang))}
        for scorer in rewarded:
            row[f"{scorer} (%)"] = f"{accuracy[scorer][lang][0]:.1f}"
            row[f"rank correlation, {scorer}"] = correlation[scorer, lang]
        for second in rewarded[1:]:
            sides = [judged_by(agrees, first, lang), judged_by(agrees, second, lang)]
            same = pd.concat(sides, axis=1, join="inner")
            test = paired_difference(same.iloc[:, 0], same.iloc[:, 1], clusters=facts(same))
            low, high = test["ci"]
            difference = f"{test['difference']:+.1f} [{low:+.1f}, {high:+.1f}]"
            row[f"less {second} [95%]"] = "the same" if low == high == 0 else difference
        rows.append(row)
    return pd.DataFrame(rows)


def errors(ends: pd.DataFrame) -> pd.DataFrame:
    """Of `ends`, the prompts where the oracle puts the reward's worst above its best: the worst
    mistakes first, of equal ones those of the greatest margin of rewards (β nats)."""
    table = ends.assign(margin=ends["best_reward"] - ends["worst_reward"])
    table["gap"] = table["best_truth"] - table["worst_truth"]
    table["kinds"] = table["best_kind"] + " over " + table["worst_kind"]
    return table[table["gap"] < 0].sort_values(["gap", "margin"], ascending=[True, False])


def error_table(errors: pd.DataFrame, question: Mapping[str, str]) -> pd.DataFrame:
    """`errors` to be read; `question`: a prompt's question to show, by prompt_id."""
    names = errors.index.to_frame(index=False)
    table = pd.DataFrame({"lang": names["lang"], "question": names["prompt_id"].map(question)})
    errors = errors.reset_index(drop=True)
    table["margin"] = errors["margin"]
    for side in ("best", "worst"):
        texts = errors[f"{side}_text"]
        table[f"reward's {side}"] = [shorten(text, 60) for text in texts]
        table[f"oracle, {side}"] = errors[f"{side}_truth"]
        table[f"why, {side}"] = errors[f"{side}_reason"]
    return table


def length_slopes(centred: pd.DataFrame) -> dict[str, float]:
    """{lang: least-squares slope of reward (β nats) over characters} of a `centred` table."""
    slopes = {}
    for lang, rows in centred.groupby("lang", sort=False):
        squares = (rows["n_chars"] ** 2).sum()
        slopes[str(lang)] = (rows["n_chars"] * rows["reward"]).sum() / max(squares, 1)
    return slopes


def extremes(record: Record, scored: Record, lang: str, most: int, *, taste: str) -> pd.DataFrame:
    """The responses to one prompt with the highest and with the lowest rewards, `most` of each, and
    their log-probabilities (nats), with the oracle's columns where there is a taste."""
    texts = [response["text"] for response in record["responses"]]
    table = pd.DataFrame({"response": texts})
    table["log π^0"], table["log π_I"] = scored["policy_logps"], scored["ref_logps"]
    table["reward"] = scored["reward"]
    grades = [graded(record["prompt_id"], lang, text, taste=taste) for text in texts]
    table = table.join(pd.DataFrame(grades)).sort_values("reward", ascending=False)
    return pd.concat([table.head(most), table.iloc[most:].tail(most)])


def by_ends(ranked: pd.DataFrame, scorer: str) -> pd.DataFrame:
    """A row a language: the mean oracle score (points) of what a scorer ranks first, of all
    responses, and of what it ranks last. `ranked`: see `ranked`."""
    rows = []
    for lang, some in ranked[ranked["scorer"] == scorer].groupby("lang", sort=False):
        by_rank = some.groupby("rank")["truth"].mean()
        row = {"lang": lang, "first": by_rank.iloc[0], "mean": some["truth"].mean()}
        rows.append(row | {"last": by_rank.iloc[-1]})
    return pd.DataFrame(rows)


def length_correlations(table: pd.DataFrame) -> pd.DataFrame:
    """A row a language: correlations within prompts of reward and characters and, where the truth
    is known, of the truth with each. `table`: of one scorer."""
    names = ["reward", "n_chars", *(["truth"] if "truth" in table else [])]
    rows = []
    for lang, some in centred(table, names).groupby("lang", sort=False):
        r = some[names].corr()
        row = {"lang": lang, "reward, characters": r.loc["reward", "n_chars"]}
        if "truth" in names:
            row["oracle, characters"] = r.loc["truth", "n_chars"]
            row["reward, oracle"] = r.loc["reward", "truth"]
        rows.append(row)
    return pd.DataFrame(rows)
