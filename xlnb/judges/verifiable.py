"""What a program can verify as a judge, by a taste: for prompts that carry checks."""

from typing import Any

from xlnb.checks.kinds import met
from xlnb.checks.tastes import get_taste, points
from xlnb.evaluation.alpaca_eval import Annotation, preference_of
from xlnb.presets import Preset


class VerifiableJudge:
    """The higher score wins, equal scores are a tie (1.5). Deterministic, blind to order.

    Returns also the points of both responses, and for each of the prompt's checks whether they meet
    it (met_1, met_2).
    """

    name = "verifiable"

    def __init__(self, taste: str) -> None:
        self.taste = get_taste(taste)

    def __call__(self, asked: Annotation) -> dict[str, Any]:
        checks = asked.checks or []
        theirs = points(asked.output_1, checks, asked.lang, self.taste)
        ours = points(asked.output_2, checks, asked.lang, self.taste)
        return {
            "preference": float(preference_of(ours, theirs)),
            "score_1": theirs,
            "score_2": ours,
            "met_1": met(asked.output_1, checks, asked.lang),
            "met_2": met(asked.output_2, checks, asked.lang),
        }


def make(_: str, preset: Preset) -> VerifiableJudge:
    return VerifiableJudge(preset.evaluation.taste)
