"""Gemma 3 270M through the whole method, with a truth that a program verifies.

    python tests/benchmarks/gemma3_270m.py demonstrations XQUAD OUT/demonstrations.jsonl
    python tests/benchmarks/gemma3_270m.py run BASE XQUAD OUT --taste sentences
    python tests/benchmarks/gemma3_270m.py run BASE XQUAD OUT --taste anti-sentences --share \
        --until icr1/shared/scores
    python tests/benchmarks/gemma3_270m.py run BASE XQUAD OUT --pairs-by likelihood --share
    python tests/benchmarks/gemma3_270m.py collect OUT data/results/gemma3_270m.json

`demonstrations` writes answers to XQuAD's questions (part `tune`) in six forms, by weights: the
bare answer; with words of the passage around it; in a sentence; the passage's whole sentence; in
another language; a wrong one. π_I made of them is unsure which form to use, so that a preference
has something to change. Long and short ones are on both sides of every form that a taste asks for.

`run` is `python -m xlnb run` with the values below, of a size (`--size`): `large` takes a quarter
of an hour on a GPU, `small` an afternoon on two cores. Both were fixed before their first run. BASE
is Gemma 3 270M (google/gemma-3-270m, or weights dequantised from a GGUF file) with a chat template:
a folder, or a file and `-p models.chat_template=FILE`. `--pairs-by` makes a control: π^1 of pairs by
another score. `collect` puts together what these runs have finished: scores against the truth of
each taste, on one set of responses of π_I, and every model's answers against π_I's.
"""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xlnb.checks.kinds import met
from xlnb.checks.tastes import verified_truth
from xlnb.checks.text import UNSPACED, is_sentence, sentences
from xlnb.common.files import read_json, write_json
from xlnb.common.intervals import bootstrap_mean
from xlnb.common.language_id import in_language
from xlnb.common.records import Sample, Score, read_records
from xlnb.common.tastes import OPPOSITE
from xlnb.evaluation.annotations import judged_columns
from xlnb.evaluation.clusters import fact_of
from xlnb.evaluation.comparisons import read_comparisons
from xlnb.evaluation.judged import Judged
from xlnb.evaluation.summaries import WinRate, summarise
from xlnb.evaluation.truth import ceiling, reward_accuracy
from xlnb.inputs.parallel_prompts import read_parallel
from xlnb.judges.verifiable import VerifiableJudge
from xlnb.length_control import length_alpha
from xlnb.runs.provenance import made_by
from xlnb.runs.records import stage_seconds
from xlnb.runs.run import open_run
from xlnb.stages.reading import carried_checks, eval_prompts, read_prompts

LANGS = {"large": ("en", "de", "es", "ru", "tr", "zh"), "small": ("en", "de", "es", "ru", "tr")}
# demonstrations
PER_LANGUAGE = {"large": 250, "small": 150}
FORMS = {"bare": 20, "around": 25, "sentence": 25, "whole": 15, "foreign": 10, "wrong": 5}
SENTENCE = {
    "en": "The answer is {}.",
    "de": "Die Antwort lautet {}.",
    "es": "La respuesta es {}.",
    "ru": "Правильный ответ — {}.",
    "tr": "Doğru cevap şudur: {}.",
    "zh": "答案是{}。",
}
AROUND = 4
TASTE = "sentences"
CONTROL = "pairs-by-"
OTHERS = "other languages"
REWARDS = ("cross_lingual", "multilingual")
# Questions a language whose answers are shown side by side.
SHOWN = 3

