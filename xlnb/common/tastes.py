"""Named tastes, each a table of points for what is seen in a response, and their opposites."""

from collections.abc import Mapping

from xlnb.common.errors import InputError

# What is seen -> points.
Taste = Mapping[str, float]

# Before a taste's name: every weight negated.
OPPOSITE = "anti-"


def find_taste(name: str, tastes: Mapping[str, Taste], field: str) -> Taste:
    """The table of that name, or the opposite of one, as anti-NAME. Raises InputError for an
    unknown one; `field`: the preset's, for the error."""
    known = name.removeprefix(OPPOSITE)
    if known not in tastes:
        raise InputError(
            f"{field} '{name}': expected one of {', '.join(tastes)}, or its opposite, as "
            f"{OPPOSITE}{next(iter(tastes))}"
        )
    sign = -1.0 if name.startswith(OPPOSITE) else 1.0
    return {feature: sign * weight for feature, weight in tastes[known].items()}
