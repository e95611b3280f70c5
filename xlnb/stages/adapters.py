""""""

import os
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import write_json, write_text
from xlnb.common.records import Pair, read_records
from xlnb.models.adapters import load_model, new_adapter
from xlnb.models.base import deal_out, read_base
from xlnb.models.chat import load_tokenizer
from xlnb.models.hub import ADAPTER_FILES
from xlnb.runs.card import model_card
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.keys import adapter_files, model_fields


def train(run: Run, iteration: int) -> Path:
    """QLoRA DPO + NLL from π^{t−1} to π^t on the iteration's pairs: <model>/adapter (safetensors, training.json)."""
    # They import TRL, which takes seconds.
    from xlnb.engine.rows import add_mismatched, hold_out, tokenize_pairs
    from xlnb.training import add_reference, check_training, train_adapter

    here = run.iteration(iteration)
    folder, source, section, config = here.folder, here.source, here.section, here.training
    check_training(config, section)
    files = sorted((folder / "pairs").glob("*.jsonl"))
    if not files:
        raise InputError(
            f"stage {folder.name}/adapter: no language has a pair; {folder}/pairs/report.json counts why"
            if (folder / "pairs" / "report.json").exists()
            else f"stage {folder.name}/adapter needs {folder}/pairs/<lang>.jsonl; run the stages before it"
        )
    out = folder / "adapter"
    uses = asdict(config)
    del uses["report_to"]  # where figures of a training go is no part of what it makes
    stage = Stage(
        run,
        f"{folder.name}/adapter",
        inputs=[*files, *adapter_files(run, source)],
        uses={section: uses, "seed": run.preset.seed, **model_fields(run.preset.models)},
        out=out,
    )
    if stage.current():
        return out
    with stage.working():
        base, adapter = run.base(source), run.adapter(source)
        tokenizer = load_tokenizer(base)
        if adapter is None:
            import torch

            torch.manual_seed(run.preset.seed)
            model: Any = deal_out(new_adapter(read_base(base), base.base, config), base)
        else:
            model = load_model(base, {"default": adapter})
        records = [pair for path in files for pair in read_records(path, Pair)]
        rows, dropped = tokenize_pairs(tokenizer, records, config.max_tokens)
        if dropped and processes.is_main():
            print(
                f"{stage.name}: {dropped} of {len(records)} pairs dropped, longer than {config.max_tokens} tokens",
                flush=True,
            )
        if not rows:
            raise InputError(f"{folder}/pairs: no pair is left to train on")
        rows, held_out = hold_out(rows, config.eval_fraction, section)
        for some in filter(None, (rows, held_out)):
            if config.loss == "kto":
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
            saving = out / ".saving"
            ours = model.peft_config["default"]
            ours.target_modules = sorted(
                ours.target_modules
            )  # a set, whose order PEFT would write as it comes
            model.save_pretrained(str(saving), selected_adapters=["default"])
            record = {
                "pairs": len(rows),
                "held_out_pairs": len(held_out),
                "dropped_too_long": dropped,
                **trained._asdict(),
            }
            write_json(out / "training.json", record)
            languages = dict(Counter(row["lang"] for row in rows))
            write_text(out / "README.md", model_card(run, iteration, languages, record))
            for name in ADAPTER_FILES:
                os.replace(saving / name, out / name)
            shutil.rmtree(saving)
            shutil.rmtree(out / "checkpoints")
    return out
