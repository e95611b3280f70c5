"""Pairwise judges behind one protocol: a comparison in, a preference in [1, 2] out."""

from dataclasses import dataclass
from typing import Any, Protocol


class Judge(Protocol):
    """Compares `output_2` (the model) with `output_1` (the baseline) as responses to `instruction`
    in `lang`."""

    name: str

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return {"preference": 1 (baseline wins) … 2 (model wins)} and whatever explains it."""


@dataclass(frozen=True)
class Verdict:
    """What a language model said of two responses."""

    p_first: (
        float | None
    )  # probability that the first shown is better; None: the answer names neither label
    # "logprobs" or "text", what p_first was read from
    source: str
    # its text, where p_first is None
    answer: str = ""


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
