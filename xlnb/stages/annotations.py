"""A judge's word on a model's responses: eval/<model>/<lang>/annotations.json."""

from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl
from xlnb.common.journal import Journal, is_finished
from xlnb.common.processes import main_alone
from xlnb.common.questions import ask_again, unanswered
from xlnb.evaluation.alpaca_eval import Annotation, write_records
from xlnb.evaluation.comparisons import read_comparisons
from xlnb.inputs.reader import HERE
from xlnb.judges.asking import ask_consent, judge_records, with_answers
from xlnb.judges.registry import get_judge
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
        uses |= fields(run.preset, "lab.taste")
    elif config.judge == "verifiable":
        uses |= fields(run.preset, "evaluation.taste")
    else:
        uses["judge_order"] = config.judge_order
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
        comparisons: dict[str, list[Annotation]] = {}
        todo: list[Annotation] = []
        for lang, ours, base in zip(langs, mine, theirs, strict=True):
            comparisons[lang] = read_comparisons(
                ours, base, lang, annotator=asked.name, checks=checks[lang]
            )
            order = [one.question for one in comparisons[lang]]
            if not is_finished(here.verdicts(lang), order):
                done = Journal(here.verdicts(lang)).done
                todo += [one for one in comparisons[lang] if one.question not in done]
        ask_consent(asked, todo, price=config.judge_price, yes=yes)
        for lang, some in comparisons.items():
            verdicts = here.verdicts(lang)
            if verdicts.exists():
                annotations = with_answers(some, read_jsonl(verdicts))
            else:
                label = f"judge {model_name} {lang}"
                annotations = judge_records(asked, some, Journal(verdicts), label=label)
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
