"""Why something that was given or made is not used: one list of reasons, spelt as files hold them.

What `xlnb.pairs` drops has lists of its own, which its report counts in full.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum


class Dropped(StrEnum):
    """A reason, as it stands in records and reports."""

    # of a text
    EMPTY = "empty"
    # a model stopped at the most tokens allowed
    CUT_OFF = "cut_off"
    # surely, by `xlnb.common.language_id`
    WRONG_LANGUAGE = "wrong_language"
    # it holds half a character
    BROKEN = "broken"
    # a model thinks aloud in it
    THINKING = "thinking"
    # with its prompt it is more than the model's context holds
    TOO_LONG = "too_long"
    # its token ids do not give it back
    NOT_READ_BACK = "not_read_back"
    # there is no other response that it could be compared with
    ALONE = "alone"

    # of a translation: the endpoint gave none
    NO_ANSWER = "no_answer"
    # the response itself was cut off or blank
    NO_WHOLE_TEXT = "no_whole_text"
    # still English, word for word
    UNCHANGED = "unchanged"
    # what came of translating it back is cut off, empty or not in English, or nothing came
    NOT_TRANSLATED_BACK = "not_translated_back"
    # translated back, it is too far from the original
    DISSIMILAR = "dissimilar"

    # of a preference: more than one user turn and its answer, or a system's turn
    NOT_SINGLE_TURN = "not_single_turn"
    # the answers are to two prompts
    PROMPTS_DIFFER = "prompts_differ"
    # equal texts, token ids or scores
    TIED = "tied"
    CHOSEN_SCORED_LOWER = "chosen_scored_lower"
    DUPLICATE = "duplicate"

    def __repr__(self) -> str:
        """The text alone, so that a printed count reads as the one in the file."""
        return repr(self.value)


def first_reasons(failures: Iterable[Sequence[str | None]]) -> list[str | None]:
    """Of each response the first reason why one of several scores could not read it; nothing where
    none has failed."""
    return [next(filter(None, reasons), None) for reasons in zip(*failures, strict=True)]
