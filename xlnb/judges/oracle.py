"""The lab's ground truth as a judge."""

from typing import Any

from xlnb.common.errors import InputError
from xlnb.lab import oracle
from xlnb.lab.world import load_world


class OracleJudge:
    """The lab's ground truth: the higher score wins, equal scores are a tie (1.5). Deterministic,
    blind to order."""

    name = "oracle"

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        try:
            fact = load_world().fact(record["id"])
        except KeyError:
            raise InputError(
                f"id {record['id']}: the oracle judges the lab's prompts only; choose another judge"
            ) from None
        baseline = oracle.judge(fact, record["lang"], record["output_1"])
        model = oracle.judge(fact, record["lang"], record["output_2"])
        return {
            "preference": 1.5
            + 0.5 * ((model.score > baseline.score) - (model.score < baseline.score)),
            "score_1": baseline.score,
            "score_2": model.score,
            "reason_1": baseline.reason,
            "reason_2": model.reason,
            "in_language_2": model.in_language,
        }
