""""""

from dataclasses import asdict
from pathlib import Path

from xlnb.common.files import read_jsonl, write_json, write_jsonl
from xlnb.common.language_id import wrong_language
from xlnb.common.processes import main_alone
from xlnb.length_control import alpha_search
from xlnb.pairs import pair_language
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.reading import no_iteration_0, sample_files


@main_alone
def pair(run: Run, iteration: int) -> Path:
    """Length-controlled preference pairs of the training prompts: icr<t>/pairs/<lang>.jsonl and report.json."""
    no_iteration_0(iteration, "pair")
    folder = run.folder(iteration)
    samples = sample_files(folder, "pairs")
    scores = [folder / "scores" / path.name for path in samples]
    config = run.preset.pairing
    find_alpha = alpha_search(config.alpha, run.preset.scoring.beta)
    stage = Stage(
        run,
        f"{folder.name}/pairs",
        inputs=[*samples, *scores],
        uses={"pairing": asdict(config)},
        out=folder / "pairs",
    )
    if stage.current():
        return stage.out
    with stage.working():
        reports, langs = {}, [path.stem for path in samples]
        for sample_path, score_path in zip(samples, scores, strict=True):
            pairs, report = pair_language(
                [r for r in read_jsonl(sample_path) if r["split"] == "train"],
                [r for r in read_jsonl(score_path) if r["split"] == "train"],
                find_alpha=find_alpha,
                min_margin=config.min_margin,
                wrong_language=wrong_language(sample_path.stem, langs)
                if config.language_filter
                else None,
            )
            reports[sample_path.stem] = report
            if pairs:
                write_jsonl(stage.out / sample_path.name, pairs)
        write_json(stage.out / "report.json", reports)
        counts = ", ".join(f"{lang} {entry['pairs']}" for lang, entry in reports.items())
        print(f"{stage.name}: pairs by language: {counts}", flush=True)
    return stage.out
