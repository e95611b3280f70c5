"""What a model thinks aloud before it answers, as families of models mark it.

It is no part of a response: its length and its language are not the answer's, and it is neither
scored nor trained on.
"""

from itertools import chain

# Where it begins and ends: Qwen3, SmolLM3, DeepSeek-R1 and most others; Gemma 4; Magistral.
MARKS = (("<think>", "</think>"), ("<|channel>", "<channel|>"), ("[THINK]", "[/THINK]"))


def thinks(text: str) -> bool:
    """Whether a text holds thinking: it opens some, or closes some that its prompt has opened."""
    return any(text.lstrip().startswith(begin) or end in text for begin, end in MARKS)


def answer_of(text: str) -> str:
    """What follows the last of the thinking; nothing where that was cut off."""
    for begin, end in MARKS:
        text = text.rpartition(end)[2]
        if text.lstrip().startswith(begin):
            return ""
    return text


def thought(text: str) -> str:
    """The thinking without its marks; nothing where it is empty, as of models that were told not to
    think."""
    said = text.removesuffix(answer_of(text))
    for mark in chain(*MARKS):
        said = said.replace(mark, "")
    # Gemma 4 names its channel.
    return said.strip().removeprefix("thought").strip()
