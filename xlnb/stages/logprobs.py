"""Log-probabilities of the samples under π^{t−1} and its reference, π_I if the preset names no
other: icr<t>/logps/<scorer>/<lang>.jsonl.

The costly half of scoring: models run here, once for each prompt under which responses are read.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from xlnb.common.dropped import Dropped
from xlnb.common.errors import InputError, UnfitText
from xlnb.common.files import read_jsonl
from xlnb.common.journal import is_finished
from xlnb.common.language_id import wrong_language
from xlnb.common.records import Logps, Sample, each_record
from xlnb.inputs.response_translation import find_translations
from xlnb.models.base import context_of
from xlnb.models.batches import Budget
from xlnb.models.chat import prompt_ids, response_ids
from xlnb.prompts import prompt_fields, scorer_prompt
from xlnb.rewards import prompts_read, score_responses
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages import comparers
from xlnb.stages.comparisons import compare
from xlnb.stages.keys import adapter_files, model_fields
from xlnb.stages.loading import policy_and_reference, reference_of
from xlnb.stages.reading import no_iteration_0
from xlnb.stages.sharing import Batch, Work, batches_of, share_out

# Samples whose log-probabilities are written together: what a kill can cost.
SAMPLES_AT_ONCE = 32


class Reading(NamedTuple):
    """A sample's responses as a scorer reads them, in token ids; None for one that it cannot."""

    prompt: list[int]
    responses: list[list[int] | None]
    failures: list[str | None] | None


Reader = Callable[[Sample], Reading]


class Loaded(NamedTuple):
    """π^{t−1}, the reference where that is another checkpoint (None: the same base), and their
    tokenizer."""

    # the name of π^{t−1}'s adapter; None: it is a bare base
    policy: str | None
    model: Any
    ref_model: Any
    tokenizer: PreTrainedTokenizerBase
    # how many of their first layers read; 0: all
    layers: int = 0
    # as `policy`, of the reference
    ref: str | None = None


def logps(run: Run, iteration: int, *, shared: bool = False) -> Path:
    """Log-probabilities under every prompt that a score of `scoring.scorers` needs.

    What the first score reads covers all samples, which it makes pairs of; what others read covers
    the held-out `reward` prompts, on which scores are compared with the truth. Each prompt is a
    stage of its own, so that another β or another score runs no model again. `shared`: of the lab's
    shared responses, in place of the policy's own.
    """
    no_iteration_0(iteration, "logps")
    here = run.iteration(iteration).of(shared=shared)

    @cache
    def load() -> Loaded:
        reference = reference_of(here)
        models = policy_and_reference(run, here.source, reference)
        policy = run.adapter_name(here.source)
        return Loaded(policy, *models, run.preset.scoring.layers, run.adapter_name(reference))

    for scorer, splits in prompts_read(run.preset.scoring.scorers).items():
        if scorer == comparers.NAME:
            compare(here, splits)
        else:
            _under(here, scorer, splits, load)
    return here.folder / "logps"


def _under(here: Iteration, scorer: str, splits: list[str], load: Callable[[], Loaded]) -> None:
    """The stage of one scorer's prompt."""
    run = here.run
    config = run.preset.scoring
    langs = here.langs
    translated = [lang for lang in langs if scorer == "translated" and lang != "en"]
    english_file = run.prompts / "en.jsonl"
    reference = reference_of(here)
    read_by = ["scoring.keep_tokens", "scoring.layers"]
    if reference != "sft":
        read_by.append("scoring.reference")
    stage = Stage(
        run,
        f"{here.target}/logps/{scorer}",
        inputs=[
            *(here.samples(lang) for lang in langs),
            *(here.translations(lang) for lang in translated),
            english_file,
            *adapter_files(run, here.source),
            *adapter_files(run, reference),
        ],
        uses={
            "splits": splits,
            **fields(run.preset, *read_by),
            **model_fields(run.loaded),
            **prompt_fields(scorer),
        },
        out=here.folder / "logps" / scorer,
    )

    def make() -> None:
        english = comparers.english(run)
        loaded = load()
        budget = Budget(config.batch_tokens)

        def file_of(lang: str) -> Work | None:
            path = here.logps(scorer, lang)
            samples = [s for s in each_record(here.samples(lang), Sample) if s.split in splits]
            read: Reader = partial(read_sample, loaded.tokenizer, scorer, english)
            if lang in translated:
                translations = _translations(here, lang)
                not_english = wrong_language("en", ["en", lang])
                read = partial(
                    read_translated, loaded.tokenizer, english, translations, not_english
                )
            keep, label = config.keep_tokens, f"{stage.name} {lang}"
            return logps_file(loaded, samples, read, path, budget, keep_tokens=keep, label=label)

        share_out(map(file_of, langs), models=[loaded.model, loaded.ref_model])

    stage.make(make)


def logps_file(
    loaded: Loaded,
    samples: Sequence[Sample],
    read: Reader,
    path: Path,
    budget: Budget,
    *,
    keep_tokens: bool = False,
    label: str,
) -> Work | None:
    """One language's file of log-probabilities; None where there is nothing to make."""
    order = [sample.prompt_id for sample in samples]
    if not samples or is_finished(path, order):
        return None

    def work(batch: Batch) -> list[Logps]:
        return sample_logps(loaded, batch.records, read, budget, keep_tokens=keep_tokens)

    return Work(path, batches_of(samples, SAMPLES_AT_ONCE), work, order, label)


