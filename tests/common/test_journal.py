"""A damaged journal: file and line are named, what is whole is kept and the rest made again."""

import random

import pytest

from xlnb.common.files import read_jsonl
from xlnb.common.journal import Journal, is_finished

RECORDS = [{"prompt_id": f"{i}", "text": f"ünı\u2028 {i}", "n": i} for i in range(20)]


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "en.jsonl")
    for start in range(0, 20, 5):
        journal.append(RECORDS[start : start + 5])
    return journal


def flip(data, at, bit=1):
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def place(data, number, within=12):
    """A byte of a line, counted from 1."""
    return sum(len(line) + 1 for line in data.split(b"\n")[: number - 1]) + within


DAMAGES = {
    "a flipped bit of a text": (lambda d: flip(d, place(d, 7, 30)), "line 7", {6}),
    "a flipped bit of a digit": (lambda d: flip(d, place(d, 7, len(d.split(b"\n")[6]) - 11)), "line 7", {6}),
    "bad UTF-8": (lambda d: d[: place(d, 3)] + b"\xff\xfe" + d[place(d, 3) + 2 :], "line 3", {2}),
    "a hole of zeros": (
        lambda d: d[: place(d, 4)] + bytes(place(d, 9) - place(d, 4)) + d[place(d, 9) :],
        "line 4", {3, 4, 5, 6, 7, 8},
    ),
    "a lost line end": (lambda d: flip(d, place(d, 5, -1)), "line 4", {3, 4}),
    "a line of another": (lambda d: d[: place(d, 2, 0)] + b"[1]\n" + d[place(d, 2, 0) :], "line 2", set()),
    "a foreign record": (
        lambda d: d[: place(d, 2, 0)] + b'{"prompt_id": "x"}\n' + d[place(d, 2, 0) :], "line 2", set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_line_is_named_and_its_record_made_again(journal, capsys, name):
    damage, where, lost = DAMAGES[name]
    journal.part.write_bytes(damage(journal.part.read_bytes()))
    again = Journal(journal.path)
    said = f"{journal.part}, {where}: damaged; what is whole is kept and the rest made again\n"
    assert capsys.readouterr().out == said
    assert list(again.records()) == [record for i, record in enumerate(RECORDS) if i not in lost]
    assert again.done == {record["prompt_id"] for record in again.records()}
    again.append([RECORDS[i] for i in sorted(lost)])
    again.finish([record["prompt_id"] for record in RECORDS])
    assert read_jsonl(journal.path) == RECORDS
    assert not journal.part.exists()


def test_a_journal_damaged_at_random_gives_whole_records_only(journal, capsys):
    whole = journal.part.read_bytes()
    randomly = random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(randomly.randint(1, 4)):
            start = randomly.randrange(len(data))
            kind = randomly.randrange(3)
            length = randomly.choice([1, 1, 7, 300])
            if kind == 0:
                data[start : start + length] = randomly.randbytes(len(data[start : start + length]))
            if kind == 1:
                data[start : start + length] = bytes(len(data[start : start + length]))
            if kind == 2:
                del data[start : start + length]
        journal.part.write_bytes(bytes(data))
        records = list(Journal(journal.path).records())
        assert all(record in RECORDS for record in records)
        cut = data[: data.rfind(b"\n") + 1]
        if cut and not whole.startswith(bytes(cut)):
            assert "damaged" in capsys.readouterr().out or bytes(cut) in whole


def test_many_damaged_lines_are_one_short_line(journal, capsys):
    journal.part.write_bytes(journal.part.read_bytes().replace(b"}", b"]"))
    assert list(Journal(journal.path).records()) == []
    assert "lines 1, 2, 3, 4, 5 and 15 more: damaged" in capsys.readouterr().out


@pytest.mark.parametrize(
    "damage", [lambda d: d[:200], lambda d: d[: d.rfind(b"\n", 0, -1) + 1], lambda d: b"\0" * 9]
)
def test_a_finished_file_of_an_interrupted_stage_that_was_cut_is_said_and_set_aside(
    journal, capsys, damage
):
    order = [record["prompt_id"] for record in RECORDS]
    assert not is_finished(journal.path, order)
    journal.finish(order)
    assert is_finished(journal.path, order)
    assert capsys.readouterr().out == ""
    damaged = damage(journal.path.read_bytes())
    journal.path.write_bytes(damaged)
    assert not is_finished(journal.path, order)
    said = f"{journal.path}: damaged or cut; made again, kept as en.jsonl.old\n"
    assert capsys.readouterr().out == said
    assert not journal.path.exists()
    assert journal.path.with_name("en.jsonl.old").read_bytes() == damaged
