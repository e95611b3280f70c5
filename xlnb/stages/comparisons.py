"""How the comparer (`xlnb.comparing`) sees an iteration's responses, two at a time:
icr<t>/logps/comparer/<lang>.jsonl."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from xlnb.common.dropped import Dropped
from xlnb.common.journal import is_finished
from xlnb.common.records import Comparisons, Sample, each_record
from xlnb.comparing import Labels, label_ids, question_fields, question_ids, ring
from xlnb.logprobs import sequence_logprobs
from xlnb.models.adapters import load_model
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
        loaded = Loaded(
            load_model(base, {NAME: adapter(run)}),
            tokenizer,
            label_ids(tokenizer),
            english(run),
            config.comparer.opponents,
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
    # of each sample, the places of its responses that are compared, in either order
    places = [_places(sample, loaded.opponents) for sample in batch.records]
    ids = []
    for sample, both in zip(batch.records, places, strict=True):
        ids.append([_question(loaded, sample, first, second) for first, second in both])
    questions = list(dict.fromkeys(question for some in ids for question in some))
    found = dict(zip(questions, _p_first(loaded, questions), strict=True))
    records = []
    for sample, both, some in zip(batch.records, places, ids, strict=True):
        n = len(sample.responses)
        p_first: list[list[float | None]] = [[None] * n for _ in range(n)]
        for (first, second), question in zip(both, some, strict=True):
            p_first[first][second] = found[question]
        thinks = [Dropped.THINKING if each.thinking else None for each in sample.responses]
        records.append(
            Comparisons(
                sample.prompt_id,
                sample.lang,
                sample.split,
                p_first,
                [*thinks] if any(thinks) else None,
            )
        )
    return records


def _places(sample: Sample, opponents: int) -> list[tuple[int, int]]:
    """Which two responses are compared, the one that is shown first before the other."""
    read = [place for place, each in enumerate(sample.responses) if not each.thinking]
    found = []
    for i, j in ring(len(read), opponents):
        found += [(read[i], read[j]), (read[j], read[i])]
    return found


def _question(loaded: Loaded, sample: Sample, first: int, second: int) -> tuple[int, ...]:
    asked = cross_lingual(loaded.english[sample.prompt_id], sample.lang)
    texts = (sample.responses[first].text, sample.responses[second].text)
    return tuple(question_ids(loaded.tokenizer, loaded.labels, sample.prompt_id, asked, *texts))


def _p_first(loaded: Loaded, questions: list[tuple[int, ...]]) -> list[float]:
    """σ(z_A − z_B) of each question; each is run once for both labels."""
    labels = (loaded.labels.first, loaded.labels.second)
    prompts = [question for question in questions for _ in labels]
    answers = [[label] for label in labels] * len(questions)
    logps = sequence_logprobs(loaded.model, prompts, answers, batch_tokens=loaded.budget)
    values = torch.cat(logps).reshape(-1, 2)
    return torch.sigmoid(values[:, 0] - values[:, 1]).tolist()