def read_sample(
    tokenizer: PreTrainedTokenizerBase, scorer: str, english: dict[str, str], sample: Sample
) -> Reading:
    """The responses as they were sampled, under a scorer's prompt; None for those with thinking."""
    prompt = _prompt(tokenizer, scorer, english, sample)
    responses: list[list[int] | None] = []
    failures: list[str | None] = []
    for response in sample.responses:
        responses.append(None if response.thinking else response.token_ids)
        failures.append(Dropped.THINKING if response.thinking else None)
    return Reading(prompt, responses, failures if any(failures) else None)


def read_translated(
    tokenizer: PreTrainedTokenizerBase,
    english: dict[str, str],
    translations: dict[tuple[str, str], dict],
    not_english: Callable[[str], bool],
    sample: Sample,
) -> Reading:
    """The responses' translations under the English prompt; None, with the reason, where there is
    none to read."""
    texts, failures = find_translations(sample.to_json(), translations, not_english)
    prompt = _prompt(tokenizer, "translated", english, sample)
    asked = english[sample.prompt_id]
    responses: list[list[int] | None] = []
    for place, text in enumerate(texts):
        ids = None
        try:
            ids = None if text is None else response_ids(tokenizer, asked, text)
        except UnfitText:
            failures[place] = Dropped.NOT_READ_BACK
        responses.append(ids)
    return Reading(prompt, responses, failures)


def _prompt(
    tokenizer: PreTrainedTokenizerBase, scorer: str, english: dict[str, str], sample: Sample
) -> list[int]:
    asked = english.get(sample.prompt_id, "")
    if not asked and scorer != "multilingual":
        raise InputError(
            f"id {sample.prompt_id} ({sample.lang}) has no English prompt; the cross-lingual "
            "reward needs one"
        )
    try:
        return prompt_ids(tokenizer, scorer_prompt(scorer, sample.lang, sample.instruction, asked))
    except UnfitText as error:
        raise InputError(
            f"id {sample.prompt_id} ({sample.lang}): the prompt cannot be read under: {error}"
        ) from None


def _translations(here: Iteration, lang: str) -> dict[tuple[str, str], dict]:
    """What the translator gave, by a sample's prompt_id and what the translator was asked."""
    found = {}
    for record in read_jsonl(here.translations(lang)):
        prompt_id = record["prompt_id"].rpartition("#")[0]
        found[prompt_id, record["instruction"]] = record["responses"][0]
    return found


def sample_logps(
    loaded: Loaded,
    samples: Sequence[Sample],
    read: Reader,
    budget: Budget,
    *,
    keep_tokens: bool = False,
) -> list[Logps]:
    """Log-probabilities of the samples' responses, as `read` has them read; of those that end
    beyond the model's context none."""
    context = context_of(loaded.model.config)
    readings = [_within(context, read(sample)) for sample in samples]
    prompts = []
    responses = []
    for reading in readings:
        for response in reading.responses:
            if response is not None:
                prompts.append(reading.prompt)
                responses.append(response)
    try:
        policy, ref = score_responses(
            loaded.model,
            loaded.policy,
            loaded.ref,
            prompts,
            responses,
            batch_tokens=budget,
            ref_model=loaded.ref_model,
            layers=loaded.layers,
        )
    except InputError as error:
        where = f"{samples[0].lang}, scoring ids {samples[0].prompt_id} and after"
        raise InputError(f"{where}: {error}") from None
    # Back to a list a sample, with None where there was nothing to read.
    sides = iter(zip(policy, ref, strict=True))
    records = []
    for sample, reading in zip(samples, readings, strict=True):
        found = [None if ids is None else next(sides) for ids in reading.responses]
        records.append(_record(sample, reading, found, keep_tokens))
    return records


def _within(context: float, reading: Reading) -> Reading:
    """Without the responses that end beyond the context."""
    responses = list(reading.responses)
    failures = list(reading.failures or [None] * len(responses))
    for place, ids in enumerate(responses):
        if ids is not None and len(reading.prompt) + len(ids) > context:
            responses[place], failures[place] = None, Dropped.TOO_LONG
    failed = failures if any(failures) else reading.failures
    return Reading(reading.prompt, responses, failed)


def _record(sample: Sample, reading: Reading, found: list[Any], keep_tokens: bool) -> Logps:
    """`found`: policy and reference log-probabilities of the tokens of each response, or None."""

    def each(of: Callable[[Any], Any]) -> list[Any]:
        return [None if sides is None else of(sides) for sides in found]

    tokens: dict[str, Any] = {}
    if keep_tokens:
        tokens["policy_token_logps"] = each(lambda sides: sides[0].tolist())
        tokens["ref_token_logps"] = each(lambda sides: sides[1].tolist())
    return Logps(
        sample.prompt_id,
        sample.lang,
        sample.split,
        policy_logps=each(lambda sides: sides[0].sum().item()),
        ref_logps=each(lambda sides: sides[1].sum().item()),
        n_tokens=each(lambda sides: len(sides[0])),
        failures=reading.failures,
        **tokens,
    )
