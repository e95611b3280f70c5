"""A training step: plain TRL and ours, in one run, on the same pairs with the same settings.

    python tests/benchmarks/training.py                    # a Llama of 60 M parameters, 32k vocabulary, fp32, on a CPU
    python tests/benchmarks/training.py --gpu              # of the shape of Llama-3 8B, NF4, 128k vocabulary, on a GPU

Weights and token ids are random. On a CPU lengths are those of `logprobs.py`: a pair is a prompt
with two of its ten responses, so that `--pairs` are as many prompts; longer ones are cut to
`--tokens`. On a GPU every pair fills `--tokens`, prompt and response. LoRA r = 16 on every linear
layer but the output, AdamW (paged and 8-bit on a GPU), β = 0.1. TRL's trainer is its DPOTrainer as
it comes, loss "sigmoid"; ours adds the NLL term, of weight 0 here, so that both minimise the same
loss, which is checked. Both are given the reference's log-probabilities (of a model that holds all
tokens equally likely) and compute none. Each runs in a process of its own. The first update warms
up and is not in the time. Writes data/results/training_<device>.json.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from datasets import Dataset
from logprobs import SHAPES, PeakMemory, build, parameters, rows
from transformers import PreTrainedTokenizerFast, PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer

from xlnb.common.files import ROOT, write_json
from xlnb.engine.rows import collate_pairs
from xlnb.engine.trainer import PreferenceTrainer
from xlnb.objective import Objective
from xlnb.presets import Training
from xlnb.runs.provenance import environment

METHODS = ("trl", "ours")


class PlainTRL(DPOTrainer):
    def _prepare_dataset(self, dataset, *args):
        # token ids, as ours
        return dataset


class Clock(TrainerCallback):
    """Seconds, of the clock and of all cores, from the end of the first update to the end of the
    last."""

    def on_step_end(self, args, state, control, **_):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.end = time.perf_counter(), time.process_time()
        if state.global_step == 1:
            self.start = self.end


def pairs(args: argparse.Namespace) -> tuple[list[dict], str]:
    """Tokenised pairs, in the form of `tokenize_pairs`, and where their lengths come from."""
    vocabulary = SHAPES[args.shape]["vocab_size"]
    if args.gpu:
        rng = random.Random(args.seed)
        third = args.tokens // 3
        sizes, source = (
            [(third, args.tokens - third, args.tokens - third)] * args.pairs,
            "every pair fills --tokens",
        )
        drawn = [
            [[rng.randrange(vocabulary) for _ in range(size)] for size in triple]
            for triple in sizes
        ]
    else:
        prompts, responses, source = rows(args.pairs, args.seed, vocabulary)
        drawn = [
            [prompts[10 * i], responses[10 * i], responses[10 * i + 1]] for i in range(args.pairs)
        ]
    found = []
    for i, (prompt, chosen, rejected) in enumerate(drawn):
        prompt = prompt[: args.tokens // 2]
        space = args.tokens - len(prompt)
        found.append({"prompt_id": str(i), "lang": "en", "prompt_ids": prompt})
        for side, response in (("chosen", chosen[:space]), ("rejected", rejected[:space])):
            found[-1] |= {
                f"{side}_ids": response,
                f"ref_{side}_logps": -len(response) * math.log(vocabulary),
            }
    return found, source


def measure(method: str, args: argparse.Namespace) -> dict:
    """Seconds an update, peak memory beyond the loaded model's, and the losses."""
    cuda = args.device == "cuda"
    model = build(args.shape, args.gpu, args.device, trl=False)
    model.set_adapter("default")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".default." in name)
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder,
            max_steps=1 + args.updates,
            per_device_train_batch_size=args.micro_batch,
            gradient_accumulation_steps=args.accumulate,
            learning_rate=1e-4,
            optim="paged_adamw_8bit" if cuda else "adamw_torch_fused",
            beta=0.1,
            loss_type="sigmoid",
            max_length=None,
            gradient_checkpointing=args.gpu,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            bf16=cuda,
            use_cpu=not cuda,
            dataloader_pin_memory=cuda,
            remove_unused_columns=False,
        )
        tokenizer = empty_tokenizer()
        common = {
            "model": model,
            "args": config,
            "train_dataset": Dataset.from_list(pairs(args)[0]),
            "processing_class": tokenizer,
        }
        if method == "trl":
            trainer = PlainTRL(**common)
            # They are in the rows.
            trainer.precompute_ref_logps = True
            model.delete_adapter("ref")
            for name, parameter in model.named_parameters():
                if ".default." in name:
                    parameter.data = parameter.data.float()
        else:
            objective = Objective("dpo", beta=0.1, nll=0.0)
            trainer = PreferenceTrainer(objective=objective, data_collator=collate_pairs, **common)
        clock, memory = Clock(), PeakMemory(args.device)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        memory.start()
        trainer.train()
        peak = memory.stop()
    (began, cpu_began), (ended, cpu_ended) = clock.start, clock.end
    return {
        "seconds": (ended - began) / args.updates,
        "cpu_seconds": (cpu_ended - cpu_began) / args.updates,
        "peak_bytes": peak,
        "peak_bytes_with_model": torch.cuda.max_memory_allocated() if cuda else 0,
        "losses": [
            record["loss"] for record in trainer.state.log_history if "rewards/margins" in record
        ],
    }


