"""A trained model's README.md: what it is, and everything needed to make it again."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import ModelCardData

from xlnb.common.files import read_json
from xlnb.common.languages import split_langs
from xlnb.models.hub import is_hub_id
from xlnb.models.places import hub_place
from xlnb.presets import in_use
from xlnb.runs.layout import Run
from xlnb.runs.provenance import environment

PAPER = "[arXiv 2503.04647](https://arxiv.org/abs/2503.04647)"

ENGLISH = (
    "Preference alignment on English pairs ({loss} + {nll} · NLL), the start π^0 of Implicit "
    "Cross-Lingual Rewarding ({paper})."
)

ITERATION = (
    "Iteration {iteration} of Implicit Cross-Lingual Rewarding ({paper}): trained ({loss} + {nll} "
    "· NLL) from {start} on pairs of its own responses, ordered by {score}."
)

REWARD = "the implicit reward β log {start}/π_I "
SCORE = {
    "cross_lingual": REWARD + "under English instructions",
    "multilingual": REWARD + "under instructions in each response's language",
    "translated": REWARD + "of their English translations under English instructions",
}

TUNED = """---
{metadata}
---

# {run}: sft

π_I of Implicit Cross-Lingual Rewarding ({paper}): {base}, fine-tuned on {n} demonstrations by
QLoRA, the adapter merged. The run's adapters stand on it.

{facts}

```json
{settings}
```
"""

CARD = """---
{metadata}
---

# {run}: {model}

{method}

{facts}

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{base}"{revision})
model = PeftModel.from_pretrained(base, "THIS_REPOSITORY_OR_FOLDER")
```

## Settings

```json
{settings}
```
"""


def model_card(
    run: Run, iteration: int, pairs: dict[str, int], record: Mapping[str, object]
) -> str:
    """Markdown with the Hub's metadata. `pairs`: those trained on, by language; `record`: what
    training.json holds."""
    preset = run.preset
    config = preset.training if iteration else preset.english
    model, start = run.models[iteration + 1], run.models[iteration]
    base = run.base(start).base
    local = not is_hub_id(base) or Path(base).is_dir()
    repo, at = hub_place(base)
    metadata = ModelCardData(
        base_model=None if local else repo,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["lora", config.loss, "multilingual-preference-alignment"],
        language=sorted(lang for lang in pairs if lang) or None,
    )
    scorer = split_langs(preset.scoring.scorers)[0]
    method = (ITERATION if iteration else ENGLISH).format(
        paper=PAPER,
        loss=config.loss.upper(),
        nll=config.nll,
        iteration=iteration,
        start=start,
        score=SCORE.get(scorer, f"their score `{scorer}`").format(start=start),
    )
    made_by = environment()
    versions = [f"{package} {number}" for package, number in made_by["versions"].items()]
    counts = [f"{lang or 'language unknown'} {n}" for lang, n in pairs.items()]
    name = shlex.quote(run.path.name)
    command = f"python -m xlnb stage train --run {name} --iteration {iteration}"
    facts = [f"Base: {_shown(base)}" + (", a local folder at training time" if local else "")]
    if preset.sft.path:
        facts.append(f"π_I: fine-tuned from {_shown(preset.models.base)}")
    for label, other in (("π_I", run.loaded.base), ("π^0", preset.models.dpo)):
        if other and other != base:
            facts.append(f"{label}: {_shown(other)}")
    facts += [
        f"Pairs: {', '.join(counts)}; held out {record['held_out_pairs']}, dropped as too long "
        f"{record['dropped_too_long']}",
        f"Kept: the weights of step {record['step']} of {config.steps}",
        f"Seed: {preset.seed}",
        f"Command: `{command}`, preset `{preset.name}`, xlnb at {made_by['git']}",
        f"Versions: {', '.join(versions)}",
    ]
    return CARD.format(
        metadata=metadata.to_yaml(),
        run=run.path.name,
        model=model,
        method=method,
        facts="\n".join(f"- {fact}" for fact in facts),
        base=_shown(repo),
        revision="".join(f', revision="{revision}"' for revision in at.values()),
        settings=json.dumps(_settings(run, iteration), indent=1),
    )


def tuned_card(run: Run) -> str:
    """As `model_card`, of π_I's checkpoint where the run made it."""
    preset = run.preset
    record = read_json(run.tuned / "training.json")
    repo, _ = hub_place(preset.models.base)
    local = not is_hub_id(preset.models.base) or Path(preset.models.base).is_dir()
    metadata = ModelCardData(
        base_model=None if local else repo,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["sft", "multilingual-preference-alignment"],
    )
    made_by = environment()
    versions = [f"{package} {number}" for package, number in made_by["versions"].items()]
    facts = [f"Seed: {preset.seed}", f"Versions: {', '.join(versions)}"]
    settings = in_use(preset.sft)
    settings["path"] = _shown_source(preset.sft.path)
    return TUNED.format(
        metadata=metadata.to_yaml(),
        run=run.path.name,
        paper=PAPER,
        base=_shown(preset.models.base),
        n=record["demonstrations"],
        facts="\n".join(f"- {fact}" for fact in facts),
        settings=json.dumps(settings, indent=1),
    )


def _settings(run: Run, iteration: int) -> dict[str, object]:
    """The preset's fields that the adapter depends on, without where files lay on this machine."""
    preset = run.preset
    settings: dict[str, object] = {
        "training": in_use(preset.training if iteration else preset.english),
        "quantization": preset.models.quantization,
        "dtype": preset.models.dtype,
    }
    sections = ("prompts", "sampling", "scoring", "pairing") if iteration else ("preferences",)
    for section in sections:
        fields = settings[section] = in_use(getattr(preset, section))
        for name in ("path", "eval_path"):
            if name in fields:
                fields[name] = _shown_source(fields[name])
    return settings


def _shown_source(path: str) -> str:
    return path if path.startswith("hub:") else Path(path).name


def _shown(model: str) -> str:
    """A Hub id, or the last part of a folder: where it lay on this machine is nobody's business."""
    return model if is_hub_id(model) and not Path(model).is_dir() else Path(model).name
