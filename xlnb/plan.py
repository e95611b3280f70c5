"""What a run will cost, before it starts: tokens, FLOPs, hours, peak memory and disk of each stage.

Costs of the model are `costs.py`'s; speeds are from data/results/calibration.json, which tests/benchmarks/calibrate.py
measures. Hours are of computing: what a judge, loading and downloading take comes on top. Memory is the most that a
stage can need, with the longest rows side by side and no response that ends early.
"""

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any, NamedTuple

from xlnb.costs import (
    Shape,
    dequantised_bytes,
    find_shape,
    forward_bytes,
    forward_flops,
    kv_bytes,
    lora_parameters,
    training_bytes,
    training_flops,
    weight_bytes,
)
from xlnb.errors import InputError
from xlnb.lab.world import load_world
from xlnb.logprobs import CHUNK, SAVING
from xlnb.models import base_path, load_tokenizer, prompt_ids
from xlnb.presets import Preset, Training, override
from xlnb.prompts import read_parallel, split_langs
from xlnb.runs import ROOT, read_json

GIB = 2**30
CALIBRATION = ROOT / "data" / "results" / "calibration.json"
SPREAD = 0.6  # of log lengths; with it the longest of many is as in the lab's samples and in published outputs
PAPER_LANGS = ["en", "es", "ru", "de", "fr"]
ULTRAFEEDBACK = 61_135  # pairs of the usual English preferences, for a `preferences.path` without a limit
SHARDED = "models.shard: the hours leave out the time in which GPUs gather each other's layers"
JSON_BYTES = 12  # of a sampled token on disk: its id and its text


class Device(NamedTuple):
    """A GPU by its data sheet: GiB that the driver reports, dense bf16 FLOP/s, bytes/s."""

    memory: float
    flops: float
    bandwidth: float
    bf16: bool = True


DEVICES = {
    "h100": Device(79.6, 989e12, 3.35e12),  # SXM5
    "h200": Device(140.4, 989e12, 4.8e12),
    "a100-80g": Device(80.0, 312e12, 2.04e12),  # SXM4
    "a100-40g": Device(39.6, 312e12, 1.555e12),
    "l40s": Device(45.0, 362e12, 0.864e12),
    "rtx4090": Device(24.0, 165e12, 1.008e12),
    "rtx3090": Device(24.0, 71e12, 0.936e12),
    "t4": Device(15.0, 65e12, 0.32e12, bf16=False),  # its fp16 rate
}


class Speed(NamedTuple):
    """What a device reaches, and what it has."""

    score: float  # FLOP/s of forward passes
    train: float  # FLOP/s of forward and backward passes
    decode: float  # bytes/s of weights, keys and values read in decoding steps
    layer_seconds: float  # of a decoding step a layer, whatever it computes
    context: float  # bytes that a process takes without a model
    memory: float  # bytes
    source: str


class Workload(NamedTuple):
    """What a run reads and writes: prompts, and mean lengths in tokens."""

    langs: int
    english: int  # prompts of the English preferences
    train: int  # an iteration's training prompts, a language
    reward: int  # the lab's held-out prompts on which rewards are compared, a language
    eval: int  # evaluation prompts, a language
    prompt: float
    response: float
    source: str


class Cost(NamedTuple):
    stage: str
    tokens: float  # that pass through a model, padding included
    flops: float
    hours: float
    memory: float  # bytes at the peak, on each GPU
    disk: float  # bytes


