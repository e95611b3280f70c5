"""Chat templates, quantisation and adapters on tiny checkpoints of each model family."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from families import FAMILIES, checkpoint, fp32, nf4, save_adapter
from peft import PeftModel
from safetensors.torch import load_file, save_file

import xlnb.models.base
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.logprobs import sequence_logprobs
from xlnb.models.adapters import active, load_model, new_adapter
from xlnb.models.base import DEVICE, attention, compute_dtype, load_base
from xlnb.models.chat import (
    check_same_tokens,
    end_ids,
    load_tokenizer,
    prompt_ids,
    response_ids,
)
from xlnb.models.places import base_path
from xlnb.presets import Models, Training, get_preset
from xlnb.stages.keys import model_fields

TEXTS = {
    "english": "What is the capital of France?",
    "layout": "First line,\n\n\tthen an indented one  with  gaps",
    "markup": """"quoted" 'text' \\n {{ braces }} {% if x %} <tag attr="1"> [x](y) & $5 🙂""",
    "bengali": "ফ্রান্সের রাজধানী কী?",
    "thai": "เมืองหลวงของฝรั่งเศสคือเมืองอะไร",
    "chinese": "法国的首都是哪里?",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("name", FAMILIES)
def test_prompt_and_response_are_the_template_cut_in_two(name, text):
    family, tokenizer = FAMILIES[name], load_tokenizer(fp32(name))
    answer = f"¡{text}!"
    prompt, response = prompt_ids(tokenizer, text), response_ids(tokenizer, text, answer)

    # One BOS, in front, whether the template writes it or leaves it to the tokenizer; Qwen has
    # none.
    assert [i for i, token in enumerate(prompt + response) if token == tokenizer.bos_token_id] == [
        0
    ] * bool(family.bos)
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    rendered = tokenizer.apply_chat_template(
        messages[:1], tokenize=False, add_generation_prompt=True
    )
    assert tokenizer.decode(prompt).removeprefix(family.bos or "") == rendered.removeprefix(
        family.bos or ""
    )
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    # What may stay away after the end of turn is the line break that some templates write there.
    decoded = tokenizer.decode(prompt + response)
    assert decoded.removeprefix(family.bos or "") == whole.removeprefix(
        family.bos or ""
    ).removesuffix("\n")
    assert response[-1] == tokenizer.convert_tokens_to_ids(family.end)
    assert tokenizer.decode(response, skip_special_tokens=True).strip() == answer


@pytest.mark.parametrize("name", FAMILIES)
def test_end_ids_hold_the_end_of_turn_and_the_configured_ends(name):
    family, tokenizer = FAMILIES[name], load_tokenizer(fp32(name))
    expected = tokenizer.convert_tokens_to_ids([family.eos, family.end, *family.stops])
    assert end_ids(load_base(fp32(name)), tokenizer) == sorted(set(expected))


def test_an_empty_response_is_its_end_of_turn_alone():
    tokenizer = load_tokenizer(fp32("llama3"))
    assert response_ids(tokenizer, "Hello", "") == [tokenizer.eos_token_id]


def test_a_template_that_rewrites_the_prompt_is_refused():
    tokenizer = load_tokenizer(fp32("llama3"))
    tokenizer.chat_template = (
        "{{ bos_token }}{{ messages | length }}{{ messages[-1]['content'] + eos_token }}"
    )
    with pytest.raises(InputError, match="chat template"):
        response_ids(tokenizer, "Hello", "Hi")


@pytest.mark.parametrize("name", FAMILIES)
def test_nf4_is_on_every_linear_layer_but_the_output(name):
    model = load_model(nf4(name), {"sft": None})
    linear = {type(module) for key, module in model.named_modules() if key.endswith("_proj")}
    assert linear == {Linear4bit}
    layer = next(module for module in model.modules() if isinstance(module, Linear4bit))
    assert layer.weight.quant_type == "nf4"
    # double quantisation
    assert layer.weight.quant_state.nested
    assert not isinstance(model.get_output_embeddings(), Linear4bit)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


def test_without_nf4_weights_are_of_the_compute_type():
    for dtype in ("float32", "bfloat16"):
        model = load_model(replace(fp32("llama3"), dtype=dtype), {})
        assert not any(isinstance(module, Linear4bit) for module in model.modules())
        assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}
    with pytest.raises(InputError, match=r"float8.*float32.*bfloat16"):
        get_preset("lab", {"models.dtype": "float8"})


@pytest.mark.parametrize("weights", [fp32, nf4])
def test_active_switches_between_the_bare_base_and_adapters(weights, tmp_path):
    models = weights("llama3")
    folders = {
        name: save_adapter(models, tmp_path / name, seed)
        for seed, name in enumerate(("dpo", "icr1"))
    }

    def logits(model):
        with torch.inference_mode():
            return model(torch.arange(5, 45, device=model.device)[None]).logits

    bare = logits(load_base(models))
    alone = {name: logits(load_model(models, {name: folder})) for name, folder in folders.items()}
    both = load_model(models, {"sft": None, **folders})
    for name in ("icr1", None, "dpo", None, "icr1"):
        with active(both, name) as model:
            assert torch.equal(logits(model), alone.get(name, bare))
            assert not any(parameter.requires_grad for parameter in model.parameters())
    for one, other in ((bare, alone["dpo"]), (bare, alone["icr1"]), (alone["dpo"], alone["icr1"])):
        assert (one - other).abs().max() > 0.1

    # No adapter was ever loaded.
    with active(load_base(models), None) as model:
        assert torch.equal(logits(model), bare)


def test_an_adapter_that_is_not_there_is_never_taken_for_the_bare_base(tmp_path):
    models = fp32("llama3")
    folders = {name: save_adapter(models, tmp_path / name, seed=0) for name in ("dpo", "icr1")}
    model = load_model(models, {"sft": None, **folders})
    for name in ("sft", "icr2", ""):
        with (
            pytest.raises(InputError, match=f"^adapter '{name}': this model has dpo, icr1$"),
            active(model, name),
        ):
            pass
    with (
        pytest.raises(InputError, match=r"^adapter 'dpo': this model is a bare base"),
        active(load_base(models), "dpo"),
    ):
        pass


def test_a_policy_and_a_reference_that_read_texts_unlike_are_refused():
    models = Models(base="org/sft", dpo="org/dpo")
    policy = load_tokenizer(fp32("llama3"))
    check_same_tokens(policy, load_tokenizer(fp32("llama3")), models)
    named = r"models\.base org/sft and models\.dpo org/dpo have different "
    with pytest.raises(InputError, match=f"{named}vocabularies"):
        check_same_tokens(policy, load_tokenizer(fp32("mistral")), models)
    other = load_tokenizer(fp32("llama3"))
    other.chat_template = policy.chat_template.replace("assistant", "model")
    with pytest.raises(InputError, match=f"{named}chat templates"):
        check_same_tokens(policy, other, models)


def test_new_adapter_covers_the_linear_layers_but_the_output_and_starts_as_the_identity():
    models = fp32("qwen2.5")
    ids = torch.arange(5, 45)[None]
    base = load_base(models)
    with torch.inference_mode():
        expected = base(ids.to(base.device)).logits
        model = new_adapter(base, models.base, Training(lora_r=4, lora_alpha=8))
        assert torch.equal(model(ids.to(base.device)).logits, expected)
    adapted = {
        name.split(".lora_A")[0].split(".")[-1]
        for name, _ in model.named_parameters()
        if "lora_A" in name
    }
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert isinstance(model, PeftModel)
    assert model.peft_config["default"].base_model_name_or_path == models.base


def test_base_path_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert base_path("data/lab") == str(ROOT / "data/lab")
    (tmp_path / "mine").mkdir()
    assert base_path("mine") == "mine"
    assert base_path("Qwen/Qwen2.5-0.5B-Instruct") == "Qwen/Qwen2.5-0.5B-Instruct"


def test_a_base_without_tokenizer_or_template_is_refused(tmp_path):
    source = checkpoint("zephyr")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(source / name, tmp_path)
    models = Models(base=str(tmp_path))
    with pytest.raises(InputError, match="no tokenizer"):
        load_tokenizer(models)
    tokenizer = load_tokenizer(fp32("zephyr"))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"no chat template; .* \(models.chat_template=FILE\)"):
        load_tokenizer(models)


def test_a_base_is_given_a_chat_template(tmp_path):
    source, template = checkpoint("zephyr"), tmp_path / "mine.jinja"
    bare = tmp_path / "bare"
    shutil.copytree(source, bare)
    (bare / "chat_template.jinja").unlink()
    models = Models(base=str(bare), chat_template=str(template))
    with pytest.raises(InputError, match=r"mine\.jinja: no such file"):
        load_tokenizer(models)
    template.write_text(load_tokenizer(fp32("zephyr")).chat_template)
    with pytest.raises(InputError, match="no chat template"):
        load_tokenizer(replace(models, chat_template=""))
    tokenizer = load_tokenizer(models)
    own = load_tokenizer(fp32("zephyr"))
    assert prompt_ids(tokenizer, "So?") == prompt_ids(own, "So?")
    assert response_ids(tokenizer, "So?", "Yes.") == response_ids(own, "So?", "Yes.")
    # In place of a checkpoint's own, and looked at as that is.
    template.write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    with pytest.raises(InputError, match=r"the chat template .*mine\.jinja cannot be used"):
        load_tokenizer(replace(models, base=str(source)))


def test_weights_as_pickle_are_refused(tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(checkpoint("zephyr"), folder)
    torch.save(load_base(fp32("zephyr")).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="could not be loaded"):
        load_base(Models(base=str(folder), quantization="none"))


def holed(source, target):
    """A copy of a checkpoint without one of its tensors, and that tensor's name."""
    shutil.copytree(source, target)
    weights = load_file(target / "model.safetensors")
    name = next(name for name in weights if "up_proj" in name or "fc1.weight" in name)
    del weights[name]
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return name


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_checkpoint_without_all_tensors_is_refused(quantization, tmp_path):
    """transformers would draw them at random."""
    name = holed(checkpoint("llama3"), tmp_path / "holed")
    message = rf"model .*holed: 1 of its tensors are missing, the first {name}; download"
    with pytest.raises(InputError, match=message):
        load_base(Models(base=str(tmp_path / "holed"), quantization=quantization))


