"""A run's result beside what else could have made it."""

from importlib import import_module

import pytest
from small import SMALL

from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl
from xlnb.lab.tastes import TASTES
from xlnb.runs.run import open_run

# the package hands on the function of this name
module = import_module("xlnb.stages.evidence")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small run with one taste and its opposite, two translators and one control."""
    folder = tmp_path_factory.mktemp("evidence") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TASTES", {"polite": TASTES["polite"]})
        patch.setattr(module, "NOISES", (0.0, 1.0))
        patch.setattr(module, "CONTROLS", ("likelihood",))
        run = open_run(folder, "lab-quick", SMALL)
        path = module.evidence(run)
        before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.jsonl")}
        # What has finished is not made again.
        assert module.evidence(run) == path
        assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.jsonl")} == before
    return run, read_json(path)


def test_the_record_holds_the_run_and_what_made_it(made):
    run, record = made
    metrics = read_json(run.metrics)
    assert record["rewards"] == metrics["rewards"]
    assert record["rewards_shared"] == metrics["rewards_shared"]
    assert list(record["win_rates"]) == [*run.models, "icr1, pairs by likelihood"]
    assert {"versions", "device", "git", "command", "seed"} <= record.keys()


def test_tastes_judge_the_same_responses_and_a_blind_score_is_right_half_of_the_time(made):
    run, record = made
    assert list(record["tastes"]) == ["polite", "anti-polite"]
    other = open_run(run.variant("anti-polite"))
    for lang in ("en", "es"):
        ours = run.iteration(1).shared.samples(lang).read_bytes()
        assert other.iteration(1).shared.samples(lang).read_bytes() == ours
        for scorer in ("likelihood", "brevity", "random"):
            both = [record["tastes"][taste][scorer][lang] for taste in record["tastes"]]
            assert sum(entry["pair_accuracy"] for entry in both) == pytest.approx(1, abs=2e-4)
    mine, theirs = (read_jsonl(each.iteration(0).pairs("en")) for each in (run, other))
    assert [pair["chosen"] for pair in mine] != [pair["chosen"] for pair in theirs]


def test_a_translator_without_errors_and_one_that_makes_nothing_else(made):
    _, record = made
    assert list(record["translators"]) == ["0", "1"]
    for table in record["translators"].values():
        assert list(table) == ["cross_lingual", "multilingual", "translated", "oracle"]
        assert table["cross_lingual"] == record["tastes"]["polite"]["cross_lingual"]
    noisy, exact = record["translators"]["1"], record["translators"]["0"]
    assert noisy["translated"]["es"] != exact["translated"]["es"]
    assert noisy["translated"]["en"] == exact["translated"]["en"]


def test_a_control_shares_all_but_its_pairs_with_the_run(made):
    run, _ = made
    control = open_run(run.variant("pairs-by-likelihood"))
    for name in ("icr1/samples/es.jsonl", "dpo/adapter/adapter_model.safetensors"):
        assert (control.path / name).read_bytes() == (run.path / name).read_bytes()
    mine, theirs = (read_jsonl(each.iteration(1).pairs("es")) for each in (run, control))
    assert [pair["chosen"] for pair in mine] != [pair["chosen"] for pair in theirs]
    assert not list(control.path.glob("icr2*"))


def test_evidence_is_the_labs(tmp_path):
    (tmp_path / "en.jsonl").write_text('{"instruction_id": "a", "instruction": "b"}\n')
    run = open_run(tmp_path / "run", "lab-quick", {"prompts.path": str(tmp_path)})
    with pytest.raises(InputError, match="evidence needs the lab's truth"):
        module.evidence(run)
