"""Every way in which an endpoint was seen, or may be thought, to fail: what it sends, and what is
to come of it.

    outage      nothing is filed where all fail so, and the same command goes on; of one question
                alone it is that question's own, and filed with its reason
    stop        the run stops at once, whatever was answered before
    malformed   an answer without a verdict, kept and counted
    verdict     an answer like another
"""

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Failing(NamedTuple):
    outcome: str
    # What the line or the record says of it.
    said: str
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    # How it is sent: whole, cut, reset, hang, chunked, garbage, drip, drip of headers, endless
    how: str = "whole"


def error(status, outcome="outage", said="", **headers):
    """As OpenAI's servers say it, the key and the key in base64 included."""
    message = f"no more of this, {{key}} or {{key64}} ({status})"
    body = json.dumps({"error": {"message": message, "code": f"{status}"}}).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Failing(outcome, said or f"HTTP {status}", status, body, names)


def answer(outcome, choices, said="", **more):
    return Failing(outcome, said, body=json.dumps({"choices": choices} | more).encode())


def said(content, **more):
    return [{"message": {"role": "assistant", "content": content}, **more}]


NO_COMPLETION = "the body is no chat completion"
WAIT = {
    "seconds": "0.01",
    "a date": "Wed, 21 Oct 2099 07:28:00 GMT",
    "garbage": "soon",
    "less than nothing": "-7",
    "for ever": "999999",
}
STATUSES = {f"{status}": error(status) for status in (400, 402, 405, 408, 409, 410, 413, 418, 422, 425, 429, 451, 500, 501, 502, 503, 504, 520, 529)}  # fmt: skip
FAILING: dict[str, Failing] = {
    **STATUSES,
    **{f"{status}, no entry": error(status, "stop") for status in (401, 403, 404)},
    **{f"429, wait {form}": error(429, Retry_After=value) for form, value in WAIT.items()},
    "503, wait": error(503, Retry_After="0.01"),
    "a redirect": error(302, Location="http://127.0.0.1:9/{key}"),
    "a redirect for good": error(308, Location="/elsewhere"),
    "no content": Failing("outage", "HTTP 204", 204),
    "quota": Failing("stop", "HTTP 429", 429, b'{"error": {"message": "{key}: quota", "code": "insufficient_quota"}}'),
    "an error that is a page": Failing("outage", "HTTP 502", 502, b"<html><b>Bad gateway</b> {key}"),
    "an error that is a text in JSON": Failing("outage", "HTTP 500", 500, b'{"error": "{key}"}'),
    "an error of no form": Failing("outage", "HTTP 500", 500, b"[1, {}]"),
    "an error in bytes": Failing("outage", "HTTP 500", 500, b"\xff\xfe{key}\x00\x1b[31m"),
    "an error without a word": Failing("outage", "HTTP 500", 500),
    "an error nested deeply": Failing("outage", "HTTP 500", 500, b"[" * 50_000),
    "a page": Failing("outage", NO_COMPLETION, body=b"<html>it works!"),
    "nothing": Failing("outage", NO_COMPLETION),
    "half of an answer": Failing("outage", NO_COMPLETION, body=b'{"choices": [{"mess'),
    "not UTF-8": Failing("outage", NO_COMPLETION, body=b'{"choices": "\xff\xfe"}'),
    "nested deeply": Failing("outage", NO_COMPLETION, body=b'{"choices": ' + b"[" * 50_000),
    "a list": Failing("outage", NO_COMPLETION, body=b"[]"),
    "null": Failing("outage", NO_COMPLETION, body=b"null"),
    "an error with status 200": Failing("outage", NO_COMPLETION, body=b'{"error": {"message": "{key}"}}'),
    "no choices": Failing("outage", NO_COMPLETION, body=b'{"id": "x"}'),
    "choices are null": answer("outage", None, NO_COMPLETION),
    "choices are empty": answer("outage", [], NO_COMPLETION),
    "no message": answer("outage", [{"text": "m"}], NO_COMPLETION),
    "the message is null": answer("outage", [{"message": None}], NO_COMPLETION),
    "content is a number": answer("outage", said(7), NO_COMPLETION),
    "content is a list of numbers": answer("outage", said([7]), NO_COMPLETION),
    "content is a list of parts": answer("verdict", said([{"type": "text", "text": "m"}])),
    "content is null": answer("malformed", said(None), ""),
    "a refusal": answer("malformed", [{"message": {"content": None, "refusal": "I can't, {key}"}}], ""),
    "nothing said": answer("malformed", said(""), ""),
    "chatter": answer("malformed", said("I think {key64} that {key} is better"), "I think [key]"),
    "thinking": answer("malformed", said("<think>\nFirst"), "<think> First"),
    "half a character": answer("malformed", said("\ud83d"), ""),
    "a very long answer": answer("malformed", said("x" * 3_000_000), "xxx"),
    "logprobs are empty": answer("malformed", said("?", logprobs={"content": []}), "?"),
    "labels at nothing": answer("malformed", said("I", logprobs={"content": [{"top_logprobs": [{"token": "m", "logprob": -20}]}]}), "I"),
    "logprobs are missing": answer("verdict", said("m")),
    "logprobs are null": answer("verdict", said("m", logprobs=None)),
    "logprobs of another form": answer("verdict", said("m.", logprobs={"tokens": ["m"]})),
    "more than was asked for": answer("verdict", said("m") * 3, usage={"total_tokens": "many"}),
    "another content type": answer("verdict", said("M"))._replace(headers={"Content-Type": "text/html; charset=none"}),
    "not compressed as it says": answer("outage", said("m"), "DecodingError")._replace(headers={"Content-Encoding": "gzip"}),
    "cut off": answer("outage", said("m"), "RemoteProtocolError")._replace(how="cut"),
    "cut off in a chunk": answer("outage", said("m"), "RemoteProtocolError")._replace(how="chunked"),
    "no HTTP": Failing("outage", "RemoteProtocolError", body=b"hello {key}\r\n\r\n", how="garbage"),
    "reset": Failing("outage", "Error", how="reset"),
    "a byte at a time": Failing("outage", "did not end within 1 seconds", how="drip"),
    "headers a byte at a time": Failing("outage", "did not end within 1 seconds", how="drip of headers"),
    "no end": Failing("outage", "did not end within 1 seconds and 4 MiB", how="endless"),
    "silence": Failing("outage", "ReadTimeout", how="hang"),
}  # fmt: skip


def filled(data, key):
    """The bytes with the key that was sent in their places."""
    plain = key.removeprefix("Bearer ")
    encoded = base64.b64encode(plain.encode())
    return data.replace(b"{key}", plain.encode()).replace(b"{key64}", encoded)