def empty_tokenizer() -> PreTrainedTokenizerFast:
    """Trainers want one; the rows are token ids already."""
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"<pad>": 0}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<pad>")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs", type=int, default=0, help="(default: as many as the updates see)"
    )
    parser.add_argument(
        "--updates", type=int, default=4, help="that are measured, after one that warms up"
    )
    parser.add_argument("--micro-batch", type=int, default=0, help="pairs (default: 2, GPU 1)")
    parser.add_argument("--accumulate", type=int, default=2, help="micro-batches an update")
    parser.add_argument(
        "--tokens", type=int, default=0, help="prompt and response at most (default: 512, GPU 2048)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the choice of prompts and of token ids"
    )
    parser.add_argument(
        "--gpu", action="store_true", help="the 8B shape in NF4, computing in bfloat16, on a GPU"
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help="what --gpu does with 60 M parameters on a CPU: for tests",
    )
    parser.add_argument("--out", type=Path, help="default: data/results/training_<cpu or gpu>.json")
    args = parser.parse_args()
    command = " ".join(["python tests/benchmarks/training.py", *sys.argv[1:]])
    args.shape = "8b" if args.gpu and not args.small else "60m"
    args.device = "cuda" if args.gpu and not args.small else "cpu"
    args.micro_batch = args.micro_batch or (1 if args.gpu else 2)
    args.tokens = args.tokens or (2048 if args.gpu else 512)
    args.pairs = args.pairs or (1 + args.updates) * args.micro_batch * args.accumulate

    found = {}
    spawn = multiprocessing.get_context("spawn")
    for method in METHODS:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            found[method] = pool.submit(measure, method, args).result()
        print(
            f"{method}: {found[method]['seconds']:.2f} s an update,"
            f" {found[method]['peak_bytes'] / 2**20:.0f} MiB"
        )
        if (
            args.device == "cpu"
            and found[method]["cpu_seconds"]
            < 0.9 * found[method]["seconds"] * torch.get_num_threads()
        ):
            print(
                f"  only {found[method]['cpu_seconds']:.2f} s of CPU time: something else runs"
                " here",
                flush=True,
            )
    data, source = pairs(args)
    tokens = sum(
        2 * len(p["prompt_ids"]) + len(p["chosen_ids"]) + len(p["rejected_ids"]) for p in data
    )
    an_update = tokens / len(data) * args.micro_batch * args.accumulate
    base, body_and_head = found["trl"], parameters(SHAPES[args.shape])
    result = {
        "command": command,
        "seed": args.seed,
        "model": (
            SHAPES[args.shape]
            | {
                "parameters": body_and_head[0] + 2 * body_and_head[1],
                "weights": "nf4" if args.gpu else "fp32",
            }
        ),
        "training": {
            "pairs_an_update": args.micro_batch * args.accumulate,
            "micro_batch": args.micro_batch,
            "lora_r": Training().lora_r,
            "gradient_checkpointing": args.gpu,
            "reference": "precomputed for both, in neither's time",
            "loss": "DPO alone, for both",
        },
        "data": {
            "lengths": source,
            "pairs": len(data),
            "longest": args.tokens,
            "mean_tokens_a_pair": tokens / len(data),
        },
        "methods": {
            method: (
                {
                    "seconds_an_update": round(result["seconds"], 3),
                    "cpu_seconds_an_update": round(result["cpu_seconds"], 3),
                    "tokens_per_second": round(an_update / result["seconds"], 1),
                    "peak_mib": round(result["peak_bytes"] / 2**20, 1),
                    "speed_of_trl": round(base["seconds"] / result["seconds"], 2),
                    "speed_of_trl_by_cpu_time": round(
                        base["cpu_seconds"] / result["cpu_seconds"], 2
                    ),
                    "memory_of_trl": round(result["peak_bytes"] / base["peak_bytes"], 3),
                }
                | (
                    {"peak_gib_with_model": round(result["peak_bytes_with_model"] / 2**30, 2)}
                    if args.gpu
                    else {}
                )
            )
            for method, result in found.items()
        },
        "largest_difference_of_a_loss": max(
            abs(a - b) for a, b in zip(*(found[m]["losses"] for m in METHODS), strict=True)
        ),
        **environment(),
    }
    write_json(
        args.out or ROOT / "data" / "results" / f"training_{'gpu' if args.gpu else 'cpu'}.json",
        result,
    )
    print(
        json.dumps(
            {key: result[key] for key in ("data", "methods", "largest_difference_of_a_loss")},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
