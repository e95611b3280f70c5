"""Responses put into English by a model, for the translated reward. What fails is marked with its
reason and never scored.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from xlnb.common.dropped import Dropped
from xlnb.common.given import is_blank
from xlnb.common.records import Prompt
from xlnb.common.text import wording

Record = dict[str, Any]

# as good as always the likeliest token
TEMPERATURE = 0.01


REQUEST = "Translate the following text into English. Answer with the translation alone."


def response_request(text: str) -> str:
    """What a chat model is asked for the English translation of a response with."""
    return f"{REQUEST}\n\n{text}"


def request_fields() -> dict[str, str]:
    """What translations depend on beside the translator: the words that it is asked with, by which
    they are known."""
    return wording("translation_request", REQUEST, "25c93487937755f2")


def response_tasks(samples: list[Record]) -> Iterator[Prompt]:
    """A prompt for each text that has to be translated: each whole text of a sample once."""
    for sample in samples:
        texts = []
        for response in sample["responses"]:
            whole = response["finish_reason"] == "stop" and not is_blank(response["text"])
            if whole and response["text"] not in texts:
                texts.append(response["text"])
        for i, text in enumerate(texts):
            yield Prompt(
                prompt_id=f"{sample['prompt_id']}#{i}",
                lang=sample["lang"],
                instruction=response_request(text),
                split=sample["split"],
            )


def find_translations(
    sample: Record,
    translations: Mapping[tuple[str, str], Record],
    not_english: Callable[[str], bool],
) -> tuple[list[str | None], list[str | None]]:
    """The translation of every response of a sample, None where there is none to score, and why
    there is none.

    `translations`: what the translator gave, by the sample's prompt_id and what it was asked.
    `not_english`: whether a text is surely in another language.
    """
    texts: list[str | None] = []
    failures: list[str | None] = []
    for response in sample["responses"]:
        given = translations.get((sample["prompt_id"], response_request(response["text"])))
        failure = translation_failure(given, not_english)
        failures.append(failure)
        texts.append(None if failure or given is None else given["text"])
    return texts, failures


def translation_failure(given: Record | None, not_english: Callable[[str], bool]) -> Dropped | None:
    """Why what a translator gave is nothing to score; None: it may be scored."""
    if given is None:
        return Dropped.NO_WHOLE_TEXT
    if given["finish_reason"] != "stop":
        return Dropped.CUT_OFF
    if is_blank(given["text"]):
        return Dropped.EMPTY
    if not_english(given["text"]):
        return Dropped.WRONG_LANGUAGE
    return None
