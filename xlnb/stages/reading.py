"""What stages read of a run's prompts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from xlnb.common.errors import InputError
from xlnb.common.records import Prompt, Sample, Score, each_record, read_records
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.records import check_whole

Given = TypeVar("Given", Prompt, Sample, Score)


@dataclass(frozen=True)
class OfSplit(Generic[Given]):
    """The prompts, samples or scores of a split in a file, read anew each time that they are gone
    through: they may be more than memory holds."""

    path: Path
    kind: type[Given]
    split: str

    def __iter__(self) -> Iterator[Given]:
        for record in each_record(self.path, self.kind):
            if record.split == self.split:
                yield record


def _prompt_files(run: Run) -> dict[str, Path]:
    """The files of the run's prompts by language, English first. Raises InputError where they are
    not as stage `prompts` wrote them."""
    files = {path.stem: path for path in run.prompt_files}
    if not files:
        raise InputError(f"{run.path}: no prompts yet; run stage prompts first")
    try:
        check_whole(run, files.values())
    except InputError as error:
        raise InputError(f"{run.path} {error}") from None
    langs = ["en", *(lang for lang in files if lang != "en")]
    return {lang: files[lang] for lang in langs}


def read_prompts(run: Run) -> dict[str, list[Prompt]]:
    """The run's prompts by language, English first."""
    return {lang: read_records(path, Prompt) for lang, path in _prompt_files(run).items()}


def iteration_prompts(iteration: Iteration, prompts: list[Prompt]) -> list[Prompt]:
    """What an iteration samples: the training prompts, or the part of them whose turn it is
    (`prompts.parts`), and the `reward` ones."""
    train = [prompt for prompt in prompts if prompt.split == "train"]
    parts = iteration.run.preset.prompts.parts
    if parts:
        train = train[(iteration.number - 1) % parts :: parts]
    return train + [prompt for prompt in prompts if prompt.split == "reward"]


def eval_prompts(run: Run) -> dict[str, OfSplit[Prompt]]:
    """The evaluation prompts, of the languages that have some."""
    found = {}
    for lang, path in _prompt_files(run).items():
        held_out = OfSplit(path, Prompt, "eval")
        if any(True for _ in held_out):
            found[lang] = held_out
    return found


def carried_checks(prompts: Iterable[Prompt]) -> dict[str, list[dict[str, Any]]]:
    """What a program can verify of responses, by prompt_id, of the prompts that carry it."""
    return {prompt.prompt_id: prompt.checks for prompt in prompts if prompt.checks}


def no_iteration_0(iteration: int, name: str) -> None:
    if iteration < 1:
        raise InputError(
            f"stage {name}: iterations begin at 1; iteration 0 is trained on English preferences"
        )
