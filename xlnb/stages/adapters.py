"""The stage `train`: from an iteration's preference pairs to its adapter."""

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import write_json, write_text
from xlnb.common.records import Pair, read_records
from xlnb.decay import half_life_chars, in_words
from xlnb.engine.rows import Row, add_mismatched, hold_out, tokenize_pairs
from xlnb.losses import LOSSES
from xlnb.models.adapters import check_layers, load_model, new_adapter
from xlnb.models.base import context_of, deal_out, read_base
from xlnb.models.chat import load_tokenizer
from xlnb.models.checkpoint import checkpoint_files
from xlnb.presets import Training, in_use
from xlnb.presets.values import layer_numbers
from xlnb.runs.card import model_card
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.keys import adapter_files, model_fields


def train(run: Run, iteration: int) -> Path:
    """QLoRA DPO + NLL from π^{t−1} to π^t on the iteration's pairs: <model>/adapter, with PEFT's
    two files, training.json and a model card."""
    # It imports TRL, which takes seconds.
    from xlnb.training import add_reference, check_training, save_adapter, train_adapter

    here = run.iteration(iteration)
    section = here.section
    config = here.training
    check_training(config, section)
    files = _pair_files(here)
    stage = _stage(here, files)
    out = stage.out

    def make() -> None:
        model, tokenizer = _start(run, here.source, config)
        check_layers(model, layer_numbers(config.layers), section)
        pairs = [pair for path in files for pair in read_records(path, Pair)]
        most = int(min(config.max_tokens, context_of(model.config)))
        rows, dropped = _rows(stage, [*pairs, *_replayed(here)], tokenizer, most)
        rows, held_out = hold_out(rows, config.eval_fraction, section)
        for some in filter(None, (rows, held_out)):
            if LOSSES[config.loss].reads_others:
                add_mismatched(some, most)
            batch_tokens = run.preset.scoring.batch_tokens
            add_reference(model, some, "default", batch_tokens, config.gamma)
        trained = train_adapter(
            model,
            tokenizer,
            rows,
            config,
            seed=run.preset.seed,
            checkpoints=out / "checkpoints",
            held_out=held_out,
            label=stage.name,
        )
        if processes.is_main():
            record = {
                "pairs": len(rows),
                "held_out_pairs": len(held_out),
                "dropped_too_long": dropped,
                "base_files": checkpoint_files(run.base(here.source).base),
                **trained._asdict(),
            }
            if config.gamma != 1:
                record["half_life_chars"] = _half_lives(stage.name, tokenizer, rows, config.gamma)
            languages = dict(Counter(row["lang"] for row in rows))
            save_adapter(model, out)
            write_json(here.training_record, record)
            write_text(here.card, model_card(run, iteration, languages, record))
            shutil.rmtree(out / "checkpoints")

    return stage.make(make)


def _pair_files(here: Iteration) -> list[Path]:
    """<lang>.jsonl of every language with a pair. Raises InputError where there is none."""
    if here.pair_files:
        return here.pair_files
    if here.pair_report.exists():
        why = f": no language has a pair; {here.pair_report} counts why"
    else:
        why = f" needs {here.pairs('<lang>')}; run the stages before it"
    raise InputError(f"stage {here.target}/adapter{why}")


def _stage(here: Iteration, files: list[Path]) -> Stage:
    settings = in_use(here.training)
    # Where figures of a training go is no part of what it makes.
    del settings["report_to"]
    replays = fields(here.run.preset, "preferences.replayed") if here.number else {}
    return Stage(
        here.run,
        f"{here.target}/adapter",
        inputs=[
            *files,
            *([here.run.iteration(0).pairs("en")] if replays else []),
            *adapter_files(here.run, here.source),
        ],
        uses={
            **replays,
            here.section: settings,
            "seed": here.run.preset.seed,
            **model_fields(here.run.loaded),
        },
        out=here.adapter,
    )


def _start(run: Run, source: str, config: Training) -> tuple[Any, PreTrainedTokenizerBase]:
    """The model that training starts from, its adapter named `default`, and its tokenizer."""
    base, adapter = run.base(source), run.adapter(source)
    tokenizer = load_tokenizer(base)
    if adapter is not None:
        return load_model(base, {"default": adapter}), tokenizer
    torch.manual_seed(run.preset.seed)
    model = new_adapter(read_base(base), base.base, config)
    return deal_out(model, base), tokenizer


def _rows(
    stage: Stage, pairs: list[Pair], tokenizer: PreTrainedTokenizerBase, most: int
) -> tuple[list[Row], int]:
    """Rows of the pairs, and how many were longer than `most` tokens."""
    rows, dropped = tokenize_pairs(tokenizer, pairs, most)
    if dropped and processes.is_main():
        print(
            f"{stage.name}: {dropped} of {len(pairs)} pairs dropped, longer than {most} tokens",
            flush=True,
        )
    if not rows:
        raise InputError(f"{stage.name}: no pair is left to train on")
    return rows, dropped


def _replayed(here: Iteration) -> list[Pair]:
    """The English preferences that a cross-lingual iteration trains on again, drawn anew for each;
    none in English training itself."""
    share = here.run.preset.preferences.replayed if here.number else 0
    if not share:
        return []
    pairs = read_records(here.run.iteration(0).pairs("en"), Pair)
    stream = random.Random(f"{here.run.preset.seed} replayed {here.number}")
    return stream.sample(pairs, round(share * len(pairs)))


def _half_lives(
    name: str, tokenizer: PreTrainedTokenizerBase, rows: list[Row], gamma: float
) -> dict[str, float]:
    """The decay's half-life in characters of the chosen responses, by language; printed, too."""
    responses = []
    for row in rows:
        text = str(tokenizer.decode(row["chosen_ids"], skip_special_tokens=True))
        responses.append((row["lang"], text, row["chosen_ids"]))
    half_lives = half_life_chars(gamma, responses)
    print(f"{name}: {in_words(gamma, half_lives)}", flush=True)
    return half_lives