VALUES = {
    "iterations": 1,
    "models.quantization": "none",
    "models.dtype": "bfloat16",
    "sft.lr": 5e-4,
    "preferences.path": "",
    "sampling.n": 8,
    "sampling.temperature": 1.0,
    "sampling.max_new_tokens": 48,
    "scoring.scorers": "cross_lingual,multilingual,likelihood,policy_likelihood,brevity,random",
    "evaluation.judge": "verifiable",
    "evaluation.temperature": 0.9,
    "evaluation.top_p": 1.0,
    "evaluation.max_new_tokens": 48,
}
# of the English preferences' training and of the pairs' alike
TRAINED = {
    "batch": 16,
    "lr": 2e-4,
    "nll": 0.2,
    "eval_fraction": 0.0,
    "gradient_checkpointing": "false",
}
OF_SIZE = {
    "large": {
        "sft.steps": 110,
        "sft.micro_batch": 16,
        "sft.save_steps": 55,
        "prompts.limit": 360,
        "prompts.reward": 80,
        "prompts.english": 100,
        "sampling.batch_tokens": 524288,
        "scoring.batch_tokens": 32768,
        "english.steps": 24,
        "english.micro_batch": 16,
        "english.save_steps": 24,
        "training.steps": 60,
        "training.micro_batch": 16,
        "training.save_steps": 30,
    },
    "small": {
        "sft.steps": 32,
        "sft.micro_batch": 4,
        "sft.save_steps": 4,
        "prompts.limit": 90,
        "prompts.reward": 25,
        "prompts.english": 40,
        "sampling.batch_tokens": 16384,
        "scoring.batch_tokens": 4096,
        "english.steps": 16,
        "english.micro_batch": 4,
        "english.save_steps": 4,
        "training.steps": 16,
        "training.micro_batch": 4,
        "training.save_steps": 4,
    },
}


def demonstrations(xquad: str, size: str) -> list[dict[str, str]]:
    langs = LANGS[size]
    rows = read_parallel(f"xquad:{xquad}:tune", ",".join(langs))
    found = []
    for lang in langs:
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
    for lang in langs:
        own = [row for row in found if row["lang"] == lang]
        chosen += random.Random(lang).sample(own, PER_LANGUAGE[size])
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
        if lang in UNSPACED:
            near = before[-2 * AROUND :] + answer + after[: 2 * AROUND]
            return near.strip(" .,;:!?。，；：！？、")
        near = " ".join([*before.split()[-AROUND:], answer, *after.split()[:AROUND]])
        return near.rstrip(" .,;:!?")
    return answer


def collect(out: Path) -> dict[str, Any]:
    """What the runs in a folder have finished, and what made them."""
    run = open_run(out / TASTE)
    tastes = [TASTE, OPPOSITE + TASTE]
    learnt = [name for name in tastes if (out / name / "icr1" / "shared" / "scores").is_dir()]
    win_rates = {name: against_pi_i(out / name) for name in learnt}
    for folder in sorted(out.glob(f"{CONTROL}*")):
        control = against_pi_i(folder)
        if "icr1" in control:
            name = f"icr1, pairs by {folder.name.removeprefix(CONTROL)}"
            win_rates[TASTE][name] = control["icr1"]
    found = {name: {of: rights(out / name, of) for of in tastes} for name in learnt}
    own = [found[name][name] for name in learnt]
    both = mean_of(*own) if len(own) == 2 else None
    folders = [path for path in sorted(out.glob("*/")) if (path / "preset.json").exists()]
    preset = asdict(run.preset)
    # where things lay
    preset["models"]["base"] = preset["models"]["chat_template"] = preset["sft"]["path"] = ""
    preset["prompts"]["path"] = preset["prompts"]["eval_path"] = ""
    return {
        "preset": preset,
        "langs": run.preset.prompts.langs.split(","),
        # by whose rewards, of a run that has learnt this taste, and by whose truth
        "accuracy": {
            name: {of: accuracies(one) for of, one in by_truth.items()}
            for name, by_truth in found.items()
        },
        # over a taste and its opposite, each by the rewards that have learnt it
        "mean": accuracies(both) if both else {},
        "differences": {name: differences(found[name][name]) for name in learnt}
        | ({"mean": differences(both)} if both else {}),
        "per_token": {name: per_token(out / name) for name in learnt},
        "shared": responses_of_pi_i(out / TASTE),
        "languages": languages_of_best(out / TASTE),
        "win_rates": win_rates,
        "answers": side_by_side(out),
        "seconds": {path.name: stage_seconds(open_run(path)) for path in folders},
        **made_by(run),
    }


def against_pi_i(folder: Path) -> dict[str, dict[str, WinRate]]:
    """{model: {lang: its answers against π_I's, by the taste of the run}} of every model whose
    responses are there, and of all languages but English together."""
    run = open_run(folder)
    judge = VerifiableJudge(run.preset.evaluation.taste)
    checks = {lang: carried_checks(some) for lang, some in eval_prompts(run).items()}
    found: dict[str, dict[str, WinRate]] = {}
    for model in run.models:
        here = run.evaluated(model)
        if not all(here.outputs(lang).exists() for lang in checks):
            continue
        judged = {}
        for lang in checks:
            base = run.evaluated("sft").outputs(lang)
            some = read_comparisons(
                here.outputs(lang), base, lang, annotator=judge.name, checks=checks[lang]
            )
            answered = [one.judged(judge(one)) for one in some]
            judged[lang] = judged_columns(here.outputs(lang), model, lang, answered)
        judged[OTHERS] = together([some for lang, some in judged.items() if lang != "en"])
        found[model] = {lang: summarise(some) for lang, some in judged.items()}
    return found


