"""What sampling costs, by transformers and by vLLM.

transformers computes a batch until its last response has ended. vLLM puts the next response where
one has ended, until a call's are at an end: the last ones run on with fewer and fewer beside them.
"""

import math
from typing import NamedTuple

from xlnb.models import vllm
from xlnb.planning.costs import (
    forward_bytes,
    forward_flops,
    kv_bytes,
    longest,
    lora_parameters,
    weight_bytes,
)
from xlnb.planning.devices import GIB
from xlnb.planning.setting import JSON_BYTES, Cost, Setting, prompts_of
from xlnb.presets import Sampling
from xlnb.rewards import prompts_read
from xlnb.stages.pipeline import Step

# Of the GPU's memory, whatever it is needed for; and how many responses are computed side by side
# on GPUs of less and of more than `LARGE` GiB (by name the A100 is of the former): vLLM 0.32's
# defaults.
SHARE = 0.92
SIDE_BY_SIDE = (256, 1024)
LARGE = 70


class Decoding(NamedTuple):
    """Responses to sample: so many to each prompt, mean lengths in tokens, and the most."""

    prompts: int
    n: int
    prompt: float
    response: float
    most: int

    @property
    def rows(self) -> int:
        return self.prompts * self.n


def samples(setting: Setting, step: Step) -> Cost:
    work, sampling = setting.work, sampling_of(setting, step)
    prompts = work.langs * (work.train + work.reward)
    if step.of == "dpo":
        prompts = work.english
    if step.of == "shared":
        prompts = work.langs * work.reward
    return _sampling(setting, step, prompts, sampling.n, work.prompt, sampling.max_new_tokens)


def translations(setting: Setting, step: Step) -> Cost | None:
    """None in the lab, whose translator is a table."""
    work, sampling = setting.work, sampling_of(setting, step)
    if not setting.preset.prompts.path:
        return None
    splits = prompts_read(setting.preset.scoring.scorers)["translated"]
    texts = sampling.n * (work.langs - 1) * prompts_of(work, step, splits)
    prompt = work.prompt + work.response
    return _sampling(setting, step, texts, 1, prompt, sampling.max_new_tokens)


def responses(setting: Setting, step: Step) -> Cost:
    work = setting.work
    most = setting.preset.evaluation.max_new_tokens
    runs = setting.preset.evaluation.runs
    return _sampling(setting, step, work.langs * work.eval, runs, work.prompt, most)


def sampling_of(setting: Setting, step: Step) -> Sampling:
    """What the responses of a stage are sampled by."""
    sampling = setting.preset.sampling
    return sampling if step.of in ("dpo", "shared") or "/" in step.of else sampling.of_iterations


def _sampling(setting: Setting, step: Step, prompts: int, n: int, prompt: float, most: int) -> Cost:
    """`n` responses of at most `most` tokens to each of the prompts, `prompt` tokens long."""
    response = min(setting.work.response, most)
    asked = Decoding(prompts, n, prompt, response, most)
    by = _by_vllm if setting.backend == "vllm" else _by_transformers
    flops, seconds, memory = by(setting, asked) if asked.rows else (0.0, 0.0, 0.0)
    tokens = asked.rows * (prompt + response)
    disk = asked.rows * response * JSON_BYTES
    return Cost(step.name, tokens, flops, seconds / 3600, memory, disk)


def _by_transformers(setting: Setting, asked: Decoding) -> tuple[float, float, float]:
    """FLOPs, seconds and bytes."""
    shape, width = setting.shape, setting.width
    rows, budget = asked.rows, setting.preset.sampling.batch_tokens
    response, most = asked.response, asked.most
    at_once = min(rows, asked.n * max(1, int(budget / (asked.n * (asked.prompt + most)))))
    steps = math.ceil(rows / max(1, at_once)) * longest(at_once, response, most)
    keys = asked.prompt + response / 2
    r = setting.preset.training.lora_r
    flops = forward_flops(shape, rows * (asked.prompt + response), keys, rows * response, r)
    read = _read_bytes(setting) + at_once * keys * kv_bytes(shape, width)
    a_step = read / setting.speed.decode + shape.layers * setting.speed.layer_seconds
    seconds = flops / setting.speed.score + steps * a_step

    widest = longest(asked.prompts, asked.prompt) + most
    held = min(rows * widest, max(budget, asked.n * widest))
    memory = setting.loaded + held * (kv_bytes(shape, width) + forward_bytes(shape, width))
    # logits, and what choosing among them takes
    memory += 3 * 4 * at_once * shape.vocab
    return flops, seconds, memory


def _by_vllm(setting: Setting, asked: Decoding) -> tuple[float, float, float]:
    """FLOPs, seconds and bytes. A prompt is run once for its responses; a step takes as long as it
    reads or as it computes, whichever is longer, and what the engine takes besides."""
    shape, speed, response = setting.shape, setting.speed, asked.response
    r = setting.preset.training.lora_r
    keys = asked.prompt + response / 2
    a_row = keys * kv_bytes(shape, setting.width)
    room = SHARE * speed.memory - setting.loaded
    side_by_side = SIDE_BY_SIDE[speed.memory >= LARGE * GIB]
    a_call = asked.n * min(asked.prompts, vllm.VLLM.prompts_at_once)
    at_once = max(1, min(a_call, side_by_side, int(room / a_row)))

    def step_seconds(rows: float) -> float:
        reading = (_read_bytes(setting) + rows * a_row) / speed.decode
        computing = forward_flops(shape, rows, keys, rows, r) / speed.score
        return max(reading, computing) + speed.vllm_step

    steps = asked.rows * response / at_once
    # of each call, with hardly any beside them
    last = asked.rows / a_call * (longest(at_once, response, asked.most) - response)
    prompts = forward_flops(shape, asked.prompts * asked.prompt, asked.prompt / 2, 0, r)
    flops = prompts + forward_flops(shape, asked.rows * response, keys, asked.rows * response, r)
    seconds = prompts / speed.score + steps * step_seconds(at_once) + last * step_seconds(1)
    needed = setting.loaded + (longest(asked.prompts, asked.prompt) + asked.most) * kv_bytes(
        shape, setting.width
    )
    return flops, seconds, max(SHARE * speed.memory, needed)


def _read_bytes(setting: Setting) -> float:
    """What every step of decoding reads, whatever is decoded; NF4 weights are first written out and
    read again."""
    shape, width = setting.shape, setting.width
    read = weight_bytes(shape, setting.quantization, width)
    read += 4 * lora_parameters(shape, setting.preset.training.lora_r)
    return read + (2 * width * shape.body if setting.quantization == "nf4" else 0)
