"""Files of samples: what they depend on, and what fits the model's context."""

from dataclasses import replace

import pytest
from families import fp32

from xlnb.common.errors import InputError
from xlnb.common.records import Prompt, Sample, read_records
from xlnb.models.chat import load_tokenizer, prompt_ids, response_ids
from xlnb.presets import get_preset
from xlnb.runs.layout import Run
from xlnb.runs.run import open_run
from xlnb.sampling import Transformers
from xlnb.stages.generation import generation
from xlnb.stages.prompts import lab_questions
from xlnb.stages.sharing import share_out

PRESET = get_preset("lab-quick", {"sampling.max_new_tokens": 12})


@pytest.fixture(scope="module")
def sampler():
    tokenizer = load_tokenizer(PRESET.models)
    return Transformers(PRESET.models, None, tokenizer), tokenizer


def test_the_label_takes_no_part_in_what_is_sampled(sampler, tmp_path, capsys):
    base, tokenizer = sampler
    prompts = lab_questions("train", 4, "en")

    def sampled(name, *, stream="icr1/samples en", label="icr1/samples en", seed=0):
        path = tmp_path / f"{name}.jsonl"
        run = Run(tmp_path, replace(PRESET, seed=seed))
        work = generation(
            run,
            base,
            tokenizer,
            prompts,
            path,
            n=3,
            config=PRESET.sampling,
            stream=stream,
            label=label,
        )
        share_out([work], models=[base.model])
        return path.read_bytes()

    first = sampled("first")
    assert sampled("label", label="quite another text") == first
    assert "quite another text" in capsys.readouterr().err
    assert sampled("stream", stream="icr2/samples en") != first
    assert sampled("seed", seed=1) != first


QUESTIONS = ["Hi", "What is the capital of France?", "法国的首都是哪里?请用一句话回答,不要多说。"]


@pytest.fixture
def in_context(tmp_path):
    """What is sampled of QUESTIONS, at most 4 tokens each, in a context of so many; the
    prompts' lengths."""
    models, run = fp32("llama3"), open_run(tmp_path / "run", "lab-quick")
    tokenizer = load_tokenizer(models)
    sampler = Transformers(models, None, tokenizer)
    lengths = [len(prompt_ids(tokenizer, question)) for question in QUESTIONS]
    prompts = [
        Prompt(f"q{i}", "en", question, split="train") for i, question in enumerate(QUESTIONS)
    ]
    config = replace(run.preset.sampling, max_new_tokens=4)

    def make(context):
        sampler.model.config.max_position_embeddings = context
        path = tmp_path / f"{context}.jsonl"
        names = {"stream": "icr1/samples en", "label": "icr1/samples en"}
        work = generation(run, sampler, tokenizer, prompts, path, n=1, config=config, **names)
        share_out([work], models=[sampler.model])
        return read_records(path, Sample)

    return make, lengths


def test_a_prompt_that_leaves_no_room_for_a_response_is_refused(in_context):
    make, lengths = in_context
    longest = max(lengths)
    with pytest.raises(InputError) as error:
        make(longest)
    assert (
        str(error.value)
        == f"icr1/samples en: the prompt of id q{lengths.index(longest)} has {longest} tokens and"
        f" the model's context {longest}, which leaves no room for a response; leave it out of"
        " the prompts"
    )


def test_prompts_that_leave_too_little_room_are_counted_in_one_line(in_context, capsys):
    make, lengths = in_context
    longest = max(lengths)
    # else more than one is tight
    assert sorted(lengths)[1] < longest - 2
    assert len(make(longest + 3)) == 3
    assert (
        capsys.readouterr().out
        == "NOTE: icr1/samples en: 1 of 3 prompts leave less than max_new_tokens (4) of the"
        f" model's context of {longest + 3} tokens (longest prompt: {longest}); responses may"
        " run past it\n"
    )
    assert len(make(longest + 4)) == 3
    assert capsys.readouterr().out == ""


def test_a_reference_is_one_more_response_of_a_training_prompt(tmp_path):
    models, run = fp32("llama3"), open_run(tmp_path / "run", "lab-quick")
    tokenizer = load_tokenizer(models)
    sampler = Transformers(models, None, tokenizer)
    config = replace(run.preset.sampling, max_new_tokens=4)

    def sampled(name, *references):
        prompts = [
            Prompt(f"q{i}", "en", question, split, reference=reference)
            for i, (question, split, reference) in enumerate(
                zip(QUESTIONS, ("train", "train", "eval"), references, strict=True)
            )
        ]
        path, names = tmp_path / name, {"stream": "icr1/samples en", "label": name}
        work = generation(run, sampler, tokenizer, prompts, path, n=2, config=config, **names)
        share_out([work], models=[sampler.model])
        return [sample.responses for sample in read_records(path, Sample)]

    plain = sampled("plain", None, None, None)
    found = sampled("given", None, "It is Paris.", "It is Paris.")
    assert [len(responses) for responses in found] == [2, 3, 2]
    assert [responses[:2] for responses in found] == plain
    given = found[1][2]
    assert (given.text, given.ended) == ("It is Paris.", True)
    assert given.token_ids == response_ids(tokenizer, QUESTIONS[1], "It is Paris.")
    with pytest.raises(InputError, match=r"^id q0 \(en\): the reference cannot be read"):
        sampled("unfit", "a \ufdd0", None, None)
