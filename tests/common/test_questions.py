"""Many questions: how many are under way at once."""

import time

import pytest

from xlnb.common.calling import NoAnswer
from xlnb.common.errors import InputError
from xlnb.common.journal import Journal
from xlnb.common.questions import ask_all

WORKERS = 3


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """One on a disk that is slower than the answers."""
    append = Journal.append

    def slow(self, records):
        time.sleep(0.02)
        append(self, records)

    monkeypatch.setattr(Journal, "append", slow)
    return Journal(tmp_path / "en.jsonl")


def asking(journal, answers):
    """Ask forty questions, and of each how many were asked by then and not yet written."""
    under_way = []

    def ask(record):
        under_way.append(len(under_way) + 1 - len(journal.done))
        return answers(record)

    records = [{"prompt_id": f"{i}"} for i in range(40)]
    try:
        ask_all(ask, records, journal, name="test", workers=WORKERS, label="test")
    finally:
        assert under_way
    return under_way


def test_what_is_asked_and_not_yet_written_is_no_more_than_there_are_workers(journal):
    under_way = asking(journal, lambda record: {"answer": "yes"})
    assert len(under_way) == 40 == len(journal.done)
    assert 1 < max(under_way) <= WORKERS


def test_who_waits_for_a_turn_does_not_hold_up_the_end(journal):
    def answers(record):
        if record["prompt_id"] == "7":
            raise InputError("no more")
        return {"answer": "yes"}

    with pytest.raises(InputError, match="no more"):
        asking(journal, answers)

    def none(record):
        raise NoAnswer("down", outage=True)

    with pytest.raises(InputError, match="questions without an answer, the last: down"):
        asking(journal, none)
