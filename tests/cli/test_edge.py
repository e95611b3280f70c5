"""The edge of the command line: what is expected to go wrong is one line with file, place and
remedy, exit code 2; `--debug` shows the traceback; a key is in neither."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import jinja2
import pytest
from safetensors import safe_open

from xlnb import stages
from xlnb.cli.main import main
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, write_json, write_jsonl
from xlnb.stages import pipeline

KEY = "sk-very-secret-0123456789"
RUN = ["stage", "prompts", "--preset", "lab-quick", "--run"]


def raising(error):
    def stage(run):
        raise error

    return stage


def line_of(capfd, *argv, code=2):
    capfd.readouterr()
    assert main([str(argument) for argument in argv]) == code
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "no space left on the disk; free some"),
        (errno.EDQUOT, "the disk quota is used up; free some"),
        (errno.EROFS, "a read-only file system; name another folder"),
        (errno.EACCES, "no permission; change the rights"),
        (errno.EIO, "the disk has failed to read or write"),
        (errno.ENOTDIR, "a part of this path is a file"),
        (errno.EMFILE, "too many open files"),
        (errno.ESTALE, "mend it, then start again"),
    ],
)
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_an_error_of_the_system_is_one_line_with_file_and_remedy(
    tmp_path, capfd, monkeypatch, number, remedy, function
):
    def broken(*_):
        raise OSError(number, os.strerror(number))

    assert main([*RUN, str(tmp_path / "run")]) == 0
    (tmp_path / "run/metrics.json").write_text("kept")
    with monkeypatch.context() as patch:
        patch.setattr(os, function, broken)
        line = line_of(capfd, *RUN, tmp_path / "run", "-p", "lab.train=3")
    assert line.startswith(f"error: {tmp_path}/run/") and remedy in line
    assert (tmp_path / "run/metrics.json").read_text() == "kept"
    assert main([*RUN, str(tmp_path / "run"), "-p", "lab.train=3"]) == 0


def test_a_run_folder_below_a_file_is_refused_in_one_line(tmp_path, capfd):
    (tmp_path / "file").write_text("kept")
    line = line_of(capfd, *RUN, tmp_path / "file/run")
    assert line.startswith(f"error: {tmp_path}/file/run") and "is a file" in line
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_that_may_not_be_written_is_refused_in_one_line(tmp_path, capfd, monkeypatch):
    def read_only(path, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(os, "mkdir", read_only)
    line = line_of(capfd, *RUN, tmp_path / "run")
    assert line.startswith(f"error: {tmp_path}/run") and "read-only" in line


def damaged_safetensors():
    try:
        with safe_open(__file__, "pt"):
            pass
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (jinja2.TemplateSyntaxError("unexpected end", 3), "the chat template cannot be used"),
        (jinja2.UndefinedError("no\nsystem"), "the chat template cannot be used"),
        (damaged_safetensors(), "a safetensors file is damaged"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "not UTF-8"),
        (json.JSONDecodeError("Expecting value", "{", 1), "not valid JSON"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "start again"),
        (MemoryError(), "the memory is full"),
    ],
)
def test_an_expected_error_of_a_library_is_one_line_with_its_place(
    tmp_path, capfd, monkeypatch, error, remedy
):
    monkeypatch.setitem(stages.STAGES, "prompts", raising(error))
    line = line_of(capfd, *RUN, tmp_path / "run")
    assert line.startswith("error: ") and remedy in line
    assert isinstance(error, OSError) or "xlnb/cli/stage.py, line" in line


def test_debug_shows_the_traceback_and_no_key(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def stage(run):
        try:
            raise ValueError(f"what was behind it: {KEY}")
        except ValueError:
            raise InputError(f"a line with {KEY}") from None

    monkeypatch.setitem(stages.STAGES, "prompts", stage)
    assert line_of(capfd, *RUN, tmp_path / "run") == "error: a line with [key]"
    for arguments in ([*RUN, str(tmp_path / "run"), "--debug"], ["--debug", *RUN, str(tmp_path)]):
        assert main(arguments) == 2
        shown = capfd.readouterr().err
        assert "Traceback" in shown and "what was behind it: [key]" in shown
        assert shown.endswith("error: a line with [key]\n")
        assert KEY not in shown


def test_what_nobody_expected_keeps_its_traceback_without_a_key(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setitem(stages.STAGES, "prompts", raising(ZeroDivisionError(f"by {KEY}")))
    assert main([*RUN, str(tmp_path / "run")]) == 1
    shown = capfd.readouterr().err
    assert "Traceback" in shown and "ZeroDivisionError: by [key]" in shown and KEY not in shown


def test_being_told_to_end_is_an_interruption(tmp_path):
    code = (
        "import sys, time; from xlnb import stages; from xlnb.cli.main import main;"
        "stages.STAGES['prompts'] = lambda run: print('here', flush=True) or time.sleep(60);"
        f"sys.exit(main({[*RUN, str(tmp_path / 'run')]!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "here\n"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM and time.monotonic() - began < 30
    assert shown.endswith("interrupted; the same command goes on from here\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_that_native_code_made_another_error_of_is_one(
    tmp_path, capfd, monkeypatch, request, number
):
    def swallows(run):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise ValueError("could not determine the shape of object type") from None

    monkeypatch.setitem(stages.STAGES, "prompts", swallows)
    # In the background of a shell it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    line = line_of(capfd, *RUN, tmp_path / "run", code=128 + number)
    assert line == "interrupted; the same command goes on from here"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_that_a_step_has_lost_ends_the_run_behind_it(tmp_path, capfd, monkeypatch):
    def loses(run):
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(pipeline, "collect_prompts", loses)
    line = line_of(
        capfd, "run", "--preset", "lab-quick", "--run", tmp_path / "run", code=128 + signal.SIGTERM
    )
    assert line == "interrupted; the same command goes on from here"
    # The next stage would want the prompts.
    assert not (tmp_path / "run" / "dpo").exists()


def test_files_of_a_killed_command_are_swept_at_the_next_start(tmp_path):
    assert main([*RUN, str(tmp_path / "run")]) == 0
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = tmp_path / "run/icr1/samples"
    orphans = [folder / f".en.jsonl.{ended.pid}.tmp", tmp_path / f"run/.a.{ended.pid}.tmp"]
    alive = folder / f".en.jsonl.{os.getpid()}.tmp"
    write_json(folder / "en.json", {})
    for path in (*orphans, alive):
        path.write_text("half")
    assert main([*RUN, str(tmp_path / "run")]) == 0
    assert [path.exists() for path in orphans] == [False, False]
    assert alive.exists() and (folder / "en.json").exists()


def test_a_language_s_code_leads_out_of_no_folder(tmp_path, capfd):
    prompts = tmp_path / "prompts"
    write_jsonl(prompts / "en.jsonl", [{"id": "a", "instruction": "Ask."}])
    write_jsonl(tmp_path / "mine.jsonl", [{"id": "a", "lang": "../up", "instruction": "Ask."}])
    before = sorted(tmp_path.rglob("*"))
    run = ["--preset", "lab-quick", "--run", tmp_path / "run"]
    for stage, name, value in (
        ("prompts", "prompts.langs", "en,../up"),
        ("prompts", "prompts.path", tmp_path / "mine.jsonl"),
        ("localise", "localise.langs", "../../up"),
    ):
        given = ["-p", f"prompts.path={prompts}"] if stage == "localise" else []
        line = line_of(capfd, "stage", stage, *run, *given, "-p", f"{name}={value}")
        assert "up'" in line
        outside = [path for path in tmp_path.rglob("*") if tmp_path / "run" not in path.parents]
        assert sorted({*outside} - {tmp_path / "run"}) == before


def test_what_a_terminal_cannot_write_is_escaped(tmp_path):
    """A table on a terminal that knows ASCII alone, of a file whose name is not UTF-8."""
    row = {"instruction": "?", "output_1": "a", "output_2": "b", "preference": 2}
    write_json(tmp_path / "m\udcff.en.json", [row, row])
    shown = subprocess.run(
        [sys.executable, "-m", "xlnb", "winrate", str(tmp_path / "m\udcff.en.json")],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "WR\\xb1SE" in shown.stdout and "m\\udcff" in shown.stdout
