"""A process that ends with the one that started it, and an interruption that native code has lost."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from xlnb.common import interruption, parent
from xlnb.common.files import ROOT
from xlnb.common.interruption import interruptible
from xlnb.common.journal import Journal

CHILD = (
    "import time; from xlnb.common.parent import STARTED_BY, end_with_parent;"
    "from xlnb.common.interruption import interruptible;"
    "import os\n"
    "with interruptible():\n"
    "    end_with_parent()\n"
    "    print(os.getpid(), STARTED_BY in os.environ, flush=True)\n"
    "    time.sleep(60)\n"
)
PARENT = (
    "import os, subprocess, sys; from xlnb.common.parent import with_this;"
    "subprocess.Popen([sys.executable, '-c', sys.argv[1]], env={**os.environ, **with_this()},"
    " start_new_session=True).wait()"
)
# As torchrun starts them.
LAUNCHER = PARENT.replace("**with_this()", "'TORCHELASTIC_RUN_ID': 'none'")


def ends(pid):
    """Whether a process ends within 30 seconds."""
    for _ in range(300):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("starts", [PARENT, LAUNCHER], ids=["the kit", "a launcher"])
def test_a_process_ends_with_the_one_that_was_killed(starts):
    process = subprocess.Popen(
        [sys.executable, "-c", starts, CHILD],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pid, inherited = process.stdout.readline().split()
    # What the child starts has another parent.
    assert inherited == "False"
    time.sleep(2 * parent.PAUSE)
    assert process.poll() is None and os.path.exists(f"/proc/{pid}")
    process.send_signal(signal.SIGKILL)
    assert ends(pid)
    _, said = process.communicate(timeout=30)
    assert said.rstrip().endswith("Ended")


def test_a_journal_goes_no_further_after_an_interruption_that_was_lost(tmp_path):
    journal = Journal(tmp_path / "en.jsonl")

    def work():
        # As native code does.
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        journal.append([{"prompt_id": "a"}])
        raise AssertionError("it went on")

    with pytest.raises(interruption.Ended), interruptible():
        work()
    # What was made is kept.
    assert Journal(tmp_path / "en.jsonl").done == {"a"}
