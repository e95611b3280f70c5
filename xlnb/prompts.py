"""The prompts under which models read a response: what R_c, R_m and R_t differ in.

R_c  cross_lingual    the English instruction, to be answered in the response's language
R_m  multilingual     the instruction in the response's language
R_t  translated       the English instruction; read is the response's English translation
"""

from xlnb.common.errors import InputError
from xlnb.common.languages import language_name
from xlnb.common.text import wording

# What stands before the English instruction of R_c.
CROSS_LINGUAL = (
    "Please answer the following instruction using only {language}, unless explicitly instructed "
    "to respond in a different language."
)


def cross_lingual(instruction: str, lang: str) -> str:
    """The English instruction, to be answered in `lang`."""
    if lang == "en":
        return instruction
    return f"{CROSS_LINGUAL.format(language=language_name(lang))}\n\n{instruction}"


def prompt_fields(scorer: str) -> dict[str, str]:
    """What a scorer's reading depends on of the kit's own words."""
    if scorer != "cross_lingual":
        return {}
    return wording("cross_lingual_prompt", CROSS_LINGUAL, "fd22a39e483e10dd")


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
