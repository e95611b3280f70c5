"""One prompt followed from its responses to its pair, and guesses of rewards: notebook 00."""

import random
from collections.abc import Sequence

import numpy as np
import pandas as pd

from xlnb.analysis import read
from xlnb.analysis.pairing import SIDES, text
from xlnb.analysis.read import Record
from xlnb.analysis.responses import verdict
from xlnb.common.errors import InputError
from xlnb.lab.documents import AUTHORS, MANNERS, respond
from xlnb.lab.oracle import judge
from xlnb.lab.world import load_world
from xlnb.runs.layout import Run


def prompt_table(sample: Record, score: Record, pair: Record, taste: str) -> pd.DataFrame:
    """A row a text that was sampled for a prompt; of equal texts the first, as pairs are made.

    Columns: policy_logps, ref_logps (nats), reward (β nats), n_chars, text, role ("chosen",
    "rejected" or ""), oracle (points), times (how often it was sampled).
    """
    table = pd.DataFrame({key: score[key] for key in ("policy_logps", "ref_logps", "reward")})
    table["n_chars"] = score["n_chars"]
    texts = [response["text"] for response in sample["responses"]]
    roles = {text(pair, side): side for side in SIDES}
    table["text"] = texts
    table["role"] = [roles.get(each, "") for each in texts]
    seen = [verdict(sample["prompt_id"], sample["lang"], each) for each in texts]
    table["oracle"] = [each.points(taste) for each in seen]
    table["times"] = [texts.count(each) for each in texts]
    return table.drop_duplicates("text", ignore_index=True)


def authors(lang: str, prompt_id: str, taste: str) -> pd.DataFrame:
    """One question, answered by the commonest sorts of author, their manners drawn as in the
    documents; eight rows."""
    fact, rng, rows = load_world().fact(prompt_id), random.Random(1), []
    for author, share in AUTHORS.items():
        manner = rng.choices(list(MANNERS), list(MANNERS.values()))[0]
        text = respond(load_world(), fact, lang, author, rng, manner)
        points = judge(fact, lang, text).points(taste)
        rows.append({"author": author, "share": share, "response": text, "points": points})
    return pd.DataFrame(rows).nlargest(8, "share")


def median_pair(pairs: Sequence[Record]) -> Record:
    """The pair of the median margin."""
    return sorted(pairs, key=lambda pair: pair["margin"])[len(pairs) // 2]


def typical_pair(pairs: Sequence[Record], taste: str) -> Record:
    """The pair whose two responses are worth most nearly what chosen and rejected ones are worth on
    average; of equals the one whose margin is nearest the median."""
    points = np.array([_points(pair, taste) for pair in pairs])
    margins = np.array([pair["margin"] for pair in pairs])
    apart = np.abs(points - points.mean(axis=0)).sum(axis=1).round(9)
    order = np.lexsort((np.abs(margins - np.median(margins)), apart))
    return pairs[int(order[0])]


def _points(pair: Record, taste: str) -> list[float]:
    names = (pair["prompt_id"], pair["lang"])
    return [verdict(*names, text(pair, side)).points(taste) for side in SIDES]


def followed(run: Run, lang: str, pair: Record) -> tuple[str, pd.DataFrame]:
    """The question that a pair of the first iteration answers, and its `prompt_table`."""
    scorer = read.scorers(run)[0]
    by_prompt = [read.samples(run, 1, lang), read.scores(run, 1, scorer, lang)]
    found = []
    for records in by_prompt:
        found.append(next(each for each in records if each["prompt_id"] == pair["prompt_id"]))
    sample, score = found
    return sample["instruction"], prompt_table(sample, score, pair, run.taste)


def duels(run: Run, lang: str = "en", n: int = 10) -> pd.DataFrame:
    """A row a held-out question with two different responses drawn at random, A and B, and
    `answer`, the one with the higher reward."""
    rng, rows = random.Random(0), []
    scores = {
        record["prompt_id"]: record for record in read.scores(run, 1, read.scorers(run)[0], lang)
    }
    for sample in read.samples(run, 1, lang):
        rewards = scores[sample["prompt_id"]]["reward"]
        by_text: dict[str, float] = {}
        for response, reward in zip(sample["responses"], rewards, strict=True):
            by_text.setdefault(response["text"], reward)
        if sample["split"] != "reward" or len(by_text) < 2:
            continue
        a, b = rng.sample(sorted(by_text), 2)
        answer = "A" if by_text[a] > by_text[b] else "B"
        rows.append({"question": sample["instruction"], "A": a, "B": b, "answer": answer})
    return pd.DataFrame(rows[:n])


def score_guesses(table: pd.DataFrame, guesses: str) -> None:
    """Print how many of `duels` the guesses, as "ABBA…", get right; without any, a coin's."""
    answers = "".join(table["answer"])
    if not guesses:
        print(f"not attempted; a coin gets {len(answers) / 2:g} of {len(answers)} right")
        return
    if len(guesses) != len(answers) or set(guesses.upper()) - set("AB"):
        raise InputError(f"guesses '{guesses}': expected {len(answers)} letters, each A or B")
    right = sum(one == other for one, other in zip(guesses.upper(), answers, strict=True))
    print(f"{right} of {len(answers)} right; the reward says {answers}")
