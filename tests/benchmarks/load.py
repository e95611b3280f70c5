"""A large run through the stages that read it whole:

OMP_NUM_THREADS=1 python tests/benchmarks/load.py OUT LANGUAGES [PROMPTS …]

So many prompts (2,000, 10,000 and 50,000) with 10 responses each in so many languages, made up, go
through `pair`, `judge` (interrupted at half, and resumed), `report` and `winrate`, each a process of
its own in which the imports are done. Writes seconds of the CPU, which others on the machine change
little, and peak memory of each to OUT/load.json; `nothing` is a stage that finds itself finished.
"""

import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from xlnb.cli.main import main
from xlnb.common.files import write_json, write_jsonl
from xlnb.common.records import Prompt, Response, Sample, Score, write_records
from xlnb.evaluation import alpaca_eval
from xlnb.evaluation.alpaca_eval import Annotation, Output
from xlnb.judges.registry import JUDGES
from xlnb.runs.layout import Run
from xlnb.runs.provenance import environment
from xlnb.runs.run import open_run

LANGS = ("en", "de", "es", "fr", "ru")
N = 10
WORDS = [
    "eine",
    "kleine",
    "Antwort",
    "auf",
    "die",
    "Frage",
    "nach",
    "dem",
    "Fluss",
    "und",
    "der",
    "Stadt",
    "am",
    "Meer",
    "im",
    "Winter",
]
POOL = random.Random(0)
PRESET = {
    "iterations": "1",
    # named, and never loaded
    "models.dpo": "ORG/NAME",
    "prompts.parts": "0",
    "scoring.scorers": "cross_lingual",
    "evaluation.judge": "longer",
}


def response() -> Response:
    text = " ".join(POOL.choices(WORDS, k=POOL.randint(10, 60)))
    return Response(text, [POOL.randrange(3, 1500) for _ in range(len(text) // 4)], "stop")


RESPONSES = [response() for _ in range(5000)]


def samples(lang: str, prompts: int) -> Iterator[Sample]:
    stream = random.Random(lang)
    for place in range(prompts):
        some = stream.choices(RESPONSES, k=N)
        yield Sample(f"p{place}", lang, "train", f"{lang}: question {place}?", some)


def scores(lang: str, prompts: int) -> Iterator[Score]:
    stream = random.Random(f"rewards {lang}")
    for sample in samples(lang, prompts):
        n_chars = [len(response.text) for response in sample.responses]
        rewards = {"cross_lingual": [stream.gauss(0, 1) for _ in n_chars]}
        yield Score(sample.prompt_id, lang, "train", n_chars, rewards)


def outputs(run: Run, model: str, lang: str, prompts: int) -> Iterator[Output]:
    for place in range(prompts):
        text = POOL.choice(RESPONSES).text
        yield Output(
            generator=model,
            dataset="made-up",
            prompt_id=f"p{place}",
            instruction=f"{lang}: question {place}?",
            output=text,
        )


def make(folder: Path, prompts: int) -> Run:
    """A run folder with samples, scores, and responses of three models."""
    for split in ("train", "eval"):
        for lang in LANGS:
            asked = [
                {"id": f"p{i}", "instruction": f"{lang}: question {i}?"} for i in range(prompts)
            ]
            write_jsonl(folder / split / f"{lang}.jsonl", asked)
    where = {"prompts.path": f"{folder / 'train'}", "prompts.eval_path": f"{folder / 'eval'}"}
    run = open_run(folder / "run", "lab", {**PRESET, **where})
    here = run.iteration(1)
    for lang in LANGS:
        asked = [Prompt(f"p{i}", lang, f"{lang}: question {i}?", "eval") for i in range(prompts)]
        write_records(run.prompts / f"{lang}.jsonl", asked)
        write_records(here.samples(lang), samples(lang, prompts))
        write_records(here.scores(lang), scores(lang, prompts))
        for model in run.models:
            written = run.evaluated(model)
            alpaca_eval.write_records(written.outputs(lang), outputs(run, model, lang, prompts))
    return run


class Longer:
    """A judge that prefers the longer response, and is interrupted after some answers."""

    name = "longer"

    def __init__(self, answers: int):
        self.left = answers

    def __call__(self, asked: Annotation) -> dict[str, float]:
        self.left -= 1
        if self.left < 0:
            # Until it is heard: this is a thread of the pool.
            signal.raise_signal(signal.SIGTERM)
        return {"preference": 1.0 + (len(asked.output_2) > len(asked.output_1))}


def measured(*command: str, code: int = 0, answers: int = 10**9) -> dict[str, float]:
    """Seconds of the CPU and peak memory (MiB) of a command."""
    child = os.fork()
    if not child:
        silent = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(silent, stream.fileno())
        JUDGES["longer"] = lambda *_: Longer(answers)
        os._exit(main(command))
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) != code:
        raise SystemExit(f"{command}: exit {os.waitstatus_to_exitcode(status)}")
    seconds = usage.ru_utime + usage.ru_stime
    return {"cpu_seconds": round(seconds, 1), "peak_mib": round(usage.ru_maxrss / 1024)}


def load(prompts: int) -> dict[str, dict[str, float]]:
    found = {}
    with tempfile.TemporaryDirectory() as name:
        run = make(Path(name), prompts)
        where = ("--run", str(run.path))
        found["pair"] = measured("stage", "pair", *where)
        found["nothing"] = measured("stage", "pair", *where)
        for model in run.models[:-1]:
            measured("stage", "judge", "--model", model, *where)
        judge = ("stage", "judge", "--model", run.models[-1], *where)
        half = len(LANGS) * prompts // 2
        found["judge, half"] = measured(*judge, code=143, answers=half)
        found["judge, resumed"] = measured(*judge)
        found["report"] = measured("stage", "report", *where)
        found["winrate"] = measured("winrate", str(run.path / "eval"))
    for stage, figures in found.items():
        print(prompts, stage, figures, flush=True)
    return found


import_module("xlnb.stages")
JUDGES["longer"] = lambda *_: Longer(0)
out = Path(sys.argv[1])
LANGS = LANGS[: int(sys.argv[2])]
PRESET["prompts.langs"] = ",".join(LANGS)
sizes = [int(size) for size in sys.argv[3:]] or [2_000, 10_000, 50_000]
found: dict[str, dict[str, dict[str, float]]] = {}
for size in sizes:
    found[str(size)] = load(size)
    result = {
        "command": " ".join(
            ["OMP_NUM_THREADS=1 python tests/benchmarks/load.py OUT", *sys.argv[2:]]
        ),
        "languages": len(LANGS),
        "responses": N,
        "prompts": found,
        **environment(),
    }
    write_json(out / "load.json", result)
