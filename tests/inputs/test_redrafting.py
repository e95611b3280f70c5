"""What is asked once more about a translation that failed, and what of it is kept."""

import pytest

from xlnb.common.records import Prompt
from xlnb.inputs.localisation import prompt_request
from xlnb.inputs.redrafting import (
    FORMS,
    Failure,
    choose,
    distinct,
    draft_request,
    failures,
    redraft,
    refine_request,
)

SEA = Prompt("sea", "en", "Write a poem about the sea.", "train")
FRENCH = "Écris un poème sur la mer."
RECORD = {
    "reason": "wrong_language",
    "instruction_id": "sea",
    "instruction": FRENCH,
    "chrf": None,
    "english": SEA.instruction,
    "translated_back": None,
}
GERMAN = "Schreibe ein Gedicht über das Meer."
LOST = Failure(SEA, RECORD, {"es": "Escribe un poema sobre el mar."})


def record(task_id, text, lang="de", finish="stop"):
    return {
        "prompt_id": task_id,
        "lang": lang,
        "responses": [{"text": text, "finish_reason": finish}],
    }


def test_what_has_failed_is_told_with_its_reason_and_the_other_languages():
    request = draft_request(LOST, "de", "literal")
    assert request.startswith(prompt_request("", "de").strip())
    assert request.endswith(f"\n\n{SEA.instruction}")
    told = request.partition("\n\n")[0].split("\n")
    assert told[0].endswith(FORMS["literal"])
    assert told[1:] == [
        "An earlier translation failed: it was in another language.",
        f"It was: {FRENCH}",
        "In Spanish: Escribe un poema sobre el mar.",
    ]
    refined = refine_request(LOST, "de", {"literal": GERMAN, "free": "Dichte vom Meer."})
    assert "\nDraft, literal: Schreibe ein Gedicht über das Meer.\nDraft, free: Dichte" in refined
    # No answer came, so that there is nothing to tell.
    silent = RECORD | {"reason": "no_answer", "instruction": None}
    assert "\n" not in draft_request(Failure(SEA, silent, {}), "de", "free").partition("\n\n")[0]


def test_what_was_cut_off_is_not_told_at_its_length():
    cut = RECORD | {"reason": "cut_off", "instruction": "Das Meer und " * 1000}
    told = draft_request(Failure(SEA, cut, {}), "de", "free")
    assert "failed: it was cut off before its end." in told and "Das Meer" not in told
    asked = []

    def translate(tasks, what):
        asked.extend(task.instruction for task in tasks)
        return [record(task.prompt_id, "Das Meer und", finish="length") for task in tasks]

    redraft([Failure(SEA, cut, {})], "de", translate)
    assert len(asked) == 4 and not any("Das Meer" in request for request in asked)


def test_failures_know_what_other_languages_made_of_the_prompt():
    other = Prompt("sky", "en", "Why is the sky blue?", "train")
    kept = {"de": [], "es": [{"instruction_id": "sea", "instruction": "mar", "chrf": 50.0}]}
    kept["sw"] = [{"instruction_id": "sky", "instruction": "anga", "chrf": 50.0}]
    found = failures("de", [SEA, other], kept, {"de": [RECORD]})
    assert found == [Failure(SEA, RECORD, {"es": "mar"})]


def translator(answers, back, asked):
    """Gives `answers` by form, and puts texts back as `back` has it."""

    def translate(tasks, what):
        asked.append((what, [task.prompt_id for task in tasks]))
        if what == "back":
            texts = {task.prompt_id: task.instruction.partition("\n\n")[2] for task in tasks}
            return [record(i, back[text], "en") for i, text in texts.items()]
        return [record(t.prompt_id, answers[t.prompt_id.rpartition(" ")[2]]) for t in tasks]

    return translate


def tried(answers, back, min_chrf=40.0):
    asked = []
    candidates, returned = redraft([LOST], "de", translator(answers, back, asked))
    return asked, *choose([LOST], candidates, returned, min_chrf=min_chrf)


def test_of_those_that_pass_the_nearest_is_kept_and_nothing_is_put_back_twice():
    free = "Dichte etwas über das Meer."
    answers = {"literal": GERMAN, "sense": GERMAN, "free": free, "refined": FRENCH}
    back = {GERMAN: SEA.instruction, free: "Write something about the sea."}
    asked, kept, failed = tried(answers, back)
    assert asked == [
        ("drafts", ["sea literal", "sea sense", "sea free"]),
        ("refined", ["sea refined"]),
        # The refined one is what has failed before, and two drafts are one text.
        ("back", ["sea literal", "sea free"]),
    ]
    assert kept == [{"instruction_id": "sea", "instruction": GERMAN, "chrf": 100.0}]
    assert failed == []
    # The nearest, not the first.
    back[GERMAN], back[free] = back[free], back[GERMAN]
    assert tried(answers, back)[1][0]["instruction"] == free
    # Of equals the refined one.
    answers["refined"] = "Schreib ein Gedicht über das Meer."
    back[answers["refined"]] = back[GERMAN] = SEA.instruction
    assert tried(answers, back)[1][0]["instruction"] == answers["refined"]


def test_a_copy_of_the_english_prompt_never_passes_though_it_is_the_nearest_of_all():
    answers = dict.fromkeys([*FORMS, "refined"], SEA.instruction)
    asked, kept, failed = tried(answers, {SEA.instruction: SEA.instruction}, min_chrf=0)
    assert asked[-1] == ("back", [])
    assert kept == []
    assert [(one["instruction_id"], one["reason"]) for one in failed] == [("sea", "unchanged")]


def test_what_came_nearest_is_told_in_the_next_try():
    far = "Schreibe ein Lied über die Berge und den Schnee im Winter."
    answers = {"literal": "", "sense": far, "free": "", "refined": ""}
    _, kept, failed = tried(answers, {far: "Write a song about the mountains and snow."}, 60.0)
    assert kept == []
    (again,) = failed
    assert (again["reason"], again["instruction"]) == ("dissimilar", far)
    assert again["chrf"] == pytest.approx(39, abs=8)
    request = draft_request(Failure(SEA, again, {}), "de", "sense")
    assert "Translated back it was: Write a song about the mountains and snow." in request


def test_where_nothing_new_comes_the_failure_stays_what_it_was():
    answers = dict.fromkeys([*FORMS, "refined"], FRENCH)
    _, kept, failed = tried(answers, {})
    assert (kept, failed) == ([], [RECORD])
    silence = [{"prompt_id": "sea free", "lang": "de", "error": "HTTP 400"}]
    assert distinct([LOST], silence) == silence
