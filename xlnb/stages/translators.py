"""What translates the prompts of a run, by `localise.by`: π_I, another chat model, or an
endpoint."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from xlnb.common.endpoint import ChatEndpoint
from xlnb.common.files import read_jsonl
from xlnb.common.journal import Journal
from xlnb.common.records import Prompt
from xlnb.inputs.localisation import endpoint_translations, localisation_consent
from xlnb.inputs.response_translation import TEMPERATURE
from xlnb.models.chat import load_tokenizer
from xlnb.presets import Models
from xlnb.runs.layout import Run
from xlnb.runs.stage import fields
from xlnb.sampling import Transformers
from xlnb.stages.generation import generation
from xlnb.stages.keys import model_fields
from xlnb.stages.sharing import share_out

# tasks, file, label, the language of the texts -> records
Translator = Callable[[list[Prompt], Path, str, str], list[dict]]


def load_translator(run: Run) -> Translator:
    """What translates tasks into a file of sample records."""
    by = run.preset.localise.by
    if by.startswith("endpoint:"):
        name = by.removeprefix("endpoint:")
        endpoint = ChatEndpoint(name, workers=run.preset.localise.workers, timeout=600.0)
        return lambda tasks, path, label, _: endpoint_translations(endpoint, tasks, path, label)
    models = _chat_models(run)
    tokenizer = load_tokenizer(models)
    sampler = Transformers(models, None, tokenizer)
    config = replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0)

    def translate(tasks: list[Prompt], path: Path, label: str, _: str) -> list[dict]:
        work = generation(
            run,
            sampler,
            tokenizer,
            tasks,
            path,
            n=1,
            config=config,
            stream=label,
            label=label,
        )
        share_out([work], models=[sampler.model])
        return read_jsonl(path)

    return translate


def _chat_models(run: Run) -> Models:
    by = run.preset.localise.by
    models = replace(run.loaded, dpo="", dpo_adapter="")
    if not by:
        return models
    base = by.removeprefix("local:")
    return replace(models, base=base, chat_template="", chat_template_kwargs="")


def translator_uses(run: Run) -> dict[str, object]:
    """What translations depend on, of the preset and of files."""
    if run.preset.localise.by.startswith("endpoint:"):
        return fields(run.preset, "localise.by")
    sampling = fields(run.preset, "sampling.max_new_tokens", "sampling.batch_tokens", "seed")
    return {**sampling, **model_fields(_chat_models(run))}


def ask_consent(
    run: Run, requests: Sequence[str], calls: int, paths: Sequence[Path], *, yes: bool
) -> None:
    """Where an endpoint translates: as `localisation_consent`, with what these journals hold
    done."""
    config = run.preset.localise
    if not config.by.startswith("endpoint:"):
        return
    done = 0
    for path in paths:
        done += len(read_jsonl(path) if path.exists() else Journal(path).done)
    localisation_consent(config.by, requests, calls, done, price=config.price, yes=yes)
