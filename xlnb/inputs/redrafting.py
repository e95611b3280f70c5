"""Prompts whose translation failed its check, asked for again as a team of translators would go
about it (TACTIC, arXiv 2506.08403): three drafts, literal, for the sense and free, and one made of
the three, all told why the translation before failed and how the text reads in other languages.

There a model judges translations by its own opinion; here the check of
`xlnb.inputs.localisation` does, and of those that pass the one nearest to the original is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xlnb.common.dropped import Dropped
from xlnb.common.given import comparable
from xlnb.common.languages import language_name
from xlnb.common.records import Prompt
from xlnb.common.text import wording
from xlnb.inputs.localisation import back_tasks, check_drafts, draft_text, prompt_request

Record = dict[str, Any]
ByLang = dict[str, list[Record]]
# tasks, and what they make: drafts, refined or back -> records
Translate = Callable[[list[Prompt], str], list[Record]]

FORMS = {
    "literal": "Keep as close to its words as the grammar allows.",
    "sense": "Say what it means, in the words that speakers of the language would choose.",
    "free": "Write it as if it had first been thought of in that language.",
}
REFINED = (
    "Make it of the drafts below: as true as the literal one, as clear as the one for the sense, "
    "as natural as the free one."
)
# of a prompt and a try: a draft of each form, one made of them, each translated back
CALLS = 2 * (len(FORMS) + 1)

WHY = {
    Dropped.CUT_OFF: "it was cut off before its end",
    Dropped.EMPTY: "it was empty",
    Dropped.BROKEN: "it held half a character",
    Dropped.UNCHANGED: "it was still the English text",
    Dropped.WRONG_LANGUAGE: "it was in another language",
    Dropped.NOT_TRANSLATED_BACK: "it could not be translated back into English",
    Dropped.DISSIMILAR: "translated back into English it said something else",
}


def words_fields() -> dict[str, str]:
    """What another draft depends on of the kit's own words, beside `prompt_request`."""
    words = [*FORMS.values(), REFINED, *WHY.values()]
    return wording("redraft_request", "\n".join(words), "c2bd80bdc5bba48e")


@dataclass(frozen=True)
class Failure:
    """A prompt of which no translation into a language has passed yet."""

    english: Prompt
    # as `check_drafts` has it: reason, instruction (what failed) and translated_back
    record: Record
    # the prompt in other languages, of which a translation passed
    others: Mapping[str, str]


def failures(
    lang: str,
    english: Sequence[Prompt],
    kept: Mapping[str, Sequence[Record]],
    failed: Mapping[str, Sequence[Record]],
) -> list[Failure]:
    """What has failed in a language, of what `check_drafts` has kept and set apart by language."""
    by_id = {prompt.prompt_id: prompt for prompt in english}
    others: dict[str, dict[str, str]] = {prompt_id: {} for prompt_id in by_id}
    for other, records in kept.items():
        for record in records:
            others[record["instruction_id"]][other] = record["instruction"]
    found = []
    for record in failed[lang]:
        prompt_id = record["instruction_id"]
        found.append(Failure(by_id[prompt_id], record, others[prompt_id]))
    return found


def draft_request(failure: Failure, lang: str, form: str) -> str:
    """What a model is asked for another draft with."""
    return _request(failure, lang, [FORMS[form]])


def refine_request(failure: Failure, lang: str, drafts: Mapping[str, str]) -> str:
    """What it is asked for one translation of several drafts, by form, with."""
    said = [f"Draft, {form}: {text}" for form, text in drafts.items()]
    return _request(failure, lang, [REFINED, *said])


def _request(failure: Failure, lang: str, told: Sequence[str]) -> str:
    """As `prompt_request`, with what is told besides before the text."""
    lines = [f"{prompt_request('', lang).strip()} {told[0]}"]
    record = failure.record
    if record["reason"] in WHY:
        lines.append(f"An earlier translation failed: {WHY[record['reason']]}.")
    # What has no end may be as long as a model can go on.
    if record["instruction"] and record["reason"] != Dropped.CUT_OFF:
        lines.append(f"It was: {record['instruction']}")
    if record["translated_back"]:
        lines.append(f"Translated back it was: {record['translated_back']}")
    lines += [f"In {language_name(other)}: {text}" for other, text in failure.others.items()]
    return "\n".join([*lines, *told[1:]]) + f"\n\n{failure.english.instruction}"


