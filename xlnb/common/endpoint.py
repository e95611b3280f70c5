"""An OpenAI-compatible chat endpoint: calls that are made again where that helps.

Its address and key come from the environment and stay there: no text and no file holds the key.
"""

import json
import os
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from xlnb.common.calling import Caller, NoAnswer
from xlnb.common.errors import InputError
from xlnb.common.secrets import hidden
from xlnb.common.thinking import answer_of

# calls for one answer, the first included
TRIES = 8

# seconds between two of them
LONGEST_WAIT = 60.0

# statuses that another try can mend, beside 5xx
PASSING = {408, 409, 425, 429}

# what servers say, as 429 too, that no waiting mends
FOR_GOOD = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")

# characters of an endpoint's text that are kept or shown
SHOWN = 200

# What newer models refuse of a call (400, 422), by the name that the refusal holds, and what they
# are sent in its place; empty: nothing.
INSTEAD = {"max_tokens": "max_completion_tokens", "temperature": ""}

Answer = TypeVar("Answer")


class _Passing(Exception):
    """A call failed in a way that may pass. `said`: in the endpoint's own words; `wait`: seconds
    that it asks for."""

    def __init__(self, why: str, said: str = "", wait: float = 0.0):
        super().__init__(why, said)
        self.wait = wait


class ChatEndpoint:
    """Model `model` at OPENAI_BASE_URL, with OPENAI_API_KEY where it is set, for at most `workers`
    calls at once.

    Retries what can pass (429, 5xx, timeouts, dropped connections, bodies that cannot be read) with
    exponential waits from `wait` seconds, or as long as Retry-After says. A call may be silent for
    `timeout` seconds. Raises InputError where
    the variables are missing or cannot be used, and where no other call can help: the endpoint
    turns the key, the model or the address away, the quota is used up, or its certificate is not
    trusted.
    """

    def __init__(self, model: str, *, workers: int, wait: float = 1.0, timeout: float = 60.0):
        self._url = chat_url(os.environ.get("OPENAI_BASE_URL", "").strip())
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not (key.isascii() and key.isprintable()):
            raise InputError("OPENAI_API_KEY holds characters that no key has; set it again")
        if workers < 1:
            raise InputError(
                f"endpoint:{model}: {workers} calls at once (workers), expected at least 1"
            )
        self.name = f"endpoint:{model}"
        self.model = model
        self.workers = workers
        self._wait = wait
        # of INSTEAD, what this endpoint has refused and answered without
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._caller = Caller(self._url, headers, timeout)

    def post(self, prompt: str, **options: Any) -> httpx.Response:
        """One call, at temperature 0; httpx.RequestError where it fails. A lone surrogate is sent
        as ?. A parameter that the endpoint refuses is sent as `INSTEAD` says, from then on."""
        messages = [{"role": "user", "content": prompt.encode("utf-8", "replace").decode()}]
        wanted = {"model": self.model, "messages": messages, "temperature": 0} | options
        refused = set(self._refused)
        while True:
            response = self._caller.post(_spelled(wanted, refused))
            found = set()
            if response.status_code in (400, 422):
                # "Use 'max_completion_tokens' instead" does not name max_tokens.
                named = set(re.findall(r"\w+", response.text))
                found = (named & INSTEAD.keys() & wanted.keys()) - refused
            if not found:
                break
            refused |= found
        if response.status_code == 200:
            self._remember(refused)
        return response

    def _remember(self, refused: set[str]) -> None:
        with self._lock:
            news = sorted(refused - self._refused)
            self._refused |= refused
        for name in news:
            instead = INSTEAD[name] and f"; it is sent {INSTEAD[name]}"
            print(f"{self.name}: this endpoint refuses {name}{instead}", flush=True)

    def ask(self, call: Callable[[], httpx.Response], read: Callable[[Any], Answer]) -> Answer:
        """What `read` makes of the JSON body of `call`, which is made again where that can help.

        `read` raises KeyError, IndexError, TypeError or ValueError for a body that is no chat
        completion. Raises NoAnswer where this question has none.
        """
        for attempt in range(TRIES):
            try:
                return self._once(call, read)
            except _Passing as passing:
                reason, said = passing.args
                if attempt < TRIES - 1:
                    longer = self._wait * 2**attempt * random.uniform(0.5, 1)
                    time.sleep(min(LONGEST_WAIT, max(passing.wait, longer)))
        raise NoAnswer(f"{reason}, {TRIES} times{said and f': {said}'}", outage=True)

    def _once(self, call: Callable[[], httpx.Response], read: Callable[[Any], Answer]) -> Answer:
        """As `ask`, with one call. Raises _Passing where another may go better."""
        try:
            response = call()
        except httpx.RequestError as error:
            said = shown(f"{error}")
            if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
                raise InputError(
                    f"{self.name}: {said}; the certificate of {self.address} is not trusted: name "
                    "its authority's file in SSL_CERT_FILE"
                ) from None
            raise _Passing(type(error).__name__, said) from None
        except httpx.InvalidURL:
            raise InputError("OPENAI_BASE_URL is no address that can be called; mend it") from None
        status = response.status_code
        if status == 200:
            try:
                return read(response.json())
            except (ValueError, KeyError, IndexError, TypeError, RecursionError):
                raise _Passing("the body is no chat completion") from None
        said = shown(_words(response.text))
        if status in (401, 403, 404):
            raise InputError(
                f"{self.name}: HTTP {status}, {said}; check OPENAI_BASE_URL ({self.address} was "
                "called), OPENAI_API_KEY and the model's name"
            )
        if any(reason in response.text for reason in FOR_GOOD):
            raise InputError(
                f"{self.name}: HTTP {status}, {said}; what was answered is kept, the same command "
                "goes on once the account allows it"
            )
        if status in PASSING or status >= 500:
            wait = _seconds(response.headers.get("Retry-After", ""))
            raise _Passing(f"HTTP {status}", said, wait)
        raise NoAnswer(f"HTTP {status}, {said}", outage=False)

    @property
    def address(self) -> str:
        """What is called, without anything in it that may be a key."""
        parts = urlsplit(self._url)
        place = parts.netloc.rpartition("@")[2]
        return hidden(parts._replace(netloc=place).geturl())


