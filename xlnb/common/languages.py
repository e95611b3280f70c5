"""Languages by their ISO 639-1 codes."""

from xlnb.common.errors import InputError

LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "ha": "Hausa", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "ms": "Malay", "nl": "Dutch",
    "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "yo": "Yoruba",
    "zh": "Chinese", "zu": "Zulu",
}  # fmt: skip


def language_name(lang: str) -> str:
    """English name of an ISO 639-1 code. Raises InputError for a code that is not in
    `LANGUAGES`."""
    if lang not in LANGUAGES:
        raise InputError(f"unknown language code '{lang}'; known: {', '.join(LANGUAGES)}")
    return LANGUAGES[lang]


def split_langs(langs: str) -> list[str]:
    """'en, es' as ['en', 'es']."""
    return [lang.strip() for lang in langs.split(",") if lang.strip()]
