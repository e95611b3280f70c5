"""A key is in no text that is shown or kept, in whatever form it comes back."""

import base64
import json
from urllib.parse import quote

import pytest

from xlnb.common.secrets import HIDDEN, hidden

KEY = 'sk-Ab/"9\\x+very=secret-0123'


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


FORMS = {
    "plain": KEY,
    "JSON": json.dumps(KEY)[1:-1],
    "JSON with slashes": json.dumps(KEY)[1:-1].replace("/", "\\/"),
    "JSON twice": json.dumps(json.dumps(KEY))[1:-1],
    "JSON, all escaped": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "Python": repr(KEY)[1:-1],
    "URL": quote(KEY, safe=""),
    "URL, all escaped": "".join(f"%{ord(c):02X}" for c in KEY),
    "HTML": "".join(f"&#{ord(c)};" for c in KEY),
    "HTML, hexadecimal": "".join(f"&#x{ord(c):x};" for c in KEY),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 of more": base64.b64encode(f"Authorization: Bearer {KEY}\n".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(b"\xff\xfe" + KEY.encode()).decode(),
    "base64 in a path": "/v1/" + base64.b64encode(f"a:{KEY}".encode()).decode(),
    "base64 without padding": base64.b64encode(f"user:{KEY}".encode()).decode().rstrip("="),
    "hexadecimal": KEY.encode().hex(),
    "hexadecimal capitals": KEY.encode().hex().upper(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_hidden_in_any_form(form):
    text = f"Sorry: no key like '{FORMS[form]}', try again."
    assert HIDDEN in hidden(text)
    assert FORMS[form] not in hidden(text)
    assert hidden(text).startswith("Sorry: no key like '")
    assert hidden(text).endswith("', try again.")


@pytest.mark.parametrize(
    "text",
    [
        "An ordinary answer of several words, with numbers 0123456789 and a URL http://x.y/z?a=b.",
        "skAb9x verysecret 0123: parts are not the whole",
        "SGVsbG8gd29ybGQhIEhvdyBhcmUgeW91Pw==",
        "deadbeef" * 8,
        "",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert hidden(text) == text


@pytest.mark.parametrize(
    "address",
    [
        "https://me:pass-word-1@host/v1",
        "https://pass-word-1@host/v1",
        "https://host:pass-word-1/v1",
        "https://host/sk-pass-word-1/v1",
        "https://host/v1?api-key=sk-pass-word-1",
    ],
)
def test_a_key_in_an_address_is_one(monkeypatch, address):
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    assert (
        "pass-word-1"
        not in hidden("You sent 'pass-word-1' or 'sk-pass-word-1'.").replace(
            "sk-pass-word-1", HIDDEN
        )
        or "sk-" in address
    )
    assert "sk-pass-word-1" not in hidden("You sent sk-pass-word-1.")


@pytest.mark.parametrize("key", ["EMPTY", "none", "ollama", "x", ""])
def test_what_stands_for_no_key_is_no_secret(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    text = "An empty box, none of it x: EMPTY, none, ollama."
    assert hidden(text) == text


def test_a_short_key_is_hidden_as_a_word_only(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "abc12")
    assert hidden("abc12, abc123, 'abc12'") == f"{HIDDEN}, abc123, '{HIDDEN}'"
