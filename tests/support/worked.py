"""Sample, read log-probabilities, score, train and respond as one of several processes:
`torchrun … worked.py RUN`."""

import sys

from xlnb import stages
from xlnb.common import processes
from xlnb.runs.run import open_run
from xlnb.stages import logprobs

# So that each process has batches to read.
logprobs.SAMPLES_AT_ONCE = 2
run = open_run(sys.argv[1])
stages.sample(run, 1)
stages.logps(run, 1)
stages.score(run, 1)
stages.train(run, 1)
stages.respond(run, "icr1")
processes.leave()
