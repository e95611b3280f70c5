"""`analyses`: a few arms of the page in the lab's smallest form, and what is written of them."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import asdict

import pytest
from damage import DAMAGED, check_line, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from small import SMALL

from xlnb.cli.main import main
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, write_json
from xlnb.presets import get_preset, override, parse_overrides, to_json
from xlnb.presets.grid import grid
from xlnb.stages.analyses import collect, read_also, together

FIXED = [part for key, value in SMALL.items() for part in ("-p", f"{key}={value}")]
QUICK = ["analyses", "--preset", "lab-quick", "--seeds", "0", *FIXED]
ARMS = [{}, {"pairing.n": "2"}, {"pairing.n": "4"}, {"pairing.n": "7"}]


@pytest.fixture(scope="module", autouse=True)
def few_documents():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xlnb.evaluation.tax.DOCUMENTS", 2)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analyses") / "out"
    assert main([*QUICK, "--out", str(folder), "responses"]) == 0
    return folder


def test_every_arm_is_a_run_and_shares_all_but_its_pairs(made):
    record = read_json(made / "analyses.json")
    assert [run["values"] for run in record["runs"]] == [{"iterations": "1", **arm} for arm in ARMS]
    pairs, samples = set(), set()
    for run in made.glob("*seed=0/"):
        pairs.add((run / "icr1/pairs/es.jsonl").read_bytes())
        samples.add((run / "icr1/samples/es.jsonl").read_bytes())
    assert len(samples) == 1
    # A prompt has four responses there, so that "7" and "10" are the same.
    assert len(pairs) == 2


def test_the_record_has_what_claims_are_decided_by(made):
    record = read_json(made / "analyses.json")
    assert {"versions", "device", "git"} == record["made_by"][0].keys()
    for run in record["runs"]:
        assert list(run["models"]) == ["sft", "dpo", "icr1"]
        assert run["models"]["sft"]["wr"] == {"en": 50.0, "es": 50.0}
        model = run["models"]["icr1"]
        assert {"wr", "lc", "chars", "in_language", "facts", "pairs", "margin"} <= model.keys()
        assert len(model["facts"]) == len(record["facts"])
        # One language but English, and as many questions of each fact.
        assert 0 < model["right"]["es"] <= 1
        facts = sum(model["facts"]) / len(model["facts"])
        assert facts == pytest.approx(model["wr"]["es"], abs=15)


def test_the_tax_is_measured_where_a_claim_is_about_it(made):
    measured = []
    for run in read_json(made / "analyses.json")["runs"]:
        found = [name for name, model in run["models"].items() if "loss" in model]
        measured.append(found)
        for name in found:
            assert 0 < run["models"][name]["loss"]["documents"] < 1
            assert list(run["models"][name]["known"]) == ["en", "es"]
    assert measured == [["sft", "dpo", "icr1"], [], [], []]


def test_the_methods_own_run_is_looked_into(made):
    inside = read_json(made / "analyses.json")["inside"]
    assert inside["seed"] == 0
    layers, sums = inside["layers"], inside["sums"]
    assert list(layers) == ["1", "2", "3", "4"]
    assert layers["4"] == sums["here"]
    assert list(sums["release's mask"]) == ["en", "es"]
    for name, table in inside["gradients"].items():
        langs = ["NLL"] if name.startswith("DPO and") else ["en", "es"]
        assert list(table) == langs
        assert all(list(row) == ["en", "es"] for row in table.values())
    metrics = read_json(made / "iterations=1__seed=0/metrics.json")
    expected = metrics["rewards_shared"]["dpo"]["cross_lingual"]
    assert sums["here"] == {lang: entry["pair_accuracy"] for lang, entry in expected.items()}


def test_the_same_command_makes_nothing_again_and_collects(made, capsys):
    before = {path: path.stat().st_mtime_ns for path in made.glob("*/metrics.json")}
    assert main([*QUICK, "--out", str(made), "--collect"]) == 0
    assert main([*QUICK, "--out", str(made), "responses"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "4 of " in capsys.readouterr().out


def test_related_methods_share_what_the_claims_have_made(made, capsys):
    plain = made / "iterations=1__seed=0/metrics.json"
    before = plain.stat().st_mtime_ns
    page = [*QUICK, "--page", "related_methods", "--out", str(made)]
    assert main([*page, "early exit", "fused rewards"]) == 0
    assert plain.stat().st_mtime_ns == before
    assert "related_methods.json: 5 of " in capsys.readouterr().out
    record = read_json(made / "related_methods.json")
    assert record["command"].startswith("python -m xlnb analyses --page related_methods --preset")
    assert record["runs"][0]["values"] == {"iterations": "1"}
    for run in record["runs"]:
        model = run["models"]["icr1"]
        assert model["seconds"] > 0
        assert 0 <= model["pair_accuracy"]["es"] <= 1
        assert not {"pair_accuracy", "seconds"} & run["models"]["dpo"].keys()
        # Users are weights on what the method's own run knows of its responses.
        assert ("users" in run) == (run["values"] == {"iterations": "1"})
    assert "anti-polite" in record["runs"][0]["users"]
    assert "users" not in read_json(made / "analyses.json")["runs"][0]


def test_what_another_machine_has_finished_is_not_made_again(made, tmp_path, capsys):
    theirs = made / "analyses.json"
    out = tmp_path / "here"
    assert main([*QUICK, "--out", str(out), "responses", "--also", str(theirs)]) == 0
    assert not list(out.glob("*seed=0/"))
    record, given = read_json(out / "analyses.json"), read_json(theirs)
    assert record["runs"] == given["runs"] and record["made_by"] == given["made_by"]
    assert record["facts"] == given["facts"]
    # Other values, other runs.
    other = [*QUICK, "-p", "training.lr=1e-6", "--out", str(out), "responses"]
    assert main([*other, "--also", str(theirs)]) == 2
    assert "its runs are of another preset" in capsys.readouterr().err
    assert main([*QUICK, "--out", str(out), "--also", str(made / "nix.json")]) == 2
    assert "nix.json: no such file" in capsys.readouterr().err


def test_an_unknown_analysis_is_one_line_and_nothing_is_written(tmp_path, capsys):
    assert main([*QUICK, "--out", str(tmp_path / "out"), "nix"]) == 2
    assert "unknown analysis 'nix'; known: rewards," in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_seed_twice_is_refused_and_nothing_is_written(tmp_path, capsys):
    for seeds in ("0,1,0", "0..2,01"):
        asked = ["analyses", "--preset", "lab-quick", "--out", f"{tmp_path / 'out'}"]
        assert main([*asked, "--seeds", seeds]) == 2
        assert "is named twice; leave one out" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_two_records_hold_counts_once(capsys):
    def record(*seeds):
        runs = [{"values": {"iterations": "1"}, "seed": seed, "models": {}} for seed in seeds]
        return {"facts": ["a"], "runs": runs, "made_by": []}

    found = together([record(0), record(0, 1), record(1, "0")])
    assert found["runs"] == record(0, 1)["runs"]
    said = "--also: 3 runs are in several records; the first of each counts\n"
    assert capsys.readouterr().out == said


# What tells whether a point is finished, and what is read of one that is.
TOLD_BY = (
    "preset.json",
    "history.jsonl",
    "metrics.json",
    "stages/report.json",
    "stages/icr1.pairs.json",
    "icr1/pairs/report.json",
    "icr1/adapter/training.json",
    "eval/icr1/es/annotations.json",
)
AXES = {"iterations": ["1"], "pairing.n": ["2", "4"], "seed": ["0"]}


@pytest.fixture
def points(made):
    """The two points of a grid that are in the analyses' folder, each as it was afterwards."""
    fixed = parse_overrides(FIXED[1::2])
    del fixed["iterations"]
    preset = override(get_preset("lab-quick"), fixed)
    write_json(made / "grid.json", {"preset": asdict(preset), "axes": AXES})
    found = grid(get_preset("lab-quick"), AXES, fixed)
    whole = {path: path.read_bytes() for path in (made / found[0].name).rglob("*.json*")}
    yield found
    for path, data in whole.items():
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)


