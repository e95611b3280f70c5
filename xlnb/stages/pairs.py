"""Length-controlled preference pairs: icr<t>/pairs/<lang>.jsonl and report.json."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import write_json
from xlnb.common.language_id import wrong_language
from xlnb.common.languages import split_langs
from xlnb.common.processes import main_alone
from xlnb.common.records import Pair, Sample, Score, write_records
from xlnb.inputs.reader import HERE
from xlnb.length_control import alpha_search
from xlnb.pairs import pair_language
from xlnb.rewards import split_scorers
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages import users
from xlnb.stages.reading import OfSplit, no_iteration_0


@main_alone
def pair(run: Run, iteration: int) -> Path:
    """Pairs of the training prompts, by the first of `scoring.scorers`."""
    no_iteration_0(iteration, "pair")
    here = run.iteration(iteration)
    langs = here.langs
    chosen = split_langs(run.preset.pairing.langs) or langs
    for lang in chosen:
        if lang not in langs:
            raise InputError(
                f"pairing.langs: '{lang}' was not sampled; expected some of {', '.join(langs)}"
            )
    files = [(here.samples(lang), here.scores(lang)) for lang in langs]
    uses = fields(run.preset, "pairing", "scoring.scorers")
    if run.preset.pairing.preference:
        # Its file counts by its content.
        uses["pairing"] |= {"preference": HERE}
    stage = Stage(
        run,
        f"{here.target}/pairs",
        inputs=[*(path for both in files for path in both), *users.inputs(here)],
        uses=uses,
        out=here.folder / "pairs",
    )

    def make() -> None:
        reports = {}
        user = users.User(here) if run.preset.pairing.preference else None
        if user:
            weights = ", ".join(f"{weight:.2f}" for weight in user.weights)
            print(
                f"{stage.name}: {user.labels} labels weigh reward, length and likelihood {weights}",
                flush=True,
            )
        for lang in chosen:
            pairs, reports[lang] = language_pairs(here, lang, langs, user)
            if reports[lang]["pairs"]:
                write_records(here.pairs(lang), pairs)
        write_json(here.pair_report, reports)
        counts = [f"{lang} {report['pairs']}" for lang, report in reports.items()]
        print(f"{stage.name}: pairs by language: {', '.join(counts)}", flush=True)

    return stage.make(make)


def language_pairs(
    here: Iteration, lang: str, langs: list[str], user: users.User | None = None
) -> tuple[Iterator[Pair], dict[str, Any]]:
    """The pairs of one language and the report on them; `langs`: those that were sampled;
    `user`: whose score makes the pairs (None: the first score does)."""
    preset = here.run.preset
    scores: Iterable[Score] = OfSplit(here.scores(lang), Score, "train")
    scorer = split_scorers(preset.scoring.scorers)[0]
    if user:
        scorer = users.NAME
        scores = map(user.scored, scores)
    return pair_language(
        OfSplit(here.samples(lang), Sample, "train"),
        scores,
        scorer=scorer,
        find_alpha=alpha_search(preset.pairing.alpha, preset.scoring.beta),
        min_margin=preset.pairing.min_margin,
        below=preset.pairing.below or math.inf,
        shorter=preset.pairing.ties == "shorter",
        most=preset.pairing.n or None,
        wrong_language=wrong_language(lang, langs) if preset.pairing.language_filter else None,
    )
