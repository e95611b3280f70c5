"""The prompts under which models read a response: what R_c, R_m and R_t differ in.

R_c  cross_lingual    the English instruction, to be answered in the response's language
R_m  multilingual     the instruction in the response's language
R_t  translated       the English instruction; read is the response's English translation
"""

from xlnb.common.errors import InputError
from xlnb.common.languages import language_name


def cross_lingual(instruction: str, lang: str) -> str:
    """The English instruction, to be answered in `lang`."""
    if lang == "en":
        return instruction
    return (
        f"Please answer the following instruction using only {language_name(lang)}, unless "
        f"explicitly instructed to respond in a different language.\n\n{instruction}"
    )


def scorer_prompt(scorer: str, lang: str, instruction: str, english: str) -> str:
    """What a response in `lang` to `instruction` is read under; `english` is the same instruction.

    Raises InputError for an unknown scorer.
    """
    if scorer == "cross_lingual":
        return cross_lingual(english, lang)
    if scorer == "multilingual":
        return instruction
    if scorer == "translated":
        return english
    raise InputError(f"unknown scorer '{scorer}'; known: cross_lingual, multilingual, translated")