def test_tensors_of_another_shape_than_the_config_s_are_refused(tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(checkpoint("llama3"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 120}))
    with pytest.raises(InputError, match=r"changed: 6 of its tensors have another shape than"):
        load_base(Models(base=str(folder), quantization="none"))


def test_an_adapter_of_another_base_is_refused(tmp_path):
    folder = save_adapter(fp32("mistral"), tmp_path / "adapter", seed=0)
    with pytest.raises(InputError, match=r"belongs to base .*mistral.*, not to .*zephyr"):
        load_model(fp32("zephyr"), {"dpo": folder})
    with pytest.raises(InputError, match="not an adapter folder"):
        load_model(fp32("zephyr"), {"dpo": tmp_path})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_adapter_with_a_value_that_is_not_finite_is_never_loaded(value, tmp_path):
    folder = save_adapter(fp32("llama3"), tmp_path / "adapter", seed=0)
    weights = load_file(folder / "adapter_model.safetensors")
    name = sorted(weights)[3]
    weights[name][0, 1] = value
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(
        InputError, match=rf"adapter_model\.safetensors: tensor {name} is not finite"
    ):
        load_model(fp32("llama3"), {"dpo": folder})


def test_int8_computes_and_trains():
    models = replace(fp32("llama3"), quantization="int8")
    ids = torch.tensor([prompt_ids(load_tokenizer(models), "What is the capital of France?")])
    model, plain = load_base(models), load_base(fp32("llama3"))
    assert model.is_loaded_in_8bit
    ids = ids.to(model.device)
    with torch.no_grad():
        pair = torch.stack([m(input_ids=ids).logits.float().flatten() for m in (model, plain)])
    assert torch.corrcoef(pair)[0, 1] > 0.99
    assert not torch.equal(pair[0], pair[1])
    adapted = new_adapter(model, "base", Training(lora_r=4))
    adapted(input_ids=ids).logits.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in adapted.parameters())


