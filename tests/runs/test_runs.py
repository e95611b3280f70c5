"""The run folder: when a stage is current, what a kill or a full disk leaves behind, and how a run
is opened."""

import errno
import json
import math
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from xlnb.common.journal import Journal
from xlnb.presets import get_preset
from xlnb.runs import stage as stage_module
from xlnb.runs.card import model_card
from xlnb.runs.layout import Run
from xlnb.runs.records import stage_seconds
from xlnb.runs.run import open_run
from xlnb.runs.stage import Stage
from xlnb.stages import keys, samples


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run", get_preset("lab-quick"))


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def make(run, temperature=0.9, seed=0, inputs=(), name="icr1/samples"):
    """A stage that writes one file; returns whether it had to work."""
    stage = Stage(
        run,
        name,
        inputs=list(inputs),
        uses={"sampling": {"temperature": temperature, "n": 4}, "seed": seed},
        out=run.path / name,
    )
    if stage.current():
        return False
    with stage.working():
        write_text(stage.out / "en.jsonl", f"{temperature} {seed}\n")
    return True


def test_a_finished_stage_is_skipped_in_silence(run, capsys):
    assert make(run)
    assert not make(run)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"temperature": 0.5}, "sampling.temperature was 0.9, is now 0.5"),
        ({"seed": 1}, "seed was 0, is now 1"),
    ],
)
def test_a_changed_field_makes_a_stage_stale_and_is_named(run, capsys, changed, why):
    make(run)
    write_text(run.path / "icr1/samples/leftover.jsonl", "")
    assert make(run, **changed)
    kept = "; what was there is kept as icr1/samples.old"
    assert capsys.readouterr().out == f"icr1/samples: redone, because {why}{kept}\n"
    assert [path.name for path in (run.path / "icr1/samples").iterdir()] == ["en.jsonl"]
    assert not make(run, **changed)


def test_a_changed_new_or_removed_input_makes_a_stage_stale_and_is_named(run, capsys):
    first, second = run.path / "prompts" / "en.jsonl", run.path / "prompts" / "es.jsonl"
    for path in (first, second):
        write_text(path, "a\n")
    make(run, inputs=[first])
    # the content counts, not the time
    os.utime(first, (0, 0))
    assert not make(run, inputs=[first])
    write_text(first, "b\n")
    assert make(run, inputs=[first])
    said = (
        "icr1/samples: redone, because prompts/{} changed; what was there is kept as icr1/samples"
    )
    assert capsys.readouterr().out == said.format("en.jsonl") + ".old\n"
    assert make(run, inputs=[first, second])
    assert capsys.readouterr().out == said.format("es.jsonl") + ".old2\n"
    assert make(run, inputs=[first])
    assert capsys.readouterr().out == said.format("es.jsonl") + ".old3\n"


def test_a_missing_input_is_named_with_what_to_do(run):
    with pytest.raises(
        InputError,
        match=r"stage icr1/samples needs .*absent\.jsonl, which is not there; run the stage",
    ):
        make(run, inputs=[run.path / "absent.jsonl"])
    assert not run.path.exists()


def test_an_interrupted_stage_keeps_its_work_and_goes_on(run, capsys):
    def attempt(interrupt):
        stage = Stage(run, "icr1/scores", inputs=[], uses={"seed": 0}, out=run.path / "icr1/scores")
        assert not stage.current()
        with stage.working():
            found = len(list(stage.out.glob("*")))
            write_text(stage.out / f"{found}.jsonl", "")
            if interrupt:
                raise KeyboardInterrupt
        return found

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupt=True)
    assert read_json(run.path / "stages" / "icr1.scores.json")["state"] == "working"
    assert stage_seconds(run) == {}
    # it saw what the first attempt made
    assert attempt(interrupt=False) == 1
    assert read_json(run.path / "stages" / "icr1.scores.json")["state"] == "done"
    assert capsys.readouterr().out == ""


def test_an_interrupted_stage_that_became_stale_begins_anew(run, capsys):
    stage = Stage(run, "report", inputs=[], uses={"seed": 0}, out=run.path / "metrics.json")
    write_json(stage.out, {})
    with pytest.raises(KeyboardInterrupt), stage.working():
        raise KeyboardInterrupt
    stage = Stage(run, "report", inputs=[], uses={"seed": 1}, out=run.path / "metrics.json")
    assert not stage.current()
    assert not stage.out.exists()
    assert "seed was 0, is now 1" in capsys.readouterr().out


