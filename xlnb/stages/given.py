"""Scores of responses that were given, by the models of a run or by any two checkpoints.

What models read is kept in FILE.parts, beside the file that is written, until that is whole: a
killed command goes on from there, and one with other models or responses begins anew.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from xlnb.common.dropped import Dropped, first_reasons
from xlnb.common.errors import InputError, UnfitText
from xlnb.common.files import json_text, read_text, sha256, write_text
from xlnb.common.given import comparable, is_blank, shown
from xlnb.common.processes import barrier, is_main
from xlnb.common.records import Logps, Response, Sample, Score, read_records, write_records
from xlnb.common.thinking import thinks
from xlnb.inputs.given_responses import GivenResponses
from xlnb.inputs.parallel_prompts import read_parallel
from xlnb.models.batches import Budget
from xlnb.models.chat import response_ids
from xlnb.models.checkpoint import check_two
from xlnb.models.hub import adapter_folder
from xlnb.presets import get_preset, override
from xlnb.rewards import SCORERS, check_truth, score_sample, split_scorers
from xlnb.runs.layout import Run
from xlnb.runs.run import open_run
from xlnb.runs.stage import fields
from xlnb.stages.keys import adapter_files, model_fields
from xlnb.stages.loading import policy_and_reference
from xlnb.stages.logprobs import Loaded, Reading, logps_file, read_sample
from xlnb.stages.sharing import share_out


def run_with(policy: str, ref: str, overrides: Mapping[str, object]) -> Run:
    """A run, without a folder, whose π_I is `ref` and whose π^0 is `policy`: folders or Hub ids, of
    `policy` also an adapter's. Raises InputError where they are the same."""
    is_adapter = (adapter_folder(policy) / "adapter_config.json").exists()
    models = {"models.base": ref, "models.dpo_adapter" if is_adapter else "models.dpo": policy}
    preset = get_preset("lab", {**models, **overrides})
    check_two(preset.models)
    return Run(Path(), preset)


def run_of(folder: Path, model: str, overrides: Mapping[str, object]) -> Run:
    """A run folder's, with these fields changed for this once. Raises InputError for a model that
    it has not, or that is its reference."""
    run = open_run(folder)
    if model not in run.models[1:]:
        raise InputError(f"--model {model}: expected one of {', '.join(run.models[1:])}")
    return Run(run.path, override(run.preset, overrides))


def english_prompts(given: Sequence[GivenResponses], source: str) -> dict[str, str]:
    """The English instruction of every id that has one: of the responses' own English rows, and of
    `source` where it is named. Raises InputError for an id that is of two prompts."""
    found = {}
    if source:
        records = read_parallel(source, "en")["en"]
        found = {record["prompt_id"]: record["instruction"] for record in records}
    for one in given:
        if one.lang == "en":
            there = found.setdefault(one.prompt_id, one.instruction)
            if comparable(there) != comparable(one.instruction):
                raise InputError(
                    f"{source}: id {one.prompt_id} is {shown(there)} there and "
                    f"{shown(one.instruction)} in its English row; an id is one prompt's"
                )
            found[one.prompt_id] = one.instruction
    return found


def check_names(names: str) -> list[str]:
    """Names of scores. Raises InputError for one that needs more than the responses."""
    found = split_scorers(names)
    check_truth(found, is_lab=False)
    for name in found:
        if SCORERS[name].reads == "translated":
            raise InputError(f"score '{name}' needs a translator; leave it out")
        if name == "gate":
            raise InputError("score 'gate' is fitted by a run's English preferences; take mean")
        if name == "comparer":
            raise InputError(
                "score 'comparer' compares responses of a run's own with each other; leave it out"
            )
    return found


def check_english(
    given: Sequence[GivenResponses], english: Mapping[str, str], names: Sequence[str]
) -> None:
    """Raises InputError for an id without an English prompt that a score needs: before a model is
    loaded."""
    if all(SCORERS[name].reads != "cross_lingual" for name in names):
        return
    for one in given:
        if one.prompt_id not in english:
            raise InputError(
                f"id {one.prompt_id} ({one.lang}) has no English prompt, under which R_c and "
                "likelihood read; give it a row in English, name prompts with --english, or leave "
                "both out: --scores multilingual,brevity"
            )


