"""Gemma 3 270M through the whole method on two cores, with a truth that a program verifies.

    python tests/benchmarks/gemma3_270m.py demonstrations XQUAD OUT.jsonl
    python tests/benchmarks/gemma3_270m.py run BASE XQUAD OUT --taste sentences

`demonstrations` writes answers to XQuAD's questions (part `tune`) in six forms, by weights: the
bare answer; with words of the passage around it; in a sentence; the passage's whole sentence; in
another language; a wrong one. π_I made of them is unsure which form to use, so that a preference
has something to change. Long and short ones are on both sides of every form that a taste asks for.

`run` is `python -m xlnb run` with the values below, which were fixed before the first run. BASE is
a folder with Gemma 3 270M (google/gemma-3-270m, or weights dequantised from a GGUF file) and a chat
template.
"""

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

from xlnb.checks.text import sentences
from xlnb.inputs.parallel_prompts import read_parallel

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
    ran.add_argument("--taste", default="sentences")
    ran.add_argument("-p", action="append", default=[], metavar="KEY=VALUE")
    args, more = parser.parse_known_args()
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
    command = [sys.executable, "-m", "xlnb", "run", "--preset", "gemma3-270m"]
    for key, value in values.items():
        command += ["-p", f"{key}={value}"]
    for item in args.p:
        command += ["-p", item]
    sys.exit(subprocess.call([*command, "--run", str(args.out / args.taste), *more]))


if __name__ == "__main__":
    main()
