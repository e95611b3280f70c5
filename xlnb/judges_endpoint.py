"""A judge behind an OpenAI-compatible chat endpoint. Base URL and key come from the environment, and stay there."""

import math
import os
import random
import re
import time
from collections.abc import Callable
from typing import Any

import httpx

from xlnb.errors import InputError
from xlnb.judging import FIRST, SECOND, NoAnswer, Verdict

TRIES = 8  # calls for one comparison, the first included
LONGEST_WAIT = 60.0  # seconds between two of them
PASSING = {408, 409, 425, 429}  # statuses that another try can mend, beside 5xx
SHOWN = 200  # characters of an answer that are kept


class Endpoint:
    """Model `model` at OPENAI_BASE_URL, with OPENAI_API_KEY where it is set.

    Reads the first token's log-probabilities where the endpoint gives them, else the text. Retries what can pass (429,
    5xx, timeouts, dropped connections, bodies that are no chat completion) with exponential waits from `wait` seconds,
    or as long as Retry-After says. Raises InputError where the variables are missing or the endpoint turns the key, the
    model or the address away.
    """

    paid = True

    def __init__(self, model: str, *, workers: int, wait: float = 1.0, timeout: float = 60.0):
        base = os.environ.get("OPENAI_BASE_URL", "").strip()
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not re.match(r"https?://[^/]", base):
            raise InputError("set OPENAI_BASE_URL to the judge's address, such as https://api.openai.com/v1")
        if not (self._key.isascii() and self._key.isprintable()):
            raise InputError("OPENAI_API_KEY holds characters that no key has; set it again")
        if workers < 1:
            raise InputError(f"evaluation.judge_workers is {workers}, expected at least 1")
        self.name, self.workers = f"endpoint:{model}", workers
        self._model, self._wait, self._logprobs = model, wait, True
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._url = f"{base.rstrip('/')}/chat/completions"
        self._client = httpx.Client(headers=headers, timeout=timeout, limits=httpx.Limits(max_connections=workers))

    def choose(self, prompt: str) -> Verdict:
        reason = ""
        for attempt in range(TRIES):
            least = 0.0  # seconds that the endpoint asks to wait
            try:
                response = self._post(prompt)
            except httpx.RequestError as error:
                reason = type(error).__name__
            else:
                if response.status_code == 200:
                    try:
                        return read_verdict(response.json(), self._hidden)
                    except (ValueError, KeyError, IndexError, TypeError):
                        reason = "the body is no chat completion"
                elif response.status_code in PASSING or response.status_code >= 500:
                    reason = f"HTTP {response.status_code}"
                    least = _seconds(response.headers.get("Retry-After", ""))
                elif response.status_code in (401, 403, 404):
                    raise InputError(
                        f"{self.name}: HTTP {response.status_code}, {self._hidden(response.text)}; check "
                        "OPENAI_BASE_URL, OPENAI_API_KEY and the model's name"
                    )
                else:
                    raise NoAnswer(f"HTTP {response.status_code}, {self._hidden(response.text)}", outage=False)
            if attempt < TRIES - 1:
                time.sleep(min(LONGEST_WAIT, max(least, self._wait * 2**attempt * random.uniform(0.5, 1))))
        raise NoAnswer(f"{reason}, {TRIES} times", outage=True)

    def _post(self, prompt: str) -> httpx.Response:
        """One call; an endpoint that refuses log-probabilities (400, 422) is asked without, from then on."""
        body = {"model": self._model, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        asked = self._logprobs
        if asked:
            with_logprobs = body | {"max_tokens": 1, "logprobs": True, "top_logprobs": 5}
            response = self._client.post(self._url, json=with_logprobs)
            if response.status_code not in (400, 422):
                return response
        response = self._client.post(self._url, json=body | {"max_tokens": 8})
        if asked and response.status_code == 200 and self._logprobs:
            self._logprobs = False
            print(f"{self.name}: no log-probabilities from this endpoint; verdicts are read from the text", flush=True)
        return response

    def _hidden(self, text: str) -> str:
        """The beginning of a text of the endpoint's on one line, without the key, should it hold it."""
        text = text.replace(self._key, "[key]") if self._key else text
        return " ".join(text.split())[:SHOWN]


def read_verdict(body: dict[str, Any], hidden: Callable[[str], str] = str) -> Verdict:
    """The verdict in a chat completion: by the first token's log-probabilities, or by the text.

    `hidden` is applied to an answer that is kept. Raises KeyError, IndexError, TypeError or ValueError where the body
    is no chat completion.
    """
    choice = body["choices"][0]
    text = choice["message"]["content"]
    if text is not None and not isinstance(text, str):
        raise TypeError("content is not text")
    p_first = _p_first(choice.get("logprobs"))
    if p_first is not None:
        return Verdict(p_first, "logprobs")
    label = re.match(rf"\W*([{FIRST}{SECOND}])\b", text or "")
    return Verdict(float(label[1] == FIRST) if label else None, "text", "" if label else hidden(text or ""))


def _p_first(logprobs: Any) -> float | None:
    """P(m) / (P(m) + P(M)) of the first token; None where neither is among its likeliest, or none are given."""
    try:
        candidates = [(str(c["token"]).strip(), float(c["logprob"])) for c in logprobs["content"][0]["top_logprobs"]]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    mass = {FIRST: 0.0, SECOND: 0.0}
    for token, logprob in candidates:
        if token in mass and not math.isnan(logprob):
            mass[token] += math.exp(min(logprob, 0.0))
    total = mass[FIRST] + mass[SECOND]
    return mass[FIRST] / total if total else None


def _seconds(retry_after: str) -> float:
    """Seconds of a Retry-After header; 0 for its other form, a date, and for nonsense."""
    return float(retry_after) if re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after.strip()) else 0.0
