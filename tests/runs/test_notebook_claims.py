"""Every number of a paragraph "**What this run shows.**", or these runs, stands in the outputs
above it.

The paragraph ends at an empty line; its numbers are looked up, rounded as they are written, in what
the code cells since the paragraph before of this kind have printed or shown as tables, and in the
outputs of cells named in it: `<!-- also: cell-07 -->`. What stands in `code` or $maths$ is no claim.
"""

import re

import nbformat
import pytest
from claims import NUMBER, borne_out, shown_by

from xlnb.runs.notebooks import NOTEBOOKS

LABELS = ("**What this run shows.**", "**What these runs show.**")
# Notebooks that make such claims of outputs.
CLAIMING = (
    "00_tour",
    "01_reward_derivation",
    "02_log_probabilities",
    "03_rewards",
    "04_pairs",
    "05_training",
    "06_judging",
    "07_win_rates",
    "08_explore",
    "09_your_models",
    "10_seeds",
    "11_analyses",
    "12_real_model",
)


def claims_in(text):
    return any(label in text for label in LABELS)


def unfounded(notebook):
    """The claims of a notebook, how many, and of each number without an output where it stands."""
    claims, wrong, above = 0, [], []
    outputs = {cell.id: shown_by(cell) for cell in notebook.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        above += outputs.get(cell.id, [])
        if cell.cell_type == "code" or not claims_in(cell.source):
            continue
        for paragraph in re.split(r"\n\s*\n", cell.source):
            if not claims_in(paragraph):
                continue
            claims += 1
            named = re.findall(r"cell-\d+", " ".join(re.findall(r"<!-- also:.*?-->", paragraph)))
            shown = sum((outputs[name] for name in named), above)
            text = re.sub(r"<!--.*?-->|`[^`]*`|\$[^$]*\$", " ", paragraph, flags=re.S)
            for match in NUMBER.finditer(text):
                percent = text[match.end() :].lstrip().startswith("%")
                if not borne_out(match[0], percent, shown):
                    wrong.append(f"{cell.id}: {match[0]} in '{text[: match.end()][-60:]}'")
        above = []
    return claims, wrong


@pytest.mark.parametrize("name", CLAIMING)
def test_what_a_run_shows_is_in_the_outputs(name):
    claims, wrong = unfounded(nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4))
    assert claims and wrong == []


def notebook_that_claims(text):
    """Two sections; in the second a table and a print, then a claim."""
    table = (
        "<style>#T {width: 77px}</style><td class='row88'>0.956</td><td>+3.25</td><td>−12.0</td>"
    )
    html = nbformat.v4.new_output("display_data", {"text/html": table, "text/plain": "99"})
    told = nbformat.v4.new_output("stream", text="1,234 prompts, p 5.1e-15\n")
    first = nbformat.v4.new_output("stream", text="66 facts\n")
    cells = [
        nbformat.v4.new_code_cell("", outputs=[first], id="cell-00"),
        nbformat.v4.new_markdown_cell(f"{LABELS[1]} There are 66 facts.", id="cell-01"),
        nbformat.v4.new_code_cell("", outputs=[html, told], id="cell-02"),
        nbformat.v4.new_markdown_cell(f"{text}\n\nA lasting truth: 4242.", id="cell-03"),
    ]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.mark.parametrize(
    "text",
    [
        "a share of 96%, and 0.956, 0.96 or 1.0 in all",
        "it gains +3.2 or 3.3 and falls by 12, that is −12",
        "of 1,234 or 1234 prompts; p is 5e-15",
        "$\\pi^7$, `seed=8` and $-9.5$ are no claims, nor π^1",
        "of 66 facts <!-- also: cell-00 -->",
    ],
)
def test_a_number_that_is_in_an_output_may_be_claimed(text):
    assert unfounded(notebook_that_claims(f"{LABELS[0]} Here {text}.")) == (2, [])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("a share of 95%", "95"),
        ("a share of 96 points", "96"),
        ("it gains −3.2", "−3.2"),
        ("it gains 3.4", "3.4"),
        ("a falling 12.1", "12.1"),
        ("of 66 facts", "66"),
        ("the table's plain text, 99", "99"),
        ("what only its style holds, 77", "77"),
        ("what only a tag holds, 88", "88"),
        ("p below 5e-16", "5e-16"),
    ],
)
def test_a_planted_wrong_number_is_caught(text, number):
    claims, wrong = unfounded(notebook_that_claims(f"{LABELS[0]} Here {text}."))
    assert claims == 2 and len(wrong) == 1
    assert wrong[0].startswith(f"cell-03: {number} in ")
