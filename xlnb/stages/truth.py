"""A run's truth: the lab's oracle, or what a program verifies."""

from xlnb.checks.tastes import verified_truth
from xlnb.common.records import Truth
from xlnb.lab.truth import lab_truth
from xlnb.runs.layout import Run
from xlnb.stages.reading import read_prompts


def truth_of(run: Run) -> Truth | None:
    """None where nobody knows."""
    if run.is_lab:
        return lab_truth(run.taste)
    if run.verifies_by:
        return verified_truth(read_prompts(run), run.verifies_by)
    return None
