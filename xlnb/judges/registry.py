"""Judges by name, what asking them will cost, and asking them through a journal."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from xlnb.common.endpoint import ask_all, consent
from xlnb.common.errors import InputError
from xlnb.common.journal import Journal
from xlnb.judges.model import ModelJudge, equal, judge_prompt
from xlnb.judges.oracle import OracleJudge
from xlnb.judges.protocol import Judge
from xlnb.presets import Evaluation, Models


def get_judge(
    name: str, evaluation: Evaluation | None = None, models: Models | None = None
) -> Judge:
    """The judge of that name: oracle, endpoint:MODEL or local:FOLDER_OR_HUB_ID. Raises InputError
    for an unknown one.

    `evaluation`: display order and calls at once; `models`: how a local model is loaded.
    """
    evaluation, models = evaluation or Evaluation(), models or Models()
    kind, _, model = name.partition(":")
    if name == "oracle":
        return OracleJudge()
    if kind == "endpoint" and model:
        from xlnb.judges.endpoint import Endpoint

        return ModelJudge(Endpoint(model, workers=evaluation.judge_workers), evaluation.judge_order)
    if kind == "local" and model:
        from xlnb.judges.local import LocalModel

        return ModelJudge(
            LocalModel(replace(models, base=model, dpo_adapter="")), evaluation.judge_order
        )
    raise InputError(
        f"unknown judge '{name}'; known: oracle, endpoint:MODEL, local:FOLDER_OR_HUB_ID"
    )


def ask_consent(
    judge: Judge, records: Sequence[dict[str, Any]], *, price: float, yes: bool
) -> None:
    """Print what judging these records will take; where calls cost money, go on only with consent.

    `price`: US dollars a million tokens of input, 0 where not known. A token is counted as 4 bytes
    of UTF-8. Raises InputError where consent is refused, or cannot be asked for and `yes` is not
    given.
    """
    if not isinstance(judge, ModelJudge):
        return
    prompts = [judge_prompt(r, first) for r in records if not equal(r) for first in judge.orders(r)]
    tokens = sum(len(prompt.encode()) for prompt in prompts) / 4
    consent(judge.name, len(prompts), tokens, price=price, paid=judge.model.paid, yes=yes)


def judge_records(
    judge: Judge, records: Sequence[dict[str, Any]], journal: Journal, *, label: str
) -> list[dict[str, Any]]:
    """Judge what the journal does not hold yet, each record as soon as it is answered, and finish
    the journal.

    A record has "id" and what the judge reads; it comes back with what the judge returned. A
    comparison without any answer is kept with preference None and its reason in "error", as
    `endpoint.ask_all` says. Raises InputError where the judge is out of reach; finished work is
    kept.
    """
    workers = judge.model.workers if isinstance(judge, ModelJudge) else 1
    unjudged = [record | {"prompt_id": record["id"], "preference": None} for record in records]
    done = journal.done
    journal.append([r | judge(r) for r in unjudged if equal(r) and r["prompt_id"] not in done])
    questions = [record for record in unjudged if not equal(record)]
    ask_all(judge, questions, journal, name=judge.name, workers=workers, label=label)
    finished = journal.finish([record["prompt_id"] for record in unjudged])
    malformed = sum("malformed" in record for record in finished)
    failed = sum("error" in record for record in finished)
    if malformed or failed:
        print(
            f"{label}: {malformed} malformed and {failed} missing answers of {len(finished)}"
            " comparisons, kept without a preference",
            flush=True,
        )
    return finished
