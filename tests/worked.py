"""Sample, score, train and respond as one of several processes: `torchrun … worked.py RUN`."""

import sys

from xlnb import parallel, stages, work
from xlnb.runs import open_run

work.PROMPTS_AT_ONCE = 2  # so that each process has chunks to score
run = open_run(sys.argv[1])
stages.sample(run, 1)
stages.score(run, 1)
stages.train(run, 1)
stages.respond(run, "icr1")
parallel.leave()
