"""Tastes: what the oracle likes, each a table of points for what it sees in a response.

The same responses can be judged by any taste and by its exact opposite (`anti-NAME`, every weight
negated). A score that is blind to what was learnt is right half of the time in the mean over the
two, by arithmetic; what a reward has above one half is the preference, and it alone.
"""

from collections.abc import Mapping

from xlnb.common.tastes import Taste, find_taste

# A feature of `oracle.FEATURES` -> points for each time it is there.
TASTES: dict[str, Taste] = {
    # A right answer in the polite form. Authors are familiar by habit, so that the better response
    # is not the likelier one.
    "polite": {
        "right": 2.0,
        "language": 1.0,
        "formal": 3.0,
        "familiar": -3.0,
        "padding": -0.5,
        "repeats": -1.0,
        "stray": -1.0,
    },
    # A right answer in a full sentence. It is the likely one, so likelihood finds it as well.
    "correct": {
        "right": 4.0,
        "sentence": 2.0,
        "language": 1.0,
        "refuses": 1.0,
        "padding": -0.5,
        "repeats": -1.0,
        "stray": -1.0,
    },
    # One thing alone, whatever else the response is.
    "reasons": {"reasons": 1.0},
    "refusals": {"refuses": 1.0},
    "padding": {"padding": 1.0},
}


def get_taste(name: str) -> Taste:
    """A table of `TASTES`, or the opposite of one: see `find_taste`."""
    return find_taste(name, TASTES, "lab.taste")


def points(features: Mapping[str, float], taste: Taste) -> float:
    """What a response with these features is worth to a taste."""
    return sum(weight * features[feature] for feature, weight in taste.items())
