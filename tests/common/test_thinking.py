"""What a model thinks aloud is told from its answer, as each family marks it."""

import pytest

from xlnb.common.thinking import answer_of, thinks, thought

TEXTS = {
    "none": ("Paris.", False, "Paris.", ""),
    "a mark that is spoken of": ("Write <think> first.", False, "Write <think> first.", ""),
    "Qwen3's": ("<think>\nWhere?\n</think>\n\nParis.", True, "\n\nParis.", "Where?"),
    "opened by the prompt": ("Where?\n</think>\n\nParis.", True, "\n\nParis.", "Where?"),
    "empty": ("<think>\n\n</think>\n\nParis.", True, "\n\nParis.", ""),
    "closed without a word": ("</think>Paris.", True, "Paris.", ""),
    "twice": ("<think>a</think>b<think>c</think>Paris.", True, "Paris.", "abc"),
    "cut off": ("\n<think>Where", True, "", "Where"),
    "cut off the second time": ("<think>a</think><think>b", True, "", "ab"),
    "Gemma 4's": ("<|channel>thought\nWhere?<channel|>Paris.", True, "Paris.", "Where?"),
    "Gemma 4's, empty": ("<|channel>thought\n<channel|>Paris.", True, "Paris.", ""),
    "Magistral's": ("[THINK]Where?[/THINK]Paris.", True, "Paris.", "Where?"),
}


@pytest.mark.parametrize(("text", "is_there", "answer", "said"), TEXTS.values(), ids=TEXTS)
def test_thinking_is_told_from_the_answer(text, is_there, answer, said):
    assert (thinks(text), answer_of(text), thought(text)) == (is_there, answer, said)