def redraft(
    failed: Sequence[Failure], lang: str, translate: Translate
) -> tuple[list[Record], list[Record]]:
    """One try more: candidates for each prompt, in ids as "ID literal", and those that may be
    translations put into English again."""
    tasks = []
    for one in failed:
        for form in FORMS:
            tasks.append(_task(one, lang, form, draft_request(one, lang, form)))
    drafts = translate(tasks, "drafts")
    said: dict[str, dict[str, str]] = {one.english.prompt_id: {} for one in failed}
    for draft in drafts:
        prompt_id, form = _parts(draft["prompt_id"])
        if "responses" in draft and draft["responses"][0]["finish_reason"] == "stop":
            said[prompt_id][form] = draft_text(draft)
    tasks = []
    for one in failed:
        request = refine_request(one, lang, said[one.english.prompt_id])
        tasks.append(_task(one, lang, "refined", request))
    candidates = distinct(failed, [*translate(tasks, "refined"), *drafts])
    back = translate(back_tasks(_prompts(failed, candidates), candidates), "back")
    return candidates, back


def _task(failure: Failure, lang: str, form: str, request: str) -> Prompt:
    english = failure.english
    return Prompt(f"{english.prompt_id} {form}", lang, request, english.split)


def _parts(candidate_id: str) -> tuple[str, str]:
    prompt_id, _, form = candidate_id.rpartition(" ")
    return prompt_id, form


def distinct(failed: Sequence[Failure], candidates: Sequence[Record]) -> list[Record]:
    """The candidates without those that read as an earlier one of their prompt, or as what has
    failed already."""
    seen: dict[str, set[str]] = {}
    for one in failed:
        seen[one.english.prompt_id] = {comparable(one.record["instruction"] or "")}
    found = []
    for candidate in candidates:
        known = seen[_parts(candidate["prompt_id"])[0]]
        text = comparable(draft_text(candidate)) if "responses" in candidate else None
        if text not in known:
            found.append(candidate)
        if text is not None:
            known.add(text)
    return found


def _prompts(failed: Sequence[Failure], candidates: Sequence[Record]) -> list[Prompt]:
    """For each candidate the English prompt, under the candidate's id."""
    by_id = {one.english.prompt_id: one.english for one in failed}
    found = []
    for candidate in candidates:
        prompt_id, _ = _parts(candidate["prompt_id"])
        found.append(replace(by_id[prompt_id], prompt_id=candidate["prompt_id"]))
    return found


def choose(
    failed: Sequence[Failure],
    candidates: Sequence[Record],
    back: Sequence[Record],
    *,
    min_chrf: float,
) -> tuple[list[Record], list[Record]]:
    """Of each prompt the candidate with the highest chrF that passes `check_drafts`; and of those
    of which none does what came nearest, or, where nothing new came, what had failed before.

    `failed` with `candidates` and `back` as of `redraft`. Of equals the refined one is taken.
    """
    english = _prompts(failed, candidates)
    passed, lost = check_drafts(english, candidates, back, min_chrf=min_chrf)
    best = _nearest(passed)
    still = {one.english.prompt_id: one.record for one in failed} | _nearest(lost)
    return list(best.values()), [still[i] for i in still if i not in best]


def check_tries(
    langs: Sequence[str],
    english: Sequence[Prompt],
    first: Callable[[str], tuple[Sequence[Record], Sequence[Record]]],
    later: Callable[[int, str, Sequence[Failure]], tuple[Sequence[Record], Sequence[Record]]],
    *,
    tries: int,
    min_chrf: float,
) -> list[tuple[ByLang, ByLang]]:
    """After each try what passed the check by language, in the order of the prompts, and what has
    not yet.

    `first`: a language's drafts and their translations back; `later`: candidates and theirs, by the
    number of the try, from 2, the language and what has failed in it before, as `redraft`.
    """
    kept: ByLang = {}
    failed: ByLang = {}
    for lang in langs:
        kept[lang], failed[lang] = check_drafts(english, *first(lang), min_chrf=min_chrf)
    found = [(kept, failed)]
    for number in range(2, tries + 1):
        before = found[-1]
        kept, failed = (dict(by_lang) for by_lang in before)
        for lang in langs:
            if failed[lang]:
                lost = failures(lang, english, *before)
                candidates, back = later(number, lang, lost)
                passed, failed[lang] = choose(lost, candidates, back, min_chrf=min_chrf)
                kept[lang] = _in_order([*kept[lang], *passed], english)
        found.append((kept, failed))
    return found


def _in_order(records: Sequence[Record], english: Sequence[Prompt]) -> list[Record]:
    by_id = {record["instruction_id"]: record for record in records}
    return [by_id[prompt.prompt_id] for prompt in english if prompt.prompt_id in by_id]


def _nearest(records: Sequence[Record]) -> dict[str, Record]:
    """By prompt the record with the highest chrF; one without is below all."""
    found: dict[str, Record] = {}
    for record in records:
        prompt_id, _ = _parts(record["instruction_id"])
        rank = -1.0 if record["chrf"] is None else record["chrf"]
        known = found.get(prompt_id)
        if known is None or rank > (-1.0 if known["chrf"] is None else known["chrf"]):
            found[prompt_id] = record | {"instruction_id": prompt_id}
    return found
