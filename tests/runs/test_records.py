"""A stage knows what it wrote: files that are missing or changed are named and made again, work that
is not current is set aside, and a record that was lost is rebuilt."""

import json
import os
import shutil
import time

import pytest

from xlnb import stages
from xlnb.cli.main import main
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl, write_jsonl, write_text
from xlnb.models.places import base_path
from xlnb.presets import Models, get_preset
from xlnb.runs import records
from xlnb.runs.layout import Run
from xlnb.runs.run import open_run
from xlnb.runs.stage import Stage
from xlnb.stages import keys

LANGS = ("en", "es", "de")


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run", get_preset("lab-quick"))


def samples(run, uses=None):
    """A stage that makes a file a language, those that are not there; returns what it made."""
    stage = Stage(run, "icr1/samples", inputs=[], uses=uses or {}, out=run.path / "icr1/samples")
    made = []

    def make():
        for lang in LANGS:
            path = stage.out / f"{lang}.jsonl"
            if not path.exists():
                write_jsonl(path, [{"prompt_id": f"{i}", "lang": lang} for i in range(5)])
                made.append(lang)

    stage.make(make)
    return made


def scores(run):
    """A stage that reads all samples that it finds."""
    files = sorted((run.path / "icr1/samples").glob("*.jsonl"))
    out = run.path / "icr1/scores"
    return Stage(run, "icr1/scores", inputs=files, uses={}, out=out)


def cut(path):
    """At the end of a line, so that what is left reads well."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))


def flip(path):
    """One bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "what"),
    [(os.unlink, "is missing"), (cut, "has changed"), (flip, "has changed")],
)
def test_a_file_of_a_finished_stage_that_is_gone_or_changed_is_named_and_made_again(
    run, capsys, damage, what
):
    assert samples(run) == list(LANGS)
    path = run.path / "icr1/samples/es.jsonl"
    before = path.read_bytes()
    damage(path)
    damaged = path.read_bytes() if path.exists() else None
    # Nobody reads the others as if they were all.
    with pytest.raises(
        InputError, match=rf"stage icr1/scores needs .*es\.jsonl, which {what} since"
    ):
        scores(run)
    assert samples(run) == ["es"]
    assert capsys.readouterr().out == (
        f"icr1/samples: made again, because icr1/samples/es.jsonl {what}\n"
    )
    assert path.read_bytes() == before
    assert scores(run)
    aside = path.with_name("es.jsonl.old")
    assert (aside.read_bytes() if aside.exists() else None) == damaged
    assert samples(run) == []
    assert capsys.readouterr().out == ""


def test_many_missing_files_are_a_short_line(run, capsys):
    samples(run)
    for lang in LANGS:
        (run.path / f"icr1/samples/{lang}.jsonl").unlink()
    stage = Stage(run, "dpo/pairs", inputs=[], uses={}, out=run.path / "dpo/pairs")
    with stage.working():
        for number in range(9):
            write_text(stage.out / f"{number}.jsonl", "x\n")
    shutil.rmtree(stage.out)
    assert not stage.current()
    assert capsys.readouterr().out.endswith("dpo/pairs/2.jsonl is missing, and 7 more\n")


def test_a_change_within_a_tick_of_the_clock_is_seen(run):
    """The same size, and a time that tells nothing."""
    samples(run)
    path = run.path / "icr1/samples/en.jsonl"
    stat = path.stat()
    write_text(path, path.read_text().replace('"0"', '"9"'))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert samples(run) == ["en"]


def test_a_content_is_read_only_where_size_or_time_have_changed(run, monkeypatch):
    samples(run)
    old = time.time_ns() - 10**12
    stamp = run.stamp("icr1/samples")
    record = read_json(stamp)
    for name, known in record["outputs"].items():
        os.utime(run.path / name, ns=(old, old))
        known["mtime_ns"] = old
    stamp.write_text(json.dumps(record))
    read = []
    digest = records.sha256
    monkeypatch.setattr(records, "sha256", lambda path: read.append(path.name) or digest(path))
    assert samples(run) == []
    assert scores(run).key["inputs"].keys() == record["outputs"].keys()
    assert read == []
    os.utime(run.path / "icr1/samples/es.jsonl")
    assert samples(run) == []
    assert read == ["es.jsonl"]


