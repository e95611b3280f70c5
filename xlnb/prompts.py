"""Parallel prompts: the same instructions in several languages, joined by id, and the languages' names."""

from pathlib import Path
from typing import Any

from xlnb.errors import InputError
from xlnb.runs import read_json, read_numbered_jsonl

LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque",
    "fa": "Persian", "fi": "Finnish", "fr": "French", "ha": "Hausa", "he": "Hebrew", "hi": "Hindi",
    "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "ms": "Malay",
    "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "yo": "Yoruba", "zh": "Chinese", "zu": "Zulu",
}  # fmt: skip


def language_name(lang: str) -> str:
    """English name of an ISO 639-1 code. Raises InputError for a code that is not in `LANGUAGES`."""
    if lang not in LANGUAGES:
        raise InputError(f"unknown language code '{lang}'; known: {', '.join(LANGUAGES)}")
    return LANGUAGES[lang]


def cross_lingual(instruction: str, lang: str) -> str:
    """The prompt of the cross-lingual reward: the English instruction, to be answered in `lang` (R_c)."""
    if lang == "en":
        return instruction
    return (
        f"Please answer the following instruction using only {language_name(lang)}, unless explicitly instructed "
        f"to respond in a different language.\n\n{instruction}"
    )


def read_parallel(folder: str | Path, langs: str = "") -> dict[str, list[dict]]:
    """Read `<lang>.jsonl` or `<lang>.json` files of parallel prompts: {lang: [{"prompt_id", "lang", "instruction"}]}.

    Records hold "instruction" and "instruction_id" (or "id"); both published layouts are read. Every language must
    hold the same ids once each; English, whose instructions the cross-lingual reward needs, must be there. The
    order is English's. `langs` ("en,es") picks languages, empty takes all. Raises InputError naming file and line
    or id.
    """
    files = parallel_files(folder, langs)
    prompts = {lang: _read_prompts(path, lang) for lang, path in files.items()}
    return {lang: join(records, prompts["en"], str(files[lang])) for lang, records in prompts.items()}


def parallel_files(folder: str | Path, langs: str = "") -> dict[str, Path]:
    """The files that `read_parallel` reads, by language, English first. Raises InputError as it does."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; prompts.path names a folder of <lang>.jsonl or <lang>.json files")
    files: dict[str, Path] = {}
    for path in sorted(path for path in folder.glob("*.json*") if path.suffix in (".json", ".jsonl")):
        if path.stem in files:
            raise InputError(f"{folder}: both {files[path.stem].name} and {path.name}; keep one file a language")
        files[path.stem] = path
    wanted = split_langs(langs) or list(files)
    for lang in wanted:
        if lang not in files and lang in LANGUAGES:
            raise InputError(f"{folder}: no {lang}.jsonl or {lang}.json; found: {', '.join(files) or 'nothing'}")
        if lang not in LANGUAGES:
            where = files.get(lang, folder)
            raise InputError(f"{where}: unknown language code '{lang}'; known: {', '.join(LANGUAGES)}")
    if "en" not in wanted:
        raise InputError(f"{folder}: no English prompts (en.jsonl), whose instructions the cross-lingual reward needs")
    return {lang: files[lang] for lang in ["en", *(lang for lang in wanted if lang != "en")]}


def split_langs(langs: str) -> list[str]:
    """'en, es' as ['en', 'es']."""
    return [lang.strip() for lang in langs.split(",") if lang.strip()]


def join(records: list[dict], reference: list[dict], where: str) -> list[dict]:
    """`records` in the order of `reference`, matched by prompt_id. Raises InputError where the ids differ."""
    by_id = {record["prompt_id"]: record for record in records}
    ids = [record["prompt_id"] for record in reference]
    for missing in sorted(set(ids) - by_id.keys())[:1]:
        raise InputError(f"{where}: id {missing} is missing; every language must hold the same ids as English")
    for extra in sorted(by_id.keys() - set(ids))[:1]:
        raise InputError(f"{where}: id {extra} has no English counterpart; add it to English or remove it here")
    return [by_id[prompt_id] for prompt_id in ids]


def _read_prompts(path: Path, lang: str) -> list[dict]:
    if path.suffix == ".jsonl":
        numbered: list[tuple[str, Any]] = [(f"line {number}", record) for number, record in read_numbered_jsonl(path)]
    else:
        values = read_json(path)
        if not isinstance(values, list):
            raise InputError(f"{path}: expected a JSON list of prompts, found {type(values).__name__}")
        numbered = [(f"record {number}", record) for number, record in enumerate(values, 1)]
    prompts: dict[str, dict] = {}
    for where, record in numbered:
        where = f"{path}, {where}"
        if not isinstance(record, dict):
            raise InputError(f"{where}: expected a JSON object, found {type(record).__name__}")
        key = "instruction_id" if "instruction_id" in record else "id"
        for needed in (key, "instruction"):
            if needed not in record:
                raise InputError(f"{where}: key '{needed}' is missing; expected instruction and instruction_id (or id)")
        prompt_id, instruction = str(record[key]), record["instruction"]
        if not isinstance(instruction, str) or not instruction.strip():
            raise InputError(
                f"{where}: the instruction of id {prompt_id} is empty; fill it in or remove the id everywhere"
            )
        if any("\ud800" <= character <= "\udfff" for character in instruction):
            raise InputError(
                f"{where}: the instruction of id {prompt_id} holds half a character (a lone surrogate); mend it"
            )
        if prompt_id in prompts:
            raise InputError(f"{where}: id {prompt_id} is there twice; ids must be unique in a file")
        prompts[prompt_id] = {"prompt_id": prompt_id, "lang": lang, "instruction": instruction}
    return list(prompts.values())
