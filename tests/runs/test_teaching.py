"""The plans for a class agree with the notebooks: sections, exercises and the answers' numbers."""

import re

import nbformat
import pytest
from claims import NUMBER, borne_out, shown_by

from xlnb.exercises import EXERCISES
from xlnb.runs.notebooks import NOTEBOOKS

PLAN = (NOTEBOOKS / "teaching.md").read_text(encoding="utf-8")


def rows(heading):
    """The cells of a plan's table, a list a row."""
    section = PLAN.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def notebooks(cell):
    names = re.findall(r"\[(\w+)\]\(\1\.ipynb\)", cell)
    return [nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4) for name in names]


def text(notebook, kind):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == kind)


CLASS, WEEK = rows("Ninety minutes"), rows("A week")


def test_the_class_takes_ninety_minutes():
    assert sum(int(row[0]) for row in CLASS) == 90


@pytest.mark.parametrize("row", CLASS, ids=lambda row: row[1])
def test_the_sections_are_there(row):
    (notebook,) = notebooks(row[1])
    found = re.findall(r"^## (\d+) ·", text(notebook, "markdown"), re.MULTILINE)
    assert set(row[2].split(", ")) <= set(found)


@pytest.mark.parametrize("row", CLASS + WEEK, ids=lambda row: row[1])
def test_the_exercises_are_asked_there(row):
    checked = re.findall(r'check\("(\w+)"', "".join(text(n, "code") for n in notebooks(row[1])))
    assert set(re.findall(r"`(\w+)`", " ".join(row[2:]))) <= set(checked)


def test_the_week_hands_in_every_exercise():
    assert set(re.findall(r"`(\w+)`", " ".join(row[2] for row in WEEK))) == EXERCISES.keys()


@pytest.mark.parametrize("row", CLASS + WEEK, ids=lambda row: row[1])
def test_the_answers_numbers_are_in_the_outputs(row):
    shown = []
    for notebook in notebooks(row[1]):
        for cell in notebook.cells:
            shown += shown_by(cell)
    for number in NUMBER.finditer(row[-1]):
        percent = row[-1][number.end() :].startswith("%")
        assert borne_out(number[0], percent, shown), number[0]
