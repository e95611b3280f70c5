""""""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCardData, get_token

from xlnb.common.errors import InputError
from xlnb.common.files import read_json
from xlnb.common.languages import split_langs
from xlnb.models.hub import ADAPTER_FILES, LOG_IN, explain, is_hub_id
from xlnb.runs.layout import Run
from xlnb.runs.provenance import environment

METHOD = {
    True: "Preference alignment on English pairs ({loss} + {nll} · NLL), the start π^0 of Implicit Cross-Lingual "
    "Rewarding ([arXiv 2503.04647](https://arxiv.org/abs/2503.04647)).",
    False: "Iteration {iteration} of Implicit Cross-Lingual Rewarding ([arXiv 2503.04647]"
    "(https://arxiv.org/abs/2503.04647)): trained ({loss} + {nll} · NLL) from {start} on pairs of its own responses, "
    "ordered by {scorer}.",
}

SCORER = {
    "cross_lingual": "the implicit reward β log {start}/π_I under English instructions",
    "multilingual": "the implicit reward β log {start}/π_I under instructions in each response's language",
    "translated": "the implicit reward β log {start}/π_I of their English translations under English instructions",
}


def model_card(run: Run, iteration: int, pairs: dict[str, int], record: dict[str, Any]) -> str:
    """Markdown with the Hub's metadata. `pairs`: those trained on, by language; `record`: see `training.json`."""
    name, start = run.models[iteration + 1], run.models[iteration]
    base, preset = run.base(start).base, run.preset
    config = preset.training if iteration else preset.english
    local = not is_hub_id(base) or Path(base).is_dir()
    first = split_langs(preset.scoring.scorers)[0]
    scorer = SCORER.get(first, f"their score `{first}`").format(start=start)
    method = METHOD[iteration == 0].format(
        loss=config.loss.upper(), nll=config.nll, iteration=iteration, start=start, scorer=scorer
    )
    metadata = ModelCardData(
        base_model=None if local else base,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["lora", config.loss, "multilingual-preference-alignment"],
        language=sorted(lang for lang in pairs if lang) or None,
    )
    models = {"π_I": preset.models.base} | ({"π^0": preset.models.dpo} if preset.models.dpo else {})
    data = ", ".join(f"{lang or 'language unknown'} {n}" for lang, n in pairs.items())
    command = [
        "python",
        "-m",
        "xlnb",
        "stage",
        "train",
        "--run",
        run.path.name,
        "--iteration",
        str(iteration),
    ]
    lines = [
        f"---\n{metadata.to_yaml()}\n---\n\n# {run.path.name}: {name}\n\n{method}\n",
        f"- Base: {_shown(base)}" + (", a local folder at training time" if local else ""),
        *(f"- {label}: {_shown(model)}" for label, model in models.items() if model != base),
        f"- Pairs: {data}; held out {record['held_out_pairs']}, dropped as too long {record['dropped_too_long']}",
        f"- Kept: the weights of step {record['step']} of {config.steps}",
        f"- Seed: {preset.seed}",
        f"- Command: `{shlex.join(command)}`, preset `{preset.name}`, xlnb at {environment()['git']}",
        f"- Versions: {', '.join(f'{package} {number}' for package, number in environment()['versions'].items())}",
        "\n```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n",
        f'base = AutoModelForCausalLM.from_pretrained("{_shown(base)}")',
        'model = PeftModel.from_pretrained(base, "THIS_REPOSITORY_OR_FOLDER")\n```\n\n## Settings\n',
    ]
    settings: dict[str, Any] = {
        "training": asdict(config),
        "quantization": preset.models.quantization,
        "dtype": preset.models.dtype,
    }
    for section in ("prompts", "sampling", "scoring", "pairing") if iteration else ("preferences",):
        settings[section] = asdict(getattr(preset, section))
        for field in settings[section].keys() & {"path", "eval_path"}:
            source = settings[section][field]
            settings[section][field] = source if source.startswith("hub:") else Path(source).name
    return "\n".join(lines) + f"\n```json\n{json.dumps(settings, indent=1)}\n```\n"


def push(run: Run, model: str, to: str) -> str:
    """Upload a model's adapter and card to the Hub's repository `to`, made private where it is new; its address."""
    folder = run.adapter(model)
    if folder != run.path / model / "adapter":
        raise InputError(
            f"{model} was not trained in this run; push one of {', '.join(run.models[1:])} that was"
        )
    files = [*ADAPTER_FILES, "README.md", "training.json"]
    for missing in [name for name in files if not (folder / name).exists()][:1]:
        raise InputError(f"{folder / missing}: not there; finish stage train first")
    config = folder / ADAPTER_FILES[0]
    if not is_hub_id(read_json(config)["base_model_name_or_path"]):
        raise InputError(
            f"{config}: its base is a folder of this machine; write the base's Hub id there first"
        )
    if not is_hub_id(to):
        raise InputError(f"--to '{to}': expected ORG/NAME")
    if not get_token():
        raise InputError(f"pushing to the Hub needs a token that may write; {LOG_IN}")
    api = HfApi()
    try:
        api.create_repo(to, private=True, exist_ok=True)
        api.upload_folder(
            repo_id=to,
            folder_path=str(folder),
            allow_patterns=files,
            commit_message=f"{run.path.name}: {model}",
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{to}: {explain(error, to)}") from None
    return f"https://huggingface.co/{to}"


def _shown(model: str) -> str:
    """A Hub id, or the last part of a folder: where it lay on this machine is nobody's business."""
    return model if is_hub_id(model) and not Path(model).is_dir() else Path(model).name
