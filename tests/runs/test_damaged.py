"""A run folder's own JSON damaged at random: a record that can be gone by, or none; a preset, or
one clear line."""

import json
from dataclasses import asdict

import pytest
from damage import DAMAGED, check_line, damaged
from hypothesis import given
from hypothesis import strategies as st

from xlnb.common.errors import InputError
from xlnb.common.files import sha256, write_json, write_jsonl
from xlnb.presets import Preset, get_preset
from xlnb.runs.layout import Run
from xlnb.runs.records import StageRecord, faults, find_record
from xlnb.runs.run import open_run
from xlnb.runs.stage import Stage


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("run"), get_preset("lab-quick"))
    (run.path / "icr1").mkdir()
    (run.path / "icr1/samples.txt").write_text("made")
    return run


@DAMAGED
@given(data=st.data())
def test_a_damaged_record_of_a_stage_is_gone_by_or_none(run, data):
    out = run.path / "icr1/samples.txt"
    out.write_text("made")
    key = {"uses": {"seed": 0, "sampling": {"n": 4}}, "inputs": {"a": "b"}}
    known = {"size": 4, "mtime_ns": None, "sha256": sha256(out)}
    record = asdict(StageRecord("done", 1.5, key, {"icr1/samples.txt": known}))
    write_json(run.stamp("icr1/samples"), record)
    write_jsonl(run.history, [record | {"stage": "icr1/samples"}] * data.draw(st.integers(0, 2)))
    for path in (run.stamp("icr1/samples"), run.history):
        path.write_bytes(data.draw(damaged(path.read_bytes())))
    found, _ = find_record(run, "icr1/samples")
    if found:
        assert isinstance(faults(run, found), dict)
    # The stage finds its way, whatever became of its record.
    stage = Stage(run, "icr1/samples", inputs=[], uses=key["uses"], out=out)

    def make():
        out.write_text("made")

    stage.make(make)
    assert out.read_text() == "made" and find_record(run, "icr1/samples").record.state == "done"


@DAMAGED
@given(data=st.data())
def test_a_damaged_preset_of_a_run_is_one_that_can_be_or_refused_in_one_line(
    tmp_path_factory, data
):
    folder = tmp_path_factory.getbasetemp() / "opened"
    path = folder / "preset.json"
    folder.mkdir(exist_ok=True)
    record = {"preset": asdict(get_preset("lab-quick")), "versions": {}}
    path.write_bytes(data.draw(damaged(json.dumps(record, indent=2).encode())))
    try:
        preset = open_run(folder).preset
    except InputError as error:
        line = str(error)
        assert "\n" not in line and len(line) < 700
        return
    assert isinstance(preset, Preset)


@DAMAGED
@given(data=st.data())
def test_a_damaged_preset_file_is_a_preset_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mine.yaml"
    text = (
        'base: lab-quick\nseed: 3\ntraining:\n  lr: 5e-5\n  steps: 7\nprompts:\n  langs: "en,de"\n'
    )
    path.write_bytes(data.draw(damaged(text.encode())))
    try:
        assert isinstance(get_preset(str(path)), Preset)
    except InputError as error:
        check_line(error, path)
