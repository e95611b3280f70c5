"""Asking a judge about many comparisons: what it will take, and going on where it stopped."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import read_numbered_jsonl
from xlnb.common.given import given_number
from xlnb.common.journal import Journal
from xlnb.common.questions import ask_all, consent
from xlnb.evaluation.alpaca_eval import Annotation
from xlnb.judges.model import ModelJudge, judge_prompt
from xlnb.judges.protocol import Judge

AGAIN = "; stage judge --again asks about what has no answer once more"


def ask_consent(judge: Judge, asked: Iterable[Annotation], *, price: float, yes: bool) -> None:
    """Print what judging these will take; where calls cost money, go on only with consent.

    `price`: US dollars a million tokens of input, 0 where not known. A token is counted as 4 bytes
    of UTF-8. Raises InputError where consent is refused, or cannot be asked for and `yes` is not
    given.
    """
    if not isinstance(judge, ModelJudge):
        return
    calls = n_bytes = 0
    for one in asked:
        for model_first in judge.orders(one):
            calls += 1
            n_bytes += len(judge_prompt(one, model_first).encode())
    consent(judge.name, calls, n_bytes / 4, price=price, paid=judge.model.paid, yes=yes)


def judge_records(
    judge: Judge, asked: Sequence[Annotation], journal: Journal, *, label: str
) -> list[Annotation]:
    """Judge what the journal does not hold yet, each as soon as it is answered, and finish the
    journal, whose records are a `question`, as prompt_id, and what the judge returned.

    A comparison without any answer is kept with preference None and its reason in "error", as
    `ask_all` says. Raises InputError where the judge is out of reach; finished work is kept.
    """
    by_name = {one.question: one for one in asked}

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        return checked_answer(judge.name, judge(by_name[question["prompt_id"]]))

    workers = judge.model.workers if isinstance(judge, ModelJudge) else 1
    # A tie by definition takes no call, and says nothing of whether a model can be reached.
    ties: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    for one in asked:
        tie = isinstance(judge, ModelJudge) and not judge.orders(one)
        (ties if tie else questions).append({"prompt_id": one.question})
    done = journal.done
    journal.append([tie | answer(tie) for tie in ties if tie["prompt_id"] not in done])
    ask_all(answer, questions, journal, name=judge.name, workers=workers, label=label)
    journal.finish([one.question for one in asked])
    judged = with_answers(asked, journal.path)
    malformed = sum("malformed" in one.said for one in judged)
    failed = sum("error" in one.said for one in judged)
    if malformed or failed:
        print(
            f"{label}: {malformed} malformed and {failed} missing answers of {len(judged)} "
            f"comparisons, kept without a preference{AGAIN if failed else ''}",
            flush=True,
        )
    return judged


def checked_answer(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    """A judge's answer; without a preference, and malformed, where that is NaN. Raises InputError
    for a preference that is none."""
    preference = answer["preference"]
    if preference is None:
        return answer
    if preference != preference:
        return answer | {"preference": None, "malformed": [f"{preference}"]}
    if not 1 <= given_number(f"judge {name}", "preference", preference) <= 2:
        raise InputError(
            f"judge {name}: preference is {preference:g}, expected 1 (baseline wins) to 2 (model "
            "wins)"
        )
    return answer


def with_answers(asked: Sequence[Annotation], verdicts: Path) -> list[Annotation]:
    """Comparisons with the answers of a finished journal."""
    judged = []
    for one, (_, answer) in zip(asked, read_numbered_jsonl(verdicts), strict=True):
        said = {name: value for name, value in answer.items() if name != "prompt_id"}
        judged.append(one.judged(said))
    return judged
