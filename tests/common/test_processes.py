"""Several processes on one CPU (gloo), as torchrun and accelerate start them, against one
process."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families import checkpoint, fp32, nf4, save_adapter
from filelock import FileLock
from safetensors.torch import load_file, save_file

from xlnb import stages
from xlnb.cli.main import main
from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json, read_jsonl, write_jsonl
from xlnb.common.journal import Journal
from xlnb.logprobs import sequence_logprobs
from xlnb.models.base import deal_out, load_base, read_base
from xlnb.presets import Models, Training
from xlnb.runs.run import open_run
from xlnb.stages import logprobs
from xlnb.training import at_once, check_training

BIN = Path(sys.executable).parent
TORCHRUN = [BIN / "torchrun", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = [BIN / "accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--mixed_precision", "no",
              "--num_machines", "1", "--dynamo_backend", "no", "--main_process_port", "0"]  # fmt: skip
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
QUESTIONS = [
    "What is the capital of France?", "Say hello.", "Name three colours of the rainbow, please.", "Why is it blue?",
    "Count to ten.", "Tell me a story about a cat and a dog.", "Paris?",
]  # fmt: skip
FILES = [
    f"{stage}/{lang}"
    for stage in ("icr1/samples", "icr1/logps/cross_lingual", "icr1/scores")
    for lang in ("en.jsonl", "es.jsonl")
] + [f"eval/icr1/{lang}/model_outputs.json" for lang in ("en", "es")]


@pytest.fixture(scope="module")
def begin(tmp_path_factory):
    """Makes a run folder with prompts, and pairs to train on, for which nothing has been sampled
    yet."""
    folder = tmp_path_factory.mktemp("begin")
    for first, name in ((0, "train"), (100, "eval")):
        for lang in ("en", "es"):
            records = [
                {"id": first + i, "instruction": f"{lang}: {text}"}
                for i, text in enumerate(QUESTIONS)
            ]
            write_jsonl(folder / name / f"{lang}.jsonl", records)
    preset = {
        "iterations": "1", "prompts.path": str(folder / "train"), "prompts.eval_path": str(folder / "eval"),
        "prompts.langs": "", "prompts.parts": "0",
        "models.base": str(checkpoint("llama3")), "models.quantization": "none",
        "models.dpo_adapter": str(save_adapter(fp32("llama3"), folder / "dpo", seed=1)),
        "sampling.n": "3", "sampling.max_new_tokens": "8", "sampling.batch_tokens": "200",
        "scoring.batch_tokens": "500", "scoring.scorers": "cross_lingual", "evaluation.max_new_tokens": "8",
        "training.steps": "4", "training.batch": "4", "training.micro_batch": "2", "training.lr": "1e-3",
        "training.nll": "1.0", "training.save_steps": "2",
    }  # fmt: skip

    def make(name):
        run = open_run(folder / name, "lab-quick", preset)
        stages.collect_prompts(run)
        pairs = [
            {
                "prompt_id": str(i),
                "lang": "en",
                "prompt": [{"role": "user", "content": text}],
                "chosen": [{"role": "assistant", "content": "Of course. " * i}],
                "rejected": [{"role": "assistant", "content": "No."}],
            }
            for i, text in enumerate([*QUESTIONS, "Who?"], 1)
        ]
        write_jsonl(run.path / "icr1" / "pairs" / "en.jsonl", pairs)
        return run

    return make


def all_stages(run):
    stages.sample(run, 1)
    stages.logps(run, 1)
    stages.score(run, 1)
    stages.train(run, 1)
    stages.respond(run, "icr1")


@pytest.fixture(scope="module")
def alone(begin):
    """What one process makes: this one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = begin("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logprobs, "SAMPLES_AT_ONCE", 2)
        all_stages(run)
    torch.set_num_threads(threads)
    return run


def launch(launcher, *arguments, timeout=120):
    command = [*map(str, launcher), *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout
    )


def same_adapter(ours, theirs):
    """Losses, gradients and weights, but for the rounding of sums."""
    logs = [read_json(run.path / "icr1/adapter/training.json")["log"] for run in (ours, theirs)]
    for name in ("loss", "grad_norm", "rewards/margins"):
        assert [r[name] for r in logs[0]] == pytest.approx(
            [r[name] for r in logs[1]], rel=1e-4, abs=1e-5
        )
    assert [r["step"] for r in logs[0]] == [1, 2, 3, 4]
    start = load_file(Path(ours.preset.models.dpo_adapter) / "adapter_model.safetensors")
    first, second = (
        load_file(run.path / "icr1/adapter/adapter_model.safetensors") for run in (ours, theirs)
    )
    assert first.keys() == second.keys() == start.keys()
    moved = max((second[name] - start[name]).abs().max() for name in start)
    assert moved > 1e-3 > 1e3 * max((first[name] - second[name]).abs().max() for name in start)


def test_two_processes_make_what_one_makes(begin, alone):
    run = begin("two")
    done = launch(TORCHRUN, ROOT / "tests" / "support" / "worked.py", run.path)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in FILES:
        assert (run.path / name).read_bytes() == (alone.path / name).read_bytes(), name
    assert len(read_jsonl(run.path / "icr1/scores/es.jsonl")) == len(QUESTIONS)
    assert (
        not list(run.path.rglob("*.part")) and not (run.path / "icr1/adapter/checkpoints").exists()
    )
    assert {read_json(path)["state"] for path in (run.path / "stages").glob("*.json")} == {"done"}
    # The main process shows its own part of the work, which is not all of it.
    for name in ("icr1/samples en", "icr1/logps/cross_lingual es", "eval icr1 en"):
        shares = re.findall(rf"{name} \(process 1 of 2\): 100%.*?(\d+)/\d+ ", done.stderr)
        assert shares and 0 < int(shares[0]) < len(QUESTIONS)
    assert "process 2 of 2" not in done.stderr

    # Training: the same pairs an update, so the same losses and the same adapter but for the
    # rounding of sums.
    same_adapter(run, alone)


def test_one_process_takes_up_what_two_left(begin, alone):
    run = begin("killed")
    killed = launch(TORCHRUN, ROOT / "tests" / "support" / "killed.py", run.path, "icr1/samples")
    assert killed.returncode == 1
    assert "SIGKILL" in killed.stderr
    parts = {path.name: path.read_text() for path in (run.path / "icr1/samples").glob("*.part")}
    assert parts["en.jsonl.1.part"].endswith('{"prompt_id": "torn')
    assert not list((run.path / "icr1/samples").glob("*.jsonl"))
    # A whole line is a record and its checksum.
    kept = sum(text.count("\n") for text in parts.values())
    made = []
    with pytest.MonkeyPatch.context() as patch:
        append = Journal.append
        patch.setattr(
            Journal, "append", lambda self, records: (made.extend(records), append(self, records))
        )
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        stages.sample(run, 1)
        torch.set_num_threads(threads)
    assert kept and kept + len(made) == 2 * len(QUESTIONS)
    for name in FILES[:2]:
        assert (run.path / name).read_bytes() == (alone.path / name).read_bytes()
    assert not list(run.path.rglob("*.part"))


def test_a_run_that_is_held_ends_all_processes_with_one_message(begin, alone):
    run = begin("held")
    with FileLock(run.path / "stages" / ".lock"):
        held = launch(ACCELERATE, "-m", "xlnb", "stage", "sample", "--run", run.path)
    assert held.returncode == 1
    assert (
        held.stderr.count("error: ")
        == held.stderr.count("another process is at work in this run folder")
        == 1
    )
    assert not list((run.path / "icr1").rglob("samples"))


# A base whose layers two processes share.


def test_every_process_runs_what_it_likes_and_holds_half(tmp_path):
    bases = [load_base(nf4("gemma2")), load_base(fp32("llama3"))]
    done = launch(
        TORCHRUN,
        ROOT / "tests" / "support" / "sharded.py",
        checkpoint("gemma2"),
        checkpoint("llama3"),
        tmp_path / "out",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    processes = torch.load(tmp_path / "out")
    assert [len(passes) for passes, *_ in processes] == [3, 5]
    for passes, values, held in processes:
        assert held == [0.5, 0.5]
        for (number, prompt), value in zip(passes, values, strict=True):
            (expected,) = sequence_logprobs(bases[number], [prompt], [[10, 11, 12]])
            torch.testing.assert_close(value, expected, atol=1e-6, rtol=0)


def test_sharded_processes_make_what_one_makes(begin, alone):
    run = open_run(begin("sharded").path, overrides={"models.shard": "true"})
    done = launch(TORCHRUN, ROOT / "tests" / "support" / "worked.py", run.path)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in FILES:
        assert (run.path / name).read_bytes() == (alone.path / name).read_bytes(), name
    same_adapter(run, alone)


def command(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "xlnb", *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_run_starts_the_other_processes_itself(begin, alone):
    run = begin("started")
    done = command("run", "--run", run.path, "--until", "icr1/samples", "--processes", 2)
    _, said = done.communicate(timeout=120)
    assert done.returncode == 0, said[-3000:]
    assert "(process 1 of 2)" in said
    for name in FILES[:2]:
        assert (run.path / name).read_bytes() == (alone.path / name).read_bytes(), name


def test_what_processes_raise_is_said_once(begin):
    run = begin("refused")
    done = command("run", "--run", run.path, "--until", "icr9/samples", "--processes", 2)
    _, said = done.communicate(timeout=60)
    assert done.returncode == 2, said[-3000:]
    assert said.count("error: unknown stage 'icr9/samples'") == said.count("error") == 1


def test_processes_that_were_started_end_with_the_first(begin):
    run = begin("ended")
    done = command("run", "--run", run.path, "--until", "icr1/samples", "--processes", 2)
    for line in done.stderr:
        if "icr1/samples" in line:
            break
    done.terminate()
    done.communicate(timeout=60)
    assert done.returncode == 143
    listed = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True)
    assert str(run.path) not in listed.stdout


@pytest.mark.parametrize("count", ["0", "-1"])
def test_a_number_of_processes_that_there_cannot_be(begin, count, capsys):
    code = main(["run", "--run", str(begin(f"none{count}").path), "--processes", count])
    assert code == 2 and "--processes is at least 1" in capsys.readouterr().err


def test_one_process_takes_up_what_a_sharded_training_left(begin, alone):
    run = open_run(begin("left").path, overrides={"models.shard": "true"})
    killed = launch(TORCHRUN, ROOT / "tests" / "support" / "killed.py", run.path, "icr1/adapter")
    assert killed.returncode == 1 and "SIGKILL" in killed.stderr
    assert (run.path / "icr1/adapter/checkpoints/checkpoint-2/trainer_state.json").exists()
    stages.train(run, 1)
    same_adapter(run, alone)


def test_two_checkpoints_in_4_bit_are_sharded(begin, tmp_path):
    """π^0 is a model of its own, so scoring runs two bases; training recomputes activations and
    holds pairs out."""
    dpo = tmp_path / "dpo"
    shutil.copytree(checkpoint("llama3"), dpo)
    weights = load_file(dpo / "model.safetensors")
    torch.manual_seed(1)
    save_file(
        {name: w + 0.05 * torch.randn_like(w) for name, w in weights.items()},
        dpo / "model.safetensors",
    )
    changes = {
        "models.dpo": str(dpo), "models.dpo_adapter": "", "models.quantization": "nf4", "models.shard": "true",
        "training.gradient_checkpointing": "true", "training.eval_fraction": "0.3",
        "training.batch": "2", "training.micro_batch": "1",
        "scoring.scorers": "multilingual",
    }  # fmt: skip
    one, two = (open_run(begin(name).path, overrides=changes) for name in ("one", "two"))
    for run in (
        one,
        two,
    ):  # a ninth pair: 6 are trained on, 3 held out, which do not fill the two processes' last turn
        pairs = read_jsonl(run.path / "icr1/pairs/en.jsonl")
        write_jsonl(run.path / "icr1/pairs/en.jsonl", [*pairs, pairs[0] | {"prompt_id": "9"}])
    stages.sample(one, 1)
    stages.logps(one, 1)
    stages.score(one, 1)
    stages.train(one, 1)
    done = launch(TORCHRUN, ROOT / "tests" / "support" / "worked.py", two.path)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in FILES[:2]:
        assert (two.path / name).read_bytes() == (one.path / name).read_bytes(), name
    for lang in ("en", "es"):
        name = f"icr1/logps/multilingual/{lang}.jsonl"
        ours, theirs = (read_jsonl(run.path / name) for run in (two, one))
        for column in ("policy_logps", "ref_logps"):
            values = [
                [value for record in records for value in record[column]]
                for records in (ours, theirs)
            ]
            assert values[0] == pytest.approx(values[1], abs=1e-4), (name, column)
    ours, theirs = (read_json(run.path / "icr1/adapter/training.json") for run in (two, one))
    assert ours["held_out_pairs"] == theirs["held_out_pairs"] == 3
    assert ours["step"] == theirs["step"]
    for record, expected in zip(ours["held_out"], theirs["held_out"], strict=True):
        assert record == pytest.approx(expected, rel=1e-4)
    assert [r["loss"] for r in ours["log"]] == pytest.approx(
        [r["loss"] for r in theirs["log"]], rel=1e-4
    )


# In one process, that is told it were one of several.


@pytest.fixture
def many(monkeypatch):
    """Makes this process one of two, by its number, or the only one."""

    def become(rank=None):
        for name, value in (("RANK", rank), ("WORLD_SIZE", None if rank is None else 2)):
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(
                name, str(value)
            )

    return become


def records(*ids):
    return [{"prompt_id": prompt_id} for prompt_id in ids]


def test_a_journal_reads_all_parts_and_mends_its_own(many, tmp_path):
    path = tmp_path / "en.jsonl"
    for rank, ids in ((0, "ac"), (1, "b")):
        many(rank)
        Journal(path).append(records(*ids))
        with Journal(path).part.open("a") as file:
            file.write('{"prompt_id": "to')
    many(1)
    second = Journal(path)
    assert second.done == {"a", "b", "c"}
    second.append(records("d"))
    assert (
        (tmp_path / "en.jsonl.part").read_text().endswith("to")
    )  # another's, who may be writing it
    many()
    alone = Journal(path)
    assert alone.done == {"a", "b", "c", "d"}
    alone.append(records("e"))
    alone.finish(list("edcba"))
    assert read_jsonl(path) == records(*"edcba")
    assert [file.name for file in tmp_path.iterdir()] == ["en.jsonl"]


def test_who_is_who_and_whose_is_what(many):
    assert (processes.world(), processes.rank(), processes.is_main()) == (1, 0, True)
    assert (
        processes.mine("abcde") == "abcde"
        and processes.gather(7) == [7]
        and processes.from_main(lambda: 7) == 7
    )
    many(1)
    assert (processes.world(), processes.rank(), processes.is_main()) == (2, 1, False)
    assert processes.mine("abcde") == "bd"


def test_a_batch_that_processes_cannot_share_is_refused(many):
    many(0)
    with pytest.raises(
        InputError, match=r"batch 6 must be a multiple of training\.micro_batch 2 × 2 processes"
    ):
        check_training(Training(batch=6, micro_batch=2))


def test_a_process_takes_its_part_of_a_batch(many):
    config = Training(batch=6, micro_batch=6)
    assert at_once(config) == 6
    many(0)
    assert at_once(config) == 3
    check_training(config)


def test_a_base_that_names_no_layers_is_not_sharded(many, monkeypatch):
    many(0)
    monkeypatch.setattr(processes, "group", lambda: None)
    model = read_base(replace(fp32("llama3"), shard=True))
    model._no_split_modules = None
    with pytest.raises(
        InputError, match=r"models\.shard: LlamaForCausalLM does not name its layers"
    ):
        deal_out(model, Models(shard=True))


def test_other_engines_that_shard_the_weights_are_refused(many, monkeypatch):
    many(0)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(
        InputError,
        match=r"accelerate is set to FSDP.*models\.shard=true.*accelerate launch --multi_gpu",
    ):
        check_training(Training())


def test_notebooks_need_one_process(many, tmp_path, capsys, monkeypatch):
    many(0)
    monkeypatch.setattr(processes, "first_to_say", lambda message: True)
    assert main(["run", "--run", str(tmp_path / "run"), "--preset", "lab-quick"]) == 2
    assert "name the last stage: --until STAGE" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
