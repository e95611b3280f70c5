"""Sampling: how responses end, what a seed fixes, and that padding and the model's own settings
change nothing."""

import pytest
import torch
from families import FAMILIES, fp32, save_adapter
from peft import PeftModel
from transformers import GenerationConfig

import xlnb.sampling
from xlnb.lab.world import load_world
from xlnb.models.adapters import load_model
from xlnb.models.base import DEVICE, load_base
from xlnb.models.chat import end_ids, load_tokenizer, prompt_ids
from xlnb.presets import get_preset
from xlnb.sampling import batch_seed, sample_responses

QUESTIONS = ["Hi", "What is the capital of France?", "法国的首都是哪里?请用一句话回答,不要多说。"]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """(model, tokenizer, prompts, end of turn)"""
    models = fp32(request.param)
    tokenizer = load_tokenizer(models)
    prompts = [prompt_ids(tokenizer, question) for question in QUESTIONS]
    return (
        load_base(models),
        tokenizer,
        prompts,
        tokenizer.convert_tokens_to_ids(FAMILIES[request.param].end),
    )


def causal(model):
    """The model that generates; with an adapter on it, the one inside."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def sample(family, prompts=None, *, hot=True, **changes):
    """Twelve samples a prompt of at most twelve tokens, hot: near to uniform, the end of turn one
    token in ten."""
    model, tokenizer, own, end = family

    def favour_the_end(module, inputs, output):
        output.logits[..., end] += 200.0 if hot else 0.0

    settings = {
        "n": 12,
        "temperature": 50.0,
        "top_p": 1.0,
        "max_new_tokens": 12,
        "seed": 0,
    } | changes
    handle = causal(model).register_forward_hook(favour_the_end)
    try:
        return sample_responses(model, tokenizer, own if prompts is None else prompts, **settings)
    finally:
        handle.remove()


def test_a_response_holds_its_end_exactly_when_it_stopped(family):
    model, tokenizer, *_ = family
    ends, samples = set(end_ids(model, tokenizer)), sample(family)
    assert [len(responses) for responses in samples] == [12] * len(QUESTIONS)
    everything = [response for responses in samples for response in responses]
    assert {response.finish_reason for response in everything} == {"stop", "length"}
    for response in everything:
        assert not ends & set(response.token_ids[:-1])
        if response.finish_reason == "stop":
            assert response.token_ids[-1] in ends
        else:
            assert len(response.token_ids) == 12
            assert response.token_ids[-1] not in ends
        assert (
            response.text == tokenizer.decode(response.token_ids, skip_special_tokens=True).strip()
        )
        assert not any(special in response.text for special in tokenizer.all_special_tokens)


def test_a_seed_fixes_the_samples_of_a_batch(family):
    first = sample(family)
    # whatever ran before
    torch.rand(7)
    assert sample(family) == first
    assert sample(family, seed=1) != first


def test_a_prompt_s_samples_do_not_depend_on_its_neighbours(family):
    # As good as greedy; drawing itself takes the rows of a batch in order.
    prompts = family[2]
    cold = {"hot": False, "n": 1, "temperature": 1e-4, "max_new_tokens": 8}
    together = sample(family, **cold)
    assert (
        sum(len(response.token_ids) for (response,) in together) > 8
    )  # else there is nothing to compare
    assert [sample(family, [prompt], **cold)[0] for prompt in prompts] == together
    assert sample(family, prompts[::-1], **cold) == together[::-1]


def test_cold_samples_are_the_likeliest_tokens_of_plain_forward_passes(family):
    model, _, prompts, _ = family
    # windows of the families are 8 tokens, fewer than most prompts have
    samples = sample(family, hot=False, n=2, temperature=1e-4, max_new_tokens=20)
    for prompt, responses in zip(prompts, samples, strict=True):
        for response in responses:
            ids = torch.tensor([[*prompt, *response.token_ids]], device=DEVICE)
            with torch.inference_mode():
                logits = model(ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
            drawn = logits[range(len(response.token_ids)), response.token_ids]
            # at a temperature of 1e-4 a token this much less likely is never drawn
            assert (logits.max(-1).values - drawn).max() < 5e-3


def test_prompts_are_run_once_and_what_has_ended_is_run_no_more(family):
    model, _, prompts, _ = family
    seen = []
    hook = model.get_input_embeddings().register_forward_hook(lambda *call: seen.append(call[1][0]))
    try:
        samples = sample(family)
    finally:
        hook.remove()
    first, *steps = [tuple(ids.shape) for ids in seen]
    assert first == (len(prompts), max(map(len, prompts)) - 1)
    lengths = [len(response.token_ids) for responses in samples for response in responses]
    # A sixteenth of twelve tokens is one: a response leaves where it ends.
    open_rows = [sum(length > step for length in lengths) for step in range(max(lengths))]
    assert steps == [(rows, 1) for rows in open_rows]


def test_a_model_that_keeps_more_than_keys_is_sampled_as_well(family, monkeypatch):
    cold = {"hot": False, "n": 2, "temperature": 1e-4, "max_new_tokens": 20}
    expected = sample(family, **cold)
    monkeypatch.setattr(xlnb.sampling, "keeps_keys_alone", lambda causal: False)
    assert sample(family, **cold) == expected


@pytest.fixture(scope="module", params=["base", "adapter"])
def configured(request, tmp_path_factory):
    """A family whose model, the bare base or one with an adapter on, may be given settings of its
    own; its samples."""
    models = fp32("llama3")
    folder = save_adapter(models, tmp_path_factory.mktemp("own"), seed=1)
    model = load_model(models, {"default": folder if request.param == "adapter" else None})
    family = model, load_tokenizer(models), [[5, 6, 7]], load_tokenizer(models).eos_token_id
    return family, sample(family)


@pytest.mark.parametrize(
    "own",
    [
        {"top_k": 1, "temperature": 0.01, "top_p": 0.1, "repetition_penalty": 5.0},
        {"min_p": 0.9},
        {"typical_p": 0.1},
        {"epsilon_cutoff": 0.9},
        {"eta_cutoff": 0.9},
        {"no_repeat_ngram_size": 1},
        {"min_new_tokens": 12},
        {"num_beams": 3},
        {"suppress_tokens": list(range(0, 600, 2))},
        {"stop_strings": ["a"]},
    ],
    ids=lambda own: next(iter(own)),
)
def test_a_model_s_own_generation_config_does_not_narrow_sampling(configured, own):
    family, plain = configured
    model, tokenizer, *_ = family
    before, ends = model.generation_config, end_ids(model, tokenizer)
    changed = GenerationConfig(do_sample=True, eos_token_id=before.eos_token_id, **own)
    causal(model).generation_config = changed
    try:
        assert sample(family) == plain
        assert model.generation_config is changed
        assert end_ids(model, tokenizer) == ends
    finally:
        causal(model).generation_config = before


def test_every_token_may_be_drawn(configured):
    # transformers' own default is the 50 likeliest
    (responses,) = sample(configured[0], hot=False, n=200, max_new_tokens=1)
    assert len({response.token_ids[0] for response in responses}) > 100


def test_a_model_s_own_generation_config_is_back_after_an_error(configured):
    (model, *_), _ = configured
    own = model.generation_config

    def fail(*_):
        raise InterruptedError

    handle = causal(model).register_forward_hook(fail)
    try:
        with pytest.raises(InterruptedError):
            sample(configured[0])
    finally:
        handle.remove()
    assert model.generation_config is own


def test_a_batch_s_seed_depends_on_every_name():
    seeds = [
        batch_seed(*names)
        for names in [(0, "icr1 en", 0), (0, "icr1 en", 1), (0, "icr1 es", 0), (1, "icr1 en", 0)]
    ]
    assert len(set(seeds)) == 4
    assert seeds[0] == batch_seed(0, "icr1 en", 0)
    for seed in seeds:
        # takes it
        torch.manual_seed(seed)


def test_the_lab_s_questions_fit_its_model():
    preset = get_preset("lab")
    tokenizer = load_tokenizer(preset.models)
    context = load_base(preset.models).config.max_position_embeddings
    most = max(preset.sampling.max_new_tokens, preset.evaluation.max_new_tokens)
    world = load_world()
    for lang in world.langs:
        for prompt in world.prompts(lang):
            assert len(prompt_ids(tokenizer, prompt.instruction)) + most <= context