def test_a_copy_of_a_run_is_as_finished_as_the_run(run, tmp_path, capsys):
    samples(run)
    shutil.copytree(run.path, tmp_path / "copy", copy_function=shutil.copyfile)
    assert samples(Run(tmp_path / "copy", run.preset)) == []
    assert capsys.readouterr().out == ""


def test_a_file_that_the_stage_did_not_write_is_nobody_s_input(run):
    samples(run)
    path = run.path / "icr1/samples/pt.jsonl"
    shutil.copy(run.path / "icr1/samples/en.jsonl", path)
    with pytest.raises(InputError, match=r"pt\.jsonl: stage icr1/samples did not write this file"):
        scores(run)


# Finished work that is no longer current.


def test_stale_work_is_set_aside_with_its_record_and_swept_on_request(run, capsys):
    open_run(run.path, "lab-quick")
    samples(run, uses={"seed": 0})
    before = (run.path / "icr1/samples/en.jsonl").read_bytes()
    assert samples(run, uses={"seed": 1}) == list(LANGS)
    assert capsys.readouterr().out == (
        "icr1/samples: redone, because seed was 0, is now 1; "
        "what was there is kept as icr1/samples.old\n"
    )
    assert (run.path / "icr1/samples.old/en.jsonl").read_bytes() == before
    aside = run.path / "stages/icr1.samples.json.old"
    assert json.loads(aside.read_text())["key"]["uses"] == {"seed": 0}
    assert samples(run, uses={"seed": 2}) == list(LANGS)
    assert (run.path / "icr1/samples.old2/en.jsonl").exists()

    capsys.readouterr()
    assert main(["clean", "--run", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert "icr1/samples.old" in said and "icr1/samples.old2" in said
    assert list(run.path.rglob("*.old*")) == []
    assert samples(run, uses={"seed": 2}) == []


# The record itself.


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (os.unlink, "is missing"),
        (lambda path: path.write_text(path.read_text()[:100]), "is damaged"),
        (lambda path: path.write_bytes(b"\0" * 300), "is damaged"),
        (lambda path: path.write_bytes(b"\xff" + path.read_bytes()), "is damaged"),
        (lambda path: path.write_text("[]"), "is damaged"),
        (lambda path: path.write_text('{"state": "done"}'), "is damaged"),
        (lambda path: path.write_text(path.read_text().replace('"done"', '"gone"')), "is damaged"),
    ],
)
def test_a_lost_record_is_rebuilt_where_the_files_are_as_they_were(run, capsys, damage, what):
    samples(run)
    stamp = run.stamp("icr1/samples")
    before = stamp.read_bytes()
    seconds = records.stage_seconds(run)
    damage(stamp)
    assert scores(run)
    assert samples(run) == []
    assert capsys.readouterr().out == (
        f"icr1/samples: its record stages/icr1.samples.json {what}; "
        "rebuilt, its files are as they were\n"
    )
    assert stamp.read_bytes() == before
    assert records.stage_seconds(run) == seconds
    assert samples(run) == []
    assert capsys.readouterr().out == ""


def test_a_lost_record_whose_files_changed_too_is_said_and_all_is_redone(run, capsys):
    samples(run)
    run.stamp("icr1/samples").unlink()
    flip(run.path / "icr1/samples/de.jsonl")
    assert samples(run) == list(LANGS)
    assert capsys.readouterr().out == (
        "icr1/samples: redone, because its record stages/icr1.samples.json is missing; "
        "what was there is kept as icr1/samples.old\n"
    )
    assert len(list((run.path / "icr1/samples.old").iterdir())) == 3


