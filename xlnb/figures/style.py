"""Colours, names and sizes, the same in every picture: a model keeps its colour, line and marker.

All colours are of seaborn's colour-blind palette.
"""

from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from IPython.core.getipython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# What matplotlib takes as keywords: color, marker, linewidth …
Look = dict[str, Any]

PALETTE = sns.color_palette("colorblind").as_hex()

BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, PINK, GREY, YELLOW, SKY = PALETTE

MODEL_COLORS = {"sft": GREY, "dpo": ORANGE, "icr1": SKY, "icr2": BLUE}

# The others are solid.
MODEL_LINES = {"sft": ":", "dpo": "--", "icr1": "-."}

# The others are diamonds.
MODEL_MARKERS = {"sft": "o", "dpo": "s", "icr1": "^"}

MODEL_NAMES = {"sft": "π_I", "dpo": "π^0", "icr1": "π^1", "icr2": "π^2"}


def style() -> None:
    """seaborn's white-grid theme with the colour-blind palette, sized for a talk."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.95)
    plt.rcParams |= {
        "figure.dpi": 90,
        "savefig.dpi": 100,
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "grid.color": "#e6e6e6",
        "legend.frameon": False,
        "legend.fontsize": 11,
    }
    _with_alt_text()


def alt_text(figure: Figure) -> str:
    """What a reader who cannot see the picture is told: its titles, or what its axes are."""
    titles = [figure.get_suptitle()]
    for ax in figure.axes:
        titles.append(ax.get_title(loc="left") or ax.get_title())
    found = [title for title in titles if title]
    if not found:
        found = [f"{ax.get_ylabel()} by {ax.get_xlabel()}" for ax in figure.axes]
    return "; ".join(found).replace("$", "").replace("\n", " ")


def _with_alt_text() -> None:
    """In a notebook: figures are shown with `alt_text`, which the pages of notebooks/pages hold."""
    shell = get_ipython()
    if shell is None or shell.display_formatter is None or not hasattr(shell, "kernel"):
        return
    # Loads the back end, which registers how figures are drawn.
    plt.switch_backend(plt.get_backend())
    formatter = shell.display_formatter.formatters["image/png"]
    draw = formatter.for_type(Figure)
    if draw is None or getattr(draw, "has_alt_text", False):
        return

    def described(figure: Figure) -> Any:
        return draw(figure), {"alt": alt_text(figure)}

    described.has_alt_text = True  # type: ignore[attr-defined]
    formatter.for_type(Figure, described)


def model_name(model: str) -> str:
    """π_I, π^0, π^1 … for sft, dpo, icr1 …; another name, a baseline's of files, stays."""
    return MODEL_NAMES.get(model, model.replace("icr", "π^"))


def model_label(model: str) -> str:
    """`model_name` for a legend or an axis, where matplotlib sets mathematics between dollars."""
    name = model_name(model)
    return f"${name}$" if name.startswith("π") else name


def model_color(model: str) -> str:
    """A model's colour in every picture. Iterations after the second share green."""
    return MODEL_COLORS.get(model, GREEN)


def model_line(model: str) -> Look:
    """What matplotlib's `plot` takes for a model's line."""
    return {
        "color": model_color(model),
        "linestyle": MODEL_LINES.get(model, "-"),
        "label": model_label(model),
    }


def model_dots(model: str) -> Look:
    """What matplotlib's `scatter` takes for a model's dots."""
    return {
        "color": model_color(model),
        "marker": MODEL_MARKERS.get(model, "D"),
        "label": model_label(model),
    }


def panels(n: int, *, height: float, columns: int = 3, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure of n axes in rows of at most `columns`, `height` inches a row.

    `shared`: sharex, sharey.
    """
    columns = min(columns, n)
    rows = -(-n // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(11, height * rows), squeeze=False, **shared)
    for ax in grid.flat[n:]:
        ax.set_axis_off()
    return figure, list(grid.flat[:n])


def visible(token: str) -> str:
    """A token's text with its spaces drawn and special tokens' marks shortened.

    A dollar is escaped: it would start mathematics.
    """
    for old, new in ((" ", "␣"), ("\n", "⏎"), ("<|", "‹"), ("|>", "›"), ("$", r"\$")):
        token = token.replace(old, new)
    return token
