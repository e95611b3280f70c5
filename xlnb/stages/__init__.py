"""The stages in the order data flows. Each reads files, calls pure functions, writes files.

    prompts → (English: samples → pairs → adapter) → samples → logps → scores → pairs → adapter → …
            → responses → annotations → metrics

Iteration 0 makes π^0 from English preferences; iteration t ≥ 1 makes π^t from π^{t−1}'s own samples
and rewards. The translated reward needs `translations` between `samples` and `logps`, a fused score
perhaps a `gate`, score `comparer` a model of that name; `localised` makes parallel prompts of
English ones, `sft` π_I of a base.

Under `accelerate launch` or `torchrun` every process calls the same stages: those with a model
share their work out, batch by batch or step by step, the others are the main process' alone
(`common.processes`). A base too large for one GPU is dealt out over them (`models.sharding`).
"""

from collections.abc import Callable
from pathlib import Path

from xlnb.stages.adapters import train
from xlnb.stages.annotations import judge
from xlnb.stages.comparers import learn
from xlnb.stages.evidence import evidence
from xlnb.stages.gates import fit
from xlnb.stages.localised import localise
from xlnb.stages.logprobs import logps
from xlnb.stages.metrics import report
from xlnb.stages.pairs import pair
from xlnb.stages.pipeline import run_until, steps
from xlnb.stages.preferences import prefer
from xlnb.stages.prompts import collect_prompts
from xlnb.stages.reading import read_prompts
from xlnb.stages.responses import respond
from xlnb.stages.samples import sample, sample_shared
from xlnb.stages.scores import score
from xlnb.stages.selection import select
from xlnb.stages.translations import translate
from xlnb.stages.tuned import tune

# What `python -m xlnb stage` runs by name. A stage of an iteration takes `iteration`, one of an
# evaluated model `model_name`.
STAGES: dict[str, Callable[..., Path]] = {
    "tune": tune,
    "localise": localise,
    "prompts": collect_prompts,
    "select": select,
    "sample": sample,
    "sample_shared": sample_shared,
    "prefer": prefer,
    "translate": translate,
    "comparer": learn,
    "logps": logps,
    "gate": fit,
    "score": score,
    "pair": pair,
    "train": train,
    "respond": respond,
    "judge": judge,
    "report": report,
}
