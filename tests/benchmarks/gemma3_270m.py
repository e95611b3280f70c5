"""Gemma 3 270M through the whole method on two cores, with a truth that a program verifies.

    python tests/benchmarks/gemma3_270m.py demonstrations XQUAD OUT.jsonl
    python tests/benchmarks/gemma3_270m.py run BASE XQUAD OUT --taste sentences
    python tests/benchmarks/gemma3_270m.py run BASE XQUAD OUT --taste anti-sentences --share \
        --until icr1/shared/scores
    python tests/benchmarks/gemma3_270m.py run BASE XQUAD OUT --pairs-by likelihood --share
    python tests/benchmarks/gemma3_270m.py collect OUT data/results/gemma3_270m.json

`demonstrations` writes answers to XQuAD's questions (part `tune`) in six forms, by weights: the
bare answer; with words of the passage around it; in a sentence; the passage's whole sentence; in
another language; a wrong one. π_I made of them is unsure which form to use, so that a preference
has something to change. Long and short ones are on both sides of every form that a taste asks for.

`run` is `python -m xlnb run` with the values below, which were fixed before the first run. BASE is
a folder with Gemma 3 270M (google/gemma-3-270m, or weights dequantised from a GGUF file) and a chat
template. `--pairs-by` makes a control: π^1 of pairs by another score. `collect` puts together what
these runs have finished: scores against the truth of each taste, on one set of responses of π_I.
"""

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from xlnb.checks.tastes import verified_truth
from xlnb.checks.text import sentences
from xlnb.common.files import read_json, write_json
from xlnb.common.intervals import bootstrap_mean
from xlnb.common.records import Sample, Score, read_records
from xlnb.common.tastes import OPPOSITE
from xlnb.evaluation.clusters import fact_of
from xlnb.evaluation.truth import ceiling, reward_accuracy
from xlnb.inputs.parallel_prompts import read_parallel
from xlnb.runs.provenance import environment
from xlnb.runs.records import stage_seconds
from xlnb.runs.run import open_run
from xlnb.stages.reading import read_prompts

LANGS = ("en", "de", "es", "ru", "tr")
PER_LANGUAGE = 150
FORMS = {"bare": 20, "around": 25, "sentence": 25, "whole": 15, "foreign": 10, "wrong": 5}
SENTENCE = {
    "en": "The answer is {}.",
    "de": "Die Antwort lautet {}.",
    "es": "La respuesta es {}.",
    "ru": "Правильный ответ — {}.",
    "tr": "Doğru cevap şudur: {}.",
}
AROUND = 4
TASTE = "sentences"
CONTROL = "pairs-by-"
OTHERS = "other languages"
# Questions a language whose answers are shown side by side.
SHOWN = 3

VALUES = {
    "iterations": 1,
    "models.quantization": "none",
    "models.dtype": "bfloat16",
    "sft.steps": 32,
    "sft.lr": 5e-4,
    "sft.micro_batch": 4,
    "sft.save_steps": 4,
    "prompts.limit": 90,
    "prompts.reward": 25,
    "prompts.english": 40,
    "preferences.path": "",
    "sampling.n": 8,
    "sampling.temperature": 1.0,
    "sampling.max_new_tokens": 48,
    "sampling.batch_tokens": 16384,
    "scoring.scorers": "cross_lingual,multilingual,likelihood,policy_likelihood,brevity,random",
    "scoring.batch_tokens": 4096,
    "english.steps": 16,
    "english.batch": 16,
    "english.micro_batch": 4,
    "english.lr": 2e-4,
    "english.nll": 0.2,
    "english.eval_fraction": 0.0,
    "english.gradient_checkpointing": "false",
    "english.save_steps": 4,
    "training.steps": 16,
    "training.batch": 16,
    "training.micro_batch": 4,
    "training.lr": 2e-4,
    "training.nll": 0.2,
    "training.eval_fraction": 0.0,
    "training.gradient_checkpointing": "false",
    "training.save_steps": 4,
    "evaluation.judge": "verifiable",
    "evaluation.temperature": 0.9,
    "evaluation.top_p": 1.0,
    "evaluation.max_new_tokens": 48,
}


def demonstrations(xquad: str) -> list[dict[str, str]]:
    rows = read_parallel(f"xquad:{xquad}:tune", ",".join(LANGS))
    found = []
    for lang in LANGS:
        for number, row in enumerate(rows[lang]):
            stream = random.Random(f"{lang} {row['prompt_id']}")
            (form,) = stream.choices([*FORMS], [*FORMS.values()])
            context = row["instruction"].rpartition("\n\n")[0]
            (answer, *_) = row["checks"][0]["answers"]
            if form == "foreign":
                other = "de" if lang == "en" else "en"
                (text, *_) = rows[other][number]["checks"][0]["answers"]
            elif form == "wrong":
                (text, *_) = rows[lang][stream.randrange(len(rows[lang]))]["checks"][0]["answers"]
            else:
                text = written(form, context, answer, lang)
            found.append(
                {"lang": lang, "form": form, "prompt": row["instruction"], "completion": text}
            )
    chosen = []
    for lang in LANGS:
        own = [row for row in found if row["lang"] == lang]
        chosen += random.Random(lang).sample(own, PER_LANGUAGE)
    random.Random(0).shuffle(chosen)
    return chosen


