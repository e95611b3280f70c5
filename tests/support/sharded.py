"""Two sharded models in one of several processes that need them unequally: `torchrun … sharded.py
NF4 FP32 OUT`."""

import sys
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from xlnb.common import processes
from xlnb.logprobs import sequence_logprobs
from xlnb.models.base import load_base
from xlnb.models.sharding import in_step, is_sharded
from xlnb.presets import Models

bases, out = sys.argv[1:3], Path(sys.argv[3])
ours = [
    load_base(Models(base=base, quantization=kind, dtype="float32", shard=True))
    for base, kind in zip(bases, ("nf4", "none"), strict=True)
]
assert all(is_sharded(model) for model in ours)
held = []
for model in ours:
    parts = [p for p in model.parameters() if isinstance(p, DTensor)]
    held.append(sum(p.to_local().numel() for p in parts) / sum(p.numel() for p in parts))

# (model, prompt) of each pass, in an order that the processes do not share, three passes here and
# five there.
passes = {
    0: [(1, [5, 6]), (0, [5, 6]), (1, [9])],
    1: [(0, [7]), (0, [7, 8]), (1, [5]), (0, [11]), (1, [3, 4])],
}
values = []
with in_step(*ours):
    for number, prompt in passes[processes.rank()]:
        values += sequence_logprobs(ours[number], [prompt], [[10, 11, 12]])

every = processes.gather((passes[processes.rank()], values, held))
if processes.is_main():
    torch.save(every, out)
processes.leave()
