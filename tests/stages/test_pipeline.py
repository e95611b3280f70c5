"""The whole path on `lab-quick`: what each stage leaves behind, skipping, staleness, and
kill -9 in any stage."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from datasets import load_dataset
from peft import PeftModel
from small import SMALL

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json, read_jsonl
from xlnb.models.base import load_base
from xlnb.models.places import base_path
from xlnb.presets import PRESETS
from xlnb.rewards import split_scorers
from xlnb.runs.layout import Run
from xlnb.runs.run import open_run
from xlnb.stages import reading

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
ARTIFACTS = [
    "dpo/samples/en.jsonl",
    "dpo/pairs/en.jsonl",
    "dpo/adapter/adapter_model.safetensors",
    "icr1/samples/es.jsonl",
    "icr1/logps/cross_lingual/es.jsonl",
    "icr1/logps/multilingual/es.jsonl",
    "icr1/scores/es.jsonl",
    "icr1/pairs/es.jsonl",
    "icr1/adapter/adapter_model.safetensors",
    "eval/icr1/es/model_outputs.json",
    "eval/icr1/es/annotations.json",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One undisturbed run that the tests of this file share."""
    return stages.run_until(open_run(tmp_path_factory.mktemp("run") / "small", "lab-quick", SMALL))


def test_every_artifact_is_there_and_nothing_is_left_over(finished):
    assert [name for name in ARTIFACTS if not (finished.path / name).exists()] == []
    assert [path for path in finished.path.rglob("*") if path.suffix in (".part", ".tmp")] == []
    assert not (finished.path / "icr1/adapter/checkpoints").exists()


def test_metrics(finished):
    metrics = read_json(finished.path / "metrics.json")
    assert set(metrics["win_rates"]) == {"sft", "dpo", "icr1"}
    for model in metrics["win_rates"].values():
        assert set(model) == {"en", "es"}
        for row in model.values():
            assert {"wr", "wr_se", "lc", "n", "mean_chars"} <= set(row)
            assert row["n"] == 8
    for row in metrics["win_rates"]["sft"].values():
        assert row["wr"] == 50 and row["lc"] == pytest.approx(50)  # the baseline against itself
    assert set(metrics["rewards"]) == {"dpo"}  # iteration 1 is scored by π^0
    for rewards in (metrics["rewards"], metrics["rewards_shared"]):
        # every score, and what the truth itself reaches
        assert list(rewards["dpo"]) == [*split_scorers(PRESETS["lab"].scoring.scorers), "oracle"]
        assert rewards["dpo"]["cross_lingual"]["es"]["n"] == 6
    assert metrics["taste"] == "polite"
    assert metrics["seconds"]["icr1/adapter"] > 0


def test_splits_are_disjoint_and_training_sees_only_its_own(finished):
    by_split: dict[str, set[str]] = {}
    for record in stages.read_prompts(finished)["en"]:
        by_split.setdefault(record.split, set()).add(record.prompt_id.rsplit("/", 1)[0])
    assert {split: len(facts) > 0 for split, facts in by_split.items()} == {
        "train": True,
        "reward": True,
        "eval": True,
    }
    assert not by_split["train"] & by_split["reward"]
    assert not by_split["train"] & by_split["eval"]
    assert not by_split["reward"] & by_split["eval"]
    for path in [*finished.path.glob("icr1/pairs/*.jsonl"), finished.path / "dpo/pairs/en.jsonl"]:
        assert {r["prompt_id"].rsplit("/", 1)[0] for r in read_jsonl(path)} <= by_split["train"]


def test_prompts_are_shared_out_among_the_iterations(tmp_path):
    run = open_run(tmp_path / "run", "lab-quick", {"lab.train": "7"})
    records = stages.read_prompts(stages.run_until(run, "prompts"))["es"]
    first, second = (reading.iteration_prompts(run.iteration(t), records) for t in (1, 2))
    reward = [record for record in records if record.split == "reward"]
    assert first[4:] == second[3:] == reward
    train = {record.prompt_id for record in records if record.split == "train"}
    assert {record.prompt_id for record in [*first[:4], *second[:3]]} == train
    assert len(train) == 7
    again = open_run(tmp_path / "again", "lab-quick", {"prompts.parts": "0"})
    assert reading.iteration_prompts(again.iteration(2), records) == [
        r for r in records if r.split != "eval"
    ]


