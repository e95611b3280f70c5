"""xlnb: implicit cross-lingual rewarding, and what it is compared with.

The method, in the order to read it. A file at the top is a step of the method; a folder is what the
method stands on.

    presets          every value that a run depends on
    prompts          the prompts under which R_c, R_m and R_t read a response
    sampling         N responses a prompt
    logprobs         log π(y|x)
    rewards          β log π/π_I, and the plain scores that it must beat
    length_control   α
    pairs            candidates, selection, what was dropped and why
    decay            what a token counts by its place
    losses           the DPO family
    objective        what training minimises of them
    training         QLoRA DPO + NLL
    winrates         WR, SE, LC, intervals, paired tests

`stages` runs them in order, from files to files; `runs.layout` says where everything lies.
"""

import logging
import os

# No telemetry leaves a notebook or a run.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Threads that wait for each other sleep: beside another busy process those that spin, the default,
# wait for threads that get no core because of it. PyTorch reads it when it is imported; notebooks'
# kernels inherit it from `run`.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# bitsandbytes tries to fetch a CPU kernel from the Hub when it is imported and logs the failure; it
# works without.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

__version__ = "0.1.0"