def score_given(
    run: Run,
    model: str,
    given: Sequence[GivenResponses],
    english: Mapping[str, str],
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    out: Path,
) -> list[Score]:
    """Write the scores of all responses, in their order, to `out`; they are returned too.

    A response that the model's tokenizer and chat template do not give back as it is, or that its
    context does not hold, has none, and `failures` says so.
    """
    samples = [_sample(tokenizer, one) for one in given]
    parts = out.with_name(f"{out.name}.parts")
    if is_main():
        _begin(parts, _key(run, model, samples, english))
    barrier()
    config = run.preset.scoring
    loaded = None
    logps: dict[tuple[str, str], dict[str, Logps]] = {}
    reads = dict.fromkeys(SCORERS[name].reads for name in names)
    for scorer in filter(None, reads):
        if loaded is None:
            models = policy_and_reference(run, model)
            loaded = Loaded(run.adapter_name(model), *models, config.layers)
        read = partial(_read, loaded.tokenizer, scorer, dict(english))
        for lang in dict.fromkeys(sample.lang for sample in samples):
            some = [sample for sample in samples if sample.lang == lang]
            path = parts / scorer / f"{lang}.jsonl"
            budget = Budget(config.batch_tokens)
            keep, label = config.keep_tokens, f"{scorer} {lang}"
            work = logps_file(loaded, some, read, path, budget, keep_tokens=keep, label=label)
            share_out([work], models=[loaded.model, loaded.ref_model])
            for record in read_records(path, Logps):
                logps.setdefault((lang, record.prompt_id), {})[scorer] = record
    scores = []
    for sample in samples:
        found = logps.get((sample.lang, sample.prompt_id), {})
        scores.append(
            score_sample(
                sample,
                found,
                names,
                beta=config.beta,
                seed=run.preset.seed,
                gamma=config.gamma,
            )
        )
    if is_main():
        write_records(out, scores)
        shutil.rmtree(parts)
    return scores


def unread(scores: Sequence[Score]) -> dict[str, dict[str, int]]:
    """How many responses some score could not read, by language and reason."""
    found: dict[str, Counter[str]] = {}
    for score in scores:
        for why in filter(None, first_reasons((score.failures or {}).values())):
            found.setdefault(score.lang, Counter())[why] += 1
    return {lang: dict(counts) for lang, counts in found.items()}


def _sample(tokenizer: PreTrainedTokenizerBase, given: GivenResponses) -> Sample:
    """The responses as if they had been sampled; without token ids where they cannot be read."""
    responses = []
    for text in given.texts:
        try:
            ids = [] if is_blank(text) else response_ids(tokenizer, given.instruction, text)
        except UnfitText:
            ids = []
        responses.append(Response(text, ids, "stop"))
    return Sample(given.prompt_id, given.lang, "eval", given.instruction, responses)


def _read(
    tokenizer: PreTrainedTokenizerBase,
    scorer: str,
    english: dict[str, str],
    sample: Sample,
) -> Reading:
    """As `read_sample`; None, with the reason, for responses without token ids."""
    prompt, read, _ = read_sample(tokenizer, scorer, english, sample)
    responses: list[list[int] | None] = []
    failures: list[str | None] = []
    for ids, response in zip(read, sample.responses, strict=True):
        responses.append(ids or None)
        failures.append(None if ids else _why_not_read(response.text))
    return Reading(prompt, responses, failures if any(failures) else None)


def _why_not_read(text: str) -> Dropped:
    if is_blank(text):
        return Dropped.EMPTY
    return Dropped.THINKING if thinks(text) else Dropped.NOT_READ_BACK


def _key(
    run: Run, model: str, samples: Sequence[Sample], english: Mapping[str, str]
) -> dict[str, Any]:
    """What the log-probabilities depend on."""
    text = json_text([[sample.to_json() for sample in samples], dict(english)])
    return {
        "responses": hashlib.sha256(text.encode()).hexdigest(),
        "adapter": [sha256(path) for path in adapter_files(run, model)],
        **fields(run.preset, "scoring.keep_tokens", "scoring.layers"),
        **model_fields(run.loaded),
    }


def _begin(parts: Path, key: Mapping[str, Any]) -> None:
    """Go on with parts of this key; others are dropped."""
    path = parts / "key.json"
    text = json_text(key)
    if path.exists() and read_text(path) == text:
        return
    if parts.exists():
        print(f"{parts}: of other models or responses; begun anew", flush=True)
        shutil.rmtree(parts)
    write_text(path, text)
