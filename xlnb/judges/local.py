"""A judge on this machine: a model through transformers, by the log-probabilities of the two
labels."""

from dataclasses import replace

from xlnb.common.calling import NoAnswer
from xlnb.common.errors import UnfitText
from xlnb.judges.model import FIRST, SECOND, ModelJudge, label_verdict
from xlnb.judges.protocol import Verdict
from xlnb.logprobs import sequence_logprobs
from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer, prompt_ids, response_ids
from xlnb.presets import Models, Preset


class LocalModel:
    """A `LabelModel`: the base that `models` names. P(m) is the softmax of the labels'
    log-probabilities, end of turn left out, where it is likely to answer with one of them."""

    paid = False
    workers = 1

    def __init__(self, models: Models):
        self.name = f"local:{models.base}"
        self._tokenizer = load_tokenizer(models)
        self._model = load_base(models)

    def choose(self, prompt: str) -> Verdict:
        try:
            asked = prompt_ids(self._tokenizer, prompt)
            labels = [response_ids(self._tokenizer, prompt, label) for label in (FIRST, SECOND)]
        except UnfitText as error:
            raise NoAnswer(f"{error}", outage=False) from None
        # A response's ids end in the end of turn.
        labels = [ids[:-1] for ids in labels]
        logps = sequence_logprobs(self._model, [asked] * 2, labels)
        first, second = (values.sum() for values in logps)
        return label_verdict(first.exp().item(), second.exp().item())


def make(model: str, preset: Preset) -> ModelJudge:
    # with its own template
    models = replace(preset.models, dpo_adapter="", chat_template="", chat_template_kwargs="")
    local = LocalModel(replace(models, base=model))
    return ModelJudge(local, preset.evaluation.judge_order)
