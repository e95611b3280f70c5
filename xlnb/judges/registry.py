"""The judges that `evaluation.judge` can name. One more is a file, and a line in `JUDGES`."""

from collections.abc import Callable

from xlnb.common.errors import InputError
from xlnb.judges import endpoint, local, oracle, verifiable
from xlnb.judges.protocol import Judge
from xlnb.presets import Preset

# What makes a judge: of what its name has behind the colon ("" without one), and of the preset,
# which says how a judge is asked, how a local model is loaded and what a judge by tastes likes.
Make = Callable[[str, Preset], Judge]

JUDGES: dict[str, Make] = {
    "oracle": oracle.make,
    "verifiable": verifiable.make,
    "endpoint:MODEL": endpoint.make,
    "local:FOLDER_OR_HUB_ID": local.make,
}


def get_judge(name: str, preset: Preset) -> Judge:
    """The judge of that name, such as oracle or endpoint:MODEL. Raises InputError for an unknown
    one."""
    make = find_judge(name)
    return make(name.partition(":")[2], preset)


def find_judge(name: str) -> Make:
    """What makes the judge of that name. Raises InputError for an unknown one."""
    kind, _, model = name.partition(":")
    for form, make in JUDGES.items():
        known, _, needs = form.partition(":")
        if kind == known and bool(model) == bool(needs):
            return make
    raise InputError(f"evaluation.judge: unknown judge '{name}'; known: {', '.join(JUDGES)}")