def written(form: str, context: str, answer: str, lang: str) -> str:
    if form == "sentence":
        return SENTENCE[lang].format(answer)
    if form == "whole":
        holding = [one for one in sentences(context, lang) if answer in one]
        return holding[0].strip() if holding else SENTENCE[lang].format(answer)
    if form == "around" and answer in context:
        before, _, after = context.partition(answer)
        near = [*before.split()[-AROUND:], answer, *after.split()[:AROUND]]
        return " ".join(near).rstrip(" .,;:!?")
    return answer


def collect(out: Path) -> dict[str, Any]:
    """What the runs in a folder have finished, and what made them."""
    run = open_run(out / TASTE)
    tastes = [TASTE, OPPOSITE + TASTE]
    learnt = [name for name in tastes if (out / name / "icr1" / "shared" / "scores").is_dir()]
    win_rates = read_json(run.metrics)["win_rates"] if run.metrics.exists() else {}
    for folder in sorted(out.glob(f"{CONTROL}*")):
        if (folder / "metrics.json").exists():
            found = read_json(folder / "metrics.json")["win_rates"]["icr1"]
            win_rates[f"icr1, pairs by {folder.name.removeprefix(CONTROL)}"] = found
    folders = [path for path in sorted(out.glob("*/")) if (path / "preset.json").exists()]
    return {
        "preset": read_json(run.record)["preset"]["name"],
        "seed": run.preset.seed,
        "values": {**VALUES, "langs": LANGS},
        # by whose rewards, of a run that has learnt this taste, and by whose truth
        "accuracy": {name: {of: accuracies(out / name, of) for of in tastes} for name in learnt},
        "win_rates": win_rates,
        "answers": side_by_side(out) if win_rates else [],
        "seconds": {path.name: stage_seconds(open_run(path)) for path in folders},
        **environment(),
    }


def accuracies(folder: Path, taste: str) -> dict[str, Any]:
    """{score: {lang: how often its best response is truly better than its worst, with a 95%
    interval over paragraphs, and n}} on π_I's shared responses, and of all languages but English
    together; beside them the truth's own ceiling."""
    run = open_run(folder)
    truth = verified_truth(read_prompts(run), taste)
    here = run.iteration(1).shared
    right: dict[tuple[str, str], list[float]] = {}
    clusters: dict[str, list[str]] = {}
    for lang in here.langs:
        scores = {score.prompt_id: score for score in read_records(here.scores(lang), Score)}
        for sample in read_records(here.samples(lang), Sample):
            score = scores[sample.prompt_id]
            found = {name: reward_accuracy([sample], [score], name, truth) for name in score.scores}
            found["oracle"] = ceiling([sample], truth)
            for place in (lang, *([OTHERS] if lang != "en" else [])):
                clusters.setdefault(place, []).append(fact_of(sample.prompt_id))
                for name, table in found.items():
                    right.setdefault((name, place), []).append(table["pair_accuracy"])
    tables: dict[str, Any] = {}
    for (name, place), values in right.items():
        interval = bootstrap_mean(np.array(values), clusters[place], 0.95, 1000, seed=0)
        entry = {"pair_accuracy": float(np.mean(values)), "ci": interval, "n": len(values)}
        tables.setdefault(name, {})[place] = entry
    return tables


def side_by_side(out: Path) -> list[dict[str, str]]:
    """The answers of every model to the first few evaluation questions of each language."""
    rows = []
    run = open_run(out / TASTE)
    for lang in LANGS:
        answers = {}
        for model in run.models:
            path = run.evaluated(model).outputs(lang)
            answers[model] = read_json(path) if path.exists() else []
        for number in range(min(SHOWN, *map(len, answers.values()))):
            asked = answers["sft"][number]["instruction"].rpartition("\n\n")[2]
            said = {model: some[number]["output"] for model, some in answers.items()}
            rows.append({"lang": lang, "question": asked, **said})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("demonstrations")
    made.add_argument("xquad")
    made.add_argument("out", type=Path)
    ran = commands.add_parser("run")
    ran.add_argument("base")
    ran.add_argument("xquad")
    ran.add_argument("out", type=Path)
    ran.add_argument("--taste", default=TASTE)
    ran.add_argument("--pairs-by", default="", metavar="SCORE")
    ran.add_argument("-p", action="append", default=[], metavar="KEY=VALUE")
    collected = commands.add_parser("collect")
    collected.add_argument("out", type=Path)
    collected.add_argument("result", type=Path)
    args, more = parser.parse_known_args()
    if args.command == "collect":
        write_json(args.result, collect(args.out))
        return
    if args.command == "demonstrations":
        lines = [json.dumps(row, ensure_ascii=False) for row in demonstrations(args.xquad)]
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    values = {
        "models.base": args.base,
        "sft.path": args.out / "demonstrations.jsonl",
        "prompts.path": f"xquad:{args.xquad}:train",
        "prompts.eval_path": f"xquad:{args.xquad}:eval",
        "prompts.langs": ",".join(LANGS),
        "evaluation.taste": args.taste,
        **VALUES,
    }
    name = args.taste
    if args.pairs_by:
        name = f"{CONTROL}{args.pairs_by}"
        values["scoring.scorers"] = args.pairs_by
    command = [sys.executable, "-m", "xlnb", "run", "--preset", "gemma3-270m"]
    for key, value in values.items():
        command += ["-p", f"{key}={value}"]
    for item in args.p:
        command += ["-p", item]
    sys.exit(subprocess.call([*command, "--run", str(args.out / name), *more]))


if __name__ == "__main__":
    main()
