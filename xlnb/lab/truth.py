"""The truth of the lab's questions, which its oracle knows."""

from xlnb.common.records import Sample, Truth
from xlnb.lab.oracle import judge
from xlnb.lab.world import load_world

LAB_ONLY = (
    "skipped: this part needs the lab's oracle, which knows the truth of the lab's questions only"
)


def lab_truth(taste: str) -> Truth:
    """The oracle's score of every response, in points of a taste."""

    def truth(sample: Sample) -> list[float]:
        fact = load_world().fact(sample.prompt_id)
        return [judge(fact, sample.lang, each.text).points(taste) for each in sample.responses]

    return truth
