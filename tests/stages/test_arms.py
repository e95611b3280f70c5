"""What the analyses' arms change: label noise, a prompt's first responses, languages with pairs;
the reference of later rewards, English pairs trained on again, how iterations sample."""

import shutil

import pytest
from small import SMALL

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl
from xlnb.common.records import Pair, Response, Sample, Score, read_records
from xlnb.evaluation.truth import flip
from xlnb.lab.oracle import judge
from xlnb.lab.world import load_world
from xlnb.pairs import pair_language
from xlnb.presets import get_preset
from xlnb.runs.run import open_run

PAIRS = [
    Pair("p", "en", "?", "good", "bad", 2.0, 1.0, 1.0, chosen_ids=[1], rejected_ids=[2])
    for _ in range(400)
]


def flipped(share, seed=0):
    return [i for i, pair in enumerate(flip(PAIRS, share, seed)) if pair.chosen == "bad"]


def test_a_share_of_the_pairs_changes_sides():
    assert flipped(0.0) == []
    assert len(flipped(1.0)) == 400
    assert len(flipped(0.2)) == pytest.approx(80, abs=24)
    assert set(flipped(0.1)) < set(flipped(0.2))
    assert flipped(0.2, seed=1) != flipped(0.2)
    (pair,) = flip(PAIRS[:1], 1.0, 0)
    assert (pair.chosen_ids, pair.rejected_ids) == ([2], [1])
    assert (pair.score_chosen, pair.score_rejected, pair.margin) == (1.0, 2.0, -1.0)


def test_noise_is_for_pairs_that_are_made_here():
    with pytest.raises(InputError, match="flipped is for pairs that are made here"):
        get_preset("lab", {"preferences.path": "x.jsonl", "preferences.flipped": "0.1"})


def test_the_first_responses_alone_make_the_pair():
    texts = ["aa", "bb", "cc", "dd"]
    sample = Sample("p", "es", "train", "?", [Response(text, [1], "stop") for text in texts])
    score = Score("p", "es", "train", [2] * 4, {"cross_lingual": [2.0, 1.0, 9.0, -9.0]}, None)
    chosen = {}
    for most in (None, 2, 3):
        (pair,), report = pair_language([sample], [score], scorer="cross_lingual", most=most)
        chosen[most] = (pair.chosen, pair.rejected, report["responses"])
    assert chosen == {None: ("cc", "dd", 4), 2: ("aa", "bb", 2), 3: ("cc", "bb", 3)}


