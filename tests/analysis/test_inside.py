"""Accuracies of rewards by other ways to make them."""

from xlnb.analysis.inside import accuracies
from xlnb.common.records import Response, Sample


def sample(prompt_id, lang):
    return Sample(prompt_id, lang, "reward", "?", [Response(t, [1], "stop") for t in ("a", "bb")])


def truth(sample):
    """The longer response is the better one."""
    return [float(len(response.text)) for response in sample.responses]


def test_accuracies_are_of_each_languages_own_rows():
    samples = [sample("p", "en"), sample("q", "en"), sample("p", "es")]
    ways = {"right": [0, 1, 0, 1, 0, 1], "wrong in one": [0, 1, 1, 0, 0, 1], "blind": [0] * 6}
    assert accuracies(samples, ways, truth) == {
        "right": {"en": 1.0, "es": 1.0},
        "wrong in one": {"en": 0.5, "es": 1.0},
        "blind": {"en": 0.5, "es": 0.5},
    }
