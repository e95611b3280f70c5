"""A model's responses judged: eval/<model>/<lang>/annotations.json (AlpacaEval's form)."""

from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl, write_json
from xlnb.common.journal import Journal
from xlnb.common.processes import main_alone
from xlnb.evaluation.comparisons import read_comparisons
from xlnb.judges.registry import ask_consent, get_judge, judge_records
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.reading import eval_prompts


@main_alone
def judge(run: Run, model_name: str, *, yes: bool = False) -> Path:
    """Judge a model's responses against the baseline's: eval/<model>/<lang>/annotations.json
    (AlpacaEval's form).

    Where calls cost money, an estimate is printed first; `yes` goes on without asking.
    """
    out, config = run.path / "eval" / model_name, run.preset.evaluation
    langs = list(eval_prompts(run))
    mine, theirs = (
        [outputs_file(run, name, lang) for lang in langs] for name in (model_name, config.baseline)
    )
    uses = {"judge": config.judge, "baseline": config.baseline}
    stage = Stage(
        run,
        f"eval/{model_name}/annotations",
        inputs=sorted({*mine, *theirs}),
        uses={
            "evaluation": uses
            if config.judge == "oracle"
            else uses | {"judge_order": config.judge_order}
        },
        out=out / "annotations",
        beside=[out / lang / "annotations.json" for lang in langs],
    )
    if stage.current():
        return stage.out
    judge_ = get_judge(config.judge, config, run.preset.models)
    with stage.working():
        journals = {lang: Journal(stage.out / f"{lang}.jsonl") for lang in langs}
        records = {
            lang: read_comparisons(model_path, baseline_path, lang, annotator=judge_.name)
            for lang, model_path, baseline_path in zip(langs, mine, theirs, strict=True)
            if not journals[lang].path.exists()
        }
        todo = [r for lang, rs in records.items() for r in rs if r["id"] not in journals[lang].done]
        ask_consent(judge_, todo, price=config.judge_price, yes=yes)
        for lang, journal in journals.items():
            if lang in records:
                annotations = judge_records(
                    judge_, records[lang], journal, label=f"judge {model_name} {lang}"
                )
            else:
                annotations = read_jsonl(journal.path)
            write_json(
                out / lang / "annotations.json",
                [
                    {key: value for key, value in record.items() if key != "prompt_id"}
                    for record in annotations
                ],
            )
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