def test_attention_is_what_is_installed_and_another_one_an_error(monkeypatch):
    assert attention(Models(attention="eager")) == "eager"
    # its scores are capped
    assert load_base(fp32("gemma2")).config._attn_implementation == "eager"
    assert (
        load_base(replace(fp32("llama3"), attention="eager")).config._attn_implementation == "eager"
    )
    with pytest.raises(InputError, match="could not be loaded"):
        load_base(replace(fp32("llama3"), attention="no_such_attention"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    for device, dtype, expected in (
        ("cuda", "bfloat16", "flash_attention_2"),
        ("cuda", "float32", None),
        ("cpu", "bfloat16", None),
    ):
        monkeypatch.setattr("xlnb.models.base.DEVICE", torch.device(device))
        assert attention(Models(dtype=dtype)) == expected


def test_gradients_go_through_a_frozen_4_bit_layer_after_inference():
    # bitsandbytes has a kernel for CPUs with AVX512-BF16 that is for inference alone (see
    # `read_base`).
    model = load_base(nf4("qwen2.5"))
    layer = model.get_decoder().layers[0].self_attn.q_proj
    states = torch.randn(2, 3, layer.in_features, device=DEVICE)
    with torch.inference_mode():
        model(input_ids=torch.tensor([[1, 2, 3]], device=DEVICE))
        before = layer(states)
    states.requires_grad_()
    output = layer(states)
    assert torch.equal(output, before)
    output.sum().backward()
    weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    assert torch.allclose(states.grad, weight.sum(0).expand_as(states), atol=1e-5)


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_is_what_the_card_computes_in(has_bf16, expected, monkeypatch):
    monkeypatch.setattr(xlnb.models.base, "DEVICE", torch.device("cpu"))
    assert compute_dtype(Models()) == torch.float32
    monkeypatch.setattr(xlnb.models.base, "DEVICE", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert compute_dtype(Models()) == expected
    assert compute_dtype(Models(dtype="float32")) == torch.float32
    assert compute_dtype(Models(dtype="float16")) == torch.float16


@pytest.fixture
def apple(monkeypatch):
    """A machine on which torch finds Apple's GPU, and where models are loaded to."""
    asked = []
    load = xlnb.models.base.AutoModelForCausalLM.from_pretrained

    def from_pretrained(path, *, device_map, **options):
        asked.append(device_map[""])
        return load(path, device_map={"": "cpu"}, **options)

    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setattr(xlnb.models.base.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    return asked


def test_a_model_is_on_apples_gpu_where_it_is_asked_for(apple, monkeypatch):
    models = replace(fp32("llama3"), device="mps", dtype="auto")
    assert load_base(models).dtype == torch.float32
    load_base(fp32("llama3"))
    assert apple == [torch.device("mps"), torch.device("cpu")]
    assert attention(replace(models, dtype="bfloat16")) is None
    # It changes nothing but rounding.
    assert model_fields(models) == model_fields(replace(models, device="auto"))
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(InputError, match="torch finds no Apple GPU here"):
        load_base(models)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_quantised_weights_are_refused_on_apples_gpu(quantization):
    changes = {"models.device": "mps", "models.quantization": quantization}
    with pytest.raises(InputError, match=f"models.device: {quantization} weights are not computed"):
        get_preset("lab", changes)


def test_float16_is_near_float32():
    half = load_base(replace(fp32("llama3"), dtype="float16"))
    assert half.dtype == torch.float16
    tokenizer = load_tokenizer(fp32("llama3"))
    rows = [prompt_ids(tokenizer, "So?")], [response_ids(tokenizer, "So?", "Yes, it is.")]
    found = sequence_logprobs(half, *rows)[0]
    expected = sequence_logprobs(load_base(fp32("llama3")), *rows)[0]
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=0.05) and not torch.equal(found, expected)
