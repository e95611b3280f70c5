"""Policies that can be written down, and rewards of held-out prompts beside the oracle's scores:
notebooks 01 and 03."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xlnb.analysis import read
from xlnb.analysis.read import Record
from xlnb.analysis.responses import centred, facts, verdict
from xlnb.common.intervals import clustered_error
from xlnb.evaluation.alpaca_eval import preference_of
from xlnb.evaluation.truth import reward_accuracy
from xlnb.lab.documents import AUTHORS, respond
from xlnb.lab.oracle import judge
from xlnb.lab.truth import lab_truth
from xlnb.lab.world import load_world
from xlnb.models.chat import prompt_ids, response_ids
from xlnb.rewards import score_responses
from xlnb.runs.layout import Run
from xlnb.stages.loading import policy_and_reference

# One author after the other.
TURNS = ("formal", "plain", "familiar")
POLITE = {1.0: "polite", 0.0: "not polite"}


@dataclass(frozen=True)
class Closed:
    """Policies that can be written down: P questions, for each the same K sorts of author."""

    questions: list[str]
    texts: list[list[str]]
    # (P, K): points
    rewards: Tensor
    # (P, K): nats, each row's probabilities sum to 1
    log_ref: Tensor

    def table(self, row: int) -> pd.DataFrame:
        """The responses to one question, a row an author."""
        columns = {"author": list(AUTHORS), "response": self.texts[row]}
        numbers = {"π_ref": self.log_ref[row].exp(), "reward": self.rewards[row]}
        return pd.DataFrame(columns | numbers)


def closed_list(run: Run) -> Closed:
    """A response by every sort of author to each held-out English question, and what π_I gives it,
    scaled to sum to 1 over them."""
    model, reference, tokenizer = policy_and_reference(run, "dpo")
    world = load_world()
    questions, texts, rewards, prompts, ids = [], [], [], [], []
    for record in read.prompts(run)["en"]:
        if record["split"] != "reward":
            continue
        asked, fact = record["instruction"], world.fact(record["prompt_id"])
        rng = random.Random(record["prompt_id"])
        written = []
        for place, author in enumerate(AUTHORS):
            written.append(respond(world, fact, "en", author, rng, TURNS[place % 3]))
        questions.append(asked)
        texts.append(written)
        rewards.append([judge(fact, "en", text).points(run.taste) for text in written])
        prompts += [prompt_ids(tokenizer, asked)] * len(written)
        ids += [response_ids(tokenizer, asked, text) for text in written]
    budget = run.preset.scoring.batch_tokens
    _, logprobs = score_responses(
        model, "dpo", None, prompts, ids, batch_tokens=budget, ref_model=reference
    )
    points = torch.tensor(rewards, dtype=torch.float64)
    sums = torch.tensor([row.sum().item() for row in logprobs], dtype=torch.float64)
    return Closed(questions, texts, points, sums.view_as(points).log_softmax(-1))


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) in nats over the last axis."""
    return (p * (p.log() - q.log())).sum(-1)


def worth(policies: Tensor, ref: Tensor, rewards: Tensor) -> pd.DataFrame:
    """Divergence from the reference (nats) and mean reward (points) of each policy."""
    return pd.DataFrame({"kl": kl(policies, ref), "reward": (policies * rewards).sum(-1)})


