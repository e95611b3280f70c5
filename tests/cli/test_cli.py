"""The command line, in process: one clear line and exit code 2 for bad input, and nothing written
by it."""

import base64
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from xlnb import stages
from xlnb.cli.main import main
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_jsonl, write_json
from xlnb.presets import PRESETS
from xlnb.runs import notebooks
from xlnb.runs.run import open_run

SFT = ROOT / "data" / "lab" / "sft"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@pytest.fixture
def run(tmp_path):
    """A run folder of the smallest preset, with its prompts."""
    assert main(["stage", "prompts", "--run", str(tmp_path / "run"), "--preset", "lab-quick"]) == 0
    return tmp_path / "run"


def outputs(folder):
    """What stages have made in a run folder, by content: all but the record of its preset, the
    stamps and their history."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {
        name: data
        for name, data in names.items()
        if name not in ("preset.json", "history.jsonl") and not name.startswith("stages/")
    }


def refused(capfd, *argv):
    """The one line in which the command line refuses these arguments."""
    capfd.readouterr()
    code = main([str(argument) for argument in argv])
    lines = capfd.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainng.lr=1", "unknown preset key 'trainng.lr': did you mean 'training'?"),
        ("training.steps=many", "preset key 'training.steps': expected int, got 'many'"),
        ("training=1", "'training' does not name a value; try: training.steps"),
        ("training.steps", "expected key=value"),
        ("prompts.path=absent", "absent: no such file or folder"),
        ("prompts.langs=en,th", "the lab does not speak 'th'; it speaks en, es, de, fr, ru, sw"),
    ],
)
def test_a_bad_preset_key_is_refused(tmp_path, capfd, override, message):
    folder = tmp_path / "run"
    line = refused(
        capfd, "stage", "prompts", "--run", folder, "--preset", "lab-quick", "-p", override
    )
    assert message in line
    assert not outputs(folder)


def test_an_unknown_preset_is_refused(tmp_path, capfd):
    folder = tmp_path / "run"
    assert "unknown preset 'quick'; known: lab, lab-quick" in refused(
        capfd, "run", "--run", folder, "--preset", "quick"
    )
    assert not folder.exists()


def test_a_folder_that_is_no_run_is_refused_and_not_made(tmp_path, capfd):
    folder = tmp_path / "absent"
    assert f"{folder} is not a run folder" in refused(capfd, "stage", "score", "--run", folder)
    assert not folder.exists()


def test_a_broken_line_of_the_users_prompts_is_named(tmp_path, capfd):
    source = tmp_path / "mine"
    source.mkdir()
    (source / "en.jsonl").write_text(
        '{"id": 1, "instruction": "Ask."}\n{"id": 2, "instruction": \n'
    )
    line = refused(
        capfd, "stage", "prompts", "--run", tmp_path / "run", "--preset", "lab-quick",
        "-p", f"prompts.path={source}", "-p", "prompts.langs=",
    )  # fmt: skip
    assert f"{source}/en.jsonl, line 2: not valid JSON" in line
    assert not outputs(tmp_path / "run")


def test_training_and_evaluation_prompts_may_not_share_an_id(tmp_path, capfd):
    # English instructions are found by id: of two with the same one, the reward would read the
    # wrong one.
    for name in ("train", "eval"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "en.json").write_text(
            json.dumps([{"id": 1, "instruction": f"A prompt to {name} on."}])
        )
    line = refused(
        capfd, "stage", "prompts", "--run", tmp_path / "run", "--preset", "lab-quick",
        "-p", "prompts.langs=", "-p", f"prompts.path={tmp_path / 'train'}",
        "-p", f"prompts.eval_path={tmp_path / 'eval'}",
    )  # fmt: skip
    assert "id 1" in line
    assert not outputs(tmp_path / "run")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["stage", "score", "--iteration", "0"], "iterations begin at 1"),
        (["stage", "sample", "--iteration", "3"], "this run has iterations 0 to 2"),
        (["stage", "logps"], "{run}/icr1/samples: no samples yet; run stage sample first"),
        (["stage", "score"], "{run}/icr1/samples: no samples yet; run stage sample first"),
        (["stage", "pair"], "icr1/samples"),
        (["stage", "prefer"], "needs {run}/dpo/samples/en.jsonl"),
        (["stage", "sample"], "needs {run}/dpo/adapter/adapter_model.safetensors"),
        (
            ["stage", "respond", "--model", "icr1"],
            "needs {run}/icr1/adapter/adapter_model.safetensors",
        ),
        (
            ["stage", "respond", "--model", "icr9"],
            "unknown model 'icr9'; this run has sft, dpo, icr1, icr2",
        ),
        (["stage", "judge", "--model", "dpo"], "needs {run}/eval/dpo/en/model_outputs.json"),
        (["stage", "report"], "{run}/icr1/samples: no samples yet; run stage sample first"),
        (
            ["run", "--preset", "lab-quick", "--until", "icr1/sample"],
            "unknown stage 'icr1/sample'; this run has prompts",
        ),
    ],
)
def test_a_stage_out_of_order_or_unknown_is_refused(run, capfd, argv, message):
    before = outputs(run)
    assert message.format(run=run) in refused(capfd, *argv, "--run", run)
    assert outputs(run) == before


@pytest.mark.parametrize(
    ("lacks", "message"),
    [
        (TOKENIZER, "no tokenizer could be loaded"),
        (
            ("chat_template.jinja",),
            "its tokenizer has no chat template; use an instruction-tuned model",
        ),
        (("model.safetensors",), "could not be loaded"),
        (("config.json", "model.safetensors"), "could not be loaded"),
    ],
    ids=["no tokenizer", "no chat template", "no weights", "no config"],
)
def test_a_model_folder_that_lacks_a_part_is_refused(run, tmp_path, capfd, lacks, message):
    base = tmp_path / "base"
    shutil.copytree(SFT, base, ignore=shutil.ignore_patterns(*lacks))
    before = outputs(run)
    line = refused(
        capfd, "stage", "sample", "--iteration", 0, "--run", run, "-p", f"models.base={base}"
    )
    assert f"model {base}: " in line
    assert message in line
    assert outputs(run) == before


def test_a_model_that_is_not_there_is_refused(run, tmp_path, capfd):
    base = tmp_path / "absent"
    before = outputs(run)
    assert f"model {base}: " in refused(
        capfd, "stage", "sample", "--iteration", 0, "--run", run, "-p", f"models.base={base}"
    )
    assert outputs(run) == before


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            '{"base_model_name_or_path": "org/other", "peft_type": "LORA"}',
            "belongs to base 'org/other', not to '{base}'",
        ),
        ('{"peft_type": "LORA"}', "base"),
        ("{", "not valid JSON"),
        (None, "not an adapter folder (no adapter_config.json)"),
    ],
)
def test_an_adapter_of_another_base_is_refused(run, tmp_path, capfd, config, message):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    if config is not None:
        (adapter / "adapter_config.json").write_text(config)
    before = outputs(run)
    line = refused(capfd, "stage", "sample", "--run", run, "-p", f"models.dpo_adapter={adapter}")
    assert str(adapter) in line
    assert message.format(base=PRESETS["lab"].models.base) in line
    assert outputs(run) == before


def test_a_nearly_full_disk_is_refused(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: SimpleNamespace(total=2**40, used=2**40, free=2**20)
    )
    line = refused(capfd, "stage", "prompts", "--run", tmp_path / "run", "--preset", "lab-quick")
    assert "only 1 MiB of disk are free" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_disk_that_fills_up_during_a_stage_is_named_and_the_stage_made_anew(
    run, capfd, monkeypatch, function
):
    shutil.rmtree(run / "prompts")

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, full_disk)
        assert "no space left on the disk" in refused(capfd, "stage", "prompts", "--run", run)
    assert not outputs(run)
    assert main(["stage", "prompts", "--run", str(run)]) == 0
    assert len(read_jsonl(run / "prompts" / "en.jsonl")) == 24 + 8 + 12


def test_an_interruption_says_how_to_go_on(run, capsys, monkeypatch):
    def interrupt(run):
        raise KeyboardInterrupt

    monkeypatch.setitem(stages.STAGES, "prompts", interrupt)
    capsys.readouterr()
    assert main(["stage", "prompts", "--run", str(run)]) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on from here\n"


# Notebooks.


def notebook(path, *cells):
    tagged = new_code_cell(
        'preset: str = "lab"\nrun_dir: str = "runs/lab"', metadata={"tags": ["parameters"]}
    )
    nbformat.write(new_notebook(cells=[tagged, *cells], metadata=notebooks.KERNEL), path)
    return path


def finished(run, last, yes):
    """In place of all stages."""
    write_json(
        run.path / "metrics.json",
        {"win_rates": {"sft": {"en": {"wr": 50.0, "wr_se": 0.0, "lc": 50.0, "mean_chars": 9.0}}}},
    )


def test_a_parameter_that_a_notebook_does_not_have_is_refused(tmp_path, capfd, monkeypatch):
    path = notebook(tmp_path / "00_tiny.ipynb")
    with pytest.raises(
        InputError, match=r"00_tiny\.ipynb: no parameter 'overides'; it has preset, run_dir"
    ):
        notebooks.execute(path, tmp_path / "out.ipynb", {"overides": ""})
    assert not (tmp_path / "out.ipynb").exists()


def test_all_notebooks_are_executed_side_by_side_and_a_failure_is_raised(tmp_path):
    paths = [notebook(tmp_path / f"0{i}_tiny.ipynb", new_code_cell(f"{i} + 40")) for i in range(3)]
    notebooks.execute_all(paths, tmp_path / "out", {})
    for i, path in enumerate(paths):
        last = nbformat.read(tmp_path / "out" / path.name, as_version=4).cells[-1]
        assert last.outputs[0].data["text/plain"] == str(40 + i)
    notebook(paths[1], new_code_cell("1 / 0"))
    with pytest.raises(
        InputError, match=r"out/01_tiny\.ipynb: cell 1 failed, ZeroDivisionError: division by zero"
    ):
        notebooks.execute_all(paths, tmp_path / "out", {})


def test_notebooks_find_the_run_wherever_the_command_was_typed(tmp_path, monkeypatch, capsys):
    given = {}

    def execute_all(paths, folder, parameters):
        given.update(parameters)
        raise InputError("enough")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notebooks, "execute_all", execute_all)
    monkeypatch.setattr(stages, "run_until", finished)
    overrides = ["seed=3", f"models.base={tmp_path}/a folder"]
    assert (
        main(
            [
                "run",
                "--run",
                "mine",
                "--preset",
                "lab-quick",
                "-p",
                overrides[0],
                "-p",
                overrides[1],
            ]
        )
        == 2
    )
    assert (
        "WR±SE" in capsys.readouterr().out
    )  # the table is there, whatever becomes of the notebooks
    # As notebooks do: the folder from the project's root, and the preset that is in it.
    assert given == {"preset": "", "run_dir": str((tmp_path / "mine").resolve())}
    run = open_run(ROOT / given["run_dir"], given["preset"])
    assert (run.preset.name, run.preset.seed, run.preset.models.base) == (
        "lab-quick",
        3,
        f"{tmp_path}/a folder",
    )
    # Without --preset a run keeps its own, and the options it was given.
    assert main(["run", "--run", "mine", "-p", "seed=4"]) == 2
    run = open_run(tmp_path / "mine")
    assert (run.preset.name, run.preset.seed, run.preset.models.base) == (
        "lab-quick",
        4,
        f"{tmp_path}/a folder",
    )


def png(mode):
    """A base64 PNG of a grey gradient, in full colour ("RGB") or of a small palette ("P")."""
    file, image = io.BytesIO(), Image.radial_gradient("L").convert("RGB")
    (image if mode == "RGB" else image.quantize(8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def executed(path):
    """A notebook as papermill leaves it: what differs from run to run, and what a reader should
    see."""
    times = {
        "execution": {"iopub.execute_input": "2026-01-01T00:00:00Z"},
        "papermill": {"duration": 1.5},
    }
    widget = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "7"},
        "text/plain": "Progress",
    }
    notebook(
        path,
        new_code_cell('preset = "lab-quick"', metadata={"tags": ["injected-parameters"]}),
        new_markdown_cell("# Title", metadata=times),
        new_code_cell(
            "1 + 1",
            execution_count=9,
            metadata=times | {"tags": ["kept-out"]},
            outputs=[
                new_output("stream", name="stderr", text="  0%|          | 0/3"),
                new_output("stream", name="stdout", text="seen\n"),
                new_output("display_data", widget),
                new_output(
                    "execute_result", {"text/plain": "2"}, execution_count=9, metadata={"time": 1}
                ),
                new_output(
                    "display_data", {"image/png": png("RGB")}, metadata={"image/png": {"width": 3}}
                ),
                new_output("display_data", {"image/png": png("P")}),
            ],
        ),
    )
    before = nbformat.read(path, as_version=4)
    before.metadata["papermill"] = {"start_time": "2026-01-01T00:00:00Z"}
    before.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    nbformat.write(before, path)
    return path


def test_render_keeps_what_a_reader_sees_and_drops_what_differs_from_run_to_run(tmp_path, capsys):
    path = executed(tmp_path / "00_tiny.ipynb")
    assert main(["render", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    after = nbformat.read(path, as_version=4)
    nbformat.validate(after)
    assert after.metadata == notebooks.KERNEL
    assert [cell.id for cell in after.cells] == ["cell-00", "cell-01", "cell-02"]
    assert [cell.metadata for cell in after.cells] == [{"tags": ["parameters"]}, {}, {}]
    assert [cell.execution_count for cell in after.cells if cell.cell_type == "code"] == [1, 2]
    assert not any("lab-quick" in cell.source for cell in after.cells)
    stream, result, picture, small = after.cells[2].outputs
    assert (stream.name, stream.text) == ("stdout", "seen\n")
    assert (result.data, result.execution_count, result.metadata) == ({"text/plain": "2"}, 2, {})
    assert picture.metadata == {}
    assert len(picture.data["image/png"]) < len(png("RGB"))
    assert small.data == {"image/png": png("P")}


def test_render_changes_nothing_the_second_time(tmp_path):
    path = executed(tmp_path / "00_tiny.ipynb")
    assert main(["render", str(path)]) == 0
    once = path.read_bytes()
    assert main(["render", str(path)]) == 0
    assert path.read_bytes() == once
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_render_keeps_the_error_of_a_cell_that_failed(tmp_path):
    error = new_output("error", ename="ValueError", evalue="broken", traceback=["at line 1"])
    path = notebook(
        tmp_path / "00_tiny.ipynb", new_code_cell("raise ValueError('broken')", outputs=[error])
    )
    assert main(["render", str(path)]) == 0
    assert nbformat.read(path, as_version=4).cells[1].outputs == [error]


@pytest.mark.parametrize("text", [None, "not JSON", "{}", "[{}]", "7"])
def test_render_refuses_what_is_no_notebook_and_leaves_it_alone(tmp_path, capfd, text):
    path = tmp_path / "broken.ipynb"
    if text:
        path.write_text(text)
    assert "broken.ipynb" in refused(capfd, "render", path)
    assert not text or path.read_text() == text


def test_a_reader_that_has_read_enough_is_no_error():
    """`python -m xlnb list | head`: the pipe is closed before the first line is written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "xlnb", "list"]
    process = subprocess.run(
        command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert process.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in process.stderr and "BrokenPipe" not in process.stderr


def test_a_preset_of_ones_own_makes_a_run_that_opens_without_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stages, "run_until", finished)
    mine = tmp_path / "mine.small.yaml"
    mine.write_text("base: lab-quick\nprompts: {langs: 'en,sw'}\nseed: 5\n")
    assert main(["run", "--preset", "mine.small.yaml", "--until", "prompts", "-p", "seed=6"]) == 0
    # The folder has the preset's name, by default.
    mine.unlink()
    preset = open_run(tmp_path / "runs" / "mine.small").preset
    assert (preset.name, preset.seed, preset.prompts.langs) == ("mine.small", 6, "en,sw")
    assert preset.lab == PRESETS["lab-quick"].lab