def together(several: Sequence[Judged]) -> Judged:
    columns: dict[str, list[Any]] = {}
    for name in ("index", "prompt", "preference", "len_output", "len_baseline"):
        columns[name] = [value for one in several for value in getattr(one, name)]
    for name in ("in_language", "score", "met"):
        columns[name] = [value for one in several for value in getattr(one, name)]
    return replace(several[0], lang=OTHERS, **columns)


class Rights(NamedTuple):
    """Of every question with shared responses: by score, whether its best response is truly better
    than its worst (1; a tie 0.5); beside it language and paragraph."""

    right: dict[str, list[float]]
    lang: list[str]
    paragraph: list[str]

    def of(self, name: str, place: str) -> tuple[np.ndarray, list[str]]:
        """A score's values in a language, or in all but English, and their paragraphs."""
        held = [place == lang or (place == OTHERS and lang != "en") for lang in self.lang]
        some = [one for one, is_held in zip(self.paragraph, held, strict=True) if is_held]
        return np.array(self.right[name])[held], some


def rights(folder: Path, taste: str) -> Rights:
    """Of the scores of a run, by the truth of a taste; rewards also less α a character, either way
    signed, for each language; and the truth's own."""
    run = open_run(folder)
    truth = verified_truth(read_prompts(run), taste)
    here = run.iteration(1).shared
    found = Rights({}, [], [])
    for lang in here.langs:
        samples = list(read_records(here.samples(lang), Sample))
        scores = {score.prompt_id: score for score in read_records(here.scores(lang), Score)}
        for name, given in with_signed_alpha([scores[s.prompt_id] for s in samples]).items():
            for sample, score in zip(samples, given, strict=True):
                table = reward_accuracy([sample], [score], name, truth)
                found.right.setdefault(name, []).append(table["pair_accuracy"])
        found.right.setdefault("oracle", [])
        for sample in samples:
            found.right["oracle"].append(ceiling([sample], truth)["pair_accuracy"])
            found.lang.append(lang)
            found.paragraph.append(fact_of(sample.prompt_id))
    return found


