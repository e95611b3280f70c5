"""What a file of samples depends on."""

from dataclasses import replace

import pytest

from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer
from xlnb.presets import get_preset
from xlnb.runs.layout import Run
from xlnb.stages.generation import generate
from xlnb.stages.prompts import lab_questions

PRESET = get_preset("lab-quick", {"sampling.max_new_tokens": 12})


@pytest.fixture(scope="module")
def model():
    return load_base(PRESET.models), load_tokenizer(PRESET.models)


def test_the_label_takes_no_part_in_what_is_sampled(model, tmp_path, capsys):
    base, tokenizer = model
    prompts = lab_questions("train", 4, "en")

    def sampled(name, *, stream="icr1/samples en", label="icr1/samples en", seed=0):
        path = tmp_path / f"{name}.jsonl"
        run = Run(tmp_path, replace(PRESET, seed=seed))
        generate(
            run,
            base,
            "sft",
            tokenizer,
            prompts,
            path,
            n=3,
            config=PRESET.sampling,
            stream=stream,
            label=label,
        )
        return path.read_bytes()

    first = sampled("first")
    assert sampled("label", label="quite another text") == first
    assert "quite another text" in capsys.readouterr().err
    assert sampled("stream", stream="icr2/samples en") != first
    assert sampled("seed", seed=1) != first
