"""Options of related methods through the whole path, together, on the smallest run."""

import re
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from small import SMALL

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl
from xlnb.lab.oracle import judge
from xlnb.lab.world import load_world
from xlnb.presets.values import in_use
from xlnb.runs.run import open_run
from xlnb.stages import adapters
from xlnb.stages.prompts import collect_prompts
from xlnb.stages.reading import eval_prompts

OPTIONS = {
    "training.gamma": "0.9",
    "training.label_smoothing": "0.1",
    "training.sides": "rejected",
    "training.nll": "0",
    "training.layers": "1-2",
    "training.modules": "mlp",
    "scoring.gamma": "0.8",
    "scoring.layers": "3",
    "scoring.keep_tokens": "true",
    "evaluation.runs": "2",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "options"
    return stages.run_until(open_run(folder, "lab-quick", {**SMALL, **OPTIONS}))


def test_stages_remember_the_options_that_are_on(finished):
    used = read_json(finished.stamp("icr1/adapter"))["key"]["uses"]
    expected = in_use(finished.preset.training)
    assert used["training"] == {name: expected[name] for name in used["training"]}
    assert {"gamma", "label_smoothing", "sides", "layers", "modules"} <= used["training"].keys()
    # English training has none of its own.
    english = read_json(finished.stamp("dpo/adapter"))["key"]["uses"]["english"]
    assert not {"gamma", "label_smoothing", "sides"} & english.keys()
    assert read_json(finished.stamp("icr1/scores"))["key"]["uses"]["scoring"]["gamma"] == 0.8
    scoring = read_json(finished.stamp("icr1/logps/cross_lingual"))["key"]["uses"]["scoring"]
    assert scoring == {"keep_tokens": True, "layers": 3}


def test_rewards_are_those_of_decayed_tokens(finished):
    scores = read_jsonl(finished.path / "icr1/scores/es.jsonl")
    logps = read_jsonl(finished.path / "icr1/logps/cross_lingual/es.jsonl")
    for score, read in zip(scores, logps, strict=True):
        sides = zip(read["policy_token_logps"], read["ref_token_logps"], strict=True)
        for reward, both in zip(score["scores"]["cross_lingual"], sides, strict=True):
            gains = [policy - ref for policy, ref in zip(*both, strict=True)]
            expected = sum(0.8**t * gain for t, gain in enumerate(gains))
            assert reward == pytest.approx(0.1 * expected, abs=1e-5)


def test_the_training_record_says_the_half_life_and_the_log_is_that_of_the_loss(finished):
    record = read_json(finished.path / "icr1/adapter/training.json")
    assert record["half_life_chars"].keys() == {"en", "es"}
    assert all(5 < chars < 60 for chars in record["half_life_chars"].values())
    assert record["log"][0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert "half_life_chars" not in read_json(finished.path / "dpo/adapter/training.json")


def test_every_response_is_judged_and_a_prompt_is_one_draw(finished):
    for lang in ("en", "es"):
        annotations = read_json(finished.path / f"eval/icr1/{lang}/annotations.json")
        assert [one["run"] for one in annotations] == [1, 2] * 8
        assert annotations[0]["id"] == annotations[1]["id"]
        entry = read_json(finished.metrics)["win_rates"]["icr1"][lang]
        assert (entry["n"], entry["runs"]) == (8, 2)
        wins = [one["preference"] - 1 for one in annotations]
        assert entry["wr"] == pytest.approx(100 * sum(wins) / len(wins))
        assert {"wr_se_prompts", "wr_se_sampling"} <= entry.keys()


def test_the_adapter_goes_on_from_the_one_before_it_in_these_layers_alone(finished):
    tensors = {}
    for model in ("dpo", "icr1"):
        tensors[model] = load_file(finished.path / model / "adapter/adapter_model.safetensors")
    assert tensors["dpo"].keys() == tensors["icr1"].keys()
    for name, before in tensors["dpo"].items():
        trained = re.search(r"\.layers\.[12]\.mlp\.", name) is not None
        assert torch.equal(before, tensors["icr1"][name]) != trained, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"english.gamma": "0.9"},
            r"dpo/adapter is there .* english\.gamma was 1\.0, is now 0\.9;",
        ),
        (
            {"training.gamma": "1"},
            r"icr1/adapter is there .* training\.gamma was 0\.9, is now 1\.0;",
        ),
        (
            {"evaluation.runs": "3"},
            r"eval/\w+/responses is there .* evaluation\.runs was 2, is now 3;",
        ),
        ({"pairing.ridge": "2"}, r"icr1/pairs is there .* pairing\.ridge was 1\.0, is now 2\.0;"),
    ],
)
def test_an_option_that_would_undo_a_stage_is_refused_before_anything_changes(
    finished, changes, message
):
    before = finished.record.read_bytes()
    with pytest.raises(InputError, match=message):
        open_run(finished.path, overrides=changes, redo=False)
    assert finished.record.read_bytes() == before
    assert open_run(finished.path, redo=False) == replace(finished, redo=False)


def test_the_labs_training_prompts_have_the_worlds_answer_where_it_is_asked_for(tmp_path):
    plain = open_run(tmp_path / "plain", "lab-quick", SMALL)
    given = open_run(tmp_path / "given", "lab-quick", {**SMALL, "prompts.references": "true"})
    prompts = {}
    for run in (plain, given):
        stages.collect_prompts(run)
        prompts[run] = read_jsonl(run.prompts / "es.jsonl")
    assert all("reference" not in prompt for prompt in prompts[plain])
    for without, prompt in zip(prompts[plain], prompts[given], strict=True):
        answer = prompt.pop("reference", None)
        assert prompt == without
        assert (answer is not None) == (prompt["split"] == "train")
        if answer:
            verdict = judge(load_world().fact(prompt["prompt_id"]), "es", answer)
            assert verdict.reason == "right, full sentence"


def test_a_layer_that_the_model_has_not_is_refused_before_the_references(finished, monkeypatch):
    monkeypatch.setattr("xlnb.training.add_reference", None)
    run = open_run(finished.path, overrides={"training.layers": "1-4"})
    with pytest.raises(InputError, match=r"^training\.layers: there is no layer 4; .* 0 to 3$"):
        stages.run_until(run, "icr1/adapter")


def test_pairs_that_the_models_context_does_not_hold_are_dropped(
    finished, tmp_path, monkeypatch, capsys
):
    changed = {"training.lr": "9", "training.layers": "1-2"}
    run = open_run(shutil.copytree(finished.path, tmp_path / "run"), overrides=changed)
    monkeypatch.setattr(adapters, "context_of", lambda config: 10)
    with pytest.raises(InputError, match="icr1/adapter: no pair is left to train on"):
        stages.train(run, 1)
    assert "pairs dropped, longer than 10 tokens" in capsys.readouterr().out


def test_prompts_that_have_changed_are_to_be_made_again_not_mended_by_hand(finished, tmp_path):
    run = open_run(shutil.copytree(finished.path, tmp_path / "run"))
    path = run.prompts / "es.jsonl"
    path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    with pytest.raises(InputError, match=r"es\.jsonl, which has changed since stage prompts wrote"):
        eval_prompts(run)
    collect_prompts(run)
    assert set(eval_prompts(run)) == {"en", "es"}
