"""The lab's ground truth as a judge, by a taste."""

from typing import Any

from xlnb.common.errors import InputError
from xlnb.evaluation.alpaca_eval import Annotation, preference_of
from xlnb.lab import oracle
from xlnb.lab.world import load_world
from xlnb.presets import Preset


class OracleJudge:
    """The higher score wins, equal scores are a tie (1.5). Deterministic, blind to order."""

    name = "oracle"

    def __init__(self, taste: str) -> None:
        self.taste = taste

    def __call__(self, asked: Annotation) -> dict[str, Any]:
        try:
            fact = load_world().fact(asked.prompt_id)
        except KeyError:
            raise InputError(
                f"id {asked.prompt_id}: the oracle judges the lab's prompts only; choose another "
                "judge"
            ) from None
        baseline = oracle.judge(fact, asked.lang, asked.output_1)
        model = oracle.judge(fact, asked.lang, asked.output_2)
        theirs = baseline.points(self.taste)
        ours = model.points(self.taste)
        return {
            "preference": float(preference_of(ours, theirs)),
            "score_1": theirs,
            "score_2": ours,
            "reason_1": baseline.reason,
            "reason_2": model.reason,
            "in_language_2": model.in_language,
        }


def make(_: str, preset: Preset) -> OracleJudge:
    return OracleJudge(preset.lab.taste)
