"""Run one stage and kill this process in the middle of it, as kill -9 does.

    python killed.py RUN STAGE

A journal stage dies on its second append with half a line written; training dies in the step after
a checkpoint. Of several processes the second dies.
"""

import os
import signal
import sys

from xlnb import stages
from xlnb.common import processes
from xlnb.common.journal import Journal
from xlnb.runs.run import open_run

folder, stage = sys.argv[1:]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if stage.endswith("adapter"):
    from xlnb.engine.trainer import PreferenceTrainer

    compute_loss = PreferenceTrainer.compute_loss

    def dying_loss(self, *args, **kwargs):
        if self.state.global_step == 3:
            die()
        return compute_loss(self, *args, **kwargs)

    PreferenceTrainer.compute_loss = dying_loss
else:
    append, calls = Journal.append, []

    def dying_append(self, records):
        calls.append(self)
        if len(calls) == 2 and processes.rank() == processes.world() - 1:
            with self.part.open("a", encoding="utf-8") as file:
                file.write('{"prompt_id": "torn')
            die()
        append(self, records)

    Journal.append = dying_append

(step,) = [step for step in stages.steps(open_run(folder)) if step.name == stage]
step.call()
