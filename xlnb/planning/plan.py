""""""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, NamedTuple

from xlnb.common.languages import split_langs
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
from xlnb.presets import Preset, Training, override

SPREAD = 0.6  # of log lengths; with it the longest of many is as in the lab's samples and in published outputs

ULTRAFEEDBACK = (
    61_135  # pairs of the usual English preferences, for a `preferences.path` without a limit
)

JSON_BYTES = 12  # of a sampled token on disk: its id and its text


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
            return self._sampling(
                name, texts, 1, work.prompt + work.response, preset.sampling.max_new_tokens
            )
        if kind == "scores":
            return self._scoring(name)
        if kind == "adapter" and source == "dpo":
            given = preset.preferences
            return self._training(
                name,
                preset.english,
                (given.limit or ULTRAFEEDBACK) if given.path else work.english * (n // 2),
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
            tries += [
                ("scoring.batch_tokens", 4096),
                (f"{section}.max_tokens", min(config.max_tokens, 2048)),
            ]
        else:
            stage = "scoring" if cost.stage.endswith("scores") else "sampling"
            most = getattr(self.preset, stage).batch_tokens
            tries += [(f"{stage}.batch_tokens", most // 2**i) for i in range(1, 5)]
        changes: dict[str, Any] = {}
        tries += [
            ("models.quantization", "nf4"),
            *([("models.shard", True)] if self.gpus > 1 else []),
        ]
        for key, value in tries:
            changes[key] = value
            changed = replace(self, preset=override(self.preset, changes))
            if override(self.preset, {key: value}) == self.preset:
                del changes[key]
            elif (again := changed.cost(cost.stage)) and again.memory <= self.speed.memory:
                return "fits with " + " ".join(
                    f"-p {k}={str(v).lower()}" for k, v in changes.items()
                )
        return "no setting of this model suffices; take a GPU with more memory, a smaller model or shorter responses"

    def larger_batches(self, names: Sequence[str]) -> str:
        """The `sampling.batch_tokens` that saves a fifth of the hours or more and still fits, if there is one."""
        now, best = sum(cost.hours for cost in self.costs(names)), ""
        for tokens in [self.preset.sampling.batch_tokens * 2**i for i in range(1, 8)]:
            costs = replace(
                self, preset=override(self.preset, {"sampling.batch_tokens": tokens})
            ).costs(names)
            hours = sum(cost.hours for cost in costs)
            if any(
                c.memory > self.speed.memory
                for c in costs
                if c.stage.endswith(("samples", "responses"))
            ):
                break
            if hours < 0.8 * now:
                now, best = (
                    hours,
                    f"-p sampling.batch_tokens={tokens} fits and takes {hours:.3g} hours in all",
                )
        return best

    def _sampling(self, name: str, prompts: int, n: int, prompt: float, most: int) -> Cost:
        """Decoding reads the weights at every step; NF4 ones are first written out and read again."""
        shape, quantization, width = self.shape, self.preset.models.quantization, self.width
        rows, r, response = prompts * n, self.preset.training.lora_r, min(self.work.response, most)
        budget, widest = self.preset.sampling.batch_tokens, longest(prompts, prompt) + most
        at_once = min(rows, n * max(1, int(budget / (n * (prompt + most)))))
        steps = math.ceil(rows / max(1, at_once)) * longest(at_once, response, most)
        flops = forward_flops(
            shape, rows * (prompt + response), prompt + response / 2, rows * response, r
        )
        read = weight_bytes(shape, quantization, width) + 4 * lora_parameters(shape, r)
        read += 2 * width * shape.body if quantization == "nf4" else 0
        read += at_once * (prompt + response / 2) * kv_bytes(shape, width)
        seconds = flops / self.speed.score + steps * (
            read / self.speed.decode + shape.layers * self.speed.layer_seconds
        )
        tokens = min(rows * widest, max(budget, n * widest))
        memory = self._loaded() + tokens * (kv_bytes(shape, width) + forward_bytes(shape, width))
        memory += 3 * 4 * at_once * shape.vocab  # logits, and what choosing among them takes
        return Cost(
            name,
            rows * (prompt + response),
            flops,
            seconds / 3600,
            memory,
            rows * response * JSON_BYTES,
        )

    def _scoring(self, name: str) -> Cost:
        """Policy and reference; a prompt is run once for its responses where that saves enough."""
        config, n, prompt, shape = (
            self.preset.scoring,
            self.preset.sampling.n,
            self.work.prompt,
            self.shape,
        )
        response = min(self.work.response, self.preset.sampling.max_new_tokens)
        prompts = self.work.langs * (
            self.work.train + self.work.reward * len(split_langs(config.scorers))
        )
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
        before = forward_flops(
            shape, reference * (prompt + mean), prompt + mean, reference * mean, config.lora_r
        )
        hours = (flops / self.speed.train + before / self.speed.score) / 3600
        widest = min(longest(pairs, prompt) + longest(reference, mean, most), config.max_tokens)
        projected = sides * min(longest(reference, mean, most), widest)
        memory = self.speed.context + training_bytes(
            shape,
            config,
            self.preset.models.quantization,
            self.width,
            sides * widest,
            projected,
            self._shards(),
        )
        disk = (
            (1 + 2 * 3) * 4 * lora_parameters(shape, config.lora_r)
        )  # the adapter, two checkpoints with moments
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
        quantization, lora = (
            self.preset.models.quantization,
            lora_parameters(self.shape, self.preset.training.lora_r),
        )
        return (
            self.speed.context
            + self._weights()
            + dequantised_bytes(self.shape, quantization, self.width)
            + 4 * lora
        )


def longest(k: float, mean: float, most: float = math.inf) -> float:
    """About the largest expected of k log-normal lengths of that mean: at least the mean, at most `most`."""
    z = NormalDist().inv_cdf(
        (max(k, 1) - 0.375) / (max(k, 1) + 0.25)
    )  # Blom's approximation of a normal's
    return min(most, mean * max(1.0, math.exp(SPREAD * z - SPREAD**2 / 2)))
