"""A judge behind an OpenAI-compatible chat endpoint."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx

from xlnb.common.endpoint import ChatEndpoint, said_in, shown
from xlnb.common.thinking import thinks
from xlnb.judges.model import FIRST, SECOND, ModelJudge, label_verdict
from xlnb.judges.protocol import Verdict
from xlnb.presets import Preset

# Tokens of a model that reasons before it answers.
THINKING = 4096


class Endpoint(ChatEndpoint):
    """A `LabelModel`: reads the first token's log-probabilities where the endpoint gives them, else
    the text."""

    paid = True
    # as long as the endpoint does not refuse them
    _logprobs = True
    # once it has reasoned before an answer
    _thinks = False

    def choose(self, prompt: str) -> Verdict:
        return self.ask(lambda: self._call(prompt), lambda body: read_verdict(body, shown))

    def _call(self, prompt: str) -> httpx.Response:
        """One call, or two; a model that reasons before it answers is given room for that, from
        then on."""
        if not self._thinks:
            response = self._short(prompt)
            if not _is_cut_off(response):
                return response
        response = self.post(prompt, max_tokens=THINKING)
        if response.status_code == 200 and not self._thinks:
            self._thinks = True
            print(
                f"{self.name}: this model reasons before it answers; it is given {THINKING} tokens "
                "and its verdicts are read from the text",
                flush=True,
            )
        return response

    def _short(self, prompt: str) -> httpx.Response:
        """A call for a label alone; an endpoint that refuses log-probabilities (400, 403, 422) is
        asked without, from then on."""
        asked = self._logprobs
        if asked:
            response = self.post(prompt, max_tokens=1, logprobs=True, top_logprobs=5)
            if response.status_code not in (400, 403, 422):
                return response
        response = self.post(prompt, max_tokens=8)
        if asked and response.status_code == 200 and self._logprobs:
            self._logprobs = False
            print(
                f"{self.name}: no log-probabilities from this endpoint; verdicts are read from the "
                "text",
                flush=True,
            )
        return response


def read_verdict(body: dict[str, Any], hidden: Callable[[str], str] = str) -> Verdict:
    """The verdict in a chat completion: by the first token's log-probabilities, or by the text.

    `hidden` is applied to an answer that is kept. Raises KeyError, IndexError, TypeError or
    ValueError where the body is no chat completion.
    """
    choice = body["choices"][0]
    text = said_in(choice["message"])
    whole = f"{choice['message']['content'] or ''}"
    by = hidden(
        " ".join(f"{body[name]}" for name in ("model", "system_fingerprint") if body.get(name))
    )
    labels = _labels(choice.get("logprobs"))
    # of reasoning, the first token says nothing
    if labels is not None and not thinks(whole):
        return replace(label_verdict(*labels, answer=hidden(whole)), by=by)
    label = re.match(rf"\W*([{FIRST}{SECOND}])\b", text)
    if label is None:
        return Verdict(None, "text", hidden(whole), by)
    return Verdict(float(label[1] == FIRST), "text", by=by)


def _is_cut_off(response: httpx.Response) -> bool:
    """Whether the tokens ran out before anything was said: a model that reasons first."""
    try:
        body = response.json()
        choice = body["choices"][0]
        out = choice["finish_reason"] == "length"
        return out and read_verdict(body).p_first is None and not said_in(choice["message"]).strip()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return False


def _labels(logprobs: Any) -> tuple[float, float] | None:
    """P(m) and P(M) as the first token; None where neither is among its likeliest, where one is no
    number, or none are given."""
    mass = {FIRST: 0.0, SECOND: 0.0}
    try:
        for likely in logprobs["content"][0]["top_logprobs"]:
            token = str(likely["token"]).strip()
            if token in mass:
                mass[token] += math.exp(min(float(likely["logprob"]), 0.0))
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    first, second = mass.values()
    return (first, second) if first + second > 0 else None


def make(model: str, preset: Preset) -> ModelJudge:
    endpoint = Endpoint(model, workers=preset.evaluation.judge_workers)
    return ModelJudge(endpoint, preset.evaluation.judge_order)
