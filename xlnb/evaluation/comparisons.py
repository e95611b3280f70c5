"""What a judge is given: a model's outputs beside a baseline's."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from xlnb.checks.kinds import Check
from xlnb.common.errors import InputError
from xlnb.common.language_id import in_language
from xlnb.evaluation.alpaca_eval import Annotation, Output, read_outputs


def read_comparisons(
    mine: Path,
    theirs: Path,
    lang: str,
    *,
    annotator: str,
    checks: Mapping[str, list[Check]] | None = None,
) -> list[Annotation]:
    """A model's outputs beside a baseline's, for a judge named `annotator`; `checks`: those that
    prompts carry, by prompt_id.

    Outputs are matched by id and run, or by instruction where a file has no ids. A detector tells
    which of the model's are in `lang`, but for the oracle, which tells it by itself. Raises
    InputError naming file and record, the id that is there twice, has no match or stands for
    another instruction in the other file.
    """
    ours = read_outputs(mine)
    base = read_outputs(theirs)
    by_id = all(output.prompt_id is not None for output in (*ours, *base))
    for path, outputs in ((mine, ours), (theirs, base)):
        ids = Counter((output.prompt_id, output.run) for output in outputs)
        twice = [prompt_id for (prompt_id, _), times in ids.items() if times > 1]
        if by_id and twice:
            raise InputError(f"{path}: id {twice[0]} is there twice; an id is one prompt's")
    baseline = {(_key(output, by_id), output.run): output for output in base}
    detected = None
    if annotator != "oracle":
        detected = in_language([output.output for output in ours], lang)
    comparisons = []
    for number, output in enumerate(ours):
        key = _key(output, by_id)
        # A baseline of one response a prompt is compared with each of the model's.
        answered = baseline.get((key, output.run)) or baseline.get((key, None))
        if answered is None:
            name = "id" if by_id else "instruction"
            raise InputError(
                f"{theirs}: no output for {name} {key!r}; a baseline must answer every prompt"
            )
        if answered.instruction.strip() != output.instruction.strip():
            raise InputError(
                f"{theirs}: id {key} has another instruction than in {mine}; give both files the "
                "ids of the same prompts, or none to match them by instruction"
            )
        prompt_id = str(number) if output.prompt_id is None else output.prompt_id
        comparisons.append(
            Annotation(
                prompt_id=prompt_id,
                run=output.run,
                lang=lang,
                instruction=output.instruction,
                output_1=answered.output,
                generator_1=answered.generator or theirs.stem,
                output_2=output.output,
                generator_2=output.generator or mine.stem,
                annotator=annotator,
                in_language_2=detected[number] if detected else None,
                checks=(checks or {}).get(prompt_id),
                preference=None,
            )
        )
    return comparisons


def _key(output: Output, by_id: bool) -> str | None:
    """What an output is matched by."""
    return output.prompt_id if by_id else output.instruction
