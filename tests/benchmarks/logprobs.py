"""Scoring under a policy and a reference: the published scorer's algorithm, TRL's path and ours, in
one run.

    python tests/benchmarks/logprobs.py --prompts 8        # a Llama of 60 M parameters, 32k vocabulary, fp32, on a CPU
    python tests/benchmarks/logprobs.py --prompts 80 --gpu # of the shape of Llama-3 8B, NF4, 128k vocabulary, on a GPU

Weights and token ids are random, lengths are not: a prompt is an English X-AlpacaEval instruction
with the language prefix, its N = 10 responses are as long as what ten published files hold for it
(UTF-8 bytes / 4 tokens). The policy is a LoRA adapter, the reference the bare base. Every method
runs in a process of its own, on the same rows, and all give the same log-probabilities, which is
checked. Tokenisation is in no method's time. Writes data/results/logprobs_<device>.json.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from transformers import LlamaConfig, LlamaForCausalLM

from xlnb.common.files import ROOT, read_json, write_json
from xlnb.models.adapters import active, new_adapter
from xlnb.models.batches import packs
from xlnb.presets import Training
from xlnb.prompts import cross_lingual
from xlnb.rewards import score_responses
from xlnb.runs.provenance import environment

DATA = Path(os.environ.get("XLNB_PUBLISHED_DATA", ROOT.parent / "shared" / "data")) / "x_alpacaeval"
SHAPES = {
    "60m": {
        "vocab_size": 32768,
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
    },
    "8b": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "rope_theta": 500000.0,
    },
}
METHODS = ("published", "trl", "ours", "ours, shared prefix")


def rows(
    n_prompts: int, seed: int, vocabulary: int
) -> tuple[list[list[int]], list[list[int]], str]:
    """Prompts and responses as random ids, row by row, and where their lengths come from."""
    rng = random.Random(seed)
    if DATA.exists():
        files = sorted((DATA / "outputs").glob("*/*.json"))
        texts: dict[str, list[str]] = {}
        for path in files:
            for record in read_json(path):
                texts.setdefault(str(record["id"]), []).append(record["output"])
        instructions = {
            str(record["id"]): record["instruction"]
            for record in read_json(DATA / "prompts" / "en.json")
        }
        ids = rng.sample(
            sorted(i for i, found in texts.items() if len(found) == len(files)), n_prompts
        )
        lengths = [
            (
                len(cross_lingual(instructions[i], "de").encode()) // 4 + 12,
                [len(t.encode()) // 4 + 1 for t in texts[i]],
            )
            for i in ids
        ]
        source = f"X-AlpacaEval: English instructions, {len(files)} published responses to each"
    # log-normal lengths with about that data's means and deviations
    else:
        print(
            f"{DATA} is not there: lengths are drawn from log-normal distributions instead",
            file=sys.stderr,
        )
        lengths = [
            (
                int(rng.lognormvariate(4.4, 0.5)) + 40,
                [int(rng.lognormvariate(5.8, 0.8)) + 1 for _ in range(10)],
            )
            for _ in range(n_prompts)
        ]
        source = "log-normal"
    prompts, responses = [], []
    for prompt_length, response_lengths in lengths:
        prompt = [rng.randrange(vocabulary) for _ in range(prompt_length)]
        for length in response_lengths:
            prompts.append(prompt)
            responses.append([rng.randrange(vocabulary) for _ in range(length)])
    return prompts, responses, source


def build(shape: str, four_bit: bool, device: str, trl: bool):
    """A random model with an adapter `default` that changes it. `trl` adds TRL's fused output
    layer."""
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=8192, tie_word_embeddings=False)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    if four_bit:
        for layer in model.model.layers:
            for parent in (layer.self_attn, layer.mlp):
                for name, linear in list(parent.named_children()):
                    if isinstance(linear, torch.nn.Linear):
                        new = Linear4bit(
                            linear.in_features, linear.out_features, bias=False, compute_dtype=dtype
                        )
                        weight = linear.weight.data
                        new.weight = Params4bit(
                            weight, requires_grad=False, quant_type="nf4", compress_statistics=True
                        )
                        setattr(parent, name, new.to(device))
    if trl:
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model)
    model = new_adapter(model.eval().requires_grad_(False), "random", Training()).to(device)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    return model.eval().requires_grad_(False)


def padded(prompts, responses, device):
    """Rows as (B, W) ids and masks of what is there and what is response, padded on the right."""
    width = max(len(x) + len(y) for x, y in zip(prompts, responses, strict=True))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    attended, response = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (x, y) in enumerate(zip(prompts, responses, strict=True)):
        ids[row, : len(x + y)] = torch.tensor(x + y)
        attended[row, : len(x + y)] = 1
        response[row, len(x) : len(x + y)] = 1
    return ids.to(device), attended.to(device), response.to(device)


def published(model, prompts, responses, device):
    """Three rows at a time in the order of the file, the log-softmax of every column, one pass a
    model. (The release's mask is off by one besides, which costs no time; here it is right.)"""
    sides = []
    for name in ("default", None):
        sums = []
        for start in range(0, len(prompts), 3):
            ids, attended, response = padded(
                prompts[start : start + 3], responses[start : start + 3], device
            )
            with torch.no_grad(), active(model, name):
                logits = model(
                    input_ids=ids, attention_mask=attended, use_cache=False
                ).logits.float()
                logps = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
            sums += (logps * response[:, 1:]).sum(1).tolist()
        sides.append(sums)
    return sides


def trl_path(model, prompts, responses, device):
    """`DPOTrainer.compute_ref_log_probs`: its fused output layer, eight rows at a time (its
    default), in order."""
    sides = []
    for name in ("default", None):
        sums = []
        for start in range(0, len(prompts), 8):
            ids, attended, response = padded(
                prompts[start : start + 8], responses[start : start + 8], device
            )
            labels = ids.masked_fill(response == 0, -100)
            with torch.no_grad(), active(model, name):
                output = model(
                    input_ids=ids,
                    attention_mask=attended,
                    labels=labels,
                    use_cache=False,
                    fused_lm_head=True,
                )
            sums += (output.log_probs * response[:, 1:]).sum(1).tolist()
        sides.append(sums)
    return sides


def ours(model, prompts, responses, batch_tokens, share_prefix):
    sides = score_responses(
        model,
        "default",
        None,
        prompts,
        responses,
        batch_tokens=batch_tokens,
        share_prefix=share_prefix,
    )
    return [[values.sum().item() for values in side] for side in sides]


class PeakMemory:
    """Bytes that were taken at most between start and stop, beyond what was taken at the start."""

    def __init__(self, device: str):
        self.device = device

    def start(self) -> None:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        else:
            # the kernel's peak begins anew
            Path("/proc/self/clear_refs").write_text("5")
            self.before = self._kib("VmRSS")

    def stop(self) -> int:
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() - self.before
        return 1024 * (self._kib("VmHWM") - self.before)

    @staticmethod
    def _kib(field: str) -> int:
        return int(
            re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)
        )


