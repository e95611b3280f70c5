""""""

from pathlib import Path

from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl
from xlnb.runs.layout import Run


def sample_files(folder: Path, stage: str) -> list[Path]:
    samples = sorted((folder / "samples").glob("*.jsonl"))
    if not samples:
        raise InputError(
            f"stage {folder.name}/{stage} needs {folder}/samples/<lang>.jsonl; run stage sample first"
        )
    return samples


def no_iteration_0(iteration: int, name: str) -> None:
    if iteration < 1:
        raise InputError(
            f"stage {name}: iterations begin at 1; iteration 0 is trained on English preferences"
        )


def prompt_files(run: Run) -> list[Path]:
    files = sorted((run.path / "prompts").glob("*.jsonl"))
    if not files:
        raise InputError(f"{run.path}: no prompts yet; run stage prompts first")
    return files


def read_prompts(run: Run) -> dict[str, list[dict]]:
    """The run's prompts by language, English first."""
    files = {path.stem: path for path in prompt_files(run)}
    return {
        lang: read_jsonl(files[lang]) for lang in ["en", *(lang for lang in files if lang != "en")]
    }


def iteration_prompts(run: Run, iteration: int, records: list[dict]) -> list[dict]:
    """What iteration t of T samples: the training prompts, or every T-th (`prompts.fresh`), and the `reward` ones."""
    train = [record for record in records if record["split"] == "train"]
    if run.preset.prompts.fresh:
        train = train[iteration - 1 :: run.preset.iterations]
    return train + [record for record in records if record["split"] == "reward"]


def eval_prompts(run: Run) -> dict[str, list[dict]]:
    records = {
        lang: [p for p in ps if p["split"] == "eval"] for lang, ps in read_prompts(run).items()
    }
    return {lang: ps for lang, ps in records.items() if ps}