def test_all_records_lost_are_rebuilt_from_the_history_and_a_damaged_line_of_it_is_passed_over(
    run, capsys
):
    samples(run)
    samples(run, uses={"seed": 1})
    lines = run.history.read_bytes().splitlines()
    assert [json.loads(line)["stage"] for line in lines] == ["icr1/samples"] * 2
    run.history.write_bytes(b"\0\0\xff{\n" + lines[1] + b"\n{torn")
    shutil.rmtree(run.path / "stages")
    capsys.readouterr()
    assert samples(run, uses={"seed": 1}) == []
    assert "rebuilt, its files are as they were" in capsys.readouterr().out
    # The torn line stays by itself.
    shutil.rmtree(run.path / "stages")
    assert samples(run, uses={"seed": 1}) == []


# Keys are of content.


def test_a_base_is_the_same_however_it_is_named_and_wherever_it_lies(tmp_path, monkeypatch):
    base = Models().base
    expected = keys.model_fields(Models())
    copy = tmp_path / "copy"
    shutil.copytree(base_path(base), copy)
    monkeypatch.chdir(tmp_path)
    for name in (f"{base}/", base_path(base), f"./{base}//", str(copy), f"{copy}/", "copy"):
        assert keys.model_fields(Models(base=name)) == expected
    for name in ("notes.txt", "README.md", "LICENSE", "training_log.json"):
        (copy / name).write_text("About it.")
    assert keys.model_fields(Models(base=str(copy))) == expected
    (copy / "generation_config.json").write_text("{}")
    assert keys.model_fields(Models(base=str(copy))) != expected
    assert keys.model_fields(Models(base="org/model")) != keys.model_fields(
        Models(base="org/other")
    )


def test_a_chat_template_that_is_given_counts_by_its_content(tmp_path):
    own = keys.model_fields(Models())
    assert "chat_template" not in own["models"] and "chat_template" not in own["models"]["files"]
    found = []
    for name, text in (("a.jinja", "x"), ("b.jinja", "x"), ("a.jinja", "y")):
        (tmp_path / name).write_text(text)
        found.append(keys.model_fields(Models(chat_template=str(tmp_path / name))))
    assert found[0] == found[1] and own != found[0] != found[2] != own


def test_a_gguf_file_counts_by_its_content(tmp_path):
    found = []
    for name, text in (("a.gguf", "x"), ("b.GGUF", "x"), ("a.gguf", "y")):
        (tmp_path / name).write_text(text)
        found.append(keys.model_fields(Models(base=str(tmp_path / name))))
    assert found[0] == found[1] != found[2]


def test_prompts_are_the_same_however_and_wherever_they_are_named(tmp_path, capsys):
    for split in ("train", "eval"):
        write_jsonl(tmp_path / split / "en.jsonl", [{"id": split, "instruction": f"To {split}?"}])
        shutil.copytree(tmp_path / split, tmp_path / "elsewhere" / split)
    run_dir = tmp_path / "run"

    def collect(train, held_out):
        paths = {"prompts.path": str(train), "prompts.eval_path": str(held_out)}
        stages.collect_prompts(open_run(run_dir, "lab-quick", paths | {"prompts.langs": ""}))
        return capsys.readouterr().out

    collect(tmp_path / "train", tmp_path / "eval")
    assert "redone" not in collect(f"{tmp_path}/train/", f"{tmp_path}/./eval")
    assert "redone" not in collect(tmp_path / "elsewhere/train", tmp_path / "elsewhere/eval")
    # The same files in other places are another thing.
    assert "redone" in collect(tmp_path / "elsewhere/eval", tmp_path / "elsewhere/train")
    assert [record["split"] for record in read_jsonl(run_dir / "prompts/en.jsonl")] == [
        "train",
        "eval",
    ]
