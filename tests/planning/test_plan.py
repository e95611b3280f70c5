"""The plan's model of costs against real models: parameters and bytes exactly, FLOPs and
activations closely."""

import itertools
import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from families import FAMILIES, checkpoint, fp32, nf4, save_adapter
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from xlnb import stages
from xlnb.cli.main import main
from xlnb.common.files import read_json, write_json
from xlnb.logprobs import response_logprobs
from xlnb.models.adapters import new_adapter
from xlnb.models.base import load_base
from xlnb.models.packing import collate
from xlnb.planning import advice, costs, devices, report, setting
from xlnb.planning import shape as shape_module
from xlnb.planning import workload as workload_module
from xlnb.presets import PRESETS, Models, Training, get_preset, parse_overrides
from xlnb.runs.layout import Run

COMMITTED = devices.CALIBRATION
PUBLISHED = {  # parameters
    "princeton-nlp/Llama-3-Base-8B-SFT": 8_030_261_248,
    "princeton-nlp/Llama-3-Base-8B-SFT-DPO": 8_030_261_248,
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2-0.5B-Instruct": 494_032_768,
    "trl-lib/Qwen2-0.5B-DPO": 494_032_768,
    "utter-project/EuroLLM-1.7B-Instruct": 1_656_850_432,
    "HuggingFaceTB/SmolLM3-3B": 3_075_098_624,
    "google/gemma-3-270m-it": 268_098_176,
}


@pytest.mark.parametrize("name", shape_module.KNOWN)
def test_known_shapes_have_the_published_number_of_parameters(name):
    shape, source = shape_module.find_shape(name)
    assert shape.parameters == PUBLISHED[name]
    assert "table" in source


def test_llama3_8b_by_hand():
    shape, _ = shape_module.find_shape("princeton-nlp/Llama-3-Base-8B-SFT")
    assert shape.body == 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert shape.embedding == shape.head == 128256 * 4096
    assert shape.other == 65 * 4096  # two norms a layer and the last
    assert costs.kv_bytes(shape, 2) == 2 * 32 * 8 * 128 * 2  # 128 KiB a token
    assert (
        costs.lora_parameters(shape, 16) == 41_943_040
    )  # what PEFT prints for r = 16 on all linear layers
    nf4_bits = (
        8 * (costs.weight_bytes(shape, "nf4", 2) - 2 * (shape.parameters - shape.body)) / shape.body
    )
    assert nf4_bits == pytest.approx(4.127, abs=1e-3)  # 4 + 0.127, QLoRA's double quantisation


@pytest.mark.parametrize("name", FAMILIES)
def test_the_families_have_the_parameters_and_adapters_that_are_counted(name):
    shape, source = shape_module.find_shape(str(checkpoint(name)))
    model = load_base(fp32(name))
    assert "config.json" in source
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    model = new_adapter(model, "base", Training(lora_r=4))
    assert costs.lora_parameters(shape, 4) == sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )


@pytest.mark.parametrize("name", ["llama3", "qwen2.5"])
def test_nf4_takes_the_bytes_that_are_counted(name):
    shape, _ = shape_module.find_shape(str(checkpoint(name)))
    scales, counted, layers = 0.0, 0.0, 0
    for module in (model := load_base(nf4(name))).modules():
        if type(module).__name__ == "Linear4bit":
            state = module.weight.quant_state
            tensors = [module.weight, state.absmax, state.state2.absmax]
            counted += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            scales += 4 * (
                state.state2.absmax.numel() - state.absmax.numel() / 256
            )  # whole blocks of a small weight
            layers += 1
    plain = 4 * sum(p.numel() for p in model.parameters() if p.dtype == torch.float32)
    assert layers == len(shape.linear)
    assert counted + plain - scales == pytest.approx(costs.weight_bytes(shape, "nf4", 4), rel=1e-6)


