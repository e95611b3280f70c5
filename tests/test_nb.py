"""The opening line of a notebook: it makes what is missing, and never undoes what is there."""

import papermill
import pytest
import torch

from xlnb import nb
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json, write_jsonl
from xlnb.runs.run import open_run

SMALL = "prompts.langs=en,es lab.train=12 lab.eval=8"


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def run(tmp_path):
    run = nb.start("lab-quick", str(tmp_path / "run"), SMALL)
    torch.set_num_threads(1)
    return run


def test_it_makes_what_is_missing_and_says_what_the_run_is(run, capsys):
    before = contents(run.path)
    assert nb.start("lab-quick", str(run.path), SMALL).preset == run.preset
    assert contents(run.path) == before
    assert capsys.readouterr().out.startswith("lab-quick, seed 0; python ")


@pytest.mark.parametrize("why", ["lab.train was 12, is now 16", "prompts.langs was en,es, is now"])
def test_other_values_are_refused_before_anything_changes(run, why):
    other = SMALL.replace("train=12", "train=16") if "train" in why else "lab.train=12 lab.eval=8"
    before = contents(run.path)
    with pytest.raises(InputError, match=f"run: prompts is there already, and {why}") as error:
        nb.start("lab-quick", str(run.path), other)
    assert "another run folder" in str(error.value) and "\n" not in str(error.value)
    assert contents(run.path) == before


def test_other_values_are_taken_where_one_says_redo(run, capsys):
    nb.start("lab-quick", str(run.path), SMALL.replace("train=12", "train=16"), redo=True)
    assert "prompts: redone, because lab.train was 12, is now 16" in capsys.readouterr().out


def test_a_name_that_papermill_gives_and_the_notebook_lacks_is_refused():
    declared = 'preset: str = "lab"\nrun_dir: str = "runs/lab"'
    for cells in ([], [declared], [declared, '# Parameters\npreset = "x"\n', "presett = 1", "%("]):
        nb.check_injected(cells)
    with pytest.raises(InputError, match=r"'presett'; this notebook has preset, run_dir$"):
        nb.check_injected([declared, '# Parameters\npreset = "x"\npresett = "y"\n'])


def test_an_empty_folder_is_not_the_projects_root():
    with pytest.raises(InputError, match="run_dir is empty; name a folder"):
        nb.start("lab-quick", " ", "")


def test_plain_papermill_with_a_misspelt_parameter_stops(tmp_path):
    given = {"run_dir": "data/results/lab_seed0.json"}
    notebook = str(ROOT / "notebooks" / "10_seeds.ipynb")
    with pytest.raises(papermill.PapermillExecutionError) as error:
        papermill.execute_notebook(
            notebook, str(tmp_path / "out.ipynb"), given, cwd=str(ROOT), progress_bar=False
        )
    assert (error.value.ename, error.value.evalue) == (
        "InputError",
        "no parameter 'run_dir'; this notebook has run_dirs",
    )


def test_values_that_undo_nothing_are_taken(run, capsys):
    # No stage has trained or sampled yet.
    nb.start("lab-quick", str(run.path), f"{SMALL} seed=1 training.lr=0.001")
    assert read_json(run.record)["preset"]["training"]["lr"] == 0.001
    assert "redone" not in capsys.readouterr().out


def test_an_input_that_changed_is_refused_where_its_stage_is_reached(tmp_path):
    source = tmp_path / "mine"
    for lang, question in (("en", "How are you?"), ("es", "¿Qué tal?")):
        write_jsonl(source / f"{lang}.jsonl", [{"id": "1", "instruction": question}])
    path, texts = str(tmp_path / "other"), f"prompts.langs=en,es prompts.path={source}"
    nb.start("lab-quick", path, texts)
    write_jsonl(source / "es.jsonl", [{"id": "1", "instruction": "¿Cómo estás?"}])
    with pytest.raises(InputError, match=r"other: prompts is there already, and es\.jsonl changed"):
        nb.start("lab-quick", path, texts)
    assert not list((tmp_path / "other").rglob("*.old"))


def test_a_command_makes_anew_as_before(run):
    assert open_run(run.path, "lab-quick").redo
