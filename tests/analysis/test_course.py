"""What the notebooks of rewards, pairs and training show, on numbers worked by hand."""

import pandas as pd
import pytest

from xlnb.analysis import learning, loop, matched, pairing, tokens
from xlnb.exercises import rewards, training
from xlnb.presets import Training


def test_form_against_fact():
    rows = [
        ("a", "right, polite", "right, full sentence, polite", True, 0.3),
        ("a", "wrong", "wrong, polite", True, 0.1),
        ("a", "wrong", "wrong, padded", True, 0.4),
        ("a", "wrong", "wrong, not in the asked language", False, 9.0),
        ("a", "refuses", "refuses, polite", True, 9.0),
        ("b", "right, polite", "right, polite", True, -1.0),
    ]
    columns = ["prompt_id", "kind", "reason", "in_language", "reward"]
    table = matched.with_form(pd.DataFrame(rows, columns=columns).assign(lang="de"))
    assert list(table["form"]) == [
        "right, polite",
        "wrong, polite",
        "wrong, neither",
        "right, polite",
    ]
    found = matched.matched_table(table, ["de"], rewards.matched_accuracy).set_index(
        ["prefers", "to"]
    )
    assert found.loc[("right, polite", "wrong, polite"), "de"] == "100 (1)"
    assert found.loc[("wrong, polite", "right, neither"), "de"] == "–"


def test_pairs_are_spread_over_languages():
    pairs = [[f"en{i}" for i in range(100)], [f"es{i}" for i in range(10)]]
    assert loop.spread(pairs, 8) == ["en0", "es0", "en25", "es2", "en50", "es4", "en75", "es6"]
    assert loop.spread([["en0", "en1"]], 8) == ["en0", "en1"]


def test_where_a_reward_lies():
    lines = [{"rewards": [0.3, 0.1, 0.0]}, {"rewards": [-0.3, 0.1, -0.2]}]
    told = tokens.where(lines)
    assert told.startswith("2 responses of 6 tokens: 60% of all") and "20% in the last" in told


def test_which_sides_length_control_moves():
    pairs = pairing.Moved(
        {"a": {"chosen": 1, "rejected": 2}, "b": {"chosen": 1, "rejected": 2}},
        {"a": {"chosen": 3, "rejected": 2}, "b": {"chosen": 3, "rejected": 4}},
        ["a", "b"],
    )
    assert pairing.sides_moved(pairs) == "2 pairs changed: chosen 2, rejected 1"


def test_how_hard_each_term_pulls():
    table = learning.pulls(training.pair_loss, 0.1, 10.0).set_index("c")
    assert table.loc["1"].tolist() == pytest.approx([0.05, 0.1, 0.15, -0.05])


def test_how_a_training_starts_and_ends():
    log = []
    for step in range(20):
        log.append({"dpo_loss": 0.5, "rewards/accuracies": step / 20, "nll_loss": float(step)})
        log[-1]["rewards/margins"] = step / 10
    row = learning.stretches({"dpo": log}, {"dpo": Training()}).loc["dpo"]
    assert row.tolist() == ["0.5000", "22.5", "72.5", "4.500", "14.500", "1.450"]
