"""What each stage costs in which a model has something to do: one function a kind of stage.

Memory is the most that a stage can need, with the longest rows side by side and no response that
ends early. Hours are of computing; what loading, downloading and a judge take comes on top.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from xlnb.models.batches import SAVING
from xlnb.models.output_head import CHUNK
from xlnb.planning.costs import (
    dequantised_bytes,
    forward_bytes,
    forward_flops,
    kv_bytes,
    lora_parameters,
    training_bytes,
    training_flops,
    weight_bytes,
)
from xlnb.planning.devices import Speed
from xlnb.planning.shape import Shape
from xlnb.planning.workload import Workload
from xlnb.presets import Preset, Sampling, Training
from xlnb.rewards import prompts_read
from xlnb.stages.pipeline import Step

# Of log lengths; with it the longest of many is as in the lab's samples and in published outputs.
SPREAD = 0.6

# Pairs of the usual English preferences, for a `preferences.path` without a limit.
ULTRAFEEDBACK = 61_135

# Of a sampled token on disk: its id and its text.
JSON_BYTES = 12


class Cost(NamedTuple):
    stage: str
    # that pass through a model, padding included
    tokens: float
    flops: float
    hours: float
    # bytes at the peak, on each GPU
    memory: float
    # bytes
    disk: float


@dataclass(frozen=True)
class Setting:
    """A run and what it runs on."""

    preset: Preset
    shape: Shape
    work: Workload
    speed: Speed
    # bytes of the compute type
    width: int
    # Prompts and batches are shared out; each holds the whole model, or its part (`models.shard`).
    gpus: int = 1

    @property
    def quantization(self) -> str:
        return self.preset.models.quantization

    @property
    def shards(self) -> int:
        return self.gpus if self.preset.models.shard else 1

    @property
    def weights(self) -> float:
        """Bytes of the base on each GPU."""
        return weight_bytes(self.shape, self.quantization, self.width, self.shards)

    @property
    def loaded(self) -> float:
        """Bytes of the process, the model and an adapter."""
        lora = lora_parameters(self.shape, self.preset.training.lora_r)
        dequantised = dequantised_bytes(self.shape, self.quantization, self.width)
        return self.speed.context + self.weights + dequantised + 4 * lora


def stage_costs(setting: Setting, steps: Sequence[Step]) -> list[Cost]:
    """Of each of the run's stages in which a model has something to do."""
    costs = []
    for step in steps:
        cost = stage_cost(setting, step)
        if cost and cost.tokens:
            costs.append(cost._replace(hours=cost.hours / setting.gpus))
    return costs


def stage_cost(setting: Setting, step: Step) -> Cost | None:
    """On one GPU; None for a stage that runs no model."""
    cost = COSTS.get(step.kind)
    return cost(setting, step) if cost else None


def samples(setting: Setting, step: Step) -> Cost:
    work, sampling = setting.work, _sampling_of(setting, step)
    prompts = work.langs * (work.train + work.reward)
    if step.of == "dpo":
        prompts = work.english
    if step.of == "shared":
        prompts = work.langs * work.reward
    return _sampling(setting, step, prompts, sampling.n, work.prompt, sampling.max_new_tokens)


def translations(setting: Setting, step: Step) -> Cost | None:
    """None in the lab, whose translator is a table."""
    work, sampling = setting.work, _sampling_of(setting, step)
    if not setting.preset.prompts.path:
        return None
    splits = prompts_read(setting.preset.scoring.scorers)["translated"]
    texts = sampling.n * (work.langs - 1) * _prompts(work, step, splits)
    prompt = work.prompt + work.response
    return _sampling(setting, step, texts, 1, prompt, sampling.max_new_tokens)


def responses(setting: Setting, step: Step) -> Cost:
    work = setting.work
    most = setting.preset.evaluation.max_new_tokens
    runs = setting.preset.evaluation.runs
    return _sampling(setting, step, work.langs * work.eval, runs, work.prompt, most)


def _sampling_of(setting: Setting, step: Step) -> Sampling:
    """What the responses of a stage are sampled by."""
    sampling = setting.preset.sampling
    return sampling if step.of in ("dpo", "shared") or "/" in step.of else sampling.of_iterations


def _sampling(setting: Setting, step: Step, prompts: int, n: int, prompt: float, most: int) -> Cost:
    """`n` responses of at most `most` tokens to each of the prompts, `prompt` tokens long.

    Decoding reads the weights at every step; NF4 ones are first written out and read again.
    """
    shape, width = setting.shape, setting.width
    r = setting.preset.training.lora_r
    budget = setting.preset.sampling.batch_tokens
    rows = prompts * n
    response = min(setting.work.response, most)
    at_once = min(rows, n * max(1, int(budget / (n * (prompt + most)))))
    steps = math.ceil(rows / max(1, at_once)) * longest(at_once, response, most)
    tokens = rows * (prompt + response)
    flops = forward_flops(shape, tokens, prompt + response / 2, rows * response, r)

    read = weight_bytes(shape, setting.quantization, width) + 4 * lora_parameters(shape, r)
    read += 2 * width * shape.body if setting.quantization == "nf4" else 0
    read += at_once * (prompt + response / 2) * kv_bytes(shape, width)
    a_step = read / setting.speed.decode + shape.layers * setting.speed.layer_seconds
    seconds = flops / setting.speed.score + steps * a_step

    widest = longest(prompts, prompt) + most
    held = min(rows * widest, max(budget, n * widest))
    memory = setting.loaded + held * (kv_bytes(shape, width) + forward_bytes(shape, width))
    # logits, and what choosing among them takes
    memory += 3 * 4 * at_once * shape.vocab
    return Cost(step.name, tokens, flops, seconds / 3600, memory, rows * response * JSON_BYTES)


