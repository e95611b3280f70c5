""""""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xlnb.common.files import ROOT
from xlnb.models.base import base_path
from xlnb.planning.costs import weight_bytes
from xlnb.planning.devices import DEVICES, GIB, speed_of
from xlnb.planning.plan import Plan
from xlnb.planning.shape import find_shape
from xlnb.planning.workload import workload
from xlnb.presets import Preset

SHARDED = "models.shard: the hours leave out the time in which GPUs gather each other's layers"


def make_plan(
    preset: Preset,
    names: Sequence[str],
    gpu: str,
    *,
    gpus: int = 1,
    folder: Path = ROOT,
    **lengths: Any,
) -> dict[str, Any]:
    """The plan of a run with the stages `names`, as JSON: what it rests on, a record a stage, totals and warnings.
    `folder`: where the run is to be written. `lengths`: see `workload`."""
    shape, found = find_shape(preset.models.base)
    work, speed = workload(preset, **lengths), speed_of(gpu)
    width = (
        4
        if preset.models.dtype == "float32" or (gpu == "cpu" and preset.models.dtype == "auto")
        else 2
    )
    plan = Plan(preset, shape, work, speed, width, gpus)
    costs = plan.costs(names)
    download = (
        0 if Path(base_path(preset.models.base)).is_dir() else 2 * shape.parameters
    )  # checkpoints are in bf16
    download *= 2 if preset.models.dpo else 1
    disk, free = sum(cost.disk for cost in costs) + download, shutil.disk_usage(folder).free
    warnings = [
        f"{cost.stage} needs {cost.memory / GIB:.1f} GiB of {speed.memory / GIB:.1f}: {plan.advice(cost)}"
        for cost in costs
        if cost.memory > speed.memory
    ]
    if disk > free:
        warnings.append(
            f"{disk / GIB:.1f} GiB of disk are needed, {free / GIB:.1f} free: free some"
        )
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
        "notes": [
            *([faster] if faster else []),
            *([SHARDED] if preset.models.shard and gpus > 1 else []),
        ],
    }


def format_plan(plan: dict[str, Any]) -> str:
    lines = [f"{name:<9} {plan[name]}" for name in ("model", "workload", "speed")]
    lines += [
        "",
        f"{'stage':<22}{'tokens':>10}{'FLOPs':>10}{'hours':>10}{'memory GiB':>12}{'disk GiB':>10}",
    ]
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
    lines += [
        "",
        f"memory: the most that a stage can need, of {has}; hours: on {plan['gpus']} of them",
    ]
    return "\n".join(
        [
            *lines,
            *(f"NOTE: {note}" for note in plan["notes"]),
            *(f"WARNING: {w}" for w in plan["warnings"]),
        ]
    )