def _spelled(wanted: Mapping[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """A call without what the endpoint refuses, or with what is sent in its place."""
    named = {name: INSTEAD[name] if name in refused else name for name in wanted}
    return {named[name]: value for name, value in wanted.items() if named[name]}


def said_in(message: Mapping[str, Any]) -> str:
    """What an assistant's message says, be it in parts: without the reasoning before it, empty
    where there is nothing else. Raises TypeError for what is no text."""
    content = message["content"]
    if isinstance(content, list):
        texts = [part["text"] for part in content if part["type"] in ("text", "output_text")]
        content = "".join(texts)
    if content is not None and not isinstance(content, str):
        raise TypeError("content is not text")
    return answer_of(content or "")


def chat_url(base: str) -> str:
    """The address that is called of OPENAI_BASE_URL, whose query stays behind the path."""
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not base.isascii() or not base.isprintable() or " " in base:
        raise InputError(
            "set OPENAI_BASE_URL to the endpoint's address, such as https://api.openai.com/v1"
        )
    path = f"{parts.path.rstrip('/')}/chat/completions"
    return parts._replace(path=path, fragment="").geturl()


def shown(text: str) -> str:
    """The beginning of a text of others on one line, without keys, should it hold any, and what is
    no character of a text (a terminal would obey it) escaped."""
    line = " ".join(hidden(text).split())[:SHOWN]
    plain = (one if one.isprintable() else ascii(one)[1:-1] for one in line)
    return "".join(plain)[:SHOWN]


def _words(text: str) -> str:
    """What an endpoint's error says, of the JSON that it comes in; else all of it."""
    try:
        error = json.loads(text)["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError, RecursionError):
        return text
    return message if isinstance(message, str) else text


def _causes(error: BaseException | None) -> list[BaseException]:
    """The error and what it was raised from."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _seconds(retry_after: str) -> float:
    """Seconds of a Retry-After header; 0 for its other form, a date, and for nonsense."""
    return float(retry_after) if re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after.strip()) else 0.0