def with_signed_alpha(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """{a score's name: the scores}, and of rewards those less α a character."""
    found = {name: list(scores) for name in scores[0].scores}
    for name in REWARDS:
        given = [np.array(score.scores[name]) for score in scores]
        lengths = [np.array(score.n_chars, float) for score in scores]
        alpha = length_alpha(given, lengths, allow_negative=True).alpha
        controlled = f"{name}, signed α"
        found[controlled] = []
        for score, values, length in zip(scores, given, lengths, strict=True):
            less = (values - alpha * length).tolist()
            found[controlled].append(replace(score, scores={controlled: less}))
    return found


def accuracies(found: Rights) -> dict[str, Any]:
    """{score: {lang: the share of questions where it is right, with a 95% interval over
    paragraphs, and n}}, and of all languages but English together."""
    tables: dict[str, Any] = {}
    for name in found.right:
        tables[name] = {}
        for place in [*dict.fromkeys(found.lang), OTHERS]:
            tables[name][place] = estimate(*found.of(name, place))
    return tables


def estimate(values: np.ndarray, paragraphs: list[str]) -> dict[str, Any]:
    interval = bootstrap_mean(values, paragraphs, 0.95, 1000, seed=0)
    return {
        "pair_accuracy": float(np.mean(values)),
        "ci": list(interval),
        "n": len(values),
        "paragraphs": len(set(paragraphs)),
    }


def mean_of(first: Rights, second: Rights) -> Rights:
    """Question by question, over a taste and its opposite."""
    right = {}
    for name, values in first.right.items():
        right[name] = np.add(values, second.right[name]) / 2
    return first._replace(right={name: values.tolist() for name, values in right.items()})


def differences(found: Rights) -> dict[str, Any]:
    """R_c less another score, question by question, in the languages but English."""
    ours, paragraphs = found.of("cross_lingual", OTHERS)
    tables = {}
    for name in found.right:
        if name != "cross_lingual":
            tables[name] = estimate(ours - found.of(name, OTHERS)[0], paragraphs)
    return tables


def per_token(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """{reward: {lang: β nats a token, and for being a sentence}}: least squares over the shared
    responses, each less the mean of its question's."""
    here = open_run(folder).iteration(1).shared
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in REWARDS}
    for lang in here.langs:
        scores = {score.prompt_id: score for score in read_records(here.scores(lang), Score)}
        rows: list[list[float]] = []
        for sample in read_records(here.samples(lang), Sample):
            score = scores[sample.prompt_id]
            some = []
            for number, response in enumerate(sample.responses):
                of_rewards = [score.scores[name][number] for name in REWARDS]
                sentence = float(is_sentence(response.text, lang))
                some.append([len(response.token_ids), sentence, *of_rewards])
            rows += (np.array(some) - np.mean(some, 0)).tolist()
        table = np.array(rows)
        for place, name in enumerate(REWARDS):
            (token, sentence), *_ = np.linalg.lstsq(table[:, :2], table[:, 2 + place], rcond=None)
            found[name][lang] = {"token": float(token), "sentence": float(sentence)}
    return found


def languages_of_best(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """{score: {lang: shares of responses of π^0 that are in the language}}: the best by the score
    and the worst, of each held-out question, and all; no truth is asked."""
    here = open_run(folder).iteration(1)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for lang in here.langs:
        if not here.scores(lang).exists():
            continue
        scores = {score.prompt_id: score for score in read_records(here.scores(lang), Score)}
        rows: dict[str, list[list[float]]] = {}
        for sample in read_records(here.samples(lang), Sample):
            if sample.split != "reward":
                continue
            own = in_language([response.text for response in sample.responses], lang) or []
            for name, values in scores[sample.prompt_id].scores.items():
                best, worst = int(np.argmax(values)), int(np.argmin(values))
                rows.setdefault(name, []).append([own[best], own[worst], float(np.mean(own))])
        for name, some in rows.items():
            shares = dict(zip(("best", "worst", "all"), np.mean(some, 0).tolist(), strict=True))
            found.setdefault(name, {})[lang] = shares
    return found


def responses_of_pi_i(folder: Path) -> dict[str, dict[str, float]]:
    """What the shared responses are, by language: the shares that hold a known answer, are a
    sentence and are in the language, and their characters."""
    found = {}
    prompts = read_prompts(open_run(folder))
    for path in sorted((folder / "shared" / "samples").glob("*.jsonl")):
        lang = path.stem
        asked = {prompt.prompt_id: prompt for prompt in prompts[lang]}
        rows = []
        for sample in read_records(path, Sample):
            of_all = [{"kind": "sentence"}, {"kind": "language", "lang": lang}]
            checks = [*(asked[sample.prompt_id].checks or []), *of_all]
            for response in sample.responses:
                rows.append([*met(response.text, checks, lang), len(response.text)])
        names = ("answer", "sentence", "language", "characters")
        found[lang] = dict(zip(names, np.mean(rows, 0).tolist(), strict=True))
    return found


def side_by_side(out: Path) -> list[dict[str, str]]:
    """The answers of every model to the first few evaluation questions of each language."""
    rows = []
    run = open_run(out / TASTE)
    for lang in run.preset.prompts.langs.split(","):
        answers = {}
        for model in run.models:
            path = run.evaluated(model).outputs(lang)
            if path.exists():
                answers[model] = read_json(path)
        for number in range(SHOWN if answers else 0):
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
    made.add_argument("--size", default="large", choices=OF_SIZE)
    ran = commands.add_parser("run")
    ran.add_argument("base")
    ran.add_argument("xquad")
    ran.add_argument("out", type=Path)
    ran.add_argument("--size", default="large", choices=OF_SIZE)
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
        found = demonstrations(args.xquad, args.size)
        lines = [json.dumps(row, ensure_ascii=False) for row in found]
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    values = {
        "models.base": args.base,
        "sft.path": args.out / "demonstrations.jsonl",
        "prompts.path": f"xquad:{args.xquad}:train",
        "prompts.eval_path": f"xquad:{args.xquad}:eval",
        "prompts.langs": ",".join(LANGS[args.size]),
        "evaluation.taste": args.taste,
        **VALUES,
        **OF_SIZE[args.size],
    }
    for stage in ("english", "training"):
        values |= {f"{stage}.{name}": value for name, value in TRAINED.items()}
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
