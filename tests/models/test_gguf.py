"""GGUF files as a base. Real ones are read where XLNB_REAL_MODELS names a folder of them."""

import os
from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from transformers import AutoModelForCausalLM, AutoTokenizer

import xlnb.models.gguf
from xlnb.common.errors import InputError
from xlnb.logprobs import sequence_logprobs
from xlnb.models.base import load_base, loaded_from
from xlnb.models.chat import end_ids, load_tokenizer, prompt_ids, response_ids
from xlnb.planning.shape import find_shape
from xlnb.presets import Models

# Gemma 3's form, for its base model, which has none.
TURNS = """{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message['role'] }}
{{ message['content'] }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>assistant
{% endif %}"""
# File, whether it needs a template, parameters.
REAL = [
    ("SmolLM2-135M-Instruct.Q4_1.gguf", False, 134_515_008),
    ("gemma-3-270m-q4_k_m.gguf", True, 268_098_176),
]
TEXTS = ["Paris.", "Это Париж, столица  Франции — да?\n\n1. Ja", "日本語 🦄 <b>"]


def test_what_cannot_be_read_says_why(tmp_path, monkeypatch):
    path = tmp_path / "mine.gguf"
    models = Models(base=str(path))
    for load in (load_base, load_tokenizer):
        with pytest.raises(InputError, match=r"mine\.gguf: no such file"):
            load(models)
    path.write_bytes(b"GGUF and no more")
    monkeypatch.setattr(xlnb.models.gguf, "HF_HOME", tmp_path)
    monkeypatch.setattr(xlnb.models.gguf.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs the package gguf; pip install gguf"):
        load_base(models)


def test_a_damaged_file_is_told(tmp_path, monkeypatch):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    monkeypatch.setattr(xlnb.models.gguf, "HF_HOME", tmp_path)
    path = tmp_path / "mine.gguf"
    for content in (b"GGUF and no more", b"GGUF" + bytes(64), b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"mine\.gguf: could not be read as GGUF"):
            load_base(Models(base=str(path)))
    assert not [folder for folder in (tmp_path / "xlnb-gguf").iterdir() if folder.is_dir()]


@pytest.mark.parametrize(("name", "is_bare", "parameters"), REAL)
def test_a_real_file_is_a_base(name, is_bare, parameters, tmp_path, monkeypatch, capsys):
    file = Path(os.environ.get("XLNB_REAL_MODELS", "")) / name
    if not file.is_file():
        pytest.skip(f"no {name} there: set XLNB_REAL_MODELS to a folder that holds it")
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    monkeypatch.setattr(xlnb.models.gguf, "HF_HOME", tmp_path)
    models = Models(base=str(file), quantization="none")
    if is_bare:
        with pytest.raises(InputError, match="no chat template"):
            load_tokenizer(models)
        (tmp_path / "turns.jinja").write_text(TURNS)
        models = Models(str(file), chat_template=str(tmp_path / "turns.jinja"), quantization="none")
    tokenizer, model = load_tokenizer(models), load_base(models)
    assert capsys.readouterr().out.count("dequantised to float32") == 1
    assert loaded_from(str(file))[0].startswith(str(tmp_path))
    assert find_shape(str(file))[0].parameters == parameters

    # As transformers reads the file itself.
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": name}
    direct = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    theirs = AutoTokenizer.from_pretrained(**where)
    assert theirs.get_vocab() == tokenizer.get_vocab()
    prompt = prompt_ids(tokenizer, "What is the capital of France?")
    responses = [response_ids(tokenizer, "What is the capital of France?", text) for text in TEXTS]
    for text, ids in zip(TEXTS, responses, strict=True):
        assert theirs(text, add_special_tokens=False).input_ids == ids[:-1]
        assert ids[-1] in end_ids(model, tokenizer)
    ours = sequence_logprobs(model, [prompt] * len(responses), responses)
    with torch.inference_mode():
        for ids, found in zip(responses, ours, strict=True):
            logits = direct(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
            expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
            assert torch.allclose(found, expected, atol=1e-4)

    # In 4-bit, as any other.
    small = load_base(Models(str(file), chat_template=models.chat_template))
    assert any(isinstance(module, Linear4bit) for module in small.modules())
    ours4 = sequence_logprobs(small, [prompt], responses[:1])[0]
    assert torch.isfinite(ours4).all() and not torch.allclose(ours4, ours[0], atol=1e-4)
