"""Fused scores through the whole path: a gate of English preferences makes pairs in Spanish."""

import shutil

import numpy as np
import pytest
from small import SMALL

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl
from xlnb.fusion import Gate, standardised
from xlnb.models.chat import load_tokenizer, prompt_ids
from xlnb.prompts import cross_lingual
from xlnb.runs.run import open_run
from xlnb.stages import gates, logprobs
from xlnb.stages.gates import folder

VIEWS = ["cross_lingual", "multilingual", "likelihood"]
ASKED = {**SMALL, "scoring.scorers": ",".join(["gate", *VIEWS, "mean"])}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    run = open_run(tmp_path_factory.mktemp("run") / "gated", "lab-quick", ASKED)
    return stages.run_until(run, "icr1/pairs")


def test_the_gate_is_of_english_preferences_alone(scored):
    key = read_json(scored.stamp("icr1/gate"))["key"]
    read = [name for name in key["inputs"] if name.endswith(".jsonl")]
    assert read == ["dpo/pairs/en.jsonl"]
    logps = read_jsonl(folder(scored.iteration(1)) / "en.jsonl")
    preferred = {pair["prompt_id"] for pair in read_jsonl(scored.iteration(0).pairs("en"))}
    assert {record["prompt_id"] for record in logps} == preferred
    gate = read_json(folder(scored.iteration(1)) / "gate.json")
    # Two of the three views are one in English, and are weighed alike but for what was left out.
    assert len(gate["a"]) == 3 and gate["a"] != [0, 0, 0]


def test_scores_are_the_gate_s_of_the_scores_beside_it(scored):
    values = read_json(folder(scored.iteration(1)) / "gate.json")
    gate = Gate(tuple(values["a"]), values["b"])
    for here in scored.iteration(1).scored:
        for record in read_jsonl(here.scores("es")):
            views = np.array([record["scores"][name] for name in VIEWS])
            assert record["scores"]["gate"] == pytest.approx(gate.score(views))
            assert record["scores"]["mean"] == pytest.approx(standardised(views).mean(0))


def test_the_gate_makes_the_pairs(scored):
    here = scored.iteration(1)
    scores = {record["prompt_id"]: record for record in read_jsonl(here.scores("es"))}
    (pair, *_) = read_jsonl(here.pairs("es"))
    gaps = np.ptp(scores[pair["prompt_id"]]["scores"]["gate"])
    assert 0 < pair["margin"] <= gaps + 1


def test_another_score_fits_another_gate_and_reads_nothing_twice(scored, capsys):
    asked = {"scoring.scorers": ",".join(["gate", *VIEWS])}
    before = {path: path.stat().st_mtime_ns for path in scored.path.glob("icr1/logps/*/*")}
    again = stages.run_until(open_run(scored.path, overrides=asked), "icr1/scores")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "icr1/gate: redone" in capsys.readouterr().out
    assert "mean" not in read_jsonl(again.iteration(1).scores("es"))[0]["scores"]


def test_preferences_that_a_context_does_not_hold_are_left_out(
    scored, tmp_path, monkeypatch, capsys
):
    run = open_run(shutil.copytree(scored.path, tmp_path / "run"))
    here = run.iteration(1)
    shutil.rmtree(folder(here))
    run.stamp("icr1/gate").unlink()
    samples, _ = gates._labelled(run.iteration(0).pairs("en"), load_tokenizer(run.base("sft")))
    lengths = {}
    for sample in samples:
        asked = prompt_ids(load_tokenizer(run.base("sft")), cross_lingual(sample.instruction, "en"))
        longest = max(len(response.token_ids) for response in sample.responses)
        lengths[sample.prompt_id] = len(asked) + longest
    context = sorted(lengths.values())[len(lengths) // 2]
    beyond = sum(length > context for length in lengths.values())
    assert 0 < beyond < len(lengths)
    monkeypatch.setattr(logprobs, "context_of", lambda config: context)
    capsys.readouterr()
    gates.fit(run, 1)
    said = capsys.readouterr().out
    assert f"; {beyond} prompts left out, longer than the context" in said
    gate = read_json(folder(here) / "gate.json")
    assert np.isfinite([*gate["a"], gate["b"]]).all()


def test_a_given_policy_has_no_english_preferences(tmp_path):
    given = {**ASKED, "models.dpo": "ORG/NAME"}
    with pytest.raises(InputError, match=r"gate is fitted to the English .* is given; take mean$"):
        open_run(tmp_path / "run", "lab-quick", given)
    assert not (tmp_path / "run").exists()
