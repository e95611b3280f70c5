"""The lab's frozen base as an encoder with a light decoder, against the base translating by itself:

    python tests/benchmarks/lamate.py FOLDER

`xlnb.lab.lamate` is trained on the world's parallel sentences about the training facts (questions
and answers, English and five languages, both ways), with the states of all of the base's layers or
of the last alone, and translates sentences about facts that no parallel sentence named. The base by
itself is shown four examples as turns of a conversation; it was never taught to translate. `copied`
is the sentence left as it is. Seconds are of one core (process time), translating 40 sentences
side by side. FOLDER takes what is finished. Writes data/results/lamate.json.
"""

import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from xlnb.common.files import ROOT, read_json, write_json
from xlnb.common.languages import language_name
from xlnb.inputs.localisation import chrf
from xlnb.lab.lamate import LONGEST, Lamate, Pair, pairs_with_english, parallel_sentences, train
from xlnb.lab.oracle import normalise
from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer
from xlnb.models.packing import collate
from xlnb.presets import Models
from xlnb.runs.provenance import environment

SEEDS = (0,)
STEPS = 1000
BATCH = 32
# of a direction
SENTENCES = 40
SHOWN = 4
MODELS = Models(quantization="none", dtype="float32")


def held_out() -> dict[str, list[Pair]]:
    """By direction, the same sentences for all."""
    rng = random.Random(0)
    found: dict[str, list[Pair]] = {}
    for pair in pairs_with_english(rng.sample(parallel_sentences("eval"), 2 * SENTENCES)):
        found.setdefault(way(pair), []).append(pair)
    return {name: pairs[:SENTENCES] for name, pairs in found.items()}


def way(pair: Pair) -> str:
    if pair.lang != "en":
        return f"en-{pair.lang}"
    return f"{language_of(pair)}-en"


def language_of(pair: Pair) -> str:
    return next(lang for lang, texts in SOURCES.items() if pair.source in texts)


def by_decoder(model: Lamate) -> Callable[[list[Pair]], list[str]]:
    model.eval()
    return lambda pairs: model.translate([pair.source for pair in pairs], pairs[0].lang)


def by_base(pairs: Sequence[Pair]) -> list[str]:
    """Four examples, then the sentence, greedily."""
    base, tokenizer = load_base(MODELS), load_tokenizer(MODELS)
    request = f"Translate into {language_name(pairs[0].lang)}: "
    alike = [one for one in TRAINED if way(one) == way(pairs[0])]
    messages = []
    for one in random.Random(way(pairs[0])).sample(alike, SHOWN):
        messages += [said("user", request + one.source), said("assistant", one.target)]
    rows = []
    for pair in pairs:
        asked = [*messages, said("user", request + pair.source)]
        text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        rows.append(tokenizer.encode(text, add_special_tokens=False))
    batch = collate(rows, [[]] * len(rows))
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad():
        output = base.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=LONGEST
        )
    return tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def measured(translate: Callable[[list[Pair]], list[str]]) -> dict[str, Any]:
    """chrF and exact sentences (but for case and outer marks) by direction, and seconds a
    sentence."""
    found: dict[str, Any] = {"chrf": {}, "exact": {}, "examples": {}}
    seconds = 0.0
    for name, pairs in held_out().items():
        began = time.process_time()
        texts = translate(pairs)
        seconds += time.process_time() - began
        both = [(text, pair.target) for text, pair in zip(texts, pairs, strict=True)]
        found["chrf"][name] = round(mean(chrf(*one) for one in both), 1)
        found["exact"][name] = mean(normalise(a) == normalise(b) for a, b in both)
        found["examples"][name] = [pairs[0].source, texts[0]]
    for measure in ("chrf", "exact"):
        found[f"mean_{measure}"] = round(mean(found[measure].values()), 3)
    found["seconds_a_sentence"] = round(seconds / (len(held_out()) * SENTENCES), 4)
    return found


def trained(seed: int, *, fused: bool) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = Lamate(load_base(MODELS), load_tokenizer(MODELS), fused=fused)
    began = time.process_time()
    loss = train(model, TRAINED, steps=STEPS, batch=BATCH, seed=seed)
    seconds = time.process_time() - began
    return {
        "seed": seed,
        "loss": round(loss, 4),
        "training_seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "gates": [round(gate, 3) for gate in model.gates.sigmoid().tolist()],
        **measured(by_decoder(model)),
    }


def parts(folder: Path) -> dict[str, Any]:
    """What was made, one file each, so that it goes on where it was stopped."""
    todo: dict[str, Callable[[], Any]] = {
        "copied": lambda: measured(lambda pairs: [pair.source for pair in pairs]),
        "base, four examples": lambda: measured(by_base),
    }
    for seed in SEEDS:
        todo[f"all layers, seed {seed}"] = lambda seed=seed: trained(seed, fused=True)
        todo[f"last layer, seed {seed}"] = lambda seed=seed: trained(seed, fused=False)
    found = {}
    for name, make in todo.items():
        path = folder / f"{name}.json"
        if not path.exists():
            write_json(path, make())
        found[name] = read_json(path)
        print(name, {key: found[name][key] for key in ("mean_chrf", "mean_exact")}, flush=True)
    return found


TRAINED = pairs_with_english(parallel_sentences("train"))
SOURCES = {
    lang: {said[lang] for split in ("train", "eval") for said in parallel_sentences(split)}
    for lang in ("es", "de", "fr", "ru", "sw")
}

if __name__ == "__main__":
    made = environment()
    result = {
        "command": "python tests/benchmarks/lamate.py FOLDER",
        "trained_on": len(TRAINED),
        "steps": STEPS,
        "batch": BATCH,
        "sentences_a_direction": SENTENCES,
        "models": parts(Path(sys.argv[1])),
        **made,
    }
    write_json(ROOT / "data" / "results" / "lamate.json", result)