def test_what_stands_in_a_stages_place_without_its_stamp_is_not_trusted(run):
    write_text(run.path / "icr1/samples/en.jsonl", "of unknown origin\n")
    assert make(run)
    assert (run.path / "icr1/samples/en.jsonl").read_text() == "0.9 0\n"
    shutil.rmtree(run.path / "icr1/samples")
    # and neither is a stamp without its output
    assert make(run)


def test_half_a_stage_is_nobody_s_input(run):
    """Of three languages' samples one is there: scoring it alone would look finished."""
    stage = Stage(run, "icr1/samples", inputs=[], uses={}, out=run.path / "icr1/samples")
    write_text(stage.out / "en.jsonl", "")
    with pytest.raises(KeyboardInterrupt), stage.working():
        raise KeyboardInterrupt
    message = (
        "stage icr1/scores needs all that stage icr1/samples makes, which has not finished; run it"
        " first"
    )
    with pytest.raises(InputError, match=message):
        make(run, inputs=[stage.out / "en.jsonl"], name="icr1/scores")
    with stage.working():
        pass
    assert make(run, inputs=[stage.out / "en.jsonl"], name="icr1/scores")


@pytest.mark.parametrize(
    ("name", "file"), [("responses", "model_outputs.json"), ("annotations", "annotations.json")]
)
def test_files_beside_a_stage_s_folder_are_its_own(run, name, file):
    def attempt(langs, seed=0, interrupt=False):
        folder = run.path / "eval/icr1"
        files = [folder / lang / file for lang in langs]
        stage = Stage(
            run,
            f"eval/icr1/{name}",
            inputs=[],
            uses={"seed": seed},
            out=folder / name,
            beside=files,
        )
        if stage.current():
            return False
        with stage.working():
            for path in (stage.out / "all.jsonl", *files):
                write_text(path, "")
            if interrupt:
                raise KeyboardInterrupt
        return True

    assert attempt(["en", "ru"])
    assert not attempt(["en", "ru"])
    (run.path / "eval/icr1/ru" / file).unlink()
    assert attempt(["en", "ru"])
    assert attempt(["en"], seed=1)
    assert not (
        run.path / "eval/icr1/ru" / file
    ).exists()  # no win rate of a language that the run has no more
    with pytest.raises(KeyboardInterrupt):
        attempt(["en"], seed=2, interrupt=True)
    with pytest.raises(InputError, match=f"needs all that stage eval/icr1/{name} makes"):
        make(run, inputs=[run.path / "eval/icr1/en" / file], name="report")


def test_a_held_run_keeps_the_record_of_what_is_at_work(tmp_path):
    run = open_run(tmp_path / "run", "lab-quick")
    with FileLock(run.path / "stages" / ".lock"):
        # the same may be read
        assert open_run(run.path) == run
        with pytest.raises(InputError, match="another process is at work in this run folder"):
            open_run(run.path, overrides={"seed": "7"})
    assert read_json(run.path / "preset.json")["preset"]["seed"] == 0
    assert open_run(run.path, overrides={"seed": "7"}).preset.seed == 7


