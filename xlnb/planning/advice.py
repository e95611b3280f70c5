"""What to change in a preset, so that a stage fits a GPU's memory or a run takes fewer hours."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from xlnb.planning.setting import Setting
from xlnb.planning.stage_costs import stage_cost, stage_costs
from xlnb.presets import override
from xlnb.stages.pipeline import Step

# Values of the preset by their dotted names.
Changes = dict[str, str | int]

SUFFICES_NOT = (
    "no setting of this model suffices; take a GPU with more memory, a smaller model or shorter "
    "responses"
)


def advice(setting: Setting, step: Step) -> str:
    """What to change, so that the stage fits the memory: the first of the usual changes that, with
    those before it, is enough."""
    for changes in _candidates(setting, step):
        changed = replace(setting, preset=override(setting.preset, changes))
        cost = stage_cost(changed, step)
        if cost and cost.memory <= setting.speed.memory:
            given = [f"-p {key}={str(value).lower()}" for key, value in changes.items()]
            return "fits with " + " ".join(given)
    return SUFFICES_NOT


def _candidates(setting: Setting, step: Step) -> Iterator[Changes]:
    """Changes of the preset, each with one more than the one before, or with a smaller batch."""
    changes: Changes = {}
    for key, value in _usual(setting, step):
        if override(setting.preset, {key: value}) != setting.preset:
            changes[key] = value
            yield dict(changes)
        else:
            changes.pop(key, None)


def _usual(setting: Setting, step: Step) -> Iterator[tuple[str, str | int]]:
    """Changes in the order in which they cost least."""
    preset = setting.preset
    if step.kind in ("adapter", "sft"):
        section = "english" if step.of == "dpo" else "training"
        section = "sft" if step.kind == "sft" else section
        yield f"{section}.gradient_checkpointing", True
        yield f"{section}.micro_batch", 1
        if step.kind == "adapter":
            yield "scoring.batch_tokens", 4096
        yield f"{section}.max_tokens", min(getattr(preset, section).max_tokens, 2048)
    else:
        section = "scoring" if step.kind == "logps" else "sampling"
        if section == "scoring" or setting.backend == "transformers":
            for halved in range(1, 5):
                yield f"{section}.batch_tokens", getattr(preset, section).batch_tokens // 2**halved
    yield "models.quantization", "nf4"
    if setting.gpus > 1:
        yield "models.shard", True


def larger_batches(setting: Setting, steps: Sequence[Step]) -> str:
    """The `sampling.batch_tokens` that saves a fifth of the hours or more and still fits, if there
    is one; vLLM finds its own."""
    if setting.backend == "vllm":
        return ""
    sampled = {step.name for step in steps if step.kind in ("samples", "responses")}
    fastest = sum(cost.hours for cost in stage_costs(setting, steps))
    best = ""
    for doubled in range(1, 8):
        tokens = setting.preset.sampling.batch_tokens * 2**doubled
        preset = override(setting.preset, {"sampling.batch_tokens": tokens})
        costs = stage_costs(replace(setting, preset=preset), steps)
        if any(cost.memory > setting.speed.memory for cost in costs if cost.stage in sampled):
            break
        hours = sum(cost.hours for cost in costs)
        if hours < 0.8 * fastest:
            fastest = hours
            best = f"-p sampling.batch_tokens={tokens} fits and takes {hours:.3g} hours in all"
    return best
