"""What translates the prompts of a run, by `localise.by`, and responses for R_t, by
`scoring.translated_by`: π_I or another chat model, an encoder–decoder model, an endpoint."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from xlnb.common.endpoint import ChatEndpoint
from xlnb.common.files import read_jsonl
from xlnb.common.journal import Journal, is_finished
from xlnb.common.records import Prompt, Sample
from xlnb.inputs.localisation import (
    endpoint_translations,
    localisation_consent,
    prompt_request,
)
from xlnb.inputs.reader import HERE
from xlnb.inputs.response_translation import TEMPERATURE
from xlnb.models.chat import load_tokenizer
from xlnb.models.checkpoint import checkpoint_files
from xlnb.models.seq2seq import Seq2Seq, pair_name
from xlnb.presets import Models
from xlnb.runs.layout import Run
from xlnb.runs.stage import fields
from xlnb.sampling import Transformers
from xlnb.stages.generation import generation
from xlnb.stages.keys import model_fields
from xlnb.stages.sharing import Batch, Work, batches_of, share_out

# tasks, file, label, from which language, into which -> records
Translator = Callable[[list[Prompt], Path, str, str, str], list[dict]]

SEQ2SEQ = "seq2seq:"
# Texts that an encoder–decoder model has translated before they are kept.
TEXTS_AT_ONCE = 16


def load_translator(run: Run) -> Translator:
    """What translates tasks for `localise` into a file of sample records."""
    by = run.preset.localise.by
    if by.startswith("endpoint:"):
        name = by.removeprefix("endpoint:")
        endpoint = ChatEndpoint(name, workers=run.preset.localise.workers, timeout=600.0)
        return lambda tasks, path, label, *_: endpoint_translations(endpoint, tasks, path, label)
    return _seq2seq(run) if by.startswith(SEQ2SEQ) else _chat(run)


def _chat(run: Run) -> Translator:
    models = chat_models(run, run.preset.localise.by)
    tokenizer = load_tokenizer(models)
    sampler = Transformers(models, None, tokenizer)
    config = replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0)

    def translate(tasks: list[Prompt], path: Path, label: str, *_: str) -> list[dict]:
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


def _seq2seq(run: Run) -> Translator:
    load = seq2seq_loader(run, run.preset.localise.by)

    def translate(
        tasks: list[Prompt], path: Path, label: str, source: str, target: str
    ) -> list[dict]:
        # The way back is needed as well, and is better missed before the first sentence.
        load(target, source).direction(target, source)
        request = prompt_request("", target)
        work = seq2seq_work(run, load, tasks, path, request, source, target, label)
        share_out([work], models=[])
        return read_jsonl(path)

    return translate


def seq2seq_loader(run: Run, by: str) -> Callable[[str, str], Seq2Seq]:
    """What gives the encoder–decoder model from one language into another, each loaded once."""
    named = cache(lambda name: Seq2Seq(name, run.preset.models))
    return lambda source, target: named(pair_name(by.removeprefix(SEQ2SEQ), source, target))


def seq2seq_work(
    run: Run,
    load: Callable[[str, str], Seq2Seq],
    tasks: Sequence[Prompt],
    path: Path,
    request: str,
    source: str,
    target: str,
    label: str,
) -> Work | None:
    """Translations of texts of one language into a file of sample records; None where it is
    finished. `request`: what stands before a task's text, and is not for such a model."""
    order = [task.prompt_id for task in tasks]
    if is_finished(path, order):
        return None
    sampling = run.preset.sampling

    def make(batch: Batch) -> list[Sample]:
        translations = load(source, target).translate(
            [task.instruction.removeprefix(request) for task in batch.records],
            source,
            target,
            max_new_tokens=sampling.max_new_tokens,
            tokens=sampling.batch_tokens,
        )
        found = []
        for task, response in zip(batch.records, translations, strict=True):
            names = (task.prompt_id, task.lang, task.split, task.instruction)
            found.append(Sample(*names, [response]))
        return found

    ordered = sorted(tasks, key=lambda task: len(task.instruction))
    return Work(path, batches_of(ordered, TEXTS_AT_ONCE), make, order, label)


def chat_models(run: Run, by: str) -> Models:
    """π_I, or the chat model that is named, with a chat template of its own."""
    models = replace(run.loaded, dpo="", dpo_adapter="")
    if not by:
        return models
    base = by.removeprefix("local:")
    return replace(models, base=base, chat_template="", chat_template_kwargs="")


def translator_uses(run: Run, lang: str) -> dict[str, object]:
    """What `localise`'s translations between English and a language depend on."""
    by = run.preset.localise.by
    if by.startswith("endpoint:"):
        return fields(run.preset, "localise.by")
    sampling = fields(run.preset, "sampling.max_new_tokens", "sampling.batch_tokens", "seed")
    if by.startswith(SEQ2SEQ):
        return {**sampling, **seq2seq_uses(run, by, [("en", lang), (lang, "en")])}
    return {**sampling, **model_fields(chat_models(run, by))}


def seq2seq_uses(run: Run, by: str, ways: Sequence[tuple[str, str]]) -> dict[str, object]:
    """What is translated by these ways depends on: the compute type and the checkpoints, one that
    is here by its files."""
    found = {}
    for source, target in ways:
        name = pair_name(by.removeprefix(SEQ2SEQ), source, target)
        files = checkpoint_files(name)
        found[f"{source}-{target}"] = {"name": HERE if files else name, "files": files}
    return {**fields(run.preset, "models.dtype"), "seq2seq": found}


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
