"""Costly apart from cheap: what models have read or said is not made anew for a change that only
arithmetic needs."""

import shutil
from collections import Counter
from importlib import import_module

import pytest
from small import SMALL

from xlnb import stages
from xlnb.common.files import read_json, read_jsonl
from xlnb.runs.run import open_run

ONE_SCORER = SMALL | {"scoring.scorers": "cross_lingual"}
LANGS = 2
# An iteration takes half of the training prompts.
TRAIN = 6
REWARD = 6
# Responses a prompt.
N = 4
# Each iteration reads its own samples, and π_I's to the `reward` prompts.
READ = TRAIN + REWARD + REWARD


def count(patch):
    """Counts the prompts that models are sampled for and the responses that they read."""
    found = Counter()

    def counted(module, function, name, rows):
        original = getattr(import_module(module), function)

        def counting(*args, **kwargs):
            found[name] += len(args[rows])
            return original(*args, **kwargs)

        patch.setattr(import_module(module), function, counting)

    counted("xlnb.stages.logprobs", "score_responses", "read", rows=4)
    counted("xlnb.sampling", "sample_responses", "sampled", rows=2)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run that the tests of this file copy, and how often models ran in it."""
    folder = tmp_path_factory.mktemp("costs") / "small"
    with pytest.MonkeyPatch.context() as patch:
        found = count(patch)
        run = stages.run_until(open_run(folder, "lab-quick", ONE_SCORER))
    return run, found


@pytest.fixture
def passes(monkeypatch):
    return count(monkeypatch)


@pytest.fixture
def change(finished, tmp_path):
    """A copy of the finished run with another preset."""

    def change(overrides):
        run, _ = finished
        shutil.copytree(run.path, tmp_path / "copy")
        return open_run(tmp_path / "copy", overrides=overrides)

    return change


def contents(run, *patterns):
    """Bytes and time of every file there."""
    found = {}
    for pattern in patterns:
        for path in run.path.glob(pattern):
            if path.is_file():
                name = str(path.relative_to(run.path))
                found[name] = (path.read_bytes(), path.stat().st_mtime_ns)
    assert found
    return found


def test_the_counters_count(finished):
    _, found = finished
    evaluated = 3 * LANGS * 8
    assert found == {
        "read": LANGS * READ * N,
        "sampled": 12 + LANGS * REWARD + LANGS * (TRAIN + REWARD) + evaluated,
    }


@pytest.mark.parametrize(
    ("overrides", "redone"),
    [
        ({"scoring.beta": "0.5"}, "icr1/scores"),
        ({"scoring.scorers": "cross_lingual,likelihood"}, "icr1/scores"),
        ({"scoring.scorers": "cross_lingual,brevity,random"}, "icr1/scores"),
        # Another score makes the pairs, of what has been read.
        ({"scoring.scorers": "policy_likelihood,cross_lingual"}, "icr1/scores"),
        ({"pairing.alpha": "none"}, "icr1/pairs"),
        ({"pairing.min_margin": "0.05"}, "icr1/pairs"),
        ({"pairing.language_filter": "false"}, "icr1/pairs"),
    ],
    ids=str,
)
def test_what_arithmetic_can_change_runs_no_model(change, passes, capsys, overrides, redone):
    run = change(overrides)
    before = contents(run, "prompts/*", "dpo/**/*", "icr1/samples/*", "icr1/logps/**/*")
    stages.run_until(run, "icr1/pairs")
    assert passes == {}
    assert f"{redone}: redone, because " in capsys.readouterr().out
    after = contents(run, "prompts/*", "dpo/**/*", "icr1/samples/*", "icr1/logps/**/*")
    assert after == before


def test_another_beta_scales_the_rewards(finished, change):
    run = stages.run_until(change({"scoring.beta": "0.5"}), "icr1/scores")
    old, new = (
        read_jsonl(folder / "icr1/scores/es.jsonl") for folder in (finished[0].path, run.path)
    )
    for before, after in zip(old, new, strict=True):
        expected = [5 * reward for reward in before["scores"]["cross_lingual"]]
        assert after["scores"]["cross_lingual"] == pytest.approx(expected)


def test_a_scorer_with_a_new_prompt_has_that_prompt_read_on_the_reward_split(change, passes):
    run = change({"scoring.scorers": "cross_lingual,multilingual,random"})
    before = contents(run, "icr1/samples/*", "icr1/logps/**/*", "stages/icr1.logps.*")
    stages.run_until(run, "icr1/pairs")
    assert passes == {"read": LANGS * 2 * REWARD * N}
    after = contents(run, "icr1/samples/*", "icr1/logps/**/*", "stages/icr1.logps.*")
    assert before.items() <= after.items()
    added = {name for name in after.keys() - before.keys() if not name.startswith("stages/")}
    assert added == {f"icr1/logps/multilingual/{lang}.jsonl" for lang in ("en", "es")}
    for name in added:
        assert {record["split"] for record in read_jsonl(run.path / name)} == {"reward"}
    for record in read_jsonl(run.path / "icr1/scores/es.jsonl"):
        assert ("multilingual" in record["scores"]) == (record["split"] == "reward")
    # A second time nothing is left to do.
    stages.run_until(run, "icr1/pairs")
    assert passes == {"read": LANGS * 2 * REWARD * N}


def test_one_more_iteration_keeps_all_that_there_is(change, passes):
    run = change({"iterations": "2"})
    kept = ("prompts/*", "dpo/**/*", "icr1/**/*", "eval/**/*", "stages/*.json")
    before = contents(run, *kept)
    stages.run_until(run, "icr2/pairs")
    for model in ("sft", "dpo", "icr1"):
        stages.respond(run, model)
        stages.judge(run, model)
    assert passes == {"read": LANGS * READ * N, "sampled": LANGS * (TRAIN + REWARD)}
    after = contents(run, *kept)
    assert before.items() <= after.items()
    stamps = {path.stem: read_json(path) for path in run.stamps.values()}
    assert {stamp["state"] for stamp in stamps.values()} == {"done"}
    added = after.keys() - before.keys()
    assert all(name.startswith(("stages/icr2.", "icr2/")) for name in added)
    # The second half of the training prompts.
    halves = []
    for number in (1, 2):
        samples = read_jsonl(run.path / f"icr{number}/samples/es.jsonl")
        halves.append({s["prompt_id"] for s in samples if s["split"] == "train"})
    assert len(halves[0] | halves[1]) == 2 * TRAIN
