"""A run's pairs, judgements and win rates as the panels show them, on a run of a few prompts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from xlnb.analysis import read
from xlnb.common.errors import InputError
from xlnb.explore import tables
from xlnb.explore.asking import Player, Question
from xlnb.lab.tastes import get_taste
from xlnb.lab.world import load_world
from xlnb.runs.run import open_run


@pytest.fixture(scope="module")
def player(run):
    return Player(run)


@pytest.fixture(scope="module")
def known(run):
    """One of the run's Spanish questions."""
    return read.prompts(run)["es"][0]


def test_a_known_question_has_its_english_one_and_the_oracles_word(player, known):
    question = player.question(known["instruction"], "es")
    assert question.prompt_id == known["prompt_id"]
    table = player.ask(question, n=2)
    assert list(table["model"]) == ["sft", "sft", "dpo", "dpo", "icr1", "icr1"]
    assert {"R_c", "oracle", "why"} <= set(table.columns)
    assert player.ask(question, n=2).equals(table)
    assert not player.ask(question, n=2, seed=1)["answer"].equals(table["answer"])
    assert list(player.ask(question, models=["dpo"], n=1)["model"]) == ["dpo"]


def test_any_question_can_be_asked(player):
    table = player.ask(player.question("¿Quién eres?", "es"), n=1)
    assert list(table.columns) == ["model", "answer"]
    table = player.ask(player.question("¿Quién eres?", "es", "Who are you?"), n=1)
    assert list(table.columns) == ["model", "answer", "R_c"]


def test_a_score_is_what_the_stage_scored(run, player):
    sample = read.samples(run, 1, "es")[0]
    (scored,) = [
        record
        for record in read.scores(run, 1, "cross_lingual", "es")
        if record["prompt_id"] == sample["prompt_id"]
    ]
    question = player.question(sample["instruction"], "es")
    ended = [i for i, each in enumerate(sample["responses"]) if each["finish_reason"] == "stop"]
    table = player.score(question, sample["responses"][ended[0]]["text"])
    assert list(table.columns) == ["token", "R_c", "R_m"]
    assert table["R_c"].sum() == pytest.approx(scored["reward"][ended[0]], abs=1e-3)


@pytest.mark.parametrize("text", ["", " \n"])
def test_nothing_is_no_question_and_no_answer(player, text):
    with pytest.raises(InputError, match="expected a question"):
        player.question(text, "es")
    with pytest.raises(InputError, match="expected an answer"):
        player.score(Question("¿Qué?", "es"), text)


def test_a_question_that_fills_the_context_is_told(player):
    question = player.question("What? " * 5000, "en")
    with pytest.raises(
        InputError, match=r"the question has \d+ tokens, and the context of \w+ 4096"
    ):
        player.ask(question, n=1)


def test_an_unknown_language_is_named(player):
    with pytest.raises(InputError, match="xx"):
        player.question("Who?", "xx")


def test_a_run_without_another_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no π\^0 yet"):
        Player(open_run(tmp_path / "new", "lab-quick"))


def test_pairs_at_the_runs_alpha_are_the_runs(run):
    pairing = tables.Pairing(run, 1, "es")
    here = pairing.at(pairing.alpha)
    report = read.pair_report(run, 1)["es"]
    assert (here["pairs"], here["changed"]) == (report["pairs"], 0)
    assert here["length gap"] == pytest.approx(report["length_gap"])
    # Length alone decides at an α so great.
    far = pairing.at(1e6)
    assert far["length gap"] < here["length gap"] and far["changed"] > 0
    assert far["length gap"] == pytest.approx(pairing.curve[1][-1])
    for pair in read.pairs(run, "icr1")["es"]:
        table = pairing.responses(pair["prompt_id"], pairing.alpha)
        by_side = table.set_index("side")["response"]
        assert by_side["chosen"] == pair["chosen"][0]["content"]
        assert by_side["rejected"] == pair["rejected"][0]["content"]


def test_half_of_the_steps_lie_within_reach(run):
    pairing = tables.Pairing(run, 1, "es")
    steps = np.abs(pairing.curve[0][1:])
    assert pairing.reach >= abs(pairing.alpha)
    assert 0.5 <= np.mean(steps <= pairing.reach) < 1
    # One digit.
    assert float(f"{pairing.reach:.0e}") == pytest.approx(pairing.reach)


def test_length_control_takes_the_correlation_away(run):
    pairing = tables.Pairing(run, 1, "es")
    prompts = pairing.prompts.values()
    scores = np.concatenate([one.scores - one.scores.mean() for one in prompts])
    chars = np.concatenate([one.n_chars - one.n_chars.mean() for one in prompts])
    found = pairing.at(0.0)["correlation with length"]
    assert found == pytest.approx(np.corrcoef(scores, chars)[0, 1])
    slope = float(scores @ chars / (chars @ chars))
    assert pairing.at(slope)["correlation with length"] == pytest.approx(0, abs=1e-9)
    assert pairing.at(1e6)["correlation with length"] == pytest.approx(-1, abs=1e-6)


def test_questions_have_kinds(run):
    table = tables.questions(run, "es")
    assert len(table) == 8 and set(table["kind"]) <= {fact.kind for fact in load_world().facts}
    others = replace(run.preset, prompts=replace(run.preset.prompts, path="mine"))
    table = tables.questions(replace(run, preset=others), "es")
    assert set(table["kind"]) == {"train", "reward", "eval"}


def test_the_leaderboard_is_the_reports(run):
    rates = read.metrics(run)["win_rates"]
    board = tables.leaderboard(run)
    assert board.loc["icr1", "es"] == rates["icr1"]["es"]["wr"]
    assert (list(board.index), list(board.columns)) == (run.models, list(rates["sft"]))


def test_results_are_counted_in_words():
    rows = pd.DataFrame({"result": ["win", "not judged", "win", "loss"]})
    assert tables.results(rows) == "1 loss, 2 win, 1 not judged"


def test_a_prompt_without_a_pair_is_refused(run):
    with pytest.raises(InputError, match="prompt none gives no pair"):
        tables.Pairing(run, 1, "es").responses("none", 0.0)


def test_the_runs_own_weights_give_its_win_rates(run):
    table = tables.rejudge(run, get_taste(run.taste))
    for model, by_lang in read.metrics(run)["win_rates"].items():
        for lang, entry in by_lang.items():
            assert table.loc[model, lang] == pytest.approx(entry["wr"])
    opposite = tables.rejudge(run, get_taste(f"anti-{run.taste}"))
    np.testing.assert_allclose(table + opposite, 100)
    assert (tables.rejudge(run, {}) == 50).all(axis=None)


def test_an_unknown_feature_is_refused(run):
    with pytest.raises(InputError, match="feature 'rihgt': expected one of right, wrong"):
        tables.rejudge(run, {"rihgt": 1.0})


def test_the_rows_behind_a_win_rate_give_it(run):
    table = tables.wins_and_losses(run, "icr1", "es")
    worth = table["result"].map({"win": 100, "tie": 50, "loss": 0})
    assert worth.mean() == pytest.approx(read.metrics(run)["win_rates"]["icr1"]["es"]["wr"])
    assert worth.is_monotonic_increasing
    with pytest.raises(InputError, match="no judgements of icr1 in fr"):
        tables.wins_and_losses(run, "icr1", "fr")