def test_plain_weights_take_the_bytes_that_are_counted():
    shape, _ = shape_module.find_shape(str(checkpoint("qwen2.5")))
    model = load_base(fp32("qwen2.5"))
    assert costs.weight_bytes(shape, "none", 4) == sum(
        p.numel() * p.element_size() for p in model.parameters()
    )


# FLOPs and activations, on a model of a larger model's proportions.

CONFIG = LlamaConfig(
    vocab_size=1000,
    hidden_size=128,
    intermediate_size=448,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=False,
)
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
    model, shape = (
        model_with_adapter(tmp_path, checkpointing=checkpointing),
        shape_module.shape_of(CONFIG),
    )
    keys, training = PROMPT + RESPONSE, Training(lora_r=8, gradient_checkpointing=checkpointing)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        response_logprobs(model, batch())
    assert counter.get_total_flops() == pytest.approx(
        costs.forward_flops(shape, TOKENS, keys, PROJECTED, 8), rel=0.01
    )
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
            found[tensor.untyped_storage().data_ptr()] = (
                tensor  # held, so that no other takes its place
            )
        return tensor

    autocast = nullcontext() if dtype == torch.float32 else torch.autocast("cpu", dtype)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        values = response_logprobs(model, batch())
    assert values.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_activations_kept_for_the_backward_pass(tmp_path, quantization):
    model, shape = (
        model_with_adapter(tmp_path, quantization, attention="sdpa"),
        shape_module.shape_of(CONFIG),
    )
    projection = (
        4 * ROWS * RESPONSE * (CONFIG.vocab_size + CONFIG.hidden_size)
    )  # logits for a moment; slopes
    predicted = TOKENS * CONFIG.num_hidden_layers * costs.saved_bytes(shape, 4, 8)
    assert saved(model, torch.float32) - projection == pytest.approx(predicted, rel=0.05)


