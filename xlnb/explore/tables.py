"""A run's pairs at another α, its win rates under other weights, and the rows behind a win rate."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from xlnb.analysis import read
from xlnb.analysis.pairing import made_pairs, oracle_prefers, text, train_candidates
from xlnb.analysis.responses import graded
from xlnb.common.errors import InputError
from xlnb.evaluation.alpaca_eval import preference_of
from xlnb.lab import oracle
from xlnb.lab.tastes import points
from xlnb.lab.world import load_world
from xlnb.length_control import Floats, length_gap_curve
from xlnb.pairs import Candidates, usable
from xlnb.runs.layout import Run
from xlnb.winrates import win_rate

# How a row of `wins_and_losses` ended, for the model.
RESULTS = ("loss", "tie", "win", "not judged")


def questions(run: Run, lang: str) -> pd.DataFrame:
    """The run's questions in a language, a row each: kind and instruction. Of the lab the held-out
    ones, where there are any, by what they ask for; of others all, by their split."""
    table = pd.DataFrame(read.prompts(run)[lang])
    if not run.is_lab:
        return table.rename(columns={"split": "kind"})[["kind", "instruction"]]
    held_out = table[table["split"] == "eval"]
    shown = table if held_out.empty else held_out
    kinds = [load_world().fact(prompt_id).kind for prompt_id in shown["prompt_id"]]
    return shown.assign(kind=kinds)[["kind", "instruction"]].reset_index(drop=True)


class Pairing:
    """What the pairs of one language and iteration are made of, at any α.

    `alpha`: the run's own. Raises InputError where no prompt gives a pair.
    """

    def __init__(self, run: Run, iteration: int, lang: str) -> None:
        scorer = read.scorers(run)[0]
        langs = read.languages(run, iteration) if run.preset.pairing.language_filter else None
        samples = read.samples(run, iteration, lang)
        self.taste = run.taste
        self.candidates = train_candidates(
            samples, read.scores(run, iteration, scorer, lang), langs
        )
        self.prompts: dict[str, Candidates] = {}
        for prompt in usable(self.candidates):
            self.prompts[prompt.sample.prompt_id] = prompt
        if not self.prompts:
            raise InputError(f"{run.path}: no prompt in {lang} gives a pair")
        self.alpha: float = read.pair_report(run, iteration)[lang]["alpha"]
        self._fitted = self._pairs(self.alpha)

    @cached_property
    def curve(self) -> tuple[Floats, Floats]:
        """The length gap over α: see `length_gap_curve`."""
        return length_gap_curve(*self._rows())

    @property
    def reach(self) -> float:
        """How far α is worth moving, to either side: half of the curve's steps lie within, and the
        run's own α."""
        steps = np.abs(self.curve[0][1:])
        far = max(2 * abs(self.alpha), np.median(steps) if len(steps) else 0)
        # One digit, rounded up.
        unit = 10.0 ** np.floor(np.log10(far)) if far else 1e-3
        return float(unit * max(1, np.ceil(far / unit)))

    def at(self, alpha: float) -> dict[str, float]:
        """Pairs, their mean length gap (characters), how a response's controlled score goes with
        its length within a prompt, how many pairs are others than at the run's α and, in the lab,
        in how many of 100 the oracle prefers chosen."""
        pairs = self._pairs(alpha)
        gaps = [len(text(pair, "chosen")) - len(text(pair, "rejected")) for pair in pairs.values()]
        changed = 0
        for prompt_id, pair in pairs.items():
            before = self._fitted.get(prompt_id)
            same = before and all(pair[side] == before[side] for side in ("chosen", "rejected"))
            changed += not same
        found = {
            "α, per 1,000 characters": 1000 * alpha,
            "pairs": len(pairs),
            "length gap": float(np.mean(gaps)) if gaps else np.nan,
            "correlation with length": self._correlation(alpha),
            "changed": changed,
        }
        if self.taste and pairs:
            said = [oracle_prefers(pair, self.taste) for pair in pairs.values()]
            found["oracle prefers chosen (%)"] = win_rate(said)[0]
        return found

    def responses(self, prompt_id: str, alpha: float) -> pd.DataFrame:
        """The candidates of a prompt, the best controlled score first: side (chosen, rejected or
        neither), response, reward (β nats), characters, reward − α·characters."""
        if prompt_id not in self.prompts:
            raise InputError(f"prompt {prompt_id} gives no pair; expected one of those that do")
        prompt = self.prompts[prompt_id]
        controlled = prompt.scores - alpha * prompt.n_chars
        # As `pairs` chooses: of equals the shorter is chosen, the longer rejected.
        order = np.lexsort((prompt.n_chars, -controlled))
        rows = []
        for place in order:
            said = prompt.sample.responses[prompt.places[place]].text
            row = {
                "side": "",
                "response": said,
                "reward": prompt.scores[place],
                "characters": int(prompt.n_chars[place]),
                "reward − α·characters": controlled[place],
            }
            rows.append(row | graded(prompt_id, prompt.sample.lang, said, taste=self.taste))
        rows[0]["side"], rows[-1]["side"] = "chosen", "rejected"
        return pd.DataFrame(rows)

    def _correlation(self, alpha: float) -> float:
        """Of reward − α·characters and characters, each less its prompt's mean; NaN where either
        is the same throughout."""
        rewards, n_chars = self._rows()
        chars = np.concatenate([row - row.mean() for row in n_chars])
        scores = np.concatenate([row - row.mean() for row in rewards]) - alpha * chars
        size = np.sqrt((scores @ scores) * (chars @ chars))
        return float(scores @ chars / size) if size else np.nan

    def _rows(self) -> tuple[list[Floats], list[Floats]]:
        some = self.prompts.values()
        return [prompt.scores for prompt in some], [prompt.n_chars for prompt in some]

    def _pairs(self, alpha: float) -> dict[str, read.Record]:
        pairs, _ = made_pairs(self.candidates, alpha)
        return {pair["prompt_id"]: pair for pair in pairs}


