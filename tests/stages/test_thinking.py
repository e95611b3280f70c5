"""Responses before which a model thought, or that its context does not hold, are neither scored nor
trained on."""

from functools import partial

import pytest

from xlnb.common.records import Logps, Response, Sample
from xlnb.evaluation.truth import english_preferences
from xlnb.models.batches import Budget
from xlnb.models.chat import load_tokenizer
from xlnb.presets import PRESETS, Models
from xlnb.rewards import score_sample
from xlnb.sampling import Transformers
from xlnb.stages import logprobs
from xlnb.stages.keys import model_fields
from xlnb.stages.logprobs import Loaded, read_sample, sample_logps

LAB = PRESETS["lab"].models
ASKED = "¿Cuál es la capital de Francia?"


def sample_of(*responses):
    return Sample("capital/france/0", "es", "train", ASKED, list(responses))


def test_a_response_with_thinking_is_read_by_no_model():
    sampler = Transformers(LAB, None, load_tokenizer(LAB))
    plain = Response("Lima", [5, 6, 7], "stop")
    sample = sample_of(plain, Response("París", [8, 5, 6, 7], "stop", "Where?"), plain)
    english = {sample.prompt_id: "What is the capital of France?"}

    def read(each):
        return read_sample(sampler.tokenizer, "cross_lingual", english, each)

    loaded = Loaded(None, sampler.model, None, sampler.tokenizer)
    (found,) = sample_logps(loaded, [sample], read, Budget(1024))
    assert found.failures == [None, "thinking", None]
    assert found.n_tokens == [3, None, 3] and found.ref_logps[1] is None
    names = ["cross_lingual", "likelihood", "brevity"]
    score = score_sample(sample, {"cross_lingual": found}, names, beta=0.1, seed=0)
    assert score.scores["cross_lingual"] == [0.0, None, 0.0]
    assert score.failures["likelihood"] == found.failures
    (found,) = sample_logps(loaded, [sample_of(plain)], read, Budget(1024))
    assert found == Logps(**{**vars(found), "failures": None})


def test_a_response_that_ends_beyond_the_context_is_read_by_no_model(monkeypatch):
    sampler = Transformers(LAB, None, load_tokenizer(LAB))
    sample = sample_of(Response("Lima", [5, 6, 7], "stop"), Response("París", [8] * 4, "stop"))
    english = {sample.prompt_id: "What is the capital of France?"}
    read = partial(read_sample, sampler.tokenizer, "cross_lingual", english)
    loaded = Loaded(None, sampler.model, None, sampler.tokenizer)
    (whole,) = sample_logps(loaded, [sample], read, Budget(1024))
    assert whole.failures is None and whole.n_tokens == [3, 4]
    context = len(read(sample).prompt) + 3
    monkeypatch.setattr(logprobs, "context_of", lambda config: context)
    (found,) = sample_logps(loaded, [sample], read, Budget(1024))
    assert found.failures == [None, "too_long"] and found.n_tokens == [3, None]
    monkeypatch.setattr(logprobs, "context_of", lambda config: 1)
    (none,) = sample_logps(loaded, [sample], read, Budget(1024))
    assert none.failures == ["too_long"] * 2 and none.policy_logps == [None] * 2
    assert found.policy_logps == [pytest.approx(whole.policy_logps[0], abs=1e-3), None]


def test_it_is_in_no_english_preference():
    best = Response("Paris", [1], "stop", "Where?")
    sample = sample_of(best, Response("Lima", [2], "stop"), Response("Rome, Italy", [3], "stop"))
    (pair,) = english_preferences([sample], 0, lambda each: [3.0, 1.0, 2.0])
    assert (pair.chosen, pair.rejected) == ("Rome, Italy", "Lima")


def test_what_a_template_is_told_is_part_of_a_key_once_it_is_told_something():
    plain = model_fields(Models())
    assert "chat_template_kwargs" not in plain["models"]
    told = model_fields(Models(chat_template_kwargs="enable_thinking=false"))
    expected = plain["models"] | {"chat_template_kwargs": "enable_thinking=false"}
    assert told == {"models": expected}
