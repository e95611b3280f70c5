"""A run of a few prompts, through every stage."""

import pytest
from small import SMALL

from xlnb import stages
from xlnb.runs.run import open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = open_run(tmp_path_factory.mktemp("explore") / "run", "lab-quick", SMALL)
    return stages.run_until(run)
