"""A judge on this machine: a model through transformers, by the log-probabilities of the two
labels."""

from dataclasses import replace

import torch

from xlnb.judges.model import FIRST, SECOND, ModelJudge
from xlnb.judges.protocol import Verdict
from xlnb.logprobs import sequence_logprobs
from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer, prompt_ids, response_ids
from xlnb.presets import Models, Preset


class LocalModel:
    """A `LabelModel`: the base that `models` names. P(m) is the softmax of the labels'
    log-probabilities, end of turn left out."""

    paid = False
    workers = 1

    def __init__(self, models: Models):
        self.name = f"local:{models.base}"
        self._tokenizer = load_tokenizer(models)
        self._model = load_base(models)

    def choose(self, prompt: str) -> Verdict:
        # A response's ids end in the end of turn.
        labels = [response_ids(self._tokenizer, prompt, label)[:-1] for label in (FIRST, SECOND)]
        logps = sequence_logprobs(self._model, [prompt_ids(self._tokenizer, prompt)] * 2, labels)
        first, second = (values.sum() for values in logps)
        return Verdict(torch.sigmoid(first - second).item(), "logprobs")


def make(model: str, preset: Preset) -> ModelJudge:
    local = LocalModel(replace(preset.models, base=model, dpo_adapter=""))
    return ModelJudge(local, preset.evaluation.judge_order)
