"""What a device reaches of its peaks, for `python -m xlnb plan`.

    python tests/benchmarks/calibrate.py              # this CPU: a Llama of 60 M parameters, NF4, fp32
    python tests/benchmarks/calibrate.py --gpu h100   # of the shape of Llama-3 8B, NF4, bf16, at 2,048 tokens

Random weights and token ids. Scores rows, runs training steps (forward and backward, the optimiser
left out) and decodes, each in FLOPs or bytes of `xlnb.planning.costs` over its seconds, as a share of the
peak: a GPU's data sheet, or for a CPU a matrix product and a copy measured here. On a GPU, the peak
memory of a training step beside the formula's, which tests/planning/test_plan.py compares on a CPU. Replaces
the device's entry of data/results/calibration.json.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from logprobs import SHAPES, PeakMemory, build
from transformers import LlamaConfig

from xlnb.common.files import read_json, write_json
from xlnb.logprobs import response_logprobs, sequence_logprobs
from xlnb.models.packing import collate
from xlnb.planning import costs
from xlnb.planning.devices import CALIBRATION, DEVICES
from xlnb.planning.shape import shape_of
from xlnb.presets import Training
from xlnb.runs.provenance import environment

# tokens a row
DECODED = 16


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """The shortest of some tries, after one that warms up."""
    found = []
    for _ in range(1 + times):
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return min(found[1:])


def peaks(gpu: str) -> tuple[float, float]:
    if gpu:
        return DEVICES[gpu].flops, DEVICES[gpu].bandwidth
    a, b, much = torch.randn(1024, 1024), torch.randn(1024, 1024), torch.randn(2**26)
    other = torch.empty_like(much)
    return 2 * 1024**3 / seconds(lambda: a @ b), 2 * 4 * 2**26 / seconds(lambda: other.copy_(much))


def rows(
    count: int, prompt: int, response: int, vocabulary: int
) -> tuple[list[list[int]], list[list[int]]]:
    ids = torch.randint(vocabulary, (count, prompt + response)).tolist()
    return [row[:prompt] for row in ids], [row[prompt:] for row in ids]


def decode_seconds(model, count: int, prompt: int, vocabulary: int) -> float:
    """Of a step of `count` rows: what more steps take beyond a few."""
    ids = torch.randint(vocabulary, (count, prompt), device=next(model.parameters()).device)

    def generate(tokens: int) -> float:
        return seconds(
            lambda: model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), min_new_tokens=tokens, max_new_tokens=tokens,
                do_sample=True, top_k=0, pad_token_id=0,
            ), 2,
        )  # fmt: skip

    return (generate(4 + DECODED) - generate(4)) / DECODED


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gpu", default="", choices=DEVICES, help="the GPU's name in xlnb/planning/devices.py"
    )
    gpu = parser.parse_args().gpu
    name, kind, width = ("8b", "cuda", 2) if gpu else ("60m", "cpu", 4)
    prompt, response, scored = (512, 1536, 16) if gpu else (128, 256, 4)
    vocabulary = SHAPES[name]["vocab_size"]
    context = (
        600 * 2**20 if gpu else 1024 * PeakMemory._kib("VmRSS")
    )  # CUDA's and its libraries'; Python's and ours
    flops, bandwidth = peaks(gpu)
    torch.manual_seed(0)
    model = build(name, four_bit=True, device=kind, trl=False)
    shape = shape_of(LlamaConfig(**SHAPES[name], tie_word_embeddings=False))

    training = Training(micro_batch=1, lora_r=16, gradient_checkpointing=bool(gpu))
    for parameter_name, parameter in model.named_parameters():
        if "lora_" in parameter_name:
            parameter.requires_grad_(True).data = parameter.data.float()
    model.train()
    if gpu:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()

    def step(prompt: int = prompt, response: int = response) -> None:
        batch = {
            key: value.to(kind)
            for key, value in collate(*rows(2, prompt, response, vocabulary)).items()
        }
        with torch.autocast(kind, torch.bfloat16, enabled=bool(gpu)):
            values = response_logprobs(model, batch)
        values.sum().backward()

    # libraries take their memory, which is not the step's
    step(8, 8)
    model.zero_grad(set_to_none=True)
    if gpu:
        memory = PeakMemory(kind)
        memory.start()
    train_seconds = seconds(step)
    peak = memory.stop() if gpu else 0
    trained, projected = 2 * (prompt + response), 2 * response
    train = (
        costs.training_flops(shape, training, trained, prompt + response, projected) / train_seconds
    )
    # Beyond weights, adapter and the optimiser's moments, which this step has none of.
    held = costs.weight_bytes(shape, "nf4", width) + (4 + 8) * costs.lora_parameters(shape, 16)
    predicted = costs.training_bytes(shape, training, "nf4", width, trained, projected) - held
    model.gradient_checkpointing_disable()
    model.zero_grad(set_to_none=True)
    model.eval().requires_grad_(False)

    data = rows(scored, prompt, response, vocabulary)
    with torch.inference_mode():
        took = seconds(
            lambda: sequence_logprobs(
                model, *data, batch_tokens=16384 if gpu else 2048, share_prefix=False
            )
        )
    score = (
        costs.forward_flops(
            shape, scored * (prompt + response), prompt + response, scored * response, 16
        )
        / took
    )

    with torch.inference_mode():
        count = 8
        a_step = decode_seconds(model, count, prompt, vocabulary)
        # Layers too narrow for what they compute to count.
        narrow = SHAPES[name] | {
            "hidden_size": 64,
            "intermediate_size": 64,
            "vocab_size": 64,
            "num_attention_heads": 2,
        }
        SHAPES["narrow"] = narrow | {"num_key_value_heads": 2}
        tiny = build("narrow", four_bit=True, device=kind, trl=False)
        layer_seconds = decode_seconds(tiny, count, 8, 64) / narrow["num_hidden_layers"]
    read = (
        costs.weight_bytes(shape, "nf4", width)
        + 2 * width * shape.body
        + 4 * costs.lora_parameters(shape, 16)
    )
    read += count * (prompt + DECODED / 2) * costs.kv_bytes(shape, width)
    computing = costs.forward_flops(shape, count, prompt, count, 16) / score
    decode = read / (a_step - computing - layer_seconds * shape.layers)

    command = " ".join(["python tests/benchmarks/calibrate.py", *sys.argv[1:]])
    made = environment()
    source = f"measured by {command}, {made['device']}, {made['git']}"
    values = {
        "score": score / flops,
        "train": train / flops,
        "decode": decode / bandwidth,
        "layer_seconds": layer_seconds,
        "context_bytes": context,
    } | ({} if gpu else {"flops": flops, "bandwidth": bandwidth})
    entry = {
        key: {"value": float(f"{value:.3g}"), "source": source} for key, value in values.items()
    }
    entry["training_step"] = {
        "tokens": trained,
        "tokens_per_second": round(trained / train_seconds, 1),
    }
    if gpu:
        mib = {"peak_mib_beyond_weights": peak / 2**20, "predicted_mib": predicted / 2**20}
        entry["training_step"] |= {key: round(value, 1) for key, value in mib.items()}
    write_json(CALIBRATION, read_json(CALIBRATION) | {gpu or "cpu": entry | {"environment": made}})
    for key, value in entry.items():
        print(key, value if key == "training_step" else value["value"])


if __name__ == "__main__":
    main()
