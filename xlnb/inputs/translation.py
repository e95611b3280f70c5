"""Responses put into English by a model, for R_t. What fails is marked, never scored."""

from collections.abc import Callable, Iterator
from typing import Any

Record = dict[str, Any]

# as good as always the likeliest token
TEMPERATURE = 0.01


def translation_prompt(text: str) -> str:
    """What a chat model is asked for an English translation with."""
    return (
        f"Translate the following text into English. Answer with the translation alone.\n\n{text}"
    )


def translation_tasks(samples: list[Record]) -> Iterator[Record]:
    """A prompt record a text that has to be translated: each whole text of a prompt once."""
    for sample in samples:
        texts = {
            r["text"]: None
            for r in sample["responses"]
            if r["finish_reason"] == "stop" and r["text"].strip()
        }
        for i, text in enumerate(texts):
            names = {
                "prompt_id": f"{sample['prompt_id']}#{i}",
                "lang": sample["lang"],
                "split": sample["split"],
            }
            yield names | {"instruction": translation_prompt(text)}


def find_translations(
    sample: Record, translations: dict[tuple[str, str], Record], not_english: Callable[[str], bool]
) -> tuple[list[str | None], list[str | None]]:
    """The translation of every response of a sample, None where there is none to score, and why
    there is none.

    `translations`: what the translator gave, by the sample's prompt_id and what it was asked.
    Reasons: the response itself was cut off or blank (`no_whole_text`); the translation was cut off
    (`cut_off`), is blank (`empty`), or is surely not in English by `not_english`
    (`wrong_language`).
    """
    texts: list[str | None] = []
    failures: list[str | None] = []
    for response in sample["responses"]:
        given = translations.get((sample["prompt_id"], translation_prompt(response["text"])))
        if given is None:
            failure = "no_whole_text"
        elif given["finish_reason"] != "stop":
            failure = "cut_off"
        elif not given["text"].strip():
            failure = "empty"
        elif not_english(given["text"]):
            failure = "wrong_language"
        else:
            failure = None
        failures.append(failure)
        texts.append(None if failure or given is None else given["text"])
    return texts, failures