def measure(method: str, args: argparse.Namespace) -> dict:
    """Seconds (of the clock, and of all cores) and peak memory of one method on all rows, and its
    log-probabilities."""
    device = "cuda" if args.gpu else "cpu"
    model = build(args.shape, args.four_bit, device, trl=method == "trl")
    prompts, responses, _ = rows(args.prompts, args.seed, SHAPES[args.shape]["vocab_size"])
    run = {
        "published": lambda *data: published(model, *data, device),
        "trl": lambda *data: trl_path(model, *data, device),
        "ours": lambda *data: ours(model, *data, args.batch_tokens, False),
        "ours, shared prefix": lambda *data: ours(model, *data, args.batch_tokens, True),
    }[method]
    run(
        [prompt[:8] for prompt in prompts[:10]], [response[:8] for response in responses[:10]]
    )  # warm
    memory = PeakMemory(device)
    memory.start()
    began, cpu_began = time.perf_counter(), time.process_time()
    logps = run(prompts, responses)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": memory.stop(),
        "logps": logps,
    }


def rates(args: argparse.Namespace) -> dict:
    """What the chip and the model can do: FLOP/s of a matrix product, and of the model's body at
    its best batch."""
    device = "cuda" if args.gpu else "cpu"
    side, dtype = (8192, torch.bfloat16) if args.gpu else (1024, torch.float32)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    model = build(args.shape, args.four_bit, device, trl=False)
    body = parameters(SHAPES[args.shape])[0]

    def seconds(work) -> float:
        times = []
        for _ in range(4):
            began = time.perf_counter()
            work()
            if args.gpu:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        return min(times)

    best = 0.0
    with torch.inference_mode(), active(model, None):
        for batch in (1, 2, 4, 8, 16, 32) if args.gpu else (1, 2, 4):
            ids = torch.randint(SHAPES[args.shape]["vocab_size"], (batch, 512), device=device)
            took = seconds(lambda ids=ids: model(input_ids=ids, use_cache=False, logits_to_keep=1))
            best = max(best, 2 * body * ids.numel() / took)
    return {"matrix_flops": 2 * side**3 / seconds(lambda: a @ b), "plain_forward_flops": best}


