"""The judges that `evaluation.judge` can name. One more is a file, and a line in `JUDGES`."""

from collections.abc import Callable

from xlnb.common.errors import InputError
from xlnb.judges import endpoint, local, oracle
from xlnb.judges.protocol import Judge
from xlnb.presets import Evaluation, Models

# What makes a judge: of what its name has behind the colon ("" without one), and of the preset's
# sections for how a judge is asked and how a local model is loaded.
Make = Callable[[str, Evaluation, Models], Judge]

JUDGES: dict[str, Make] = {
    "oracle": oracle.make,
    "endpoint:MODEL": endpoint.make,
    "local:FOLDER_OR_HUB_ID": local.make,
}


def get_judge(
    name: str, evaluation: Evaluation | None = None, models: Models | None = None
) -> Judge:
    """The judge of that name, such as oracle or endpoint:MODEL. Raises InputError for an unknown
    one."""
    make = find_judge(name)
    return make(name.partition(":")[2], evaluation or Evaluation(), models or Models())


def find_judge(name: str) -> Make:
    """What makes the judge of that name. Raises InputError for an unknown one."""
    kind, _, model = name.partition(":")
    for form, make in JUDGES.items():
        known, _, needs = form.partition(":")
        if kind == known and bool(model) == bool(needs):
            return make
    raise InputError(f"evaluation.judge: unknown judge '{name}'; known: {', '.join(JUDGES)}")
