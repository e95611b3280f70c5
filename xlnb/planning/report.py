"""The plan of a run before it starts: its stages' costs, and where they do not fit.

Costs of the model are `costs`', of a stage `stage_costs`'; speeds are those of
data/results/calibration.json, which tests/benchmarks/calibrate.py measures.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xlnb.common.files import existing_folder
from xlnb.common.languages import split_langs
from xlnb.inputs.redrafting import CALLS
from xlnb.models import vllm
from xlnb.models.places import is_here
from xlnb.planning.advice import advice, larger_batches
from xlnb.planning.costs import weight_bytes
from xlnb.planning.devices import DEVICES, GIB, speed_of
from xlnb.planning.setting import Setting
from xlnb.planning.shape import find_shape
from xlnb.planning.stage_costs import stage_costs
from xlnb.planning.workload import instructions, train_prompts, workload
from xlnb.presets import Models, Preset
from xlnb.stages.pipeline import Step

# Kinds of stages in which a model samples.
SAMPLED = ("samples", "translations", "responses")

SHARDED = "models.shard: the hours leave out the time in which GPUs gather each other's layers"


def make_plan(
    preset: Preset,
    steps: Sequence[Step],
    gpu: str,
    *,
    gpus: int = 1,
    folder: Path = Path("runs"),
    **lengths: Any,
) -> dict[str, Any]:
    """The plan of a run with these stages, as JSON: what it rests on, a record a stage, totals and
    warnings.

    `folder`: where the run is to be written. `lengths`: see `workload`.
    """
    shape, found = find_shape(preset.models.base)
    work = workload(preset, **lengths)
    speed = speed_of(gpu)
    width = compute_width(preset.models, gpu)
    setting = Setting(preset, shape, work, speed, width, gpus, backend_of(preset, gpu, gpus))
    costs = stage_costs(setting, steps)
    weights = weight_bytes(shape, preset.models.quantization, setting.width)
    download = download_bytes(preset.models, shape.parameters)
    disk = sum(cost.disk for cost in costs) + download

    warnings = []
    by_name = {step.name: step for step in steps}
    for cost in costs:
        if cost.memory > speed.memory:
            needs = f"needs {cost.memory / GIB:.1f} GiB of {speed.memory / GIB:.1f}"
            warnings.append(f"{cost.stage} {needs}: {advice(setting, by_name[cost.stage])}")
    free = shutil.disk_usage(existing_folder(folder)).free
    if disk > free:
        has = f"{free / GIB:.1f} free: free some"
        warnings.append(f"{disk / GIB:.1f} GiB of disk are needed, {has}")
    if gpu in DEVICES and not DEVICES[gpu].bf16 and preset.models.dtype == "bfloat16":
        warnings.append(f"{gpu} computes no bfloat16; set models.dtype to auto or float16")

    notes = [by_vllm(setting, steps)] if gpu in DEVICES else []
    notes.append(localising(preset, lengths.get("prompts", 0)))
    if faster := larger_batches(setting, steps):
        notes.append(faster)
    if preset.models.shard and gpus > 1:
        notes.append(SHARDED)
    return {
        "preset": preset.name,
        "gpu": gpu,
        "gpus": gpus,
        "model": f"{preset.models.base}: {shape.parameters:,} parameters ({found}), "
        f"{weights / GIB:.2f} GiB as {preset.models.quantization}",
        "speed": speed.source,
        "workload": work.source,
        "memory": speed.memory,
        "download": download,
        "stages": [cost._asdict() for cost in costs],
        "hours": sum(cost.hours for cost in costs),
        "disk": disk,
        "warnings": warnings,
        "notes": list(filter(None, notes)),
    }


def backend_of(preset: Preset, gpu: str, gpus: int) -> str:
    """What samples on that GPU: what the preset names, else vLLM where it is installed here and can
    hold the model."""
    backend = preset.sampling.backend
    if backend == "auto":
        serves = vllm.serves(preset.models) and not (preset.models.shard and gpus > 1)
        backend = "vllm" if gpu in DEVICES and serves and vllm.installed() else "transformers"
    return backend


def by_vllm(setting: Setting, steps: Sequence[Step]) -> str:
    """What the hours of sampling rest on, and what they would be by vLLM."""
    hours = {}
    for backend in ("transformers", "vllm"):
        costs = stage_costs(replace(setting, backend=backend), steps)
        sampled = [cost.hours for cost in costs if cost.stage.rpartition("/")[2] in SAMPLED]
        hours[backend] = sum(sampled)
    if not hours["vllm"]:
        return ""
    ours, theirs = (f"{hours[name]:.3g} hours" for name in hours)
    if setting.backend == "vllm":
        return f"sampling by vLLM, {theirs} (by transformers {ours}): {setting.speed.vllm_source}"
    return f"sampling by transformers, {ours}; by vLLM, where it is installed, about {theirs}"


def localising(preset: Preset, prompts: int = 0) -> str:
    """What the translator of prompts is asked, whose hours the table leaves out."""
    config = preset.localise
    langs = [lang for lang in split_langs(config.langs) if lang != "en"]
    if not langs:
        return ""
    texts = instructions(preset, preset.prompts.path)
    asked = len(langs) * int(train_prompts(preset, texts, prompts).value)
    said = f"localised, not in the table: {2 * asked:,} translations by {config.by or 'π_I'}"
    if config.drafts == 1:
        return said
    return f"{said}, and at most {CALLS * (config.drafts - 1)} for each that fails its check"


def compute_width(models: Models, gpu: str) -> int:
    """Bytes of the compute type."""
    full = models.dtype == "float32" or (models.dtype == "auto" and gpu == "cpu")
    return 4 if full else 2


def download_bytes(models: Models, parameters: int) -> int:
    """Of the checkpoints that are not folders here; they are in bf16."""
    if is_here(models.base):
        return 0
    checkpoints = 2 if models.dpo else 1
    return 2 * parameters * checkpoints


def format_plan(plan: dict[str, Any]) -> str:
    """The plan as a table, with its notes and warnings below."""
    lines = [f"{name:<9} {plan[name]}" for name in ("model", "workload", "speed")]
    lines.append("")
    lines.append(
        f"{'stage':<22}{'tokens':>10}{'FLOPs':>10}{'hours':>10}{'memory GiB':>12}{'disk GiB':>10}"
    )
    for cost in plan["stages"]:
        too_much = " !" if cost["memory"] > plan["memory"] else ""
        lines.append(
            f"{cost['stage']:<22}{cost['tokens']:>10.3g}{cost['flops']:>10.2e}"
            f"{cost['hours']:>10.3g}{cost['memory'] / GIB:>12.2f}{cost['disk'] / GIB:>10.3f}"
            f"{too_much}"
        )
    if plan["download"]:
        lines.append(f"{'checkpoints':<52}{'':>12}{plan['download'] / GIB:>10.3f}")
    lines.append(f"{'all':<42}{plan['hours']:>10.3g}{'':>12}{plan['disk'] / GIB:>10.3f}")
    lines.append("")
    has = f"{plan['memory'] / GIB:.1f} GiB of {plan['gpu']}"
    lines.append(
        f"memory: the most that a stage can need, of {has}; hours: on {plan['gpus']} of them"
    )
    lines += [f"NOTE: {note}" for note in plan["notes"]]
    lines += [f"WARNING: {warning}" for warning in plan["warnings"]]
    return "\n".join(lines)