def test_scores_are_beta_times_the_log_ratio(finished):
    scores = read_jsonl(finished.path / "icr1/scores/es.jsonl")
    for name in ("cross_lingual", "multilingual"):
        logps = read_jsonl(finished.path / f"icr1/logps/{name}/es.jsonl")
        scored = [record for record in scores if name in record["scores"]]
        # The first score covers all samples, the others the held-out ones.
        assert {record["split"] for record in scored} == (
            {"train", "reward"} if name == "cross_lingual" else {"reward"}
        )
        for record, read in zip(scored, logps, strict=True):
            assert record["prompt_id"] == read["prompt_id"]
            sides = zip(read["policy_logps"], read["ref_logps"], strict=True)
            expected = [0.1 * (policy - ref) for policy, ref in sides]
            assert record["scores"][name] == pytest.approx(expected)


def test_pairs_load_as_trl_preferences_and_the_adapter_with_plain_peft(finished):
    data = load_dataset("json", data_files=str(finished.path / "icr1/pairs/*.jsonl"), split="train")
    assert data[0]["prompt"][0]["role"] == "user"
    assert data[0]["chosen"][0]["role"] == data[0]["rejected"][0]["role"] == "assistant"
    model = PeftModel.from_pretrained(
        load_base(finished.preset.models), str(finished.path / "icr1/adapter")
    )
    assert any(p.abs().sum() > 0 for name, p in model.named_parameters() if "lora_B" in name)
    assert base_path(model.peft_config["default"].base_model_name_or_path) == base_path(
        finished.preset.models.base
    )


def test_a_second_run_does_nothing(finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.path.rglob("*.jsonl")}
    stages.run_until(open_run(finished.path, "lab-quick", SMALL))
    assert {path: path.stat().st_mtime_ns for path in finished.path.rglob("*.jsonl")} == before
    assert capsys.readouterr().out == ""