def test_a_bad_preset_file_is_refused_in_one_line(tmp_path, capfd):
    mine = tmp_path / "mine.yaml"
    mine.write_text("training:\n  stepps: 3\n")
    line = refused(capfd, "run", "--run", tmp_path / "run", "--preset", mine)
    assert line.startswith(f"error: {mine}: unknown preset key 'training.stepps': did you mean")
    assert not (tmp_path / "run").exists()


def test_list_prints_a_presets_page(tmp_path, capfd):
    assert main(["list", "--preset", "lab-quick"]) == 0
    page = capfd.readouterr().out
    assert "\nsampling:\n  # responses a prompt (the release's)\n  n: 4\n" in page
    # It begins a file of one's own.
    mine = tmp_path / "mine.yaml"
    mine.write_text(page)
    assert main(["list", "--preset", str(mine)]) == 0
    assert capfd.readouterr().out == page
    assert "unknown preset 'quick'" in refused(capfd, "list", "--preset", "quick")


def test_an_unknown_stage_is_refused_with_the_known_ones(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["stage", "smaple", "--run", str(tmp_path)])
    error = capsys.readouterr().err
    assert all(f"'{name}'" in error for name in stages.STAGES)


@pytest.mark.parametrize(
    "argv",
    [
        ["run", "--preset", "lab", "--run"],
        ["stage", "report", "--run"],
        ["evidence", "--run"],
        ["sweep", "seed=0", "--out"],
        ["analyses", "--out"],
        ["score", "--pairs", "x", "--policy", "x", "--ref", "x", "--out"],
        ["accuracy", "--pairs", "x", "--policy", "x", "--ref", "x", "--out"],
    ],
)
def test_an_empty_folder_is_not_the_current_one(tmp_path, capsys, monkeypatch, argv):
    """As of a shell's variable that is not set."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main([*argv, ""])
    assert f"argument {argv[-1]}: invalid place value: ''" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_list_names_presets_stages_and_notebooks(capsys):
    assert main(["list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [name for kind, name, *_ in lines if kind == "preset"] == list(PRESETS)
    names = [name for kind, name, *_ in lines if kind == "stage"]
    assert names[:5] == ["prompts", "dpo/samples", "dpo/pairs", "dpo/adapter", "shared/samples"]
    assert names[-1] == "report"
    listed = [name for kind, name, *_ in lines if kind == "notebook"]
    assert listed == [f"notebooks/{path.name}" for path in notebooks.numbered()]


@pytest.mark.parametrize("own", [None, "ACTIVE"])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(own):
    environment = {**os.environ, "OMP_DISPLAY_ENV": "verbose", "OMP_WAIT_POLICY": own or ""}
    if not own:
        del environment["OMP_WAIT_POLICY"]
    command = [sys.executable, "-c", "import xlnb.losses"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    # what the threads' own library says, which PyTorch brings
    assert ("GOMP_SPINCOUNT = '0'" in done.stderr) == (own is None)
