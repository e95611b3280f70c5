"""Accuracies of rewards by other ways to make them."""

from xlnb.analysis.inside import accuracies, ceilings
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


def test_a_languages_ceiling_is_on_the_diagonal():
    table = {"en": {"en": 0.5, "es": 0.2}, "es": {"en": 0.2, "es": 0.3}}
    both = {"NLL": {"en": 0.9, "es": 0.8}}
    found = ceilings(
        {"DPO, cosines": table, "NLL, cosines": table, "DPO and NLL, of the ceiling": both}
    )
    assert found.loc["es"].tolist() == [0.3, 0.3, 0.8]
    assert list(found.columns) == ["DPO, halves", "NLL, halves", "DPO and NLL"]