LATER = {
    "iterations": "2",
    "scoring.reference": "previous",
    "preferences.replayed": "0.5",
    "sampling.iterations_n": "3",
    "sampling.iterations_temperature": "1.5",
    "evaluation.resamples": "10",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "later"
    return stages.run_until(open_run(folder, "lab-quick", {**SMALL, **LATER}))


def key_of(run, stage):
    return read_json(run.stamp(stage))["key"]


def test_later_rewards_compare_with_the_policy_before(finished):
    """The shared responses are the same in all iterations: what was the policy is the reference."""
    read = {}
    for model in ("icr1", "icr2"):
        read[model] = read_jsonl(finished.path / model / "shared/logps/cross_lingual/es.jsonl")
    for first, second in zip(read["icr1"], read["icr2"], strict=True):
        assert second["ref_logps"] == pytest.approx(first["policy_logps"], abs=1e-4)
        assert second["ref_logps"] != pytest.approx(first["ref_logps"], abs=1e-4)
    scores = read_jsonl(finished.path / "icr2/shared/scores/es.jsonl")
    for score, logps in zip(scores, read["icr2"], strict=True):
        policy, reference = logps["policy_logps"][0], logps["ref_logps"][0]
        assert score["scores"]["cross_lingual"][0] == pytest.approx(0.1 * (policy - reference))


def test_the_first_iteration_knows_nothing_of_another_reference(finished):
    for name in ("icr1/logps/cross_lingual", "icr1/shared/logps/cross_lingual"):
        assert "reference" not in key_of(finished, name)["uses"]["scoring"]
    for name in ("icr2/logps/cross_lingual", "icr2/shared/logps/cross_lingual"):
        key = key_of(finished, name)
        assert key["uses"]["scoring"]["reference"] == "previous"
        assert "dpo/adapter/adapter_model.safetensors" in key["inputs"]
    with pytest.raises(InputError, match=r"icr2/\S*logps/\S+ is there .*scoring\.reference was"):
        open_run(finished.path, overrides={"scoring.reference": "initial"}, redo=False)


def test_iterations_alone_sample_by_their_own_numbers(finished):
    counts = {}
    for name in ("dpo", "shared", "icr1", "icr2"):
        (sampling,) = [key_of(finished, f"{name}/samples")["uses"]["sampling"]]
        samples = read_jsonl(finished.path / name / "samples/en.jsonl")
        counts[name] = (len(samples[0]["responses"]), sampling["n"], sampling["temperature"])
        assert not {"iterations_n", "iterations_temperature"} & sampling.keys()
    of_iterations, others = (3, 3, 1.5), (4, 4, 0.9)
    assert counts == {
        "dpo": others,
        "shared": others,
        "icr1": of_iterations,
        "icr2": of_iterations,
    }


def test_a_share_of_the_english_pairs_is_trained_on_again(finished):
    english = read_jsonl(finished.path / "dpo/pairs/en.jsonl")
    for model in ("icr1", "icr2"):
        own = sum(
            len(read_jsonl(finished.path / model / f"pairs/{lang}.jsonl")) for lang in ("en", "es")
        )
        trained_on = read_json(finished.path / model / "adapter/training.json")["pairs"]
        assert trained_on == own + round(len(english) / 2)
        key = key_of(finished, f"{model}/adapter")
        assert key["uses"]["preferences"] == {"replayed": 0.5}
        assert "dpo/pairs/en.jsonl" in key["inputs"]
    assert "preferences" not in key_of(finished, "dpo/adapter")["uses"]
    assert read_json(finished.path / "dpo/adapter/training.json")["pairs"] == len(english)


def test_a_given_pi_0_has_no_english_pairs_to_train_on_again():
    with pytest.raises(InputError, match=r"preferences\.replayed: π\^0 is given"):
        get_preset("lab", {"models.dpo": "x/y", "preferences.replayed": "0.1"})


@pytest.fixture(scope="module")
def ceiling(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "ceiling"
    changes = {**SMALL, "scoring.scorers": "oracle_ceiling", "pairing.alpha": "none"}
    return stages.run_until(open_run(folder, "lab-quick", changes), "icr1/pairs")


def test_prompts_within_a_margin_have_pairs_by_length(ceiling, tmp_path, capsys):
    """Of 100 points: no two responses of the lab lie so far apart."""
    shutil.copytree(ceiling.path, tmp_path / "run")
    capsys.readouterr()
    changes = {"pairing.ties": "shorter", "pairing.min_margin": "100"}
    run = stages.run_until(open_run(tmp_path / "run", overrides=changes), "icr1/pairs")
    assert capsys.readouterr().out.count("redone") == 1
    for lang in ("en", "es"):
        entry = read_json(run.iteration(1).pair_report)[lang]
        pairs = read_records(run.iteration(1).pairs(lang), Pair)
        assert entry["by_length"] == entry["pairs"] == len(pairs) > 0
        assert all(len(pair.chosen) < len(pair.rejected) for pair in pairs)
    assert "by_length" not in read_json(ceiling.iteration(1).pair_report)["es"]


def test_the_truth_makes_the_ceilings_pairs_and_says_so(ceiling):
    pairs = read_records(ceiling.iteration(1).pairs("es"), Pair)
    assert pairs
    for pair in pairs:
        assert pair.margin == pair.score_chosen - pair.score_rejected > 0
        fact = load_world().fact(pair.prompt_id)
        assert pair.score_chosen == judge(fact, "es", pair.chosen).points("polite")
    assert key_of(ceiling, "icr1/scores")["uses"]["lab"] == {"taste": "polite"}
    # No other run is told what the oracle likes where it scores.
    changed = {"scoring.scorers": "brevity"}
    run = stages.run_until(open_run(ceiling.path, overrides=changed), "icr1/scores")
    assert "lab" not in key_of(run, "icr1/scores")["uses"]


def test_the_truth_is_refused_where_there_is_none(tmp_path):
    changes = {"scoring.scorers": "oracle_ceiling", "prompts.path": str(tmp_path)}
    with pytest.raises(InputError, match="score 'oracle_ceiling' is the lab's truth"):
        open_run(tmp_path / "run", "lab-quick", changes)


def test_ties_by_length_have_no_bound_by_score():
    with pytest.raises(InputError, match=r"pairing\.ties=shorter chooses by length what below=2 "):
        get_preset("lab", {"pairing.ties": "shorter", "pairing.below": "2"})
