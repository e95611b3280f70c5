"""The stage `train`: from an iteration's preference pairs to its adapter."""

import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import write_json, write_text
from xlnb.common.records import Pair, read_records
from xlnb.engine.rows import Row, add_mismatched, hold_out, tokenize_pairs
from xlnb.losses import LOSSES
from xlnb.models.adapters import load_model, new_adapter
from xlnb.models.base import deal_out, read_base
from xlnb.models.chat import load_tokenizer
from xlnb.presets import Training
from xlnb.runs.card import model_card
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.keys import adapter_files, model_fields


def train(run: Run, iteration: int) -> Path:
    """QLoRA DPO + NLL from π^{t−1} to π^t on the iteration's pairs: <model>/adapter, with PEFT's
    two files, training.json and a model card."""
    # It imports TRL, which takes seconds.
    from xlnb.training import add_reference, check_training, save_adapter, train_adapter

    section = "training" if iteration else "english"
    config = getattr(run.preset, section)
    check_training(config, section)
    files = _pair_files(run.folder(iteration))
    stage = _stage(run, iteration, section, files)
    out = stage.out
    if stage.current():
        return out
    with stage.working():
        model, tokenizer = _start(run, run.models[iteration], config)
        rows, dropped = _rows(stage.name, files, tokenizer, config)
        rows, held_out = hold_out(rows, config.eval_fraction, section)
        for some in filter(None, (rows, held_out)):
            if LOSSES[config.loss].reads_others:
                add_mismatched(some, config.max_tokens)
            add_reference(model, some, "default", run.preset.scoring.batch_tokens)
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
                **trained._asdict(),
            }
            languages = dict(Counter(row["lang"] for row in rows))
            save_adapter(model, out)
            write_json(out / "training.json", record)
            write_text(out / "README.md", model_card(run, iteration, languages, record))
            shutil.rmtree(out / "checkpoints")
    return out


def _pair_files(folder: Path) -> list[Path]:
    """<lang>.jsonl of every language with a pair. Raises InputError where there is none."""
    files = sorted((folder / "pairs").glob("*.jsonl"))
    if files:
        return files
    if (folder / "pairs" / "report.json").exists():
        why = f": no language has a pair; {folder}/pairs/report.json counts why"
    else:
        why = f" needs {folder}/pairs/<lang>.jsonl; run the stages before it"
    raise InputError(f"stage {folder.name}/adapter{why}")


def _stage(run: Run, iteration: int, section: str, files: list[Path]) -> Stage:
    folder = run.folder(iteration)
    settings = asdict(getattr(run.preset, section))
    # Where figures of a training go is no part of what it makes.
    del settings["report_to"]
    return Stage(
        run,
        f"{folder.name}/adapter",
        inputs=[*files, *adapter_files(run, run.models[iteration])],
        uses={section: settings, **model_fields(run)},
        out=folder / "adapter",
    )


def _start(run: Run, source: str, config: Training) -> tuple[Any, Any]:
    """The model that training starts from, its adapter named `default`, and its tokenizer."""
    base, adapter = run.base(source), run.adapter(source)
    tokenizer = load_tokenizer(base)
    if adapter is not None:
        return load_model(base, {"default": adapter}), tokenizer
    torch.manual_seed(run.preset.seed)
    model = new_adapter(read_base(base), base.base, config)
    return deal_out(model, base), tokenizer


def _rows(name: str, files: list[Path], tokenizer: Any, config: Training) -> tuple[list[Row], int]:
    """Rows of the pairs in these files, and how many pairs were too long."""
    pairs = []
    for path in files:
        pairs += read_records(path, Pair)
    rows, dropped = tokenize_pairs(tokenizer, pairs, config.max_tokens)
    if dropped and processes.is_main():
        print(
            f"{name}: {dropped} of {len(pairs)} pairs dropped, longer than {config.max_tokens} "
            "tokens",
            flush=True,
        )
    if not rows:
        raise InputError(f"{files[0].parent}: no pair is left to train on")
    return rows, dropped