def test_a_changed_field_redoes_what_depends_on_it_and_says_why(finished, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    run = open_run(copy, "lab-quick", {**SMALL, "pairing.alpha": "none"})
    stages.run_until(run, "icr1/pairs")
    assert (
        "icr1/pairs: redone, because pairing.alpha was exact, is now none"
        in capsys.readouterr().out
    )
    assert all(
        report["alpha"] == 0 for report in read_json(copy / "icr1/pairs/report.json").values()
    )


def test_what_a_finished_run_has_lost_is_named_and_made_again(finished, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    lost = ["prompts/es.jsonl", "icr1/scores/es.jsonl", "icr1/pairs/es.jsonl"]
    for name in lost:
        (copy / name).unlink()
    samples, metrics = copy / "icr1/samples/es.jsonl", copy / "metrics.json"
    samples.write_bytes(b"".join(samples.read_bytes().splitlines(keepends=True)[:4]))
    metrics.write_bytes(metrics.read_bytes()[:300])
    weights = copy / "icr1/adapter/adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    stages.run_until(open_run(copy, "lab-quick", SMALL))
    said = capsys.readouterr().out
    for name in lost:
        stage = name.rpartition("/")[0]
        assert f"{stage}: made again, because {name} is missing\n" in said
    assert "icr1/samples: made again, because icr1/samples/es.jsonl has changed\n" in said
    assert "icr1/adapter: made again, because icr1/adapter/adapter_model.safetensors has" in said
    assert "report: made again, because metrics.json has changed\n" in said
    # Made again as it was: nothing behind it is stale.
    assert said.count("made again") == 6 and "redone" not in said
    for name in ARTIFACTS:
        assert (copy / name).read_bytes() == (finished.path / name).read_bytes(), name
    ours, theirs = (read_json(path / "metrics.json") for path in (copy, finished.path))
    assert ours["win_rates"] == theirs["win_rates"]


def test_a_copy_of_the_base_or_another_spelling_of_it_changes_nothing(finished, tmp_path, capsys):
    copy, base = tmp_path / "copy", tmp_path / "base"
    shutil.copytree(finished.path, copy)
    shutil.copytree(base_path(finished.preset.models.base), base)
    (base / "notes.txt").write_text("About it.")
    for name in (f"{finished.preset.models.base}/", str(base)):
        run = open_run(copy, "lab-quick", SMALL | {"models.base": name})
        stages.run_until(run)
        assert capsys.readouterr().out == ""
    # What is still to be made can be made with it.
    (copy / "eval/icr1/responses/es.jsonl").unlink()
    stages.run_until(run)
    assert capsys.readouterr().out.count("made again") == 1


def stamps_of(folder, step):
    """A step's records: its own, or one a scorer's prompt."""
    stamps = Run(folder, None).stamps
    return [path for name, path in stamps.items() if name == step or name.startswith(f"{step}/")]


@pytest.mark.parametrize(
    "stage", ["icr1/samples", "icr1/logps", "icr1/adapter", "eval/icr1/annotations"]
)
def test_kill_and_resume(finished, tmp_path, stage):
    """kill -9 in the middle of a stage: it goes on from there, and ends with the same artifacts."""
    folder = tmp_path / "killed"
    shutil.copytree(finished.path, folder)
    names = [step.name for step in stages.steps(finished)]
    # What comes before is taken from the undisturbed run.
    for name in names[names.index(stage) :]:
        own = stamps_of(folder, name)
        assert own
        for stamp in own:
            for path in read_json(stamp)["outputs"]:
                (folder / path).unlink()
            stamp.unlink()
        (folder / name / "README.md").unlink(missing_ok=True)
    (folder / "history.jsonl").unlink()
    killed = subprocess.run(
        [sys.executable, "tests/support/killed.py", str(folder), stage], cwd=ROOT, env=ENVIRONMENT
    )
    assert killed.returncode == -signal.SIGKILL
    assert [read_json(stamp)["state"] for stamp in stamps_of(folder, stage)] == ["working"]
    saved = {path: path.read_bytes() for path in folder.glob(f"{stage}/**/*.part")}
    checkpoints = {path.name for path in folder.glob(f"{stage}/checkpoints/checkpoint-*")}
    assert checkpoints == {"checkpoint-2"} if stage.endswith("adapter") else any(saved.values())

    again = subprocess.run(
        [
            sys.executable,
            "-m",
            "xlnb",
            "run",
            "--preset",
            "lab-quick",
            "--run",
            str(folder),
            "--until",
            "report",
        ]
        + [part for key, value in SMALL.items() for part in ("-p", f"{key}={value}")],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "redone" not in again.stdout
    for name in ARTIFACTS:
        assert (folder / name).read_bytes() == (finished.path / name).read_bytes(), name
    ours, theirs = (read_json(path / "metrics.json") for path in (folder, finished.path))
    assert ours["win_rates"] == theirs["win_rates"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("xlnb.prompts.CROSS_LINGUAL", {"icr1/logps/cross_lingual", "icr1/shared/logps/cross_lingual"}),
        (
            "xlnb.lab.world.FIRST_WORLD",
            {"prompts", "dpo/samples", "dpo/pairs", "report"}
            | {f"eval/{model}/annotations" for model in ("sft", "dpo", "icr1")},
        ),
    ],
)  # fmt: skip
def test_other_words_or_another_world_are_no_longer_what_a_stage_has_read(
    finished, monkeypatch, text, names
):
    run = open_run(finished.path, redo=False)
    monkeypatch.setattr(text, "Answer in {language} alone.")
    outdated = set()
    for step in stages.steps(run):
        try:
            step.call()
        except InputError as error:
            name = text.rpartition(".")[2].lower().removeprefix("first_")
            outdated.add(re.search(rf"(\S+) is there .* {name}\w* was None, is now", f"{error}")[1])
    assert outdated == names