def rejudge(run: Run, weights: Mapping[str, float]) -> pd.DataFrame:
    """Win rates (points) against the run's baseline, models by languages, and their mean over the
    non-English ones, had the oracle judged the stored responses by these weights of its features.

    Raises InputError for a run whose prompts are not the lab's, and for an unknown feature.
    """
    if not run.is_lab:
        raise InputError("the judge's weights are the oracle's, which knows the lab's prompts only")
    unknown = weights.keys() - set(oracle.FEATURES)
    if unknown:
        expected = ", ".join(oracle.FEATURES)
        raise InputError(f"feature '{min(unknown)}': expected one of {expected}")
    rows: dict[str, dict[str, float]] = {}
    for model, by_lang in read.annotations(run).items():
        rows[model] = {}
        for lang, records in by_lang.items():
            sides = [_worth(records, lang, side, weights) for side in ("output_2", "output_1")]
            rows[model][lang] = win_rate(preference_of(*sides))[0]
    table = pd.DataFrame(rows).T
    others = [lang for lang in table.columns if lang != "en"]
    return table.assign(**{"non-en": table[others].mean(axis=1)})


def _worth(
    records: Sequence[read.Record], lang: str, side: str, weights: Mapping[str, float]
) -> list[float]:
    facts = [load_world().fact(record["id"]) for record in records]
    seen = [oracle.judge(fact, lang, r[side]) for fact, r in zip(facts, records, strict=True)]
    return [points(verdict.features, weights) for verdict in seen]


def wins_and_losses(run: Run, model: str, lang: str) -> pd.DataFrame:
    """The rows behind a win rate, losses first: result, instruction, what the baseline and what the
    model answered and, where the judge says why, its reasons."""
    annotations = read.annotations(run)
    if model not in annotations or lang not in annotations[model]:
        raise InputError(f"{run.path}: no judgements of {model} in {lang}")
    rows = []
    for record in annotations[model][lang]:
        said = record["preference"]
        row = {
            "result": _result(said),
            "preference": said,
            "instruction": record["instruction"],
            "baseline": record["output_1"],
            "model": record["output_2"],
        }
        if "reason_2" in record:
            row |= {"why, baseline": record["reason_1"], "why, model": record["reason_2"]}
        rows.append(row)
    table = pd.DataFrame(rows).sort_values("preference", kind="stable", ignore_index=True)
    return table.drop(columns="preference")


def leaderboard(run: Run) -> pd.DataFrame:
    """Win rates (points), models by languages."""
    rates = read.metrics(run)["win_rates"]
    found = {}
    for model, by_lang in rates.items():
        found[model] = {lang: entry["wr"] for lang, entry in by_lang.items()}
    return pd.DataFrame(found).T


def results(rows: pd.DataFrame) -> str:
    """How many of these rows ended how: "16 loss, 15 tie, 169 win"."""
    counts = rows["result"].value_counts()
    return ", ".join(f"{counts[name]} {name}" for name in RESULTS if name in counts)


def _result(preference: float | None) -> str:
    if preference is None:
        return RESULTS[3]
    if preference == 1.5:
        return RESULTS[1]
    return RESULTS[2] if preference > 1.5 else RESULTS[0]
