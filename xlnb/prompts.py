""""""

from xlnb.common.errors import InputError
from xlnb.common.languages import language_name


def cross_lingual(instruction: str, lang: str) -> str:
    """The prompt of the cross-lingual reward: the English instruction, to be answered in `lang` (R_c)."""
    if lang == "en":
        return instruction
    return (
        f"Please answer the following instruction using only {language_name(lang)}, unless explicitly instructed "
        f"to respond in a different language.\n\n{instruction}"
    )


def scorer_prompt(scorer: str, lang: str, instruction: str, english: str) -> str:
    """The prompt under which a scorer reads a response in `lang`: R_c (cross_lingual), R_m (multilingual) or, for the
    response's English translation, R_t (translated)."""
    if scorer == "cross_lingual":
        return cross_lingual(english, lang)
    if scorer == "multilingual":
        return instruction
    if scorer == "translated":
        return english
    raise InputError(f"unknown scorer '{scorer}'; known: cross_lingual, multilingual, translated")