@dataclass(frozen=True)
class Plan:
    preset: Preset
    shape: Shape
    work: Workload
    speed: Speed
    width: int  # bytes of the compute type
    gpus: int = 1  # prompts and batches are shared out; each holds the whole model, or its part (`models.shard`)

    def costs(self, names: Sequence[str]) -> list[Cost]:
        """Of each of the run's stages (`names`) in which the model has something to do."""
        costs = [cost for name in names if (cost := self.cost(name)) and cost.tokens]
        return [cost._replace(hours=cost.hours / self.gpus) for cost in costs]

    def cost(self, name: str) -> Cost | None:
        source, _, kind = name.partition("/")
        preset, work, n = self.preset, self.work, self.preset.sampling.n
        if kind == "samples":
            prompts = work.english if source == "dpo" else work.langs * (work.train + work.reward)
            return self._sampling(name, prompts, n, work.prompt, preset.sampling.max_new_tokens)
        if kind == "translations":
            all_are = split_langs(preset.scoring.scorers)[0] == "translated"
            texts = n * (work.langs - 1) * (work.train * all_are + work.reward)
            return self._sampling(name, texts, 1, work.prompt + work.response, preset.sampling.max_new_tokens)
        if kind == "scores":
            return self._scoring(name)
        if kind == "adapter" and source == "dpo":
            given = preset.preferences
            return self._training(
                name, preset.english, (given.limit or ULTRAFEEDBACK) if given.path else work.english * (n // 2)
            )
        if kind == "adapter":
            return self._training(name, preset.training, work.langs * work.train)
        if source == "eval" and kind.endswith("/responses"):
            prompts = work.langs * work.eval
            return self._sampling(name, prompts, 1, work.prompt, preset.evaluation.max_new_tokens)
        return None

    def advice(self, cost: Cost) -> str:
        """What to change, so that the stage fits the memory: the first of the usual changes that is enough."""
        section = "english" if cost.stage == "dpo/adapter" else "training"
        tries: list[tuple[str, Any]] = []
        if cost.stage.endswith("adapter"):
            config = getattr(self.preset, section)
            tries += [(f"{section}.gradient_checkpointing", True), (f"{section}.micro_batch", 1)]
            tries += [("scoring.batch_tokens", 4096), (f"{section}.max_tokens", min(config.max_tokens, 2048))]
        else:
            stage = "scoring" if cost.stage.endswith("scores") else "sampling"
            most = getattr(self.preset, stage).batch_tokens
            tries += [(f"{stage}.batch_tokens", most // 2**i) for i in range(1, 5)]
        changes: dict[str, Any] = {}
        tries += [("models.quantization", "nf4"), *([("models.shard", True)] if self.gpus > 1 else [])]
        for key, value in tries:
            changes[key] = value
            changed = replace(self, preset=override(self.preset, changes))
            if override(self.preset, {key: value}) == self.preset:
                del changes[key]
            elif (again := changed.cost(cost.stage)) and again.memory <= self.speed.memory:
                return "fits with " + " ".join(f"-p {k}={str(v).lower()}" for k, v in changes.items())
        return "no setting of this model suffices; take a GPU with more memory, a smaller model or shorter responses"

    def larger_batches(self, names: Sequence[str]) -> str:
        """The `sampling.batch_tokens` that saves a fifth of the hours or more and still fits, if there is one."""
        now, best = sum(cost.hours for cost in self.costs(names)), ""
        for tokens in [self.preset.sampling.batch_tokens * 2**i for i in range(1, 8)]:
            costs = replace(self, preset=override(self.preset, {"sampling.batch_tokens": tokens})).costs(names)
            hours = sum(cost.hours for cost in costs)
            if any(c.memory > self.speed.memory for c in costs if c.stage.endswith(("samples", "responses"))):
                break
            if hours < 0.8 * now:
                now, best = hours, f"-p sampling.batch_tokens={tokens} fits and takes {hours:.3g} hours in all"
        return best

    def _sampling(self, name: str, prompts: int, n: int, prompt: float, most: int) -> Cost:
        """Decoding reads the weights at every step; NF4 ones are first written out and read again."""
        shape, quantization, width = self.shape, self.preset.models.quantization, self.width
        rows, r, response = prompts * n, self.preset.training.lora_r, min(self.work.response, most)
        budget, widest = self.preset.sampling.batch_tokens, longest(prompts, prompt) + most
        at_once = min(rows, n * max(1, int(budget / (n * (prompt + most)))))
        steps = math.ceil(rows / max(1, at_once)) * longest(at_once, response, most)
        flops = forward_flops(shape, rows * (prompt + response), prompt + response / 2, rows * response, r)
        read = weight_bytes(shape, quantization, width) + 4 * lora_parameters(shape, r)
        read += 2 * width * shape.body if quantization == "nf4" else 0
        read += at_once * (prompt + response / 2) * kv_bytes(shape, width)
        seconds = flops / self.speed.score + steps * (
            read / self.speed.decode + shape.layers * self.speed.layer_seconds
        )
        tokens = min(rows * widest, max(budget, n * widest))
        memory = self._loaded() + tokens * (kv_bytes(shape, width) + forward_bytes(shape, width))
        memory += 3 * 4 * at_once * shape.vocab  # logits, and what choosing among them takes
        return Cost(name, rows * (prompt + response), flops, seconds / 3600, memory, rows * response * JSON_BYTES)

    def _scoring(self, name: str) -> Cost:
        """Policy and reference; a prompt is run once for its responses where that saves enough."""
        config, n, prompt, shape = self.preset.scoring, self.preset.sampling.n, self.work.prompt, self.shape
        response = min(self.work.response, self.preset.sampling.max_new_tokens)
        prompts = self.work.langs * (self.work.train + self.work.reward * len(split_langs(config.scorers)))
        shares = prompt + n * response <= SAVING * n * (prompt + response)
        run = prompts * (prompt * (1 if shares else n) + n * response)
        flops = sum(
            forward_flops(shape, run, prompt + response, prompts * n * response, r)
            for r in (self.preset.training.lora_r, 0)
        )
        memory = self._scoring_bytes(prompts, shares)
        if self.preset.models.dpo:  # π_I is another checkpoint, loaded beside it
            memory += self._weights()
        disk = prompts * n * (100 + (2 * 20 * response if config.keep_tokens else 0))
        return Cost(name, 2 * run, flops, flops / self.speed.score / 3600, memory, disk)

    def _training(self, name: str, config: Training, pairs: int) -> Cost:
        """Log-probabilities of the start for all pairs, then steps, rows as long as a micro-batch's longest."""
        shape, prompt, most = self.shape, self.work.prompt, self.preset.sampling.max_new_tokens
        mean, sides = min(self.work.response, most), 2 * config.micro_batch
        response = longest(sides, mean, most)
        row = min(longest(config.micro_batch, prompt) + response, config.max_tokens)
        rows, reference = 2 * config.steps * config.batch, 2 * pairs
        flops = training_flops(shape, config, rows * row, row, rows * response)
        before = forward_flops(shape, reference * (prompt + mean), prompt + mean, reference * mean, config.lora_r)
        hours = (flops / self.speed.train + before / self.speed.score) / 3600
        widest = min(longest(pairs, prompt) + longest(reference, mean, most), config.max_tokens)
        projected = sides * min(longest(reference, mean, most), widest)
        memory = self.speed.context + training_bytes(
            shape, config, self.preset.models.quantization, self.width, sides * widest, projected, self._shards()
        )
        disk = (1 + 2 * 3) * 4 * lora_parameters(shape, config.lora_r)  # the adapter, two checkpoints with moments
        return Cost(
            name,
            rows * row + reference * (prompt + mean),
            flops + before,
            hours,
            max(memory, self._scoring_bytes(pairs, shares=False)),
            disk + reference * mean * JSON_BYTES,
        )

    def _scoring_bytes(self, prompts: int, shares: bool) -> float:
        """Prompts that are shared take a quarter of the budget besides."""
        shape, width = self.shape, self.width
        widest = longest(prompts, self.work.prompt) + self.preset.sampling.max_new_tokens
        a_token = forward_bytes(shape, width) + (1.25 * kv_bytes(shape, width) if shares else 0)
        logits = CHUNK * shape.vocab * (width + 2 * 4)
        return self._loaded() + max(self.preset.scoring.batch_tokens, widest) * a_token + logits

    def _shards(self) -> int:
        return self.gpus if self.preset.models.shard else 1

    def _weights(self) -> float:
        return weight_bytes(self.shape, self.preset.models.quantization, self.width, self._shards())

    def _loaded(self) -> float:
        """The process, the model and an adapter."""
        quantization, lora = self.preset.models.quantization, lora_parameters(self.shape, self.preset.training.lora_r)
        return self.speed.context + self._weights() + dequantised_bytes(self.shape, quantization, self.width) + 4 * lora


def longest(k: float, mean: float, most: float = math.inf) -> float:
    """About the largest expected of k log-normal lengths of that mean: at least the mean, at most `most`."""
    z = NormalDist().inv_cdf((max(k, 1) - 0.375) / (max(k, 1) + 0.25))  # Blom's approximation of a normal's
    return min(most, mean * max(1.0, math.exp(SPREAD * z - SPREAD**2 / 2)))


def speed_of(gpu: str) -> Speed:
    """A device of `DEVICES`, or this machine's CPU (`cpu`), at the share of its peaks that the calibration holds."""
    if gpu not in DEVICES and gpu != "cpu":
        raise InputError(f"unknown GPU '{gpu}'; known: {', '.join(DEVICES)}, cpu")
    calibration = read_json(CALIBRATION)
    record = calibration[gpu if gpu in calibration else "gpu"]
    found = {name: record[name]["value"] for name in ("score", "train", "decode", "layer_seconds", "context_bytes")}
    sources = dict.fromkeys(
        entry["source"] for entry in record.values() if isinstance(entry, dict) and "source" in entry
    )
    if gpu == "cpu":
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
        device = Device(memory, record["flops"]["value"], record["bandwidth"]["value"])
    else:
        device = DEVICES[gpu]
    return Speed(
        score=found["score"] * device.flops,
        train=found["train"] * device.flops,
        decode=found["decode"] * device.bandwidth,
        layer_seconds=found["layer_seconds"],
        context=found["context_bytes"],
        memory=device.memory * GIB,
        source="; ".join(sources),
    )


def workload(preset: Preset, prompts: int = 0, prompt_tokens: float = 0, response_tokens: float = 0) -> Workload:
    """What the preset's prompts amount to. What is not given is counted, where the prompts and the model's tokenizer
    are folders here, else assumed: 3,000 prompts in each of the paper's five languages, 200 tokens a prompt, and for a
    response a quarter of `sampling.max_new_tokens`. `source` says which."""
    config, lab = preset.prompts, preset.lab
    texts = _instructions(preset, config.path)
    train, held_out = lab.train, lab.eval
    if config.path or not train:  # a preset without lab questions waits for its user's prompts
        train = len(texts["en"]) if texts else 3000
        held_out = len(_instructions(preset, config.eval_path).get("en", [])) or train if config.eval_path else 0
    if config.limit:
        train, held_out = min(train, config.limit), min(held_out, config.limit)
    train, length, response = prompts or train, prompt_tokens, response_tokens or preset.sampling.max_new_tokens / 4
    how = "as given"
    if not length and texts and Path(base_path(preset.models.base)).is_dir():
        tokenizer, how = load_tokenizer(preset.models), "counted"
        length = fmean(len(prompt_ids(tokenizer, text)) for some in texts.values() for text in some[:200])
    elif not length:
        length, how = 200, "assumed, see --prompt-tokens"
    langs = len(texts or split_langs(config.langs) or PAPER_LANGS)
    source = (
        f"{train} prompts a language ({'as given' if prompts else 'counted' if texts else 'assumed, see --prompts'}), "
        f"{langs} languages, {length:.0f} tokens a prompt ({how}), {response:.0f} a response "
        f"({'as given' if response_tokens else 'assumed, see --response-tokens'})"
    )
    train = math.ceil(train / preset.iterations) if config.fresh else train
    return Workload(langs, lab.english, train, 0 if config.path else lab.reward, held_out, length, response, source)


def _instructions(preset: Preset, path: str) -> dict[str, list[str]]:
    """By language; none where `path` names no folder here, and the lab's, if it asks any, where it is empty."""
    if not Path(path).is_dir() if path else not preset.lab.train:
        return {}
    langs, world = preset.prompts.langs, load_world()
    lab = {lang: world.prompts(lang) for lang in split_langs(langs) or world.langs}
    records = read_parallel(path, langs) if path else lab
    return {lang: [record["instruction"] for record in some] for lang, some in records.items()}


def make_plan(
    preset: Preset, names: Sequence[str], gpu: str, *, gpus: int = 1, folder: Path = ROOT, **lengths: Any
) -> dict[str, Any]:
    """The plan of a run with the stages `names`, as JSON: what it rests on, a record a stage, totals and warnings.
    `folder`: where the run is to be written. `lengths`: see `workload`."""
    shape, found = find_shape(preset.models.base)
    work, speed = workload(preset, **lengths), speed_of(gpu)
    width = 4 if preset.models.dtype == "float32" or (gpu == "cpu" and preset.models.dtype == "auto") else 2
    plan = Plan(preset, shape, work, speed, width, gpus)
    costs = plan.costs(names)
    download = 0 if Path(base_path(preset.models.base)).is_dir() else 2 * shape.parameters  # checkpoints are in bf16
    download *= 2 if preset.models.dpo else 1
    disk, free = sum(cost.disk for cost in costs) + download, shutil.disk_usage(folder).free
    warnings = [
        f"{cost.stage} needs {cost.memory / GIB:.1f} GiB of {speed.memory / GIB:.1f}: {plan.advice(cost)}"
        for cost in costs
        if cost.memory > speed.memory
    ]
    if disk > free:
        warnings.append(f"{disk / GIB:.1f} GiB of disk are needed, {free / GIB:.1f} free: free some")
    if gpu in DEVICES and not DEVICES[gpu].bf16:
        warnings.append(f"{gpu} computes no bfloat16, the compute type: expect much longer hours")
    faster = plan.larger_batches(names)
    return {
        "preset": preset.name,
        "gpu": gpu,
        "gpus": gpus,
        "model": f"{preset.models.base}: {shape.parameters:,} parameters ({found}), "
        f"{weight_bytes(shape, preset.models.quantization, width) / GIB:.2f} GiB as {preset.models.quantization}",
        "speed": speed.source,
        "workload": work.source,
        "memory": speed.memory,
        "download": download,
        "stages": [cost._asdict() for cost in costs],
        "hours": sum(cost.hours for cost in costs),
        "disk": disk,
        "warnings": warnings,
        "notes": [*([faster] if faster else []), *([SHARDED] if preset.models.shard and gpus > 1 else [])],
    }


def format_plan(plan: dict[str, Any]) -> str:
    lines = [f"{name:<9} {plan[name]}" for name in ("model", "workload", "speed")]
    lines += ["", f"{'stage':<22}{'tokens':>10}{'FLOPs':>10}{'hours':>10}{'memory GiB':>12}{'disk GiB':>10}"]
    for cost in plan["stages"]:
        too_much = " !" if cost["memory"] > plan["memory"] else ""
        lines.append(
            f"{cost['stage']:<22}{cost['tokens']:>10.3g}{cost['flops']:>10.2e}{cost['hours']:>10.3g}"
            f"{cost['memory'] / GIB:>12.2f}{cost['disk'] / GIB:>10.3f}{too_much}"
        )
    if plan["download"]:
        lines.append(f"{'checkpoints':<52}{'':>12}{plan['download'] / GIB:>10.3f}")
    lines.append(f"{'all':<42}{plan['hours']:>10.3g}{'':>12}{plan['disk'] / GIB:>10.3f}")
    has = f"{plan['memory'] / GIB:.1f} GiB of {plan['gpu']}"
    lines += ["", f"memory: the most that a stage can need, of {has}; hours: on {plan['gpus']} of them"]
    return "\n".join(
        [*lines, *(f"NOTE: {note}" for note in plan["notes"]), *(f"WARNING: {w}" for w in plan["warnings"])]
    )
