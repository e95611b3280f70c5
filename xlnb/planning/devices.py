"""GPUs by their data sheets, and what share of a sheet's speed was measured."""

from typing import NamedTuple

import psutil

from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json

GIB = 2**30

CALIBRATION = ROOT / "data" / "results" / "calibration.json"


class Device(NamedTuple):
    """A GPU by its data sheet."""

    # GiB that the driver reports
    memory: float
    # dense bf16 FLOP/s
    flops: float
    # bytes/s
    bandwidth: float
    bf16: bool = True


DEVICES = {
    # SXM5
    "h100": Device(79.6, 989e12, 3.35e12),
    "h200": Device(140.4, 989e12, 4.8e12),
    # SXM4
    "a100-80g": Device(80.0, 312e12, 2.04e12),
    "a100-40g": Device(39.6, 312e12, 1.555e12),
    "l40s": Device(45.0, 362e12, 0.864e12),
    "rtx4090": Device(24.0, 165e12, 1.008e12),
    "rtx3090": Device(24.0, 71e12, 0.936e12),
    # its fp16 rate
    "t4": Device(15.0, 65e12, 0.32e12, bf16=False),
}


class Speed(NamedTuple):
    """What a device reaches, and what it has."""

    # FLOP/s of forward passes
    score: float
    # FLOP/s of forward and backward passes
    train: float
    # bytes/s of weights, keys and values read in decoding steps
    decode: float
    # of a decoding step a layer, whatever it computes
    layer_seconds: float
    # of a decoding step of vLLM, whatever it computes
    vllm_step: float
    vllm_source: str
    # bytes that a process takes without a model
    context: float
    # bytes
    memory: float
    source: str


def speed_of(gpu: str) -> Speed:
    """A device of `DEVICES`, or this machine's CPU (`cpu`), at the share of its peaks that the
    calibration holds."""
    if gpu not in DEVICES and gpu != "cpu":
        raise InputError(f"unknown GPU '{gpu}'; known: {', '.join(DEVICES)}, cpu")
    calibration = read_json(CALIBRATION)
    record = calibration[gpu if gpu in calibration else "gpu"]
    measured = [entry for entry in record.values() if isinstance(entry, dict)]
    sources = dict.fromkeys(entry["source"] for entry in measured if "source" in entry)
    if gpu == "cpu":
        # accelerate's own, on every system
        memory = psutil.virtual_memory().total / GIB
        device = Device(memory, record["flops"]["value"], record["bandwidth"]["value"])
    else:
        device = DEVICES[gpu]
    return Speed(
        score=record["score"]["value"] * device.flops,
        train=record["train"]["value"] * device.flops,
        decode=record["decode"]["value"] * device.bandwidth,
        layer_seconds=record["layer_seconds"]["value"],
        vllm_step=calibration["vllm"]["step_seconds"]["value"],
        vllm_source=calibration["vllm"]["step_seconds"]["source"],
        context=record["context_bytes"]["value"],
        memory=device.memory * GIB,
        source="; ".join(sources),
    )
