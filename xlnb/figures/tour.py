"""Notebook 00, the tour: the method as a diagram, and one prompt's responses."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Patch

from xlnb.common.text import shorten
from xlnb.figures.style import BLUE, ORANGE, Look

DARK = "#444444"

# Half of a box's width and height.
HALF_WIDTH, HALF_HEIGHT = 0.9, 0.32

MODEL, ENGLISH, OTHER = "#eeeeee", "#fdebd0", "#d6eaf8"

# The method: boxes, and the arrows that join them, as `diagram` takes them.
METHOD = {
    "base": (0, 2, "$\\pi_I$\ninstruction-tuned", MODEL),
    "dpo": (2.5, 2, "$\\pi^t$, at first $\\pi^0$\naligned in English", MODEL),
    "next": (7.5, 2, "$\\pi^{t+1}$\naligned in every ℓ", MODEL),
    "prompt": (0, 0, "prompt in ℓ", OTHER),
    "samples": (2.5, 0, "N responses in ℓ", OTHER),
    "english": (5, 1.05, "“answer in ℓ” +\nprompt in English", ENGLISH),
    "reward": (5, 0, "implicit reward\n$\\beta\\,(\\log\\pi^t - \\log\\pi_I)$", ENGLISH),
    "pair": (7.5, 0, "chosen, rejected\n(length-controlled)", OTHER),
}
METHOD_ARROWS = (
    ("base", "dpo", "DPO"),
    ("prompt", "samples", ""),
    ("dpo", "samples", "samples"),
    ("samples", "reward", ""),
    ("english", "reward", ""),
    ("reward", "pair", ""),
    ("pair", "next", "DPO + NLL"),
    ("next", "dpo", "next iteration"),
)

ROLE_COLORS = {"chosen": BLUE, "rejected": ORANGE, "": "#cccccc"}


def diagram(
    boxes: Mapping[str, tuple[float, float, str, str]],
    arrows: Sequence[tuple[str, str, str]],
    ax: Axes,
) -> None:
    """Boxes joined by labelled arrows.

    `boxes`: name -> (x, y, text, fill), the centre on a grid where boxes are 1.8 wide and 0.64
    high. `arrows`: (from, to, label); boxes of one row or column are joined by straight lines,
    others by one corner, first along x.
    """
    look: Look = {"boxstyle": "round,pad=0,rounding_size=0.08", "ec": DARK, "lw": 1}
    for x, y, text, fill in boxes.values():
        corner = (x - HALF_WIDTH, y - HALF_HEIGHT)
        box = FancyBboxPatch(corner, 2 * HALF_WIDTH, 2 * HALF_HEIGHT, fc=fill, **look)
        ax.add_patch(box)
        ax.text(x, y, text, ha="center", va="center", fontsize=10, linespacing=1.35)
    for start, end, label in arrows:
        _arrow(boxes[start][:2], boxes[end][:2], label, ax)
    xs = [box[0] for box in boxes.values()]
    ys = [box[1] for box in boxes.values()]
    ax.set(xlim=(min(xs) - 0.95, max(xs) + 0.95), ylim=(min(ys) - 0.4, max(ys) + 0.4))
    ax.set_aspect("equal")
    ax.axis("off")


def _arrow(start: tuple[float, float], end: tuple[float, float], label: str, ax: Axes) -> None:
    """From the edge of the box centred at `start` to the edge of that at `end`."""
    (x0, y0), (x1, y1) = start, end
    along_x, along_y = np.sign(x1 - x0), np.sign(y1 - y0)
    tail = (x0 + along_x * HALF_WIDTH, y0) if along_x else (x0, y0 + along_y * HALF_HEIGHT)
    head = (x1, y1 - along_y * HALF_HEIGHT) if along_y else (x1 - along_x * HALF_WIDTH, y1)
    bend = "angle,angleA=0,angleB=90,rad=8" if along_x and along_y else "arc3"
    look: Look = {"arrowstyle": "-|>", "color": DARK, "shrinkA": 0, "shrinkB": 0, "lw": 1.3}
    ax.annotate("", head, tail, arrowprops=look | {"connectionstyle": bend})
    if label and along_x:
        middle = (tail[0] + head[0]) / 2
        ax.text(middle, tail[1] + 0.06, label, ha="center", va="bottom", fontsize=9)
    elif label:
        middle = (tail[1] + head[1]) / 2
        ax.text(x0 + 0.07, middle, label, ha="left", va="center", fontsize=9)


def ranked_responses(table: pd.DataFrame, ax: Axes) -> None:
    """The responses to one prompt as bars of their implicit reward (β nats), best on top.

    `table`, a row a text: text, times (how often it was sampled), reward, oracle (points), role
    ("chosen", "rejected" or ""). The oracle's score, which the method never sees, stands at the
    right.
    """
    table = table.sort_values("reward", ascending=False, ignore_index=True)
    colors = [ROLE_COLORS[role] for role in table["role"]]
    ax.barh(table.index, table["reward"], color=colors, height=0.7)
    ax.axvline(0, color=DARK, lw=0.8)
    labels = []
    for text, times in zip(table["text"], table["times"], strict=True):
        labels.append(shorten(text, 52) + (f"  ×{times}" if times > 1 else ""))
    ax.set_yticks(table.index, labels, fontsize=9, parse_math=False)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("implicit reward (β nats)")
    beside: Look = {"transform": ax.get_yaxis_transform(), "fontsize": 9}
    for row, score in table["oracle"].items():
        ax.text(1.02, row, f"{score:.1f}", va="center", **beside)
    ax.text(1.02, -0.75, "oracle\n(points)", va="bottom", **beside)
    handles = [Patch(color=color, label=role or "not used") for role, color in ROLE_COLORS.items()]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.4, -0.16), ncols=3)
