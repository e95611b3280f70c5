"""A judge's word on a model's responses: eval/<model>/<lang>/annotations.json."""

from collections.abc import Iterator
from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.journal import Journal, is_finished
from xlnb.common.processes import main_alone
from xlnb.common.questions import ask_again, unanswered
from xlnb.evaluation.alpaca_eval import Annotation, write_records
from xlnb.evaluation.comparisons import read_comparisons
from xlnb.inputs.reader import HERE
from xlnb.judges.asking import ask_consent, judge_records, with_answers
from xlnb.judges.model import prompt_fields
from xlnb.judges.registry import get_judge
from xlnb.lab.world import world_fields
from xlnb.models.checkpoint import checkpoint_files
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.reading import carried_checks, eval_prompts


@main_alone
def judge(run: Run, model_name: str, *, yes: bool = False, again: bool = False) -> Path:
    """Judge a model's responses against the baseline's, in AlpacaEval's form.

    Where calls cost money, an estimate is printed first; `yes` goes on without asking. `again`:
    what had no answer is asked about once more.
    """
    here = run.evaluated(model_name)
    config = run.preset.evaluation
    checks = {lang: carried_checks(some) for lang, some in eval_prompts(run).items()}
    langs = list(checks)
    mine = [outputs_file(run, model_name, lang) for lang in langs]
    theirs = [outputs_file(run, config.baseline, lang) for lang in langs]
    kind, _, name = config.judge.partition(":")
    files = checkpoint_files(name) if kind == "local" else {}
    uses: dict[str, object] = {"judge": {"local": files} if files else config.judge}
    uses["baseline"] = config.baseline if config.baseline in run.models else HERE
    # Judges by a taste are blind to the order.
    if config.judge == "oracle":
        uses |= {**fields(run.preset, "lab.taste"), **world_fields()}
    elif config.judge == "verifiable":
        uses |= fields(run.preset, "evaluation.taste")
    else:
        uses["judge_order"] = config.judge_order
    if kind in ("endpoint", "local"):
        uses |= prompt_fields()
    stage = Stage(
        run,
        f"eval/{model_name}/annotations",
        inputs=[*sorted({*mine, *theirs}), *(run.prompt_files if any(checks.values()) else [])],
        uses=uses,
        out=here.folder / "annotations",
        beside=[here.annotations(lang) for lang in langs],
    )
    if stage.current() and not (again and unanswered([here.verdicts(lang) for lang in langs])):
        return stage.out
    asked = get_judge(config.judge, run.preset)
    with stage.working():
        if again:
            ask_again([here.verdicts(lang) for lang in langs])

        def each_language() -> Iterator[tuple[Path, list[Annotation], bool]]:
            """One after the other: the file of its verdicts, its comparisons, and whether the file
            holds them all."""
            for lang, ours, base in zip(langs, mine, theirs, strict=True):
                compared = read_comparisons(
                    ours, base, lang, annotator=asked.name, checks=checks[lang]
                )
                order = [one.question for one in compared]
                yield here.verdicts(lang), compared, is_finished(here.verdicts(lang), order)

        def unasked() -> Iterator[Annotation]:
            for path, compared, finished in each_language():
                done = {one.question for one in compared} if finished else Journal(path).done
                yield from (one for one in compared if one.question not in done)

        ask_consent(asked, unasked(), price=config.judge_price, yes=yes)
        for lang, (path, compared, finished) in zip(langs, each_language(), strict=True):
            if finished:
                annotations = with_answers(compared, path)
            else:
                label = f"judge {model_name} {lang}"
                annotations = judge_records(asked, compared, Journal(path), label=label)
            write_records(here.annotations(lang), annotations)
    return stage.out


def outputs_file(run: Run, name: str, lang: str) -> Path:
    """The responses of a model of the run, or of a baseline that is given as
    FOLDER/{lang}/NAME.json."""
    if name in run.models:
        return run.evaluated(name).outputs(lang)
    if "{lang}" not in name:
        raise InputError(
            f"unknown model '{name}'; this run has {', '.join(run.models)}; "
            "evaluation.baseline may also name files as FOLDER/{lang}/NAME.json"
        )
    return Path(name.replace("{lang}", lang))