def logps(setting: Setting, step: Step) -> Cost:
    """Policy and reference; a prompt is run once for its responses where that saves enough."""
    config, sampling = setting.preset.scoring, _sampling_of(setting, step)
    shape, work = setting.shape.first(config.layers), setting.work
    n, prompt = sampling.n, work.prompt
    response = min(work.response, sampling.max_new_tokens)
    prompts = 0
    for splits in prompts_read(config.scorers).values():
        prompts += work.langs * _prompts(work, step, splits)
    shares = prompt + n * response <= SAVING * n * (prompt + response)
    run = prompts * (prompt * (1 if shares else n) + n * response)
    projected = prompts * n * response
    policy = forward_flops(shape, run, prompt + response, projected, setting.preset.training.lora_r)
    flops = policy + forward_flops(shape, run, prompt + response, projected)
    memory = _scoring_bytes(setting, prompts, shares)
    if setting.preset.models.dpo:
        # π_I is another checkpoint, loaded beside it.
        memory += setting.weights
    disk = prompts * n * (100 + (2 * 20 * response if config.keep_tokens else 0))
    return Cost(step.name, 2 * run, flops, flops / setting.speed.score / 3600, memory, disk)


def adapter(setting: Setting, step: Step) -> Cost:
    preset, work = setting.preset, setting.work
    if step.of != "dpo":
        return _training(setting, step, preset.training, work.langs * work.train)
    pairs = work.english * (preset.sampling.n // 2)
    if preset.preferences.path:
        pairs = preset.preferences.limit or ULTRAFEEDBACK
    return _training(setting, step, preset.english, pairs)


def _training(setting: Setting, step: Step, config: Training, pairs: int) -> Cost:
    """Log-probabilities of the start for all pairs, then steps, rows as long as a micro-batch's
    longest."""
    shape, prompt = setting.shape, setting.work.prompt
    most = setting.preset.sampling.max_new_tokens
    mean = min(setting.work.response, most)
    sides = 2 * config.micro_batch
    response = longest(sides, mean, most)
    row = min(longest(config.micro_batch, prompt) + response, config.max_tokens)
    rows = 2 * config.steps * config.batch
    flops = training_flops(shape, config, rows * row, row, rows * response)
    reference = 2 * pairs
    before_tokens = reference * (prompt + mean)
    before = forward_flops(shape, before_tokens, prompt + mean, reference * mean, config.lora_r)
    hours = (flops / setting.speed.train + before / setting.speed.score) / 3600

    widest = min(longest(pairs, prompt) + longest(reference, mean, most), config.max_tokens)
    projected = sides * min(longest(reference, mean, most), widest)
    step_bytes = training_bytes(
        shape,
        config,
        setting.quantization,
        setting.width,
        sides * widest,
        projected,
        setting.shards,
    )
    memory = setting.speed.context + step_bytes
    memory = max(memory, _scoring_bytes(setting, pairs, shares=False))
    # the adapter, and two checkpoints with both moments
    disk: float = (1 + 2 * 3) * 4 * lora_parameters(shape, config.lora_r)
    disk += reference * mean * JSON_BYTES
    return Cost(step.name, rows * row + before_tokens, flops + before, hours, memory, disk)


def _scoring_bytes(setting: Setting, prompts: int, shares: bool) -> float:
    """Prompts that are shared take a quarter of the budget besides."""
    shape, width = setting.shape, setting.width
    widest = longest(prompts, setting.work.prompt) + setting.preset.sampling.max_new_tokens
    a_token = forward_bytes(shape, width) + (1.25 * kv_bytes(shape, width) if shares else 0)
    logits = CHUNK * shape.vocab * (width + 2 * 4)
    tokens = max(setting.preset.scoring.batch_tokens, widest)
    return setting.loaded + tokens * a_token + logits


def _prompts(work: Workload, step: Step, splits: Sequence[str]) -> int:
    """Of a language, in these splits; the shared responses are to `reward` prompts."""
    sizes = {"train": 0 if step.of.endswith("/shared") else work.train, "reward": work.reward}
    return sum(sizes[split] for split in splits)


def longest(k: float, mean: float, most: float = math.inf) -> float:
    """About the largest expected of k log-normal lengths of that mean: at least the mean, at most
    `most`. The quantile of a normal is Blom's approximation."""
    z = NormalDist().inv_cdf((max(k, 1) - 0.375) / (max(k, 1) + 0.25))
    return min(most, mean * max(1.0, math.exp(SPREAD * z - SPREAD**2 / 2)))


COSTS: dict[str, Callable[[Setting, Step], Cost | None]] = {
    "samples": samples,
    "translations": translations,
    "logps": logps,
    "adapter": adapter,
    "responses": responses,
}