@pytest.mark.parametrize("name", TOLD_BY)
def test_a_damaged_point_is_read_or_named_or_one_line(made, points, monkeypatch, name):
    monkeypatch.setattr("xlnb.stages.analyses._tax", lambda run, model: {})
    path = made / points[0].name / name
    whole = path.read_bytes()
    expected = collect(made, points)
    assert [run["values"]["pairing.n"] for run in expected["runs"]] == ["2", "4"]

    @settings(DAMAGED, max_examples=20)
    @given(data=st.data())
    def holds(data):
        path.write_bytes(data.draw(damaged(whole)))
        said = io.StringIO()
        try:
            with redirect_stdout(said):
                found = collect(made, points)
        except InputError as error:
            line = f"{error}"
            assert f"{made / points[0].name}" in line and "\n" not in line
        else:
            named = f"not in the record, without a finished report: {points[0].name}\n"
            if named in said.getvalue():
                assert found["runs"] == expected["runs"][1:]
            else:
                assert found["runs"] == expected["runs"]

    holds()


@pytest.mark.parametrize("gone", ["preset.json", "stages", "metrics.json"])
def test_a_point_that_has_lost_its_record_is_named(made, points, monkeypatch, capsys, gone):
    monkeypatch.setattr("xlnb.stages.analyses._tax", lambda run, model: {})
    path = made / points[0].name / gone
    path.rename(path.with_name("gone"))
    try:
        found = collect(made, points)
    finally:
        path.with_name("gone").rename(path)
    said = f"not in the record, without a finished report: {points[0].name}\n"
    assert said in capsys.readouterr().out
    assert len(found["runs"]) == 1


def test_what_another_version_wrote_is_one_line(made, points):
    """Finished by all that its records say, and its metrics lack what is read of them."""
    path = made / points[0].name / "metrics.json"
    metrics = read_json(path)
    del metrics["win_rates"]["icr1"]
    write_json(path, metrics)
    stamp = made / points[0].name / "stages/report.json"
    record = read_json(stamp)
    record["outputs"]["metrics.json"] |= {
        "size": path.stat().st_size,
        "mtime_ns": path.stat().st_mtime_ns,
    }
    write_json(stamp, record)
    with pytest.raises(
        InputError, match=r"not as this version writes it \(KeyError: 'icr1'\); move"
    ):
        collect(made, points)


@settings(DAMAGED, max_examples=60)
@given(data=st.data())
def test_a_damaged_record_of_another_machine_is_read_or_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "also.json"
    preset = get_preset("lab-quick")
    run = {"values": {"iterations": "1"}, "seed": 0, "models": {"dpo": {"wr": {"es": 50.0}}}}
    record = {"preset": json.loads(to_json(preset)), "facts": ["a"], "runs": [run], "made_by": []}
    path.write_bytes(data.draw(damaged(json.dumps(record, indent=1).encode())))
    try:
        read_also([path], preset)
    except InputError as error:
        check_line(error, path)