def parameters(shape: dict) -> tuple[int, int]:
    """Weights that multiply every token in the body, and in the output layer."""
    width, heads = shape["hidden_size"], shape["num_attention_heads"]
    attention = 2 * width**2 * (1 + shape["num_key_value_heads"] / heads)
    body = shape["num_hidden_layers"] * (attention + 3 * width * shape["intermediate_size"])
    return int(body), width * shape["vocab_size"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=40, help="prompts, ten responses each")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the choice of prompts and of token ids"
    )
    parser.add_argument(
        "--gpu", action="store_true", help="the 8B shape in NF4, computing in bfloat16, on a GPU"
    )
    parser.add_argument(
        "--batch-tokens", type=int, default=0, help="of our methods (default: 2048, GPU 32768)"
    )
    parser.add_argument("--out", type=Path, help="default: data/results/logprobs_<cpu or gpu>.json")
    args = parser.parse_args()
    command = " ".join(["python tests/benchmarks/logprobs.py", *sys.argv[1:]])
    args.shape, args.four_bit = ("8b", True) if args.gpu else ("60m", False)
    args.batch_tokens = args.batch_tokens or (32768 if args.gpu else 2048)
    prompts, responses, source = rows(args.prompts, args.seed, SHAPES[args.shape]["vocab_size"])
    n_tokens, index = sum(map(len, responses)), range(len(prompts))

    found = {}
    spawn = multiprocessing.get_context("spawn")
    for method in METHODS:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            found[method] = pool.submit(measure, method, args).result()
        seconds, cpu_seconds = found[method]["seconds"], found[method]["cpu_seconds"]
        print(
            f"{method}: {seconds:.1f} s, {found[method]['peak_bytes'] / 2**20:.0f} MiB", flush=True
        )
        if not args.gpu and cpu_seconds < 0.9 * seconds * torch.get_num_threads():
            print(
                f"  only {cpu_seconds:.1f} s of CPU time: something else runs here, the clock is no"
                " measure",
                flush=True,
            )
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        chip = pool.submit(rates, args).result()

    body, head = parameters(SHAPES[args.shape])
    alone, shared = (
        packs(index, prompts, responses, args.batch_tokens, share) for share in (False, True)
    )
    unpadded = {"ours": sum(map(len, prompts)) + n_tokens - len(prompts)}
    unpadded["ours, shared prefix"] = (
        sum(len(p) for p in dict.fromkeys(map(tuple, prompts))) + n_tokens - len(prompts)
    )
    base, methods = found["published"], {}
    for method, result in found.items():
        methods[method] = {
            "seconds": round(result["seconds"], 2),
            "cpu_seconds": round(
                result["cpu_seconds"], 2
            ),  # tells whether something else ran beside it
            "response_tokens_per_second": round(
                2 * n_tokens / result["seconds"], 1
            ),  # policy and reference
            "peak_activation_mib": round(result["peak_bytes"] / 2**20, 1),
            "throughput_of_published": round(base["seconds"] / result["seconds"], 2),
            "throughput_of_published_by_cpu_time": round(
                base["cpu_seconds"] / result["cpu_seconds"], 2
            ),
            "memory_of_published": round(result["peak_bytes"] / base["peak_bytes"], 3),
            "largest_difference_nats_a_response": max(
                abs(a - b)
                for mine, theirs in zip(result["logps"], base["logps"], strict=True)
                for a, b in zip(mine, theirs, strict=True)
            ),
        }
        if method in unpadded:
            flops = 2 * (2 * body * unpadded[method] + 2 * head * n_tokens) / result["seconds"]
            methods[method]["of_matrix_rate"] = round(flops / chip["matrix_flops"], 3)
            methods[method]["of_plain_forward_rate"] = round(flops / chip["plain_forward_flops"], 3)
    # Prompts once, responses once, no padding, nothing but matrix products, and those at the full
    # rate:
    least = 2 * (2 * body * unpadded["ours, shared prefix"] + 2 * head * n_tokens)
    tokens_run = {
        "ours": sum(pack.run for pack in alone),
        "ours, shared prefix": sum(pack.run for pack in shared),
    }
    chosen = packs(index, prompts, responses, args.batch_tokens, None)
    result = {
        "command": command,
        "seed": args.seed,
        "model": (
            SHAPES[args.shape]
            | {
                "parameters": body + 2 * head,
                "weights": "nf4" if args.gpu else "fp32",
            }
        ),
        "data": {
            "source": source,
            "prompts": args.prompts,
            "responses": len(responses),
            "prompt_tokens": sum(map(len, prompts)),
            "response_tokens": n_tokens,
        },
        "batch_tokens": args.batch_tokens,
        "methods": methods,
        "most_that_the_matrix_rate_allows": round(
            base["seconds"] * chip["matrix_flops"] / least, 2
        ),
        "tokens_run": tokens_run,
        "chosen": "ours, shared prefix" if chosen == shared else "ours",
        "chip": {name: round(value / 1e9, 1) for name, value in chip.items()} | {"unit": "GFLOP/s"},
        **environment(),
    }
    out = args.out or ROOT / "data" / "results" / f"logprobs_{'gpu' if args.gpu else 'cpu'}.json"
    write_json(out, result)
    print(
        json.dumps(
            {key: result[key] for key in ("data", "methods", "tokens_run", "chosen", "chip")},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