def test_stage_seconds_add_interruptions_up(run, monkeypatch):
    clock = iter([0.0, 2.5, 10.0, 11.25, 20.0, 24.0])
    monkeypatch.setattr(stage_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    stage = Stage(
        run, "eval/sft/responses", inputs=[], uses={}, out=run.path / "eval/sft/responses"
    )
    with pytest.raises(KeyboardInterrupt), stage.working():
        raise KeyboardInterrupt
    with stage.working():
        pass
    make(run)
    assert stage_seconds(run) == {"eval/sft/responses": 3.75, "icr1/samples": 4.0}


def records(*ids):
    return [{"prompt_id": prompt_id, "text": f"{prompt_id}\u2028ü"} for prompt_id in ids]


def test_a_journal_finishes_in_the_asked_order(tmp_path):
    journal = Journal(tmp_path / "scores" / "en.jsonl")
    journal.append(records("b", "c"))
    journal.append(records("a"))
    assert journal.done == {"a", "b", "c"}
    assert not journal.path.exists()
    journal.finish(["a", "b", "c"])
    assert read_jsonl(journal.path) == records("a", "b", "c")
    assert [path.name for path in journal.path.parent.iterdir()] == ["en.jsonl"]


@pytest.mark.parametrize(
    "torn", [1, 2, 20, -1], ids=["one byte", "two bytes", "half a line", "all but the line's end"]
)
def test_a_line_torn_by_a_kill_is_made_anew(tmp_path, torn):
    first = Journal(tmp_path / "en.jsonl")
    first.append(records("a", "b"))
    line = (json.dumps(records("c")[0], ensure_ascii=False) + "\n").encode()
    with first.part.open("ab") as file:
        file.write(line[:torn])

    second = Journal(tmp_path / "en.jsonl")
    assert second.done == {"a", "b"}
    second.append(records("c"))
    assert list(Journal(tmp_path / "en.jsonl").records()) == records("a", "b", "c")
    second.finish(["c", "b", "a"])
    assert read_jsonl(second.path) == records("c", "b", "a")


def test_a_journal_torn_in_its_first_line_begins_anew(tmp_path):
    (tmp_path / "en.jsonl.part").write_text('{"prompt_id": "a", "te')
    journal = Journal(tmp_path / "en.jsonl")
    assert journal.done == set()
    journal.append(records("a"))
    assert list(Journal(tmp_path / "en.jsonl").records()) == records("a")


def test_a_journal_says_so_when_the_disk_is_full(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "en.jsonl")
    journal.append(records("a"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(InputError, match=r"en\.jsonl.*no space left on the disk"):
            journal.append(records("b"))
    # what is not known to be on the disk is not done
    assert journal.done == {"a"}


def test_files_are_written_whole_under_their_name(tmp_path):
    path = tmp_path / "new" / "folder" / "en.jsonl"
    write_jsonl(path, records("a", "b"))
    assert read_jsonl(path) == records("a", "b")
    # over what was there
    write_json(path, {"ü": [1, None]})
    assert read_json(path) == {"ü": [1, None]}
    assert [file.name for file in path.parent.iterdir()] == ["en.jsonl"]


def test_what_is_written_is_json_also_where_a_number_is_not_finite(tmp_path):
    value = {"a": [1.5, math.nan], "b": {"c": (math.inf, "NaN", True)}, "d": 2}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": [1.5, None], "b": {"c": [None, "NaN", True]}, "d": 2,
    }  # fmt: skip


def test_half_a_character_is_written_escaped_and_read_as_it_was(tmp_path):
    (record,) = half = [{"prompt_id": "a\ud83d", "text": "\udc00 ü \u2028 😀 \\ud83d"}]
    journal = Journal(tmp_path / "en.jsonl")
    journal.append(half)
    assert list(Journal(tmp_path / "en.jsonl").records()) == half
    journal.finish(["a\ud83d"])
    assert half == read_jsonl(journal.path)
    assert "\\ud83d" in journal.path.read_text() and "ü \u2028 😀" in journal.path.read_text()
    write_json(tmp_path / "one.json", record)
    assert read_json(tmp_path / "one.json") == record


@pytest.mark.parametrize("old", [None, "old\n"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, old):
    path = tmp_path / "metrics.json"
    if old:
        path.write_text(old)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InputError, match=r"metrics\.json: no space left on the disk"):
        write_text(path, "new\n")
    assert [file.read_text() for file in tmp_path.iterdir()] == ([old] if old else [])


def test_another_error_of_the_system_is_not_taken_for_a_full_disk(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(
        InputError, match=r"metrics\.json: the disk has failed .*Input/output error"
    ):
        write_text(tmp_path / "metrics.json", "new\n")
    assert not list(tmp_path.iterdir())


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.json: no such file"):
        read_json(tmp_path / "absent.json")
    (tmp_path / "torn.json").write_text('{\n"seed": ')
    with pytest.raises(InputError, match=r"torn\.json, line 2: not valid JSON"):
        read_json(tmp_path / "torn.json")


def test_a_new_run_folder_records_preset_versions_and_device(tmp_path):
    run = open_run(tmp_path / "new" / "run", "lab-quick", {"seed": "3", "training.lr": "1e-6"})
    assert (run.preset.seed, run.preset.training.lr) == (3, 1e-6)
    record = read_json(run.path / "preset.json")
    assert (record["preset"]["name"], record["preset"]["training"]["lr"]) == ("lab-quick", 1e-6)
    assert {"python", "torch", "transformers", "trl", "peft", "bitsandbytes"} == record[
        "versions"
    ].keys()
    assert record["device"]
    assert record["git"]


def test_a_run_opened_later_keeps_the_record_of_what_made_it(tmp_path, monkeypatch):
    record = open_run(tmp_path / "run", "lab-quick").path / "preset.json"
    made_by = read_json(record)
    later = {"versions": {"python": "4.0"}, "device": "another", "git": "later"}
    monkeypatch.setattr("xlnb.runs.run.environment", lambda: later)
    monkeypatch.setattr("xlnb.runs.provenance.environment", lambda: later)
    run = open_run(tmp_path / "run")
    assert read_json(record) == made_by
    # Until it makes something there.
    stage = Stage(run, "told", inputs=[], uses={}, out=run.path / "told.txt")
    stage.make(lambda: (run.path / "told.txt").write_text("so"))
    assert read_json(record) == made_by | later
    made_by["git"] = "first"
    write_json(record, made_by)
    open_run(tmp_path / "run", overrides={"seed": "3"})
    assert read_json(record)["git"] == "later"


def test_a_revision_with_more_fields_keeps_the_record_of_what_made_a_run(tmp_path, monkeypatch):
    record = open_run(tmp_path / "run", "lab-quick").path / "preset.json"
    made_by = read_json(record)
    del made_by["preset"]["prompts"]["reward"]
    write_json(record, made_by)
    later = {"versions": made_by["versions"], "device": made_by["device"], "git": "later"}
    monkeypatch.setattr("xlnb.runs.run.environment", lambda: later)
    open_run(tmp_path / "run", "lab-quick")
    assert read_json(record) == made_by
    # Another value than the field's own is written down.
    open_run(tmp_path / "run", "lab-quick", {"seed": "3"})
    assert read_json(record)["git"] == "later" and read_json(record)["preset"]["seed"] == 3


def test_without_a_preset_a_run_is_opened_as_it_was(tmp_path):
    first = open_run(tmp_path / "run", "lab-quick", {"seed": "3"})
    assert open_run(str(first.path)) == first
    changed = open_run(first.path, overrides={"training.lr": "1e-6", "iterations": "1"})
    assert (changed.preset.seed, changed.preset.training.lr, changed.preset.iterations) == (
        3,
        1e-6,
        1,
    )
    assert open_run(first.path) == changed


@pytest.mark.parametrize(
    "overrides", [{"seed.first": "1"}, {"training": "1"}, {"sede": "1"}, {"seed": "one"}]
)
def test_a_bad_override_leaves_a_run_as_it_was(tmp_path, overrides):
    first = open_run(tmp_path / "run", "lab-quick")
    with pytest.raises(InputError):
        open_run(first.path, overrides=overrides)
    assert open_run(first.path) == first


@pytest.mark.parametrize(
    ("key", "names", "message"),
    [
        (
            "scoring.scorers",
            "random, crosslingual",
            "scoring.scorers 'crosslingual': expected one of cross_lingual, multilingual",
        ),
        ("evaluation.judge", "gpt-4", "evaluation.judge: unknown judge 'gpt-4'; known: oracle"),
        ("training.loss", "ipo", "training.loss 'ipo': expected one of dpo, kto"),
    ],
)
def test_a_name_that_there_is_not_is_refused_before_anything_is_written(
    tmp_path, key, names, message
):
    with pytest.raises(InputError, match=message):
        open_run(tmp_path / "new", "lab-quick", {key: names})
    assert not list(tmp_path.iterdir())
    first = open_run(tmp_path / "run", "lab-quick")
    with pytest.raises(InputError, match=message):
        open_run(first.path, overrides={key: names})
    assert open_run(first.path) == first


def test_a_loss_that_reads_other_responses_needs_two_in_a_micro_batch(tmp_path):
    overrides = {"english.loss": "kto", "english.micro_batch": 1}
    with pytest.raises(InputError, match=r"english\.micro_batch must be at least 2: kto reads"):
        open_run(tmp_path / "new", "lab-quick", overrides)


@pytest.mark.parametrize(
    ("scorers", "said"),
    [
        (
            "multilingual,cross_lingual",
            "the implicit reward β log dpo/π_I under instructions in each response's language",
        ),
        ("brevity,cross_lingual", "their score `brevity`"),
    ],
)
def test_a_card_says_what_ordered_the_pairs(tmp_path, scorers, said):
    run = Run(tmp_path, get_preset("lab-quick", {"scoring.scorers": scorers}))
    record = {"held_out_pairs": 0, "dropped_too_long": 0, "step": 6}
    assert f"ordered by {said}." in model_card(run, 1, {"es": 3}, record)


@pytest.mark.parametrize(
    "text", ["{}", '{"preset": {}}', '{"preset": {"name": "labb"}}', "{", "[]"]
)
def test_a_damaged_preset_json_is_refused(tmp_path, text):
    (tmp_path / "preset.json").write_text(text)
    with pytest.raises(InputError, match="preset"):
        open_run(tmp_path)


def test_a_folder_that_is_no_run_is_refused_and_left_alone(tmp_path):
    with pytest.raises(
        InputError,
        match=r"is not a run folder \(it has no preset\.json\); name a preset to start one",
    ):
        open_run(tmp_path / "elsewhere")
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="file"):
        open_run(tmp_path / "file", "lab-quick")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_nearly_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: SimpleNamespace(total=2**40, used=2**40, free=2**20)
    )
    with pytest.raises(InputError, match="only 1 MiB of disk are free, a run needs 256"):
        open_run(tmp_path / "new" / "run", "lab-quick")
    assert not list(tmp_path.iterdir())


def test_models_and_their_folders(run, tmp_path):
    assert run.models == ["sft", "dpo", "icr1", "icr2"]
    assert [run.iteration(t).folder.name for t in range(3)] == ["dpo", "icr1", "icr2"]
    assert [run.adapter_name(m) for m in run.models] == [None, "dpo", "icr1", "icr2"]
    assert [run.adapter(m) and run.adapter(m).relative_to(run.path) for m in run.models] == [
        None, Path("dpo/adapter"), Path("icr1/adapter"), Path("icr2/adapter"),
    ]  # fmt: skip
    given = Run(tmp_path, get_preset("lab", {"models.dpo_adapter": "given", "iterations": 1}))
    assert given.adapter("dpo") == Path("given")
    for iteration in (-1, 3):
        with pytest.raises(InputError, match="this run has iterations 0 to 2"):
            run.iteration(iteration)
    with pytest.raises(InputError, match="unknown model 'icr2'; this run has sft, dpo, icr1"):
        given.adapter("icr2")


# What the stages count as their inputs.


def test_prompts_are_read_anew_when_their_source_changes(tmp_path, capsys):
    source = tmp_path / "source"
    write_jsonl(source / "en.jsonl", [{"id": "1", "instruction": "Before."}])
    run = open_run(
        tmp_path / "run", "lab-quick", {"prompts.path": str(source), "prompts.langs": ""}
    )
    stages.collect_prompts(run)
    write_jsonl(source / "en.jsonl", [{"id": "1", "instruction": "After."}])
    stages.collect_prompts(run)
    assert read_jsonl(run.path / "prompts/en.jsonl")[0]["instruction"] == "After."
    assert "prompts: redone, because" in capsys.readouterr().out


BASE_FILES = [
    "model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "tokenizer.model", "merges.txt", "chat_template.jinja",
]  # fmt: skip


@pytest.mark.parametrize("field", ["base", "dpo"])
@pytest.mark.parametrize("name", BASE_FILES)
def test_a_file_of_the_base_that_changed_makes_its_stages_stale(tmp_path, capsys, field, name):
    # The lab's checkpoint has the same size however long it was trained.
    run = Run(
        tmp_path / "run", get_preset("lab-quick", {f"models.{field}": str(tmp_path / "given")})
    )

    def current():
        stage = Stage(
            run,
            "icr1/samples",
            inputs=[],
            uses=keys.model_fields(run.preset.models),
            out=tmp_path / "out",
        )
        if stage.current():
            return True
        with stage.working():
            stage.out.mkdir()
        return False

    for file in BASE_FILES:
        write_text(tmp_path / "given" / file, "before")
    assert [current(), current()] == [False, True]
    write_text(tmp_path / "given" / "README.md", "About it.")
    assert current()
    write_text(tmp_path / "given" / name, "after.")
    assert [current(), current()] == [False, True]
    assert (
        f"icr1/samples: redone, because models.files.{field}/{name} was " in capsys.readouterr().out
    )


def test_a_base_counts_by_what_its_files_hold_wherever_and_whenever_they_were_written(tmp_path):
    found = []
    for folder, names in (("a", BASE_FILES), ("b", BASE_FILES[::-1])):
        for file in names:
            write_text(tmp_path / folder / file, file)
            os.utime(tmp_path / folder / file, (len(found), len(found)))
        run = Run(
            tmp_path / "run", get_preset("lab-quick", {"models.base": str(tmp_path / folder)})
        )
        found.append(keys.model_fields(run.preset.models)["models"]["files"])
    assert found[0] == found[1] and list(found[0]) == list(found[1]) == [
        f"base/{name}" for name in sorted(BASE_FILES)
    ]


def test_large_weights_count_by_blocks_of_their_content(tmp_path):
    run = Run(tmp_path / "run", get_preset("lab-quick", {"models.base": str(tmp_path)}))
    path, size = tmp_path / "model.safetensors", 100 * 2**20

    def files():
        return keys.model_fields(run.preset.models)["models"]["files"]

    with path.open("wb") as file:
        file.truncate(size)
    seen = [files()]
    assert files() == seen[0]
    # a tensor of a sixtieth of the file, wherever it lies
    stretch = size // 60
    for start in (0, 12_345_678, size // 2, size - stretch):
        with path.open("r+b") as file:
            file.seek(start)
            file.write(b"\1" * stretch)
        seen.append(files())
    with path.open("r+b") as file:
        file.seek(size - 1)
        file.write(b"\2")
    seen.append(files())
    with path.open("ab") as file:
        file.truncate(size + 1)
    seen.append(files())
    assert all(seen.count(one) == 1 for one in seen)


def test_an_adapter_whose_config_changed_makes_its_stages_stale(tmp_path, capsys):
    # `lora_alpha` scales weights that stay the same.
    run = Run(
        tmp_path / "run", get_preset("lab-quick", {"models.dpo_adapter": str(tmp_path / "adapter")})
    )
    assert keys.adapter_files(run, "sft") == []
    write_text(tmp_path / "adapter" / "adapter_model.safetensors", "weights")
    for alpha in (8, 16):
        write_json(tmp_path / "adapter" / "adapter_config.json", {"r": 8, "lora_alpha": alpha})
        assert make(run, inputs=keys.adapter_files(run, "dpo"))
        assert not make(run, inputs=keys.adapter_files(run, "dpo"))
    assert "adapter_config.json changed" in capsys.readouterr().out


def test_other_english_questions_make_the_english_samples_stale(tmp_path, monkeypatch, capsys):
    # Of the iterations' questions nothing changes, so that their files stay the same.
    asked = []

    def generation(run, sampler, tokenizer, prompts, path, **options):
        asked.append(len(prompts))

    loaded = SimpleNamespace(model=torch.nn.Identity())
    monkeypatch.setattr(samples, "load_sampler", lambda run, name: (loaded, None))
    monkeypatch.setattr(samples, "generation", generation)
    for english in ("16", "24"):
        run = open_run(tmp_path / "run", "lab-quick", {"lab.english": english})
        stages.collect_prompts(run)
        (run.path / "dpo" / "samples").mkdir(parents=True, exist_ok=True)
        stages.sample(run, 0)
    assert asked == [16, 24]
    assert "dpo/samples: redone, because lab.english was 16, is now 24" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"preset": 7}', '{"preset": ["name"]}'])
def test_a_record_without_a_preset_is_told(tmp_path, text):
    (tmp_path / "preset.json").write_text(text)
    with pytest.raises(InputError, match=r"preset\.json: holds no preset; name one to start"):
        open_run(tmp_path)
