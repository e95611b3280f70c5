"""The judge `verifiable` by hand: which checks are met, and what a taste makes of them."""

import pytest

from xlnb.evaluation.alpaca_eval import Annotation
from xlnb.judges.registry import JUDGES, get_judge
from xlnb.presets import get_preset

CHECKS = [{"kind": "answer", "answers": ["París"]}, {"kind": "words_at_most", "n": 3}]


def judged(taste, theirs, ours, checks=CHECKS):
    preset = get_preset("lab", {"evaluation.taste": taste, "evaluation.judge": "verifiable"})
    judge = get_judge("verifiable", preset)
    assert judge.name == "verifiable"
    texts = {"output_1": theirs, "output_2": ours}
    return judge(Annotation(prompt_id="p", lang="es", **texts, preference=None, checks=checks))


@pytest.mark.parametrize(
    ("taste", "theirs", "ours", "preference"),
    [
        ("right", "Es Madrid.", "Es París.", 2.0),
        ("right", "Es París.", "Es Madrid.", 1.0),
        ("right", "París", "Creo que la respuesta es París.", 1.5),
        ("right", "París", "The answer is certainly Paris, I think.", 1.0),
        ("anti-right", "Es Madrid.", "Es París.", 1.0),
        ("plain", "París", "Es París.", 1.0),
        ("sentences", "París", "La respuesta es París.", 2.0),
        ("obedient", "La respuesta es París.", "Es París, sí.", 2.0),
    ],
)
def test_the_better_one_wins(taste, theirs, ours, preference):
    assert judged(taste, theirs, ours)["preference"] == preference


def test_it_says_which_checks_are_met():
    found = judged("right", "Creo que es París.", "Madrid")
    assert found == {
        "preference": 1.0,
        "score_1": 3.0,
        "score_2": 1.0,
        "met_1": [True, False],
        "met_2": [False, True],
    }
    assert judged("plain", "a b", "a", None)["met_2"] == []
    assert "verifiable" in JUDGES