def some_policies(ref: Tensor, best: Tensor, n: int = 1000) -> Tensor:
    """Random policies, near the best one and the reference and far from them: (n, K)."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.linspace(0.01, 4, n // 2, dtype=torch.float64)[:, None]
    noise = torch.randn(n // 2, len(ref), generator=generator, dtype=torch.float64)
    around = [(middle.log() + spread * noise).softmax(-1) for middle in (best, ref)]
    return torch.cat(around)


def fit_dpo(
    loss: Callable[..., Tensor], ref: Tensor, rewards: Tensor, beta: float, draws: int = 0
) -> Tensor:
    """The implicit rewards (K,) of a tabular policy that was fitted by DPO's loss to Bradley-Terry
    preferences of these rewards: to infinitely many, or to so many draws."""
    first, second = torch.triu_indices(len(ref), len(ref), offset=1)
    share = torch.sigmoid(rewards[first] - rewards[second])
    wins, losses = share, 1 - share
    if draws:
        rng = np.random.default_rng(0)
        shown = rng.multinomial(draws, np.full(len(first), 1 / len(first)))
        wins = torch.tensor(rng.binomial(shown, share.numpy()), dtype=torch.float64)
        losses = torch.tensor(shown) - wins
    log_ref = ref.log()
    logits = log_ref.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([logits], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        policy = logits.log_softmax(-1)
        sides = (policy[first], policy[second], log_ref[first], log_ref[second])
        forward = loss(*sides, beta)
        backward = loss(sides[1], sides[0], sides[3], sides[2], beta)
        total = (wins * forward + losses * backward).sum()
        total.backward()
        return total

    optimizer.step(closure)
    return beta * (logits.log_softmax(-1) - log_ref).detach()


def form_and_fact(run: Run) -> pd.DataFrame:
    """How often, of two English responses to one held-out question, the right one has the higher
    reward than the wrong one, by whether each is polite; different texts, ties half."""
    rows = []
    for sample, score in held_out(run, read.rewards(run)[0], "en"):
        for response, reward in zip(sample["responses"], score["reward"], strict=True):
            seen = verdict(sample["prompt_id"], "en", response["text"])
            names = {"prompt_id": sample["prompt_id"], "text": response["text"]}
            form = {"right": seen.features["right"] > 0, "form": POLITE[seen.features["formal"]]}
            rows.append(names | form | {"reward": reward})
    table = pd.DataFrame(rows).drop_duplicates(["prompt_id", "text"])
    right, wrong = table[table["right"]], table[~table["right"]]
    both = right.merge(wrong, on="prompt_id", suffixes=("_right", "_wrong"))
    both["won"] = preference_of(both["reward_right"], both["reward_wrong"]) - 1
    found = both.groupby(["form_right", "form_wrong"])["won"].agg(["mean", "size"]).reset_index()
    return found.set_axis(["right one", "other one", "right one higher", "comparisons"], axis=1)


def held_out(run: Run, scorer: str, lang: str) -> list[tuple[Record, Record]]:
    """Samples of π^0 on the prompts of split `reward`, each with its scores by a scorer."""
    by_id = {record["prompt_id"]: record for record in read.scores(run, 1, scorer, lang)}
    held = [record for record in read.samples(run, 1, lang) if record["split"] == "reward"]
    return [(sample, by_id[sample["prompt_id"]]) for sample in held]


def by_score(table: pd.DataFrame) -> pd.DataFrame:
    """A row an oracle's score (points): mean reward (β nats), each prompt's mean taken off, with
    its 95% interval, lo and hi, clustered by fact, over the n prompts that have such a response;
    of two facts or more.

    `table`: a row a response, with lang, prompt_id, oracle, reward.
    """
    rewards = centred(table, ["reward"])
    by_prompt = rewards.groupby(["oracle", "prompt_id"])["reward"].mean()
    rows = []
    for score, values in by_prompt.groupby("oracle"):
        mean = values.mean()
        reach = 1.96 * clustered_error(values.to_numpy(), facts(values))
        rows.append((score, mean, mean - reach, mean + reach, len(values)))
    return pd.DataFrame(rows, columns=["score", "mean", "lo", "hi", "n"]).dropna(ignore_index=True)


def accuracy(
    samples: Sequence[Record], scores: Sequence[Record], taste: str
) -> dict[str, float | int | None]:
    """`evaluation.truth.reward_accuracy` in the lab, of records as `read` gives them."""
    typed = [read.as_score(record) for record in scores]
    typed_samples = [read.as_sample(record) for record in samples]
    return reward_accuracy(typed_samples, typed, "reward", lab_truth(taste))


def every_accuracy(
    samples: Mapping[str, Sequence[Record]],
    scores: Mapping[str, Mapping[str, Sequence[Record]]],
    taste: str,
) -> dict[tuple[str, str], dict[str, float | int | None]]:
    """`accuracy` of each scorer and language on the held-out prompts.

    `samples`: {lang: records}; `scores`: {scorer: {lang: records}}.
    """
    found = {}
    for scorer, by_lang in scores.items():
        for lang, records in by_lang.items():
            held = [record for record in records if record["split"] == "reward"]
            if held:
                found[scorer, lang] = accuracy(samples[lang], held, taste)
    return found


def right_answers(
    closed: Closed, implicit: Tensor, height: Tensor, rows: Sequence[int]
) -> pd.DataFrame:
    """The careful author's answer to some questions: true and implicit reward, and β log Z."""
    careful = list(AUTHORS).index("careful")
    found = []
    for row in rows:
        texts = {"question": closed.questions[row], "polite answer": closed.texts[row][careful]}
        numbers = {"r": closed.rewards[row, careful], "implicit": implicit[row, careful]}
        points = {name: float(value) for name, value in numbers.items()}
        found.append(texts | points | {"β log Z": float(height[row])})
    return pd.DataFrame(found)


def loss_table(margins: Tensor, losses: Tensor, slopes: Tensor) -> pd.DataFrame:
    """For `figures.derivation.dpo_loss_curve`: the weight of a pair is the slope's size."""
    columns = {"margin": margins.detach(), "loss": losses.detach(), "weight": -slopes}
    return pd.DataFrame(columns)


def recovered(rewards: Tensor, fits: dict[str, Tensor]) -> pd.DataFrame:
    """For `figures.derivation.rewards_compared`: a group a fit."""
    groups = []
    for name, implicit in fits.items():
        groups.append(pd.DataFrame({"group": name, "true": rewards, "implicit": implicit}))
    return pd.concat(groups)


def accuracies(run: Run) -> pd.DataFrame:
    """A row a language: pair accuracy and rank correlation of each reward, on held-out prompts."""
    rows = []
    for lang in read.prompts(run):
        row: Record = {"lang": lang}
        for scorer in read.rewards(run):
            samples, scores = zip(*held_out(run, scorer, lang), strict=True)
            found = accuracy(samples, scores, run.taste)
            for key in ("pair_accuracy", "rank_correlation"):
                row[f"{key.replace('_', ' ')}, {scorer}"] = found[key]
            row["prompts"] = found["n"]
        rows.append(row)
    return pd.DataFrame(rows)
