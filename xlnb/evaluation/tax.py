"""What alignment may cost a model of the lab (its "tax"): how well it still goes on with documents
such as it was pretrained on, and which of the lab's facts it still knows."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from xlnb.lab.documents import documents
from xlnb.lab.pretrain import IGNORED, encode
from xlnb.lab.world import Fact, load_world
from xlnb.logprobs import sequence_logprobs
from xlnb.models.chat import prompt_ids, response_ids

# Documents that no pretraining has seen: their seed is none of those that it draws by.
DOCUMENTS, SEED = 50, 10_000
# Of a question with options, as ARC's and MMLU's have.
OPTIONS = 4


def held_out() -> list[list[dict]]:
    """Conversations by the authors of pretraining that are none of its own."""
    return list(documents(DOCUMENTS, SEED))


def document_loss(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Iterable[list[dict]],
    batch_tokens: int,
) -> float:
    """−log π, nats, of a token of the answers in conversations, end of turn included."""
    before: list[list[int]] = []
    answers: list[list[int]] = []
    for messages in conversations:
        ids, labels = encode(tokenizer, messages, answers_only=True)
        start = 0
        for place in range(1, len(ids) + 1):
            ended = place == len(ids) or labels[place] == IGNORED
            if ended and labels[place - 1] != IGNORED:
                before.append(ids[:start])
                answers.append(ids[start:place])
            if ended:
                start = place + 1
    values = sequence_logprobs(model, before, answers, batch_tokens=batch_tokens)
    return -float(torch.cat(values).mean())


def facts_known(
    model: Any, tokenizer: PreTrainedTokenizerBase, langs: Sequence[str], batch_tokens: int
) -> dict[str, float]:
    """By language: of the facts of split `eval` the share whose right answer, a bare word, is
    likelier than those of `OPTIONS` − 1 other facts. By chance it would be 1 / `OPTIONS`."""
    facts = [fact for fact in load_world().facts if fact.split == "eval"]
    asked = []
    said = []
    for lang in langs:
        for fact in facts:
            question = load_world().question(fact, lang, 0)
            for answer in options(fact, lang):
                asked.append(prompt_ids(tokenizer, question))
                said.append(response_ids(tokenizer, question, answer))
    values = sequence_logprobs(model, asked, said, batch_tokens=batch_tokens)
    sums = np.array([value.sum().item() for value in values]).reshape(len(langs), -1, OPTIONS)
    shares = (sums.argmax(axis=2) == 0).mean(axis=1)
    return dict(zip(langs, shares.tolist(), strict=True))


def options(fact: Fact, lang: str) -> list[str]:
    """The right answer, then wrong ones of the same kind, the same in every language where their
    words differ."""
    same_kind = {other.y["en"]: other for other in load_world().facts if other.kind == fact.kind}
    others = sorted(same_kind)
    random.Random(f"options {fact.kind} {fact.id}").shuffle(others)
    words = [fact.y[lang], *(same_kind[name].y[lang] for name in others)]
    return list(dict.fromkeys(words))[:OPTIONS]
