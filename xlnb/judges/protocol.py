"""What a judge is, and what a language model has to do to be one."""

from dataclasses import dataclass
from typing import Any, Protocol

from xlnb.evaluation.alpaca_eval import Annotation


class Judge(Protocol):
    """Compares `output_2` (the model's) with `output_1` (the baseline's) as responses to
    `instruction` in `lang`."""

    name: str

    def __call__(self, asked: Annotation) -> dict[str, Any]:
        """Return {"preference": 1 (baseline wins) … 2 (model wins)} and whatever explains it."""


@dataclass(frozen=True)
class Verdict:
    """What a language model said of two responses."""

    # probability that the first shown is better; None: the answer names neither label
    p_first: float | None
    # "logprobs" or "text", what p_first was read from
    source: str
    # its text, where p_first is None
    answer: str = ""
    # the model's name and fingerprint, as an endpoint returns them
    by: str = ""


class LabelModel(Protocol):
    """A language model that chooses between the labels m and M."""

    name: str
    # whether a call costs money, so that consent is asked for first
    paid: bool
    # calls at once
    workers: int

    def choose(self, prompt: str) -> Verdict:
        """Raises NoAnswer where it cannot be asked about this prompt, InputError where it cannot be
        asked at all."""