def allocated(work):
    """The most bytes at once that PyTorch's allocator gave out for it, beyond those before it."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        work()
    events = [
        event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_peak_of_a_training_step(tmp_path, checkpointing):
    model = model_with_adapter(tmp_path, "nf4", checkpointing, attention="sdpa")
    shape, training = (
        shape_module.shape_of(CONFIG),
        Training(lora_r=8, gradient_checkpointing=checkpointing),
    )
    rows = batch()
    peak = allocated(lambda: response_logprobs(model, rows).sum().backward())
    lora = costs.lora_parameters(shape, 8)
    held = costs.weight_bytes(shape, "nf4", 4) + lora * (
        4 + 8
    )  # before the step, and moments, which it has none of
    predicted = costs.training_bytes(shape, training, "nf4", 4, TOKENS, ROWS * RESPONSE) - held
    assert peak == pytest.approx(predicted, rel=0.2)


def test_the_peak_of_a_forward_pass(tmp_path):
    model, shape = (
        model_with_adapter(tmp_path, "nf4", attention="sdpa").eval(),
        shape_module.shape_of(CONFIG),
    )
    with torch.inference_mode():
        peak = allocated(
            lambda: model.get_base_model().model(torch.randint(1000, (4, 200)), use_cache=False)
        )
    predicted = 800 * costs.forward_bytes(shape, 4) + costs.dequantised_bytes(shape, "nf4", 4)
    assert peak == pytest.approx(predicted, rel=0.25)


def test_checkpointing_keeps_a_state_a_layer_and_the_last(tmp_path):
    model = model_with_adapter(tmp_path, "nf4", checkpointing=True, attention="sdpa")
    projection = 4 * ROWS * RESPONSE * (CONFIG.vocab_size + CONFIG.hidden_size)
    states = TOKENS * (CONFIG.num_hidden_layers + 1) * 4 * CONFIG.hidden_size
    assert saved(model, torch.float32) - projection == pytest.approx(states, rel=0.05)


# Stages.

LLAMA3 = {  # as a preset of a real model would have it, its prompts not at hand
    "models.base": "princeton-nlp/Llama-3-Base-8B-SFT",
    "models.dpo": "princeton-nlp/Llama-3-Base-8B-SFT-DPO",
    "prompts.path": "org/prompts",
    "prompts.eval_path": "org/evaluation",
    "prompts.langs": "en,es,ru,de,fr",
    "prompts.parts": "0",
    "sampling.max_new_tokens": "2400",
    "training.micro_batch": "1",
    "training.gradient_checkpointing": "true",
    "training.max_tokens": "2048",
}


@pytest.fixture(autouse=True)
def assumed_speeds(tmp_path_factory, monkeypatch):
    """Speeds that no later measurement changes."""
    names = {
        "score": 0.4,
        "train": 0.3,
        "decode": 0.6,
        "layer_seconds": 1e-3,
        "context_bytes": 600 * 2**20,
    }
    gpu = {
        name: {"value": value, "source": "assumed, not measured"} for name, value in names.items()
    }
    peaks = {
        name: {"value": 1e11, "source": "assumed, not measured"} for name in ("flops", "bandwidth")
    }
    path = tmp_path_factory.mktemp("speeds") / "calibration.json"
    vllm = {"step_seconds": {"value": 0.015, "source": "assumed as published"}}
    write_json(path, {"gpu": gpu, "vllm": vllm, "cpu": gpu | peaks})
    monkeypatch.setattr(devices, "CALIBRATION", path)


def planned(gpu="h100", gpus=1, overrides=LLAMA3, **lengths):
    preset = get_preset("lab", overrides)
    steps = stages.steps(Run(devices.ROOT, preset))
    return report.make_plan(preset, steps, gpu, gpus=gpus, **lengths)


def by_stage(found, value):
    return {cost["stage"]: cost[value] for cost in found["stages"]}


def test_tokens_and_flops_of_8b_by_hand():
    found = planned(prompts=3000, prompt_tokens=100, response_tokens=600)
    tokens, flops = by_stage(found, "tokens"), by_stage(found, "flops")
    assert list(tokens) == [
        *(f"icr{t}/{kind}" for t in (1, 2) for kind in ("samples", "logps", "adapter")),
        *(f"eval/{model}/responses" for model in ("sft", "dpo", "icr1", "icr2")),
    ]
    responses = 5 * 3000 * 10
    assert tokens["icr1/samples"] == responses * (100 + 600)
    assert tokens["icr1/logps"] == 2 * responses * (
        100 + 600
    )  # sharing would save 13%, less than it takes to pay
    # 2 FLOPs a parameter and token, policy and reference; the output layer for responses; attention
    # adds some.
    least = 2 * (2 * 6.98e9 * responses * 700 + 2 * 0.525e9 * responses * 600)
    assert least < flops["icr1/logps"] < 1.1 * least
    assert found["download"] == 2 * 2 * 8_030_261_248


def test_an_8b_model_is_trained_on_a_card_of_24_gib():
    memory = by_stage(planned("rtx4090"), "memory")["icr1/adapter"]
    assert 7 * 2**30 < memory < 22 * 2**30


def test_what_options_take_or_save():
    whole = planned(prompts=3000)
    half = planned(prompts=3000, overrides={**LLAMA3, "scoring.layers": "16"})
    twice = planned(prompts=3000, overrides={**LLAMA3, "evaluation.runs": "2"})
    before, after = by_stage(whole, "flops"), by_stage(half, "flops")
    # The output layer is run as ever.
    assert 0.5 < after["icr1/logps"] / before["icr1/logps"] < 0.55
    assert after["icr1/samples"] == before["icr1/samples"]
    responses = by_stage(twice, "tokens")["eval/icr1/responses"]
    assert responses == 2 * by_stage(whole, "tokens")["eval/icr1/responses"]


def test_a_comparer_and_what_it_compares_are_counted():
    pairs = {"models.dpo": "", "preferences.path": "hub:org/pairs:train"}
    lengths = {"prompts": 3000, "prompt_tokens": 100, "response_tokens": 600}
    plain = by_stage(planned(overrides=LLAMA3 | pairs, **lengths), "tokens")
    found = {}
    for opponents in (0, 4):
        asked = {"scoring.scorers": "comparer", "comparer.opponents": str(opponents)}
        plan = planned(overrides=LLAMA3 | pairs | asked, **lengths)
        found[opponents] = by_stage(plan, "tokens")
        memory = by_stage(plan, "memory")
        assert memory["comparer"] > 6 * 2**30 and memory["icr1/logps"] > 6 * 2**30
    # A question holds the prompt and two responses; all of ten are asked in both orders.
    question = 100 + 2 * 600 + 20
    assert found[0]["icr1/logps"] == 5 * 3000 * 10 * 9 * question
    assert found[4]["icr1/logps"] == 5 * 3000 * 10 * 4 * question
    assert found[4]["comparer"] == 300 * 32 * question
    assert "comparer" not in plain and plain["icr1/samples"] == found[4]["icr1/samples"]
    both = planned(
        overrides=LLAMA3 | pairs | {"scoring.scorers": "cross_lingual,comparer"}, **lengths
    )
    # beside R_c it compares held-out responses alone, of which there are none here
    assert by_stage(both, "tokens")["icr1/logps"] == plain["icr1/logps"]


def test_a_pi_i_that_is_made_is_counted():
    tuned = {"sft.path": "mine.jsonl", "models.dpo": "", "preferences.path": "hub:org/pairs:train"}
    found = planned(prompts=3000, overrides=LLAMA3 | tuned)
    assert found["stages"][0]["stage"] == "sft"
    tokens, flops, disk = (by_stage(found, name)["sft"] for name in ("tokens", "flops", "disk"))
    # 200 steps of 16 demonstrations, of 200 and 600 tokens in the mean, as long as the longest
    assert 3200 * 800 < tokens <= 3200 * 2048
    # forward, and backward for what goes through the frozen weights
    assert flops == pytest.approx(4 * 7e9 * tokens, rel=0.25)
    assert disk == pytest.approx(2 * 8_030_261_248, rel=0.1)
    (warning,) = [
        one for one in planned("t4", overrides=LLAMA3 | tuned)["warnings"] if "sft " in one
    ]
    assert "-p sft.gradient_checkpointing=true" in warning


def test_translations_of_prompts_are_counted():
    values = {"localise.langs": "en,de,sw", "localise.by": "endpoint:big", "prompts.limit": "50"}
    english = get_preset("lab", values)
    said = "localised, not in the table: 200 translations by endpoint:big"
    assert report.localising(english) == said
    tries = get_preset("lab", {**values, "localise.drafts": "3"})
    assert report.localising(tries) == f"{said}, and at most 16 for each that fails its check"
    assert report.localising(get_preset("lab")) == ""


def test_sampling_by_vllm():
    """A Llama-3 8B in bf16 on an H100 was published with 12,553 tokens a second."""
    plain = {"models.quantization": "none", "sampling.backend": "vllm"}
    found = planned(prompts=3000, response_tokens=600, overrides=LLAMA3 | plain)
    sampled = 5 * 3000 * 10 * 600
    hours = by_stage(found, "hours")
    assert sampled / (3600 * hours["icr1/samples"]) == pytest.approx(12_553, rel=0.2)
    # what it takes, whatever it needs
    assert by_stage(found, "memory")["icr1/samples"] == 0.92 * found["memory"]
    ours = planned(prompts=3000, response_tokens=600, overrides=LLAMA3)
    assert hours["icr1/samples"] < by_stage(ours, "hours")["icr1/samples"] / 20
    assert hours["icr1/logps"] == pytest.approx(by_stage(ours, "hours")["icr1/logps"])
    (note,) = found["notes"]
    assert note.startswith("sampling by vLLM, ") and note.endswith(": assumed as published")
    assert "sampling by transformers, " in ours["notes"][0] and ours["notes"][0].endswith(" hours")


def test_vllm_holds_what_it_must():
    plain = LLAMA3 | {"models.quantization": "none", "sampling.backend": "vllm"}
    found = planned("t4", overrides=plain)
    # its weights, which are more than there is
    assert by_stage(found, "memory")["icr1/samples"] > 2 * 8_030_261_248 > 0.99 * found["memory"]
    (warning,) = [one for one in found["warnings"] if one.startswith("icr1/samples ")]
    assert "fits with -p models.quantization=nf4" in warning


@pytest.mark.parametrize(
    ("installed", "changes", "gpu", "expected"),
    [
        (True, {}, "h100", "vllm"),
        (False, {}, "h100", "transformers"),
        (True, {}, "cpu", "transformers"),
        (True, {"models.quantization": "int8"}, "h100", "transformers"),
        (True, {"sampling.backend": "transformers"}, "h100", "transformers"),
        (False, {"sampling.backend": "vllm"}, "h100", "vllm"),
    ],
)
def test_what_samples_by_itself(monkeypatch, installed, changes, gpu, expected):
    monkeypatch.setattr(report.vllm, "installed", lambda: installed)
    preset = get_preset("lab", LLAMA3 | changes)
    assert report.backend_of(preset, gpu, 1) == expected
    sharded = get_preset("lab", LLAMA3 | {"models.shard": "true"})
    assert report.backend_of(sharded, "h100", 2) == "transformers"


def test_a_system_without_sysconf_has_memory_too(monkeypatch):
    monkeypatch.delattr("os.sysconf")
    memory = devices.speed_of("cpu").memory
    assert 2**30 < memory < 2**45


def test_prompts_shared_where_that_saves_enough():
    tokens = by_stage(planned(prompts=10, prompt_tokens=600, response_tokens=100), "tokens")[
        "icr1/logps"
    ]
    assert tokens == 2 * 5 * 10 * (600 + 10 * 100)


def test_several_gpus_share_the_hours_but_not_the_memory():
    one, four = planned(), planned(gpus=4)
    assert four["hours"] == pytest.approx(one["hours"] / 4)
    assert by_stage(four, "memory") == by_stage(one, "memory")


def test_a_sharded_base_lies_on_all_gpus():
    """Llama-3-8B in bf16: 6,979,321,856 parameters in linear layers, of 32 layers two whole and of
    all a quarter."""
    plain = LLAMA3 | {"models.quantization": "none"}
    whole, alone, four = (
        planned("rtx4090", gpus, overrides=plain | {"models.shard": str(shard).lower()})
        for gpus, shard in ((4, False), (1, True), (4, True))
    )
    saved = 2 * 6_979_321_856 * (1 - 1 / 4 - 2 / 32)
    memory = by_stage(four, "memory")
    for stage, needed in by_stage(whole, "memory").items():
        bases = 2 if stage.endswith("logps") else 1  # π_I and π^0 are two checkpoints
        assert memory[stage] == pytest.approx(needed - bases * saved, rel=1e-6), stage
    assert by_stage(alone, "memory") == by_stage(whole, "memory")  # one process holds them all
    assert report.SHARDED in four["notes"] and report.SHARDED not in whole["notes"] + alone["notes"]
    assert not four["warnings"] and whole["warnings"]


def test_sharding_is_advised_where_gpus_are_several():
    large = LLAMA3 | {"training.max_tokens": "2048", "models.base": "large"}
    shape = shape_module.find_shape("princeton-nlp/Llama-3-Base-8B-SFT")[0]
    linear = tuple((4 * fan_in, 4 * fan_out) for fan_in, fan_out in shape.linear)
    for gpus, ends in ((1, "a smaller model or shorter responses"), (4, "models.shard=true")):
        preset = get_preset("lab", large)
        found = setting.Setting(
            preset,
            shape._replace(linear=linear),
            workload_module.workload(preset, 3000, 100, 600),
            devices.speed_of("a100-40g"),
            width=2,
            gpus=gpus,
        )
        by_name = {step.name: step for step in stages.steps(Run(devices.ROOT, preset))}
        assert advice.advice(found, by_name["icr1/adapter"]).endswith(ends)


@pytest.mark.parametrize("gpu", ["rtx3090", "a100-40g"])
def test_what_the_warning_advises_makes_the_stage_fit(gpu):
    large = LLAMA3 | {
        "training.micro_batch": "32",
        "training.gradient_checkpointing": "false",
        "models.quantization": "none",
        "sampling.batch_tokens": "500000",
        "scoring.batch_tokens": "200000",
    }
    found = planned(gpu, overrides=large)
    assert len(found["warnings"]) == len(found["stages"])
    for warning in found["warnings"]:
        stage, _, advice = warning.partition(" needs ")
        changes = parse_overrides(advice.split("fits with ")[1].replace("-p ", ""))
        after = planned(gpu, overrides=large | changes)
        assert by_stage(after, "memory")[stage] <= after["memory"], (stage, changes)


def test_where_nothing_helps_the_warning_says_so():
    warnings = planned(
        "t4",
        overrides=LLAMA3
        | {
            "training.max_tokens": "60000",
            "sampling.max_new_tokens": "40000",
            "models.dtype": "bfloat16",
        },
    )["warnings"]
    assert any("take a GPU with more memory" in warning for warning in warnings)
    assert any("t4 computes no bfloat16" in warning for warning in warnings)


def test_larger_batches_are_named_where_they_fit_and_save_time():
    found = planned("h100")
    (note,) = [note for note in found["notes"] if "batch_tokens" in note]
    advised = int(note.split("batch_tokens=")[1].split()[0])
    after, twice = (
        planned("h100", overrides=LLAMA3 | {"sampling.batch_tokens": str(advised * i)})
        for i in (1, 2)
    )
    assert after["hours"] < 0.8 * found["hours"] and not after["warnings"]
    assert twice["warnings"] or twice["hours"] >= 0.8 * after["hours"]


def test_a_full_disk_is_warned_of(monkeypatch):
    monkeypatch.setattr(report.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30))
    assert any("of disk are needed, 1.0 free" in warning for warning in planned()["warnings"])


def test_longest_of_many():
    """Against draws: log-normal lengths of mean 600."""
    draws = torch.exp(
        torch.randn(2000, 480, generator=torch.Generator().manual_seed(0)) * costs.SPREAD
    )
    draws *= 600 / draws.mean()
    for k in (2, 10, 480):
        assert costs.longest(k, 600) == pytest.approx(draws[:, :k].amax(1).mean().item(), rel=0.15)
    assert costs.longest(1, 600) == 600 and costs.longest(10**6, 600, 2400) == 2400


def test_prompts_are_counted_where_they_are(tmp_path):
    for lang, text in {"en": "A prompt.", "de": "Eine Aufgabe."}.items():
        write_json(
            tmp_path / f"{lang}.json", [{"id": i, "instruction": f"{text} {i}"} for i in range(6)]
        )
    preset = get_preset(
        "lab", {"prompts.path": str(tmp_path), "models.base": str(checkpoint("qwen2.5"))}
    )
    work = workload_module.workload(preset)
    assert (work.langs, work.train, work.reward, work.eval) == (
        2,
        3,
        0,
        0,
    )  # the lab's `fresh`: half an iteration
    assert (
        "6 prompts a language (counted)" in work.source
        and "(counted)" in work.source.split("languages")[1]
    )
    assert 20 < work.prompt < 100  # with the template's system turn
    given = workload_module.workload(preset, prompts=100, prompt_tokens=7, response_tokens=9)
    assert (given.train, given.prompt, given.response) == (50, 7, 9)


def test_prompts_with_checks_are_counted_by_what_becomes_of_them(tmp_path):
    for lang in ("en", "de"):
        asked = [{"id": f"q{i}", "question": "Q?", "answers": [{"text": "a"}]} for i in range(5)]
        paragraphs = [{"context": "C.", "qas": asked} for _ in range(8)]
        write_json(tmp_path / f"{lang}.json", {"data": [{"paragraphs": paragraphs}]})
    changes = {
        "prompts.path": f"xquad:{tmp_path}",
        "prompts.reward": "10",
        "prompts.parts": "2",
        "evaluation.taste": "right",
    }
    work = workload_module.workload(get_preset("lab", changes))
    assert (work.langs, work.english, work.train, work.reward) == (2, 30, 15, 10)


def test_a_preset_without_prompts_is_planned_by_assumption():
    empty = {f"lab.{name}": "0" for name in ("english", "train", "reward", "eval")}
    work = workload_module.workload(
        get_preset("lab", empty | {"prompts.parts": "0", "prompts.limit": "2000"})
    )
    assert (work.langs, work.train, work.eval) == (5, 2000, 0)
    assert "2000 prompts a language (assumed, see --prompts), 5 languages" in work.source


def test_an_adapter_takes_the_disk_that_is_counted(tmp_path):
    shape, _ = shape_module.find_shape(str(checkpoint("llama3")))
    size = (
        (save_adapter(fp32("llama3"), tmp_path / "a", seed=0) / "adapter_model.safetensors")
        .stat()
        .st_size
    )
    assert size == pytest.approx(
        4 * costs.lora_parameters(shape, 4), rel=0.15
    )  # names of tensors come on top


def test_the_command_prints_a_table_or_json(capsys):
    arguments = [argument for key, value in LLAMA3.items() for argument in ("-p", f"{key}={value}")]
    assert main(["plan", "--gpu", "t4", *arguments]) == 0  # a warning is no error
    table = capsys.readouterr().out
    assert (
        "8,030,261,248 parameters (shape from the kit's table)" in table
        and "assumed, not measured" in table
    )
    assert "WARNING: " in table and " !\n" in table
    assert main(["plan", "--gpu", "cpu", "--preset", "lab-quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name.split("/")[0] for name in by_stage(found, "hours")} == {
        "dpo",
        "shared",
        "icr1",
        "icr2",
        "eval",
    }
    assert found["warnings"] == [] and "counted" in found["workload"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--gpu", "h1000"], "unknown GPU 'h1000'; known: h100, h200"),
        (["--gpu", "h100", "--gpus", "0"], "--gpus 0: expected 1 to 1,000,000,000"),
        (["--gpu", "h100", "--prompts", "-3"], "--prompts -3: expected a number up to 1,000,000"),
        (["--gpu", "h100", "--prompts", f"{10**20}"], "--prompts 1e+20: expected a number up to"),
        (
            ["--gpu", "h100", "--response-tokens", "1e300"],
            "--response-tokens 1e+300: expected a number up to 64 (sampling.max_new_tokens)",
        ),
        (
            ["--gpu", "h100", "-p", "models.base=absent/folder/"],
            "model absent/folder/: no config.json could be read",
        ),
        (
            ["--gpu", "h100", "--preset", "none"],
            f"unknown preset 'none'; known: {', '.join(PRESETS)}",
        ),
    ],
)
def test_a_bad_request_is_one_line(capsys, argv, message):
    assert main(["plan", *argv]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_the_committed_speeds_have_a_source_each():
    found = read_json(COMMITTED)
    step = found.pop("vllm")["step_seconds"]
    assert step["value"] > 0 and step["source"].startswith("assumed, not measured")
    for record in found.values():
        for name in ("score", "train", "decode", "layer_seconds", "context_bytes"):
            assert record[name]["value"] > 0 and record[name]["source"]


@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "-1", "many"])
def test_a_length_that_is_no_finite_number_is_refused(capsys, value):
    with pytest.raises(SystemExit) as stopped:
        main(["plan", "--gpu", "h100", "--prompt-tokens", value])
    assert stopped.value.code == 2
    assert f"argument --prompt-tokens: invalid amount value: '{value}'" in capsys.readouterr().err
