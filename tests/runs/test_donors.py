"""Stages that a donor has finished are copied, whole or not at all."""

import shutil

import pytest
from filelock import FileLock, Timeout

from xlnb.common.errors import InputError
from xlnb.presets import get_preset
from xlnb.runs.layout import Run
from xlnb.runs.records import faults, find_record
from xlnb.runs.stage import Stage


def stage(path, donors=(), beta=1):
    path.mkdir(exist_ok=True)
    run = Run(path, get_preset("lab"), donors=tuple(donors))
    return Stage(run, "icr1/pairs", inputs=[], uses={"beta": beta}, out=path / "icr1" / "pairs")


def maker(mine, made):
    def make():
        made.append(mine.run.path.name)
        mine.out.mkdir(parents=True, exist_ok=True)
        (mine.out / "es.jsonl").write_text("{}\n")
        (mine.out / "README.md").write_text("card")

    return make


@pytest.fixture
def donor(tmp_path):
    mine = stage(tmp_path / "a")
    mine.make(maker(mine, []))
    return tmp_path / "a"


def test_a_finished_stage_is_copied_and_said(tmp_path, donor, capsys):
    made = []
    mine = stage(tmp_path / "b", [donor])
    mine.make(maker(mine, made))
    assert made == []
    assert capsys.readouterr().out == f"icr1/pairs: copied from {donor}, which has made the same\n"
    assert (mine.out / "es.jsonl").read_text() == "{}\n"
    assert (mine.out / "README.md").read_text() == "card"
    record = find_record(mine.run, mine.name).record
    assert record == find_record(Run(donor, mine.run.preset), mine.name).record
    assert not faults(mine.run, record)
    # From then on it is its own.
    shutil.rmtree(donor)
    assert stage(tmp_path / "b").current()


def test_another_key_a_changed_file_and_unfinished_work_are_not_copied(tmp_path, donor):
    made = []
    other = stage(tmp_path / "b", [donor], beta=2)
    other.make(maker(other, made))
    (donor / "icr1" / "pairs" / "es.jsonl").write_text("changed\n")
    torn = stage(tmp_path / "c", [donor])
    torn.make(maker(torn, made))
    half = stage(tmp_path / "d")
    with pytest.raises(RuntimeError), half.working():
        raise RuntimeError
    last = stage(tmp_path / "e", [tmp_path / "d"])
    last.make(maker(last, made))
    assert made == ["b", "c", "e"]


def test_killed_while_it_copies_it_copies_again(tmp_path, donor, monkeypatch):
    mine = stage(tmp_path / "b", [donor])

    def full(*_):
        raise InputError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        with pytest.raises(InputError):
            mine.current()
    assert find_record(mine.run, mine.name).record.state == "working"
    again = stage(tmp_path / "b", [donor])
    assert again.current()
    assert (again.out / "es.jsonl").read_text() == "{}\n"


def test_one_makes_it_while_the_other_waits(tmp_path):
    first = stage(tmp_path / "a", [tmp_path / "b"])
    second = stage(tmp_path / "b", [tmp_path / "a"])
    # Another process' lock: its own object for the same file.
    other = FileLock(first.turn.lock_file, timeout=0)
    made = []
    assert not first.current()
    with first.working():
        with pytest.raises(Timeout), other:
            pass
        maker(first, made)()
    with other:
        pass
    second.make(maker(second, made))
    assert made == ["a"]
    with other:
        pass
