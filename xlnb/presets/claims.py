"""What an analysis is: a question, its arms, and claims about them, each the difference of two."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from xlnb.common.errors import InputError
from xlnb.presets.grid import Point
from xlnb.presets.overrides import override
from xlnb.presets.pages import Preset

# Below so many seeds nothing is decided.
SEEDS = 5

# Of every arm; one iteration, where the arm does not say otherwise.
BASE = {"iterations": "1"}

Values = dict[str, str]


@dataclass(frozen=True)
class Arm:
    """A run, by the values that it changes, and which of its models is looked at (empty: the
    last)."""

    values: Values = field(default_factory=dict)
    model: str = ""

    @property
    def changed(self) -> Values:
        """What its runs change of the preset, the same for all seeds."""
        return {**BASE, **self.values}


@dataclass(frozen=True)
class Claim:
    """That one arm has more of a measure than another: see `analysis.analyses.value`."""

    text: str
    more: str
    less: str
    # of the languages other than English, or of one language, as "wr sw": wr, lc (points), chars
    # (characters), in_language, right (shares of responses); or of models, apart from responses:
    # loss, known (see `evaluation.tax`)
    measure: str = "wr"
    # what the paper reports, with its section; empty: it has no figure of this
    paper: str = ""


def unit(measure: str) -> str:
    """What a measure is counted in: points, characters, nats a token or a share."""
    units = {
        "wr": "points",
        "lc": "points",
        "chars": "characters",
        "loss": "nats a token",
        "seconds": "seconds",
    }
    return units.get(measure.partition(" ")[0], "share")


@dataclass(frozen=True)
class Analysis:
    question: str
    # the first is the method as it stands
    arms: Mapping[str, Arm]
    claims: Sequence[Claim] = ()
    # the paper's own figures of arms, to draw beside ours, and what they are
    published: Mapping[str, float] = field(default_factory=dict)
    published_as: str = ""


def get_analyses(page: Mapping[str, Analysis], names: Sequence[str] = ()) -> list[Analysis]:
    """The analyses of these names of a page; of none, all. Raises InputError for an unknown one."""
    for name in names:
        if name not in page:
            raise InputError(f"unknown analysis '{name}'; known: {', '.join(page)}")
    return [page[name] for name in names or page]


def points(
    preset: Preset,
    analyses: Iterable[Analysis],
    seeds: Iterable[str],
    fixed: Mapping[str, str],
) -> list[Point]:
    """The runs of these analyses, all of a seed before the next seed's; arms that are the same run
    are one. `fixed`: overrides of every one. Raises InputError as `override`."""
    found: list[Point] = []
    runs: list[Values] = []
    for arm in (arm for analysis in analyses for arm in analysis.arms.values()):
        if arm.changed not in runs:
            runs.append(arm.changed)
    for seed in seeds:
        for values in runs:
            own = {**values, "seed": seed}
            found.append(Point(own, override(preset, {**fixed, **own})))
    return found
