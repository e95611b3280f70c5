"""What surrounds a training loop that is written by hand: pairs as rows, a record of a step, and
samples on the way."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pandas as pd
import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from xlnb.analysis.read import Record
from xlnb.common.records import Pair
from xlnb.engine.rows import Row, tokenize_pairs
from xlnb.sampling import sample_responses
from xlnb.training import add_reference

# The longest pair that a loop by hand takes, in tokens.
MAX_TOKENS = 512


def spread(pairs: Sequence[Sequence[Record]], most: int) -> list[Record]:
    """At most that many pairs, of every language in turn, evenly over each."""
    few = max(1, most // len(pairs))
    groups = []
    for of_lang in pairs:
        groups.append(list(of_lang[:: max(1, len(of_lang) // few)][:few]))
    return list(chain.from_iterable(zip(*groups, strict=False)))


def rows(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Record]
) -> list[Row]:
    """Pairs as token ids, with their log-probabilities under the model as it is, the reference."""
    made, _ = tokenize_pairs(tokenizer, [Pair.from_json(pair) for pair in pairs], MAX_TOKENS)
    add_reference(model, made, "default", batch_tokens=16384)
    return made


def record(loss: Tensor, logps: Tensor, batch: dict[str, Any]) -> Record:
    """A step of the log: the loss, and how far the log-probabilities of both sides have moved from
    the reference's, in nats, each the mean of the batch."""
    chosen, rejected = (logps.detach() - batch["ref_logps"]).chunk(2)
    return {
        "loss": loss.item(),
        "chosen": chosen.mean().item(),
        "rejected": rejected.mean().item(),
    }


@torch.no_grad()
def sample(model: PeftModel, tokenizer: PreTrainedTokenizerBase, prompt: list[int]) -> str:
    """One response to a prompt (token ids), always of the same seed."""
    settings: Record = {"n": 1, "temperature": 0.7, "top_p": 1.0, "max_new_tokens": 40, "seed": 0}
    [[response]] = sample_responses(model, tokenizer, [prompt], **settings)
    return response.text


def summary(logs: dict[str, list[Record]]) -> pd.DataFrame:
    """A row a run of the loop: its first loss, and the mean of its last ten steps."""
    found = {}
    for name, log in logs.items():
        ends = pd.DataFrame(log).tail(10).mean()
        found[name] = {
            "first loss": log[0]["loss"],
            "last loss": ends["loss"],
            "chosen (nats)": ends["chosen"],
            "rejected (nats)": ends["rejected"],
        }
    return pd.DataFrame(found).T
