"""A run and what it runs on, which its stages' costs are worked out from, and what a cost is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xlnb.planning.costs import dequantised_bytes, lora_parameters, weight_bytes
from xlnb.planning.devices import Speed
from xlnb.planning.shape import Shape
from xlnb.planning.workload import Workload
from xlnb.presets import Preset
from xlnb.stages.pipeline import Step

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
    # samples: a name of `xlnb.sampling.SAMPLERS`
    backend: str = "transformers"

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


def prompts_of(work: Workload, step: Step, splits: Sequence[str]) -> int:
    """Of a language, in these splits; the shared responses are to `reward` prompts."""
    sizes = {"train": 0 if step.of.endswith("/shared") else work.train, "reward": work.reward}
    return sum(sizes[split] for split in splits)
