"""Several runs: which are there, what they have in common, gains within each over seeds."""

import pytest

from xlnb.analysis import read, seeds
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json, write_json


@pytest.fixture(scope="module")
def records():
    return read.several("data/results/lab_seed*.json")


def test_the_committed_runs_differ_in_their_seed_and_show_their_own_models(records):
    axes, values = seeds.settings(records)
    assert axes == {"seed": ["0", "1", "2", "3", "4"]}
    assert values == [{"seed": str(seed)} for seed in range(5)]
    assert list(seeds.win_rates(records)) == ["sft", "dpo", "icr1", "icr2"]


def test_a_gain_is_within_a_run_and_its_interval_over_runs(records):
    rows = {"dpo": {"es": [50.0, 60.0]}, "icr1": {"es": [80.0, 92.0]}}
    gained = seeds.gain(rows, "dpo", "icr1")
    assert gained == {"es": [30.0, 32.0]}
    told = seeds.told(gained)["es"]
    assert (told["difference"], told["se"], told["n"]) == (31, pytest.approx(1), 2)
    assert told["ci"] == pytest.approx([18.293795, 43.706205])
    scatter = seeds.spread(records, "dpo", "icr2")
    assert scatter.loc["non-en", "sd of the gain"] == pytest.approx(2.9448, abs=1e-4)
    assert scatter["SE of one run"].isna().tolist() == [False] * 6 + [True]


def test_another_setting_is_told_apart_and_one_draw_twice_is_refused(records, tmp_path):
    record = read_json(ROOT / "data" / "results" / "lab_seed0.json")
    write_json(tmp_path / "copy.json", record)
    both = f"data/results/lab_seed0.json,{tmp_path / 'copy.json'}"
    with pytest.raises(InputError, match="has the seed and settings of data/results/lab"):
        seeds.settings(read.several(both))
    record["preset"]["training"]["lr"] = 0.5
    write_json(tmp_path / "copy.json", record)
    axes, _ = seeds.settings(read.several(both))
    assert list(axes) == ["training.lr", "seed"] and axes["training.lr"][1] == "0.5"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("runs/none", "runs/none: nothing there"),
        (" , ", "run_dirs names no run"),
        ("data/results/alpha_cpu.json", "alpha_cpu.json: no run's record"),
        ("notebooks", "notebooks: no run folder"),
    ],
)
def test_what_is_no_run_is_named(given, message):
    with pytest.raises(InputError, match=message):
        read.several(given)


def test_a_run_without_a_report_is_named(tmp_path):
    record = read_json(ROOT / "data" / "results" / "lab_seed0.json")
    write_json(tmp_path / "preset.json", {"preset": record["preset"]})
    with pytest.raises(InputError, match="no report yet"):
        read.several(str(tmp_path))


@pytest.mark.parametrize(
    "record",
    [
        {"seed": 0, "preset": {}, "win_rates": {}},
        {"seed": 0, "preset": [], "win_rates": {}},
        {"seed": 0, "preset": {"name": "lab", "iterations": "2"}, "win_rates": {}},
        {"seed": 0, "preset": {"name": "lab", "iterations": 1}, "win_rates": [1]},
    ],
)
def test_a_damaged_record_is_named(tmp_path, record):
    write_json(tmp_path / "mine.json", record)
    with pytest.raises(InputError, match=r"mine\.json: no run's record, which has a seed"):
        read.several(str(tmp_path / "mine.json"))
    write_json(tmp_path / "preset.json", record if record["preset"] else {"preset": None})
    if not record["preset"]:
        with pytest.raises(InputError, match=r"preset\.json: holds no preset"):
            read.several(str(tmp_path))


def test_a_record_without_its_last_model_is_named_and_no_earlier_one_taken(tmp_path):
    record = read_json(ROOT / "data" / "results" / "lab_seed0.json")
    del record["win_rates"]["icr2"]
    write_json(tmp_path / "cut.json", record)
    with pytest.raises(InputError, match=r"cut\.json: no win rates of icr2; finish the run"):
        read.several(str(tmp_path / "cut.json"))
