"""Scores of the samples: icr<t>/scores/<lang>.jsonl. Arithmetic on log-probabilities."""

from collections.abc import Iterator
from pathlib import Path

from xlnb.common.processes import main_alone
from xlnb.common.records import (
    Comparisons,
    Logps,
    Sample,
    Score,
    each_record,
    read_records,
    write_records,
)
from xlnb.decay import half_life_chars, in_words
from xlnb.lab.world import world_fields
from xlnb.rewards import SCORERS, prompts_read, score_sample, split_scorers
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.records import find_record
from xlnb.runs.stage import Stage, fields
from xlnb.stages import comparers, gates
from xlnb.stages.reading import no_iteration_0


@main_alone
def score(run: Run, iteration: int, *, shared: bool = False) -> Path:
    """Every score of `scoring.scorers` that a sample's log-probabilities give: implicit rewards
    β (log π^{t−1} − log π_I), and the plain scores that they must beat.

    What R_t could not have translated has no score (null), and `failures` says why.
    `shared`: of the lab's shared responses, in place of the policy's own.
    """
    no_iteration_0(iteration, "score")
    here = run.iteration(iteration).of(shared=shared)
    read = list(prompts_read(run.preset.scoring.scorers))
    langs = here.langs
    files = [path for scorer in read for path in _logps_files(here, scorer)]
    values = ["scoring.beta", "scoring.gamma", "scoring.scorers", "seed"]
    world = {}
    if any(SCORERS[name].is_truth for name in split_scorers(run.preset.scoring.scorers)):
        values.append("lab.taste")
        world = world_fields()
    stage = Stage(
        run,
        f"{here.target}/scores",
        inputs=[*(here.samples(lang) for lang in langs), *files, *gates.inputs(here)],
        uses={**fields(run.preset, *values), **world},
        out=here.folder / "scores",
    )

    def make() -> None:
        gamma = run.preset.scoring.gamma
        if gamma != 1:
            half_lives = half_life_chars(gamma, _responses(here))
            print(f"{stage.name}: {in_words(gamma, half_lives)}", flush=True)
        for lang in langs:
            write_records(here.scores(lang), language_scores(here, lang))

    return stage.make(make)


def _logps_files(here: Iteration, scorer: str) -> list[Path]:
    """What the stage that read a scorer's prompt wrote; where it has not finished, what is there of
    it."""
    record = find_record(here.run, f"{here.target}/logps/{scorer}").record
    if record and record.state == "done":
        return [here.run.path / name for name in record.outputs]
    files = [here.logps(scorer, lang) for lang in here.langs]
    return [path for path in files if path.exists()]


def _responses(here: Iteration) -> Iterator[tuple[str, str, list[int]]]:
    """Language, text and token ids of every response."""
    for lang in here.langs:
        for sample in each_record(here.samples(lang), Sample):
            for response in sample.responses:
                yield lang, response.text, response.token_ids


def language_scores(here: Iteration, lang: str) -> Iterator[Score]:
    """The scores of one language's samples, in their order."""
    config = here.run.preset.scoring
    names = split_scorers(config.scorers)
    gate = gates.read_gate(here)
    logps: dict[str, dict[str, Logps | Comparisons]] = {}
    for scorer in prompts_read(config.scorers):
        path = here.logps(scorer, lang)
        kind: type[Logps | Comparisons] = Comparisons if scorer == comparers.NAME else Logps
        records = read_records(path, kind) if path.exists() else []
        logps[scorer] = {record.prompt_id: record for record in records}
    for sample in each_record(here.samples(lang), Sample):
        found = {}
        for scorer, by_prompt in logps.items():
            if sample.prompt_id in by_prompt:
                found[scorer] = by_prompt[sample.prompt_id]
        yield score_sample(
            sample,
            found,
            names,
            beta=config.beta,
            seed=here.run.preset.seed,
            gamma=config.gamma,
            taste=here.run.taste,
            gate=gate,
        )
