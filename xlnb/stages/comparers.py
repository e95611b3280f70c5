"""The comparer (`xlnb.comparing`) of a run, trained once for all iterations: comparer/unlabelled,
where there is that part, and comparer/adapter."""

import random
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from xlnb.common import processes
from xlnb.common.errors import InputError, UnfitText
from xlnb.common.files import write_json
from xlnb.common.records import Pair, Prompt, Sample, each_record, read_records
from xlnb.comparing import both, comparison_rows, question_fields
from xlnb.inputs.demonstrations import Demonstration
from xlnb.models.adapters import load_model, new_adapter
from xlnb.models.base import context_of, deal_out, read_base, read_config
from xlnb.models.chat import load_tokenizer, prompt_ids, response_ids
from xlnb.models.checkpoint import checkpoint_files
from xlnb.presets import SFT, Training
from xlnb.prompts import cross_lingual
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.keys import files_of_adapter, model_fields

NAME = "comparer"
# What both parts of its training are told.
SHARED = (
    *("batch", "micro_batch", "lr", "lora_r", "lora_alpha", "max_tokens", "save_steps"),
    "gradient_checkpointing",
)


def adapter(run: Run) -> Path:
    return run.path / NAME / "adapter"


def learn(run: Run) -> Path:
    """Train the comparer: on unlabelled responses where `comparer.unlabelled_steps` says so, then
    on the English pairs in both orders. PEFT's two files and training.json."""
    # They import TRL, which takes seconds.
    from xlnb.training import check_training, save_adapter, train_adapter

    values = _values(run)
    smoothing = run.preset.comparer.label_smoothing
    config = Training(
        **values, steps=run.preset.comparer.steps, beta=1.0, nll=0.0, label_smoothing=smoothing
    )
    check_training(config, NAME)
    before = _unlabelled(run) if run.preset.comparer.unlabelled_steps else None
    pairs = run.iteration(0).pairs("en")
    learnt_from = [pairs, *(files_of_adapter(before) if before else [])]
    uses = {**values, "steps": config.steps, "label_smoothing": smoothing}
    stage = _stage(run, "adapter", learnt_from, uses)

    def make() -> None:
        model, tokenizer = _start(run, config, before)
        most = int(min(config.max_tokens, context_of(model.config)))
        rows, dropped = comparison_rows(tokenizer, each_record(pairs, Pair), most)
        if not rows:
            raise InputError(f"{stage.name}: all comparisons are longer than {most} tokens")
        checkpoints = stage.out / "checkpoints"
        trained = train_adapter(
            model,
            tokenizer,
            rows,
            config,
            seed=run.preset.seed,
            checkpoints=checkpoints,
            label=stage.name,
        )
        if processes.is_main():
            _keep(run, stage.out, {"rows": len(rows), "dropped_too_long": dropped}, trained.log)
            save_adapter(model, stage.out)
            shutil.rmtree(checkpoints)

    return stage.make(make)


def _unlabelled(run: Run) -> Path:
    """The first part: two responses of every training prompt of the first iteration, as one text
    after the English instruction."""
    from xlnb.training import save_adapter
    from xlnb.tuning import tune_adapter

    values = _values(run)
    config = SFT(**values, steps=run.preset.comparer.unlabelled_steps)
    here = run.iteration(1)
    samples = [here.samples(lang) for lang in here.langs]
    english = run.prompts / "en.jsonl"
    stage = _stage(run, "unlabelled", [*samples, english], {**values, "steps": config.steps})

    def make() -> None:
        tokenizer = load_tokenizer(run.loaded)
        given, unread = _two_responses(run, samples, tokenizer)
        most = min(config.max_tokens, context_of(read_config(run.loaded)))
        fits = [one for one in given if len(one.prompt) + len(one.response) <= most]
        if not fits:
            raise InputError(f"{stage.name}: no prompt has two responses that can be read")
        checkpoints = stage.out / "checkpoints"
        model, log = tune_adapter(
            run.loaded,
            tokenizer,
            fits,
            config,
            seed=run.preset.seed,
            checkpoints=checkpoints,
            label=stage.name,
        )
        if processes.is_main():
            too_long = len(given) - len(fits)
            counts = {"rows": len(fits), "dropped_too_long": too_long, "not_read_back": unread}
            _keep(run, stage.out, counts, log)
            save_adapter(model, stage.out)
            shutil.rmtree(checkpoints)

    return stage.make(make)


def _values(run: Run) -> dict[str, Any]:
    return {name: getattr(run.preset.comparer, name) for name in SHARED}


def _stage(run: Run, part: str, inputs: list[Path], uses: dict[str, Any]) -> Stage:
    return Stage(
        run,
        f"{NAME}/{part}",
        inputs=inputs,
        uses={
            NAME: uses,
            **fields(run.preset, "seed"),
            **model_fields(run.loaded),
            **question_fields(),
        },
        out=run.path / NAME / part,
    )


def _start(run: Run, config: Training, before: Path | None) -> tuple[Any, PreTrainedTokenizerBase]:
    """π_I with the adapter that training goes on with, named `default`: a fresh one, or that of the
    first part."""
    base = run.base("sft")
    tokenizer = load_tokenizer(base)
    if before:
        return load_model(base, {"default": before}), tokenizer
    torch.manual_seed(run.preset.seed)
    return deal_out(new_adapter(read_base(base), base.base, config), base), tokenizer


def _keep(run: Run, folder: Path, counts: dict[str, int], log: list[dict[str, float]]) -> None:
    files = checkpoint_files(run.base("sft").base)
    write_json(folder / "training.json", {**counts, "base_files": files, "log": log})


def english(run: Run) -> dict[str, str]:
    """The English instruction of every prompt_id."""
    prompts = read_records(run.prompts / "en.jsonl", Prompt)
    return {prompt.prompt_id: prompt.instruction for prompt in prompts}


def _two_responses(
    run: Run, files: list[Path], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[Demonstration], int]:
    """In token ids, of each training prompt the English instruction and two responses at random
    that ended by themselves; and of how many prompts these cannot be read."""
    asked = english(run)
    stream = random.Random(f"{run.preset.seed} comparer unlabelled")
    given = []
    unread = 0
    for sample in (sample for path in files for sample in each_record(path, Sample)):
        ended = [each.text for each in sample.responses if each.ended and not each.thinking]
        if sample.split != "train" or len(ended) < 2:
            continue
        instruction = cross_lingual(asked[sample.prompt_id], sample.lang)
        answer = both(*stream.sample(ended, 2))
        try:
            prompt = prompt_ids(tokenizer, instruction)
            given.append(Demonstration(prompt, response_ids(tokenizer, instruction, answer)))
        except UnfitText:
            unread += 1
    return given, unread
