"""Keys out of texts that are shown or kept, in whatever form they come back."""

import base64
import binascii
import os
import re
from functools import lru_cache
from urllib.parse import parse_qsl, unquote, urlsplit

# Variables that hold a key, and those that hold an address, which may hold one.
KEYS = ("OPENAI_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
ADDRESSES = ("OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_ENDPOINT")

# What servers that need no key are given, which is no secret and stands in many texts.
NO_SECRET = {"empty", "none", "null", "dummy", "test", "ollama", "lm-studio", "not-needed"}

HIDDEN = "[key]"

# A part of an address, or a value of its query, that is a key by its looks.
LOOKS_SECRET = re.compile(
    r"(?i)(sk|hf)[-_].{4,}|(?=.{12,}).*(secret|token|passw|key).*"
    r"|.*(?=[a-z0-9]*\d)(?=[a-z0-9]*[a-z])[a-z0-9]{16,}.*"
)

# What may be bytes as text; from 4 bytes on.
ENCODED = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
HEX = re.compile(r"(?:[0-9a-fA-F]{2}){4,}")


def hidden(text: str) -> str:
    """The text without the keys of this environment: plain, escaped as in JSON, URLs or HTML, in
    base64 or in hexadecimal digits."""
    secrets = environment_secrets()
    if not secrets:
        return text
    plain = _pattern(secrets)
    text = plain.sub(HIDDEN, text)

    def decoded(run: re.Match) -> str:
        return HIDDEN if any(plain.search(some) for some in _decodings(run[0])) else run[0]

    return HEX.sub(decoded, ENCODED.sub(decoded, text))


def environment_secrets() -> tuple[str, ...]:
    """The keys in this environment, the longest first."""
    found = {os.environ.get(name, "").strip() for name in KEYS}
    for name in ADDRESSES:
        for address in (os.environ.get(name, ""), os.environ.get(name.lower(), "")):
            found.update(address_secrets(address.strip()))
    found = {one for one in found if len(one) >= 4 and one.lower() not in NO_SECRET}
    return tuple(sorted(found, key=lambda one: (-len(one), one)))


def address_secrets(address: str) -> set[str]:
    """What of an address may be a key: user and password, a port that is no number, and what looks
    like one in its path and query."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return {address}
    user, _, place = parts.netloc.rpartition("@")
    found = {user, *user.split(":")}
    port = place.rpartition("]")[2].partition(":")[2]
    if port and not (port.isascii() and port.isdigit() and int(port) < 2**16):
        found.add(port)
    values = [value for _, value in parse_qsl(parts.query)]
    found.update(part for part in (*parts.path.split("/"), *values) if LOOKS_SECRET.fullmatch(part))
    return {form for one in found for form in (one, unquote(one)) if form}


@lru_cache(maxsize=8)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern:
    """Any of them, each of its characters in any form. A short one only as a whole word."""
    forms = []
    for secret in secrets:
        form = "".join(_character(character) for character in secret)
        forms.append(form if len(secret) >= 8 else rf"(?<!\w){form}(?!\w)")
    return re.compile("|".join(forms))


def _character(character: str) -> str:
    code = ord(character)
    number = f"{code:x}"
    # JSON's \u002d, a URL's %2D, HTML's &#45; and &#x2d;, a backslash before it
    either = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in number)
    escaped = rf"u0*{either}|x{either}|%{either}|&#0*{code};|&#[xX]0*{either};"
    return rf"\\*(?:{re.escape(character)}|{escaped})"


def _decodings(run: str) -> list[str]:
    """What a run of letters and digits is, read as base64 from each of four places, or as
    hexadecimal digits."""
    found = []
    standard = run.rstrip("=").replace("-", "+").replace("_", "/")
    for start in range(4):
        part = standard[start:]
        part = part[: len(part) - (len(part) % 4 == 1)]
        try:
            found.append(base64.b64decode(part + "=" * (-len(part) % 4)).decode("latin-1"))
        except binascii.Error:
            continue
    if re.fullmatch(HEX, run):
        found.append(bytes.fromhex(run).decode("latin-1"))
    return found
