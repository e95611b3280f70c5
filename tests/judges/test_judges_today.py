"""Endpoints of newer models: parameters they refuse, reasoning before the verdict, parts."""

import json

import httpx
import pytest

from xlnb.common.endpoint import said_in
from xlnb.inputs.localisation import read_response
from xlnb.judges.endpoint import THINKING, Endpoint, read_verdict
from xlnb.judges.model import ModelJudge


def body_of(content, reason="stop", **more):
    return {"choices": [{"message": {"content": content}, "finish_reason": reason}], **more}


class Newer:
    """A model that refuses what GPT-5 does, and thinks first."""

    def __init__(self, think=""):
        self.think, self.calls = think, []

    def __call__(self, request):
        body = json.loads(request.content)
        self.calls.append(body)
        for name in ("max_tokens", "temperature"):
            if name in body:
                said = f"Unsupported parameter: '{name}' is not supported with this model."
                return httpx.Response(400, json={"error": {"message": said}})
        if "logprobs" in body:
            said = "You are not allowed to request logprobs from this model."
            return httpx.Response(403, json={"error": {"message": said}})
        if body["max_completion_tokens"] < 100 and self.think:
            return httpx.Response(200, json=body_of("", "length"))
        who = {"model": "newer-2026-01-01", "system_fingerprint": "fp_1"}
        return httpx.Response(200, json=body_of(f"{self.think}m", **who))


@pytest.fixture
def endpoint(monkeypatch):
    def made(server):
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        client = httpx.Client(transport=httpx.MockTransport(server))
        monkeypatch.setattr("xlnb.common.calling.Caller.client", lambda self: client)
        return Endpoint("newer", workers=1, wait=0.0)

    return made


def test_what_a_newer_model_refuses_is_sent_otherwise_and_said_once(endpoint, capsys):
    server = Newer()
    judge = endpoint(server)
    for _ in range(2):
        verdict = judge.choose("m or M?")
        assert (verdict.p_first, verdict.source) == (1.0, "text")
        assert verdict.by == "newer-2026-01-01 fp_1"
    said = capsys.readouterr().out
    assert said.count("refuses max_tokens; it is sent max_completion_tokens") == 1
    assert said.count("refuses temperature") == 1
    # The second time one call is enough.
    assert server.calls[-1].keys() == {"model", "messages", "max_completion_tokens"}
    assert sum("max_tokens" not in body for body in server.calls) > 1
    before = len(server.calls)
    judge.choose("m or M?")
    assert len(server.calls) == before + 1


def test_a_model_that_reasons_first_is_given_room(endpoint, capsys):
    server = Newer("<think>\nM? No.\n</think>\n\n")
    judge = endpoint(server)
    for _ in range(2):
        assert judge.choose("m or M?").p_first == 1.0
    assert server.calls[-1]["max_completion_tokens"] == THINKING
    assert capsys.readouterr().out.count("reasons before it answers") == 1


def test_another_refusal_is_not_tried_without_parameters(endpoint):
    calls = []

    def refuse(request):
        calls.append(request)
        return httpx.Response(400, json={"error": "the prompt is too long"})

    endpoint(refuse).post("x")
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("m", "m"),
        (None, ""),
        ("<think>M</think>\nm", "\nm"),
        ("M, so</think>m", "m"),
        ("<think>M is", ""),
        ([{"type": "text", "text": "m"}, {"type": "text", "text": "."}], "m."),
        ([{"type": "thinking", "thinking": "M"}, {"type": "text", "text": "m"}], "m"),
    ],
)
def test_what_a_message_says(content, said):
    assert said_in({"content": content}) == said
    assert read_response(body_of(content))["text"] == said
    verdict = read_verdict(body_of(content))
    assert verdict.p_first == (1.0 if said else None)


def test_labels_before_reasoning_count_for_nothing():
    body = body_of("<think>x</think>M")
    top = [{"token": "m", "logprob": -0.1}]
    body["choices"][0]["logprobs"] = {"content": [{"token": "m", "top_logprobs": top}]}
    assert read_verdict(body).p_first == 0.0


def test_who_answered_is_kept_with_the_verdict(endpoint):
    from endpoint import comparisons

    (asked,) = comparisons(1)
    answer = ModelJudge(endpoint(Newer()), "both")(asked)
    assert answer["answered_by"] == "newer-2026-01-01 fp_1"
