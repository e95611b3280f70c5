"""The plan's model of costs against real models: parameters and bytes exactly, FLOPs and activations closely."""

from contextlib import nullcontext

import pytest
import torch
from families import FAMILIES, checkpoint, fp32, nf4
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from xlnb import costs
from xlnb.logprobs import collate, response_logprobs
from xlnb.models import load_base, new_adapter
from xlnb.presets import Models, Training

PUBLISHED = {  # parameters
    "princeton-nlp/Llama-3-Base-8B-SFT": 8_030_261_248,
    "princeton-nlp/Llama-3-Base-8B-SFT-DPO": 8_030_261_248,
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
}


@pytest.mark.parametrize("name", costs.KNOWN)
def test_known_shapes_have_the_published_number_of_parameters(name):
    shape, source = costs.find_shape(name)
    assert shape.parameters == PUBLISHED[name]
    assert "table" in source


def test_llama3_8b_by_hand():
    shape, _ = costs.find_shape("princeton-nlp/Llama-3-Base-8B-SFT")
    assert shape.body == 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert shape.embedding == shape.head == 128256 * 4096
    assert shape.other == 65 * 4096  # two norms a layer and the last
    assert costs.kv_bytes(shape, 2) == 2 * 32 * 8 * 128 * 2  # 128 KiB a token
    assert costs.lora_parameters(shape, 16) == 41_943_040  # what PEFT prints for r = 16 on all linear layers
    nf4_bits = 8 * (costs.weight_bytes(shape, "nf4", 2) - 2 * (shape.parameters - shape.body)) / shape.body
    assert nf4_bits == pytest.approx(4.127, abs=1e-3)  # 4 + 0.127, QLoRA's double quantisation


@pytest.mark.parametrize("name", FAMILIES)
def test_the_families_have_the_parameters_and_adapters_that_are_counted(name):
    shape, source = costs.find_shape(str(checkpoint(name)))
    model = load_base(fp32(name))
    assert "config.json" in source
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    model = new_adapter(model, "base", Training(lora_r=4))
    assert costs.lora_parameters(shape, 4) == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["llama3", "qwen2.5"])
def test_nf4_takes_the_bytes_that_are_counted(name):
    shape, _ = costs.find_shape(str(checkpoint(name)))
    scales, counted, layers = 0.0, 0.0, 0
    for module in (model := load_base(nf4(name))).modules():
        if type(module).__name__ == "Linear4bit":
            state = module.weight.quant_state
            tensors = [module.weight, state.absmax, state.state2.absmax]
            counted += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            scales += 4 * (state.state2.absmax.numel() - state.absmax.numel() / 256)  # whole blocks of a small weight
            layers += 1
    plain = 4 * sum(p.numel() for p in model.parameters() if p.dtype == torch.float32)
    assert layers == len(shape.linear)
    assert counted + plain - scales == pytest.approx(costs.weight_bytes(shape, "nf4", 4), rel=1e-6)


def test_plain_weights_take_the_bytes_that_are_counted():
    shape, _ = costs.find_shape(str(checkpoint("qwen2.5")))
    model = load_base(fp32("qwen2.5"))
    assert costs.weight_bytes(shape, "none", 4) == sum(p.numel() * p.element_size() for p in model.parameters())


# FLOPs and activations, on a model of a larger model's proportions.

CONFIG = LlamaConfig(
    vocab_size=1000, hidden_size=128, intermediate_size=448, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=2, tie_word_embeddings=False,
)  # fmt: skip
TRAINING = Training(lora_r=8)
ROWS, PROMPT, RESPONSE = 4, 40, 60
TOKENS, PROJECTED = ROWS * (PROMPT + RESPONSE), ROWS * (RESPONSE + 1)


def model_with_adapter(folder, quantization="none", checkpointing=False, attention="eager"):
    torch.manual_seed(0)
    LlamaForCausalLM(CONFIG).save_pretrained(folder)
    base = load_base(Models(base=str(folder), quantization=quantization, dtype="float32"))
    base.set_attn_implementation(attention)
    model = new_adapter(base, str(folder), TRAINING)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def batch():
    ids = torch.randint(1000, (2, ROWS, RESPONSE)).tolist()
    return collate([row[:PROMPT] for row in ids[0]], ids[1])


@pytest.mark.parametrize("checkpointing", [False, True])
def test_flops_are_those_that_torch_counts(tmp_path, checkpointing):
    """Eager attention without quantisation, all of whose products torch's counter knows."""
    model, shape = model_with_adapter(tmp_path, checkpointing=checkpointing), costs.shape_of(CONFIG)
    keys, training = PROMPT + RESPONSE, Training(lora_r=8, gradient_checkpointing=checkpointing)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        response_logprobs(model, batch())
    assert counter.get_total_flops() == pytest.approx(costs.forward_flops(shape, TOKENS, keys, PROJECTED, 8), rel=0.01)
    with FlopCounterMode(display=False) as counter:
        response_logprobs(model, batch()).sum().backward()
    # The first layer's inputs need no gradient, of four layers: large models have dozens.
    found = costs.training_flops(shape, training, TOKENS, keys, PROJECTED)
    assert counter.get_total_flops() == pytest.approx(found, rel=0.05)


def saved(model, dtype):
    """Bytes that the graph of one forward pass keeps, weights left out, each storage once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    found = {}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            found[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    autocast = nullcontext() if dtype == torch.float32 else torch.autocast("cpu", dtype)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        values = response_logprobs(model, batch())
    assert values.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_activations_kept_for_the_backward_pass(tmp_path, quantization):
    model, shape = model_with_adapter(tmp_path, quantization, attention="sdpa"), costs.shape_of(CONFIG)
    logits = 4 * ROWS * RESPONSE * CONFIG.vocab_size
    predicted = TOKENS * CONFIG.num_hidden_layers * costs.saved_bytes(shape, 4, 8)
    assert saved(model, torch.float32) - logits == pytest.approx(predicted, rel=0.05)


def test_checkpointing_keeps_a_state_a_layer_and_the_last(tmp_path):
    model = model_with_adapter(tmp_path, "nf4", checkpointing=True, attention="sdpa")
    logits = 4 * ROWS * RESPONSE * CONFIG.vocab_size
    states = TOKENS * (CONFIG.num_hidden_layers + 1) * 4 * CONFIG.hidden_size
    assert saved(model, torch.float32) - logits == pytest.approx(states, rel=0.05)
