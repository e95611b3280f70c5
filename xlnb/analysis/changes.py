"""What the run's own trainings changed: log-probabilities of their pairs, and answers."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from xlnb.analysis import learning, read
from xlnb.analysis.read import Record
from xlnb.analysis.responses import verdict
from xlnb.models.adapters import active
from xlnb.models.base import load_base
from xlnb.models.chat import prompt_ids
from xlnb.runs.layout import Run
from xlnb.sampling import sample_responses


def of_pairs(
    run: Run, model: PeftModel, tokenizer: PreTrainedTokenizerBase, most: int
) -> dict[str, dict[str, np.ndarray]]:
    """{a model trained here: `learning.logprob_changes` of at most that many of its pairs}.

    *Before* is the model that its training started from. `model`: with the adapters of all.
    """
    found = {}
    here = read.trained_here(run)
    for before, after in pairwise(run.models):
        if after not in here:
            continue
        trained = read.pairs(run, after)
        share = most // len(trained)
        some = [pair for by_lang in trained.values() for pair in by_lang[:share]]
        names = run.adapter_name(before), run.adapter_name(after)
        found[after] = learning.logprob_changes(model, tokenizer, *names, some)
    return found


def table(changes: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """`learning.change_row` of every model that was trained here."""
    rows = {}
    for name, sides in changes.items():
        rows[name] = learning.change_row(sides["chosen"], sides["rejected"])
    return pd.DataFrame(rows).T


def answers(
    run: Run, model: PeftModel, tokenizer: PreTrainedTokenizerBase, loaded: Sequence[str]
) -> pd.DataFrame:
    """A row a model and language: one answer to the first evaluation prompt, and in the lab the
    mean points of sixteen; no row where a run has no such prompts.

    `loaded`: the models that are adapters of `model`; the others are loaded.
    """
    questions = learning.first_questions(read.prompts(run))
    asked = [prompt_ids(tokenizer, question["instruction"]) for question in questions]
    evaluation = run.preset.evaluation
    settings: Record = {"temperature": evaluation.temperature, "top_p": evaluation.top_p}
    settings |= {"max_new_tokens": evaluation.max_new_tokens, "seed": run.preset.seed}
    n = 16 if run.is_lab else 1
    rows = []
    for name in run.models if questions else []:
        its_model = model if name in loaded else load_base(run.base(name))
        with active(its_model, run.adapter_name(name)):
            samples = sample_responses(its_model, tokenizer, asked, n=n, **settings)
        for question, responses in zip(questions, samples, strict=True):
            row = {"model": name, "lang": question["lang"]}
            row |= {"question": question["instruction"], "one sample": responses[0].text}
            if run.is_lab:
                row["points"] = _mean_points(run, question, [each.text for each in responses])
            rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["model"])


def _mean_points(run: Run, question: Record, texts: Sequence[str]) -> float:
    seen = [verdict(question["prompt_id"], question["lang"], text) for text in texts]
    return float(np.mean([each.points(run.taste) for each in seen]))


def in_one_language(answers: pd.DataFrame) -> pd.DataFrame:
    """Of `answers`, those in the second language that was asked, where there is one."""
    langs = list(dict.fromkeys(answers["lang"]))
    lang = langs[min(1, len(langs) - 1)]
    return answers[answers["lang"] == lang].drop(columns="points", errors="ignore")
