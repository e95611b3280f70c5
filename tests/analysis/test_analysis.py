"""Tables of notebooks on numbers worked by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from xlnb.analysis import (
    gains,
    judging,
    kinds,
    learning,
    length,
    masks,
    pairing,
    read,
    responses,
    sums,
)
from xlnb.analysis.derivation import by_score
from xlnb.analysis.tables import left
from xlnb.common.records import Logps, Score, write_records
from xlnb.evaluation.alpaca_eval import preference_of
from xlnb.lab.oracle import KINDS, judge
from xlnb.lab.world import load_world
from xlnb.presets import get_preset
from xlnb.runs.layout import Run


def sample(texts, prompt_id="p", lang="es", split="train"):
    answers = []
    for text in texts:
        ids = list(range(len(text)))
        answers.append({"text": text, "token_ids": ids, "finish_reason": "stop"})
    names = {"prompt_id": prompt_id, "lang": lang, "split": split}
    return names | {"instruction": "¿?", "responses": answers}


def score(record, rewards):
    n_chars = [len(response["text"]) for response in record["responses"]]
    names = {name: record[name] for name in ("prompt_id", "lang", "split")}
    return names | {"reward": rewards, "n_chars": n_chars}


TABLE = pd.DataFrame(
    {
        "scorer": "cross_lingual",
        "lang": "es",
        "prompt_id": ["a", "a", "b", "b"],
        "text": ["x", "xx", "y", "yyy"],
        "reward": [1.0, 3.0, 5.0, 1.0],
        "n_chars": [1, 2, 1, 3],
        "truth": [7.0, 1.0, 7.0, 0.0],
        "reason": "why",
        "kind": [KINDS[0], KINDS[5], KINDS[0], KINDS[6]],
    }
)


def test_a_preference_of_two_scores():
    assert preference_of([3, 1, 2], [1, 3, 2]).tolist() == [2, 1, 1.5]


def test_the_joined_table_has_a_row_a_response_that_has_a_reward():
    record = sample(["uno", "dos", "tres"])
    scores = {"R": {"es": [score(record, [0.5, None, -1.0])]}}
    table = responses.responses({"es": [record]}, scores, taste="")
    assert table["text"].tolist() == ["uno", "tres"]
    assert table["reward"].tolist() == [0.5, -1.0]
    assert table["n_chars"].tolist() == [3, 4]
    assert "truth" not in table


def test_ranks_and_means_are_of_a_prompt():
    assert responses.ranked(TABLE)["rank"].tolist() == [2, 1, 1, 2]
    assert responses.centred(TABLE, ["reward"])["reward"].tolist() == [-1, 1, 2, -2]


def test_what_a_reward_puts_first_and_last():
    ends = responses.ends(TABLE)
    assert ends["best_text"].tolist() == ["xx", "y"]
    agrees = responses.agreement(ends)
    assert agrees.tolist() == [1.0, 2.0]
    accuracy = responses.accuracy(agrees, ["es"], ["cross_lingual"])
    assert accuracy["cross_lingual"]["es"][0] == 50
    [error] = responses.errors(ends).to_dict("records")
    assert (error["gap"], error["margin"]) == (-6, 2)
    assert error["kinds"] == "wrong over right, polite"


def test_the_slope_of_reward_over_length():
    centred = responses.centred(TABLE, ["reward", "n_chars"])
    # (-.5·-1 + .5·1 + -1·2 + 1·-2) / (.25 + .25 + 1 + 1)
    assert responses.length_slopes(centred) == {"es": pytest.approx(-3 / 2.5)}


def test_kinds_are_counted_best_first():
    assert kinds.shares([KINDS[5], KINDS[0], KINDS[0], KINDS[5]]).to_dict() == dict.fromkeys(
        KINDS, 0
    ) | {KINDS[0]: 50, KINDS[5]: 50}
    assert responses.kinds(TABLE).index.tolist() == [KINDS[0], KINDS[5], KINDS[6]]


@pytest.mark.parametrize("lang", ["en", "es"])
def test_the_oracle_names_the_kind(lang):
    world = load_world()
    fact = world.facts[0]
    right = world.sentence(fact, lang, fact.y[lang], 0)
    other = next(code for code in world.langs if fact.y[code] not in (fact.y[lang], ""))
    texts = {
        f"{world.manners['formal'][lang][0]} {right}": KINDS[0],
        right: KINDS[1],
        f"{right} {world.padding[lang][0]}": KINDS[1],
        f"{right} {right}": KINDS[1],
        fact.y[lang]: KINDS[1],
        f"{world.manners['familiar'][lang][0]} {fact.y[lang]}": KINDS[2],
        world.sentence(fact, other, fact.y[other], 0): KINDS[3],
        world.refusals[lang][0]: KINDS[4],
        "Lorem ipsum.": KINDS[6],
        "": KINDS[6],
    }
    assert {text: judge(fact, lang, text).kind for text in texts} == texts


def test_candidates_pairs_and_what_alpha_moves():
    record = sample(["a", "bbb", "cc"])
    found = pairing.train_candidates([record], [score(record, [0.0, 2.0, 1.0])], None)
    assert pairing.usable(found) == found
    before, _ = pairing.made_pairs(found, 0.0)
    after, _ = pairing.made_pairs(found, 2.0)
    assert pairing.text(before[0], "chosen") == "bbb"
    assert pairing.moved(before, after).changed == ["p"]
    assert pairing.moved(before, before).changed == []
    fits = pairing.alpha_fits(found, 1.0).fits
    assert pairing.marks(fits)["before"] == (0.0, 2.0)
    assert pairing.strangers([True, True, False, True]) == "75% (1 not)"


def test_the_releases_mask():
    assert masks.shorter_than_batch([3, 5, 4, 2, 2]).tolist() == [True, False, True, False, False]
    records = [sample(["a", "b"])]
    values = [torch.tensor([1.0, 2.0, 8.0]), torch.tensor([5.0, 0.5, 0.25])]
    table = masks.masked_scores(records, values, [4, 6])
    assert table["score"].tolist() == [3, 5.5]
    assert table["alone"].tolist() == [2, 0.5]
    assert table["release"].tolist() == [10, 0.5]
    assert masks.chosen_pairs(table, "score")["es", "p"] == ("b", "a")
    share, _, _, count = masks.changed_shares(table, "score", "release")["es"]
    assert (share, count) == (100, 1)
    assert masks.pairs_changed(records, [1.0, 2.0], [2.0, 1.0]) == 1


def test_a_batch_padded_behind_its_rows():
    ids, attended, mask = masks.padded([[1, 2], [3]], [[4], [5]], 9)
    assert ids.tolist() == [[1, 2, 4], [3, 5, 9]]
    assert attended.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert mask.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_sums_of_tokens():
    sides = ([torch.tensor([-1.0, -2.0])], [torch.tensor([-2.0, -3.0])])
    found = sums.sums(sides, 0.5)
    assert {name: value.tolist() for name, value in found.items()} == {
        "log π^0": [-3.0],
        "log π_I": [-5.0],
        "reward": [1.0],
    }


def test_judges_agree():
    row = judging.agreement(np.array([2, 1, 1.5, np.nan]), np.array([2, 2, 1, 1]))
    assert row["agree where both decide (%)"] == 50
    assert row["ties of the run's judge (%)"] == 25


def test_gains_over_prompts_and_facts():
    ids = [f"capital/{fact}/{phrasing}" for fact in ("france", "portugal") for phrasing in (0, 1)]
    assert gains.fact_of(ids[1]) == "capital/france"
    # no prompts of the lab's
    assert gains.fact_of("mine/france/1") == "mine/france/1"
    before = {"en": np.ones(4), "es": np.ones(4), "de": np.ones(4)}
    after = {"en": np.ones(4), "es": np.array([2.0, 2, 1, 1]), "de": np.array([2.0, 1, 1, 1])}
    gain = gains.gains(after, before)
    assert gain["es"]["difference"] == 50
    assert gain[gains.NON_ENGLISH]["difference"] == 37.5
    assert gains.gains(after, before, ids)["es"]["clusters"] == 2
    # over two facts the SE is 50, over four prompts 100 · sqrt(1/3) / 2
    over_facts = gains.gains(after, before, ids)["es"]
    assert over_facts["se"] / gain["es"]["se"] == pytest.approx(np.sqrt(3))


def test_win_rates_by_length():
    found = length.by_length([1, 2, 2, 1], [5, 5, 5, 5], [5, 5, 5, 5], bins=2)
    assert found.groups["wr"].tolist() == [50, 50]
    assert (found.wr, found.lc, len(found.curve)) == (50, 50, 0)


def test_changes_and_interleaved_pairs():
    row = learning.change_row(np.array([1.0, -1.0]), np.array([-2.0, -3.0]))
    assert (row["margin grew (%)"], row["chosen fell (%)"], row["both fell (%)"]) == (100, 50, 50)
    assert len(learning.interleaved({"en": list("abc"), "es": list("abc")}, 3)) == 4


def test_rewards_by_score_need_two_prompts():
    found = by_score(TABLE.rename(columns={"truth": "oracle"}))
    assert found[["score", "mean", "n"]].to_numpy().tolist() == [[7, 0.5, 2]]


def test_a_left_aligned_table_shortens_texts():
    html = left(pd.DataFrame({"text": ["a" * 500]}), "name").to_html()
    assert "a" * 399 + "…" in html
    assert "text-align: left" in html


def test_html_in_texts_of_others_is_escaped():
    script = "<script>alert(1)</script> & <b>"
    table = pd.DataFrame({"text": [script], f"{script}2": [0.5]}, index=[script])
    for index in (False, True):
        html = left(table, "name", index=index).to_html()
        assert "<script" not in html and "<b>" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;" in html and "0.500" in html


def test_a_score_that_no_model_reads_for_has_rewards_too(tmp_path):
    run = Run(tmp_path, get_preset("lab-quick", {"scoring.scorers": "cross_lingual,brevity"}))
    here = run.iteration(1)
    values = {"cross_lingual": [0.5, None], "brevity": [-2.0, -1.0]}
    write_records(here.scores("es"), [Score("p", "es", "reward", [2, 1], values)])
    logps = Logps("p", "es", "reward", [-1.0, None], [-6.0, None], [2, None])
    write_records(here.logps("cross_lingual", "es"), [logps])
    (rewarded,) = read.scores(run, 1, "cross_lingual", "es")
    assert (rewarded["reward"], rewarded["policy_logps"]) == ([0.5, None], [-1.0, None])
    (brief,) = read.scores(run, 1, "brevity", "es")
    assert brief["reward"] == [-2.0, -1.0] and "policy_logps" not in brief
