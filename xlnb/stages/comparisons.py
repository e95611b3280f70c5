"""How the comparer (`xlnb.comparing`) sees an iteration's responses, two at a time:
icr<t>/logps/comparer/<lang>.jsonl."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from xlnb.common.dropped import Dropped
from xlnb.common.errors import UnfitText
from xlnb.common.journal import is_finished
from xlnb.common.records import Comparisons, Sample, each_record
from xlnb.comparing import Labels, label_ids, question_fields, question_ids, ring
from xlnb.logprobs import sequence_logprobs
from xlnb.models.adapters import load_model
from xlnb.models.base import context_of
from xlnb.models.batches import Budget
from xlnb.models.chat import load_tokenizer
from xlnb.prompts import cross_lingual
from xlnb.runs.layout import Iteration
from xlnb.runs.stage import Stage, fields
from xlnb.stages.comparers import NAME, adapter, english
from xlnb.stages.keys import files_of_adapter, model_fields
from xlnb.stages.sharing import Batch, Work, batches_of, share_out

# Samples whose comparisons are written together: what a kill can cost.
SAMPLES_AT_ONCE = 8


class Loaded(NamedTuple):
    """A comparer, and what it reads responses with."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    labels: Labels
    # instructions by prompt_id
    english: dict[str, str]
    opponents: int
    # tokens
    context: float
    budget: Budget


def compare(here: Iteration, splits: list[str]) -> Path:
    """Comparisons of the responses to the prompts of these splits."""
    run = here.run
    stage = Stage(
        run,
        f"{here.target}/logps/{NAME}",
        inputs=[
            *(here.samples(lang) for lang in here.langs),
            run.prompts / "en.jsonl",
            *files_of_adapter(adapter(run)),
        ],
        uses={
            "splits": splits,
            **fields(run.preset, "comparer.opponents"),
            **model_fields(run.loaded),
            **question_fields(),
        },
        out=here.folder / "logps" / NAME,
    )

    def make() -> None:
        base = run.base("sft")
        config = run.preset
        tokenizer = load_tokenizer(base)
        model = load_model(base, {NAME: adapter(run)})
        loaded = Loaded(
            model,
            tokenizer,
            label_ids(tokenizer),
            english(run),
            config.comparer.opponents,
            context_of(model.config),
            Budget(config.scoring.batch_tokens),
        )

        def file_of(lang: str) -> Work | None:
            path = here.logps(NAME, lang)
            samples = [s for s in each_record(here.samples(lang), Sample) if s.split in splits]
            order = [sample.prompt_id for sample in samples]
            if not samples or is_finished(path, order):
                return None
            batches = batches_of(samples, SAMPLES_AT_ONCE)
            return Work(path, batches, partial(_compared, loaded), order, f"{stage.name} {lang}")

        share_out(map(file_of, here.langs), models=[loaded.model])

    return stage.make(make)


def _compared(loaded: Loaded, batch: Batch) -> list[Comparisons]:
    asked = [_asked(loaded, sample) for sample in batch.records]
    once = {question: None for questions, _ in asked for question in questions.values()}
    found = dict(zip(once, _p_first(loaded, list(once)), strict=True))
    records = []
    for sample, (questions, failures) in zip(batch.records, asked, strict=True):
        n = len(sample.responses)
        p_first: list[list[float | None]] = [[None] * n for _ in range(n)]
        for (first, second), question in questions.items():
            p_first[first][second] = found[question]
        names = (sample.prompt_id, sample.lang, sample.split)
        records.append(Comparisons(*names, p_first, failures if any(failures) else None))
    return records


def _asked(
    loaded: Loaded, sample: Sample
) -> tuple[dict[tuple[int, int], tuple[int, ...]], list[str | None]]:
    """The question of each two responses that are compared, by their places, the one that is shown
    first before the other; and why a response is compared with none."""
    failures: list[str | None] = []
    for response in sample.responses:
        failures.append(Dropped.THINKING if response.thinking else None)
    read = [place for place, why in enumerate(failures) if not why]
    found: dict[tuple[int, int], tuple[int, ...]] = {}
    unasked: dict[int, str] = {}
    for i, j in ring(len(read), loaded.opponents):
        ways = ((read[i], read[j]), (read[j], read[i]))
        try:
            both = [_question(loaded, sample, *way) for way in ways]
        except UnfitText:
            unasked |= dict.fromkeys(ways[0], Dropped.NOT_READ_BACK)
            continue
        # With the label, which is a token.
        if max(map(len, both)) + 1 > loaded.context:
            unasked |= dict.fromkeys(ways[0], Dropped.TOO_LONG)
            continue
        found.update(zip(ways, both, strict=True))
    compared = {place for way in found for place in way}
    for place in read:
        if place not in compared:
            failures[place] = unasked.get(place, Dropped.ALONE)
    return found, failures


def _question(loaded: Loaded, sample: Sample, first: int, second: int) -> tuple[int, ...]:
    asked = cross_lingual(loaded.english[sample.prompt_id], sample.lang)
    texts = (sample.responses[first].text, sample.responses[second].text)
    return tuple(question_ids(loaded.tokenizer, loaded.labels, sample.prompt_id, asked, *texts))


def _p_first(loaded: Loaded, questions: list[tuple[int, ...]]) -> list[float]:
    """σ(z_A − z_B) of each question; each is run once for both labels."""
    if not questions:
        return []
    labels = (loaded.labels.first, loaded.labels.second)
    prompts = [question for question in questions for _ in labels]
    answers = [[label] for label in labels] * len(questions)
    logps = sequence_logprobs(loaded.model, prompts, answers, batch_tokens=loaded.budget)
    values = torch.cat(logps).reshape(-1, 2)
    return torch.sigmoid(values[:, 0] - values[:, 1]).tolist()
