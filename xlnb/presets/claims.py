"""What an analysis is: a question, its arms, and claims about them, each the difference of two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    def name(self) -> str:
        """Of its runs, the same for all seeds."""
        changed = {**BASE, **self.values}
        return " ".join(f"{key}={value}" for key, value in changed.items())


@dataclass(frozen=True)
class Claim:
    """That one arm has more of a measure than another: see `analysis.analyses.value`."""

    text: str
    more: str
    less: str
    # points or characters, of the languages other than English; or of one language, as "wr sw"
    measure: str = "wr"
    # what the paper reports, with its section; empty: it has no figure of this
    paper: str = ""


@dataclass(frozen=True)
class Analysis:
    question: str
    # the first is the method as it stands
    arms: Mapping[str, Arm]
    claims: Sequence[Claim] = ()
    # the paper's own figures of arms, to draw beside ours, and what they are
    published: Mapping[str, float] = field(default_factory=dict)
    published_as: str = ""
