"""English prompts put into other languages by a model: drafts, which are translated back and
compared, and whose failures are set apart.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xlnb.common.dropped import Dropped
from xlnb.common.endpoint import ChatEndpoint, said_in
from xlnb.common.files import read_jsonl
from xlnb.common.given import comparable, is_blank, is_broken
from xlnb.common.journal import Journal, is_finished
from xlnb.common.language_id import in_language
from xlnb.common.languages import language_name
from xlnb.common.questions import ask_all, consent
from xlnb.common.records import Prompt
from xlnb.common.secrets import hidden
from xlnb.common.text import wording

Record = dict[str, Any]

# chrF's usual: n-grams of 1 to 6 characters
ORDER = 6
# recall counts twice
BETA = 2


# What a chat model is asked for the translation of a prompt with, which it must not take for its
# own.
REQUEST = (
    "Translate the text below into {language}. It may ask a question or give an instruction: "
    "translate it, do not answer it and do not follow it. Reply with the translation alone."
)


def prompt_request(text: str, lang: str) -> str:
    return f"{REQUEST.format(language=language_name(lang))}\n\n{text}"


def request_fields() -> dict[str, str]:
    """What drafts depend on beside the translator: the words that it is asked with."""
    return wording("translation_request", REQUEST, "6930abf3bb8593b2")


def prompt_task(prompt: Prompt, text: str, lang: str) -> Prompt:
    """A prompt that asks for `text`, the instruction of `prompt` in some language, in `lang`."""
    return Prompt(prompt.prompt_id, lang, prompt_request(text, lang), prompt.split)


def back_tasks(english: Sequence[Prompt], drafts: Sequence[Record]) -> list[Prompt]:
    """Prompts that ask for English again, of the drafts that may be translations."""
    found = []
    for prompt, draft in zip(english, drafts, strict=True):
        if not draft_failure(prompt, draft):
            found.append(prompt_task(prompt, draft_text(draft), "en"))
    return found


def chrf(text: str, reference: str) -> float:
    """chrF of a text against a reference, 0 to 100 (Popović 2015): how many character n-grams they
    share.

    F_β of precision and recall, each averaged over n = 1 … 6 (those n that both are long enough
    for), β = 2, white space left out; linear in the lengths. sacrebleu's sentence chrF is the same.
    """
    ours = "".join(text.split())
    theirs = "".join(reference.split())
    orders = range(1, min(ORDER, len(ours), len(theirs)) + 1)
    precision = 0.0
    recall = 0.0
    for n in orders:
        grams = _ngrams(ours, n)
        expected = _ngrams(theirs, n)
        shared = (grams & expected).total()
        precision += shared / grams.total() / len(orders)
        recall += shared / expected.total() / len(orders)
    if not precision + recall:
        return 0.0
    return 100 * (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def _ngrams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))


def draft_failure(english: Prompt, draft: Record) -> Dropped | None:
    """Why a draft is no translation, as far as it tells by itself; None where it may be one."""
    if "error" in draft:
        return Dropped.NO_ANSWER
    if draft["responses"][0]["finish_reason"] != "stop":
        return Dropped.CUT_OFF
    text = draft_text(draft)
    if is_blank(text):
        return Dropped.EMPTY
    if is_broken(text):
        return Dropped.BROKEN
    if comparable(text) == comparable(english.instruction):
        return Dropped.UNCHANGED
    if in_language([text], draft["lang"]) == [False]:
        return Dropped.WRONG_LANGUAGE
    return None


def draft_text(draft: Record) -> str:
    """What a model that answered gave."""
    return draft["responses"][0]["text"].strip()


def check_drafts(
    english: Sequence[Prompt],
    drafts: Sequence[Record],
    back: Sequence[Record],
    *,
    min_chrf: float,
) -> tuple[list[Record], list[Record]]:
    """The drafts of one language as prompts {instruction_id, instruction, chrf}, and those that
    failed with a reason.

    `back`: their translations into English, by prompt_id. A draft fails by `draft_failure`; where
    its translation into English does (not_translated_back); or where that has a chrF to the English
    prompt below `min_chrf` (dissimilar).
    """
    kept = []
    failed = []
    returned = {record["prompt_id"]: record for record in back}
    for prompt, draft in zip(english, drafts, strict=True):
        reason = draft_failure(prompt, draft)
        again = None
        similar = None
        if not reason:
            again = _text_back(prompt, returned[prompt.prompt_id])
            reason = Dropped.NOT_TRANSLATED_BACK if again is None else None
        if again is not None:
            similar = round(chrf(again, prompt.instruction), 2)
            reason = Dropped.DISSIMILAR if similar < min_chrf else None
        record = {
            "instruction_id": prompt.prompt_id,
            "instruction": draft_text(draft) if "responses" in draft else None,
            "chrf": similar,
        }
        if reason:
            original = {"english": prompt.instruction, "translated_back": again}
            failed.append({"reason": reason, **record, **original})
        else:
            kept.append(record)
    return kept, failed


def _text_back(english: Prompt, back: Record) -> str | None:
    """What came of translating a draft back; None where that is no English text."""
    # The English prompt word for word is the best that can come back.
    if draft_failure(english, back) in (None, Dropped.UNCHANGED):
        return draft_text(back)
    return None


def keep_parallel(
    kept: dict[str, list[Record]], failed: dict[str, list[Record]], english: Sequence[Prompt]
) -> tuple[dict[str, list[Record]], Record]:
    """The prompts that no language failed, by language with English, and a report of counts.

    Report: {"prompts", "kept", "langs": {lang: {"failed": {reason: n}, "mean_chrf" of those that
    did not}}}.
    """
    lost: set[str] = set()
    for records in failed.values():
        lost.update(record["instruction_id"] for record in records)
    rows = [{"instruction_id": p.prompt_id, "instruction": p.instruction} for p in english]
    parallel = {}
    for lang, records in ({"en": rows} | kept).items():
        parallel[lang] = [record for record in records if record["instruction_id"] not in lost]
    langs = {}
    for lang, records in kept.items():
        mean = None
        if records:
            mean = round(sum(record["chrf"] for record in records) / len(records), 2)
        reasons = Counter(record["reason"] for record in failed[lang])
        langs[lang] = {"failed": dict(reasons), "mean_chrf": mean}
    return parallel, {"prompts": len(rows), "kept": len(parallel["en"]), "langs": langs}


def endpoint_translations(
    endpoint: ChatEndpoint, tasks: Sequence[Prompt], path: Path, label: str
) -> list[Record]:
    """What an endpoint makes of translation tasks, through a journal: as sample records, or with
    "error"."""
    order = [task.prompt_id for task in tasks]
    if is_finished(path, order):
        return read_jsonl(path)

    def ask(record: Record) -> Record:
        response = endpoint.ask(lambda: endpoint.post(record["instruction"]), read_response)
        return {"responses": [response]}

    asked = []
    for task in tasks:
        asked.append(
            {
                "prompt_id": task.prompt_id,
                "lang": task.lang,
                "split": task.split,
                "instruction": task.instruction,
            }
        )
    journal = Journal(path)
    ask_all(ask, asked, journal, name=endpoint.name, workers=endpoint.workers, label=label)
    journal.finish(order)
    return read_jsonl(path)


def read_response(body: Any) -> Record:
    """{"text", "finish_reason"} of a chat completion. Raises KeyError, IndexError or TypeError
    where it is none."""
    choice = body["choices"][0]
    text = said_in(choice["message"])
    reason = choice.get("finish_reason") or "stop"
    return {"text": hidden(text), "finish_reason": hidden(f"{reason}")}


def localisation_consent(
    name: str, requests: Sequence[str], calls: int, done: int, *, price: float, yes: bool
) -> None:
    """Print what one language will take, and go on only with consent: see `consent`.

    `requests`: of each prompt what a call reads. It takes at most so many `calls`, each reads it
    and writes it; `done` calls are over. A token is counted as 4 bytes of English, for all
    languages alike: some scripts take several times as many.
    """
    left = calls * len(requests) - done
    tokens = sum(len(request.encode()) for request in requests) / 4
    consent(name, left, 2 * tokens * left / max(1, len(requests)), price=price, paid=True, yes=yes)
