""""""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Patch

from xlnb.figures.style import BLUE, ORANGE


def diagram(
    boxes: Mapping[str, tuple[float, float, str, str]],
    arrows: Sequence[tuple[str, str, str]],
    ax: Axes,
) -> None:
    """Boxes joined by labelled arrows.

    `boxes`: name -> (x, y, text, fill), the centre on a grid where boxes are 1.8 wide and 0.64 high. `arrows`: (from,
    to, label); boxes of one row or column are joined by straight lines, others by one corner, first along x.
    """
    half = (0.9, 0.32)
    for x, y, text, fill in boxes.values():
        style = "round,pad=0,rounding_size=0.08"
        corner = (x - half[0], y - half[1])
        ax.add_patch(
            FancyBboxPatch(
                corner, 2 * half[0], 2 * half[1], boxstyle=style, fc=fill, ec="#444444", lw=1
            )
        )
        ax.text(x, y, text, ha="center", va="center", fontsize=10, linespacing=1.35)
    for start, end, label in arrows:
        (x0, y0), (x1, y1) = boxes[start][:2], boxes[end][:2]
        along_x, along_y = np.sign(x1 - x0), np.sign(y1 - y0)
        tail = (x0 + along_x * half[0], y0) if along_x else (x0, y0 + along_y * half[1])
        head = (x1, y1 - along_y * half[1]) if along_y else (x1 - along_x * half[0], y1)
        bend = "angle,angleA=0,angleB=90,rad=8" if along_x and along_y else "arc3"
        arrow = {
            "arrowstyle": "-|>",
            "color": "#444444",
            "connectionstyle": bend,
            "shrinkA": 0,
            "shrinkB": 0,
            "lw": 1.3,
        }
        ax.annotate("", head, tail, arrowprops=arrow)
        if label:
            at = (
                ((tail[0] + head[0]) / 2, tail[1] + 0.06)
                if along_x
                else (x0 + 0.07, (tail[1] + head[1]) / 2)
            )
            ax.text(
                *at,
                label,
                ha="center" if along_x else "left",
                va="bottom" if along_x else "center",
                fontsize=9,
            )
    xs, ys = zip(*(box[:2] for box in boxes.values()), strict=True)
    ax.set(xlim=(min(xs) - 0.95, max(xs) + 0.95), ylim=(min(ys) - 0.4, max(ys) + 0.4))
    ax.set_aspect("equal")
    ax.axis("off")


def ranked_responses(table: pd.DataFrame, ax: Axes) -> None:
    """The responses to one prompt as bars of their implicit reward (β nats), best on top.

    `table`, a row a text: text, times (how often it was sampled), reward, oracle (points), role ("chosen", "rejected"
    or ""). The oracle's score, which the method never sees, stands at the right.
    """
    table = table.sort_values("reward", ascending=False, ignore_index=True)
    colors = {"chosen": BLUE, "rejected": ORANGE, "": "#cccccc"}
    ax.barh(
        table.index, table["reward"], color=[colors[role] for role in table["role"]], height=0.7
    )
    ax.axvline(0, color="#444444", lw=0.8)
    short = [text if len(text) <= 52 else text[:51] + "…" for text in table["text"]]
    short = [
        text + (f"  ×{n}" if n > 1 else "") for text, n in zip(short, table["times"], strict=True)
    ]
    ax.set_yticks(table.index, short, fontsize=9)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("implicit reward (β nats)")
    for row, score in table["oracle"].items():
        ax.text(
            1.02, row, f"{score:.1f}", transform=ax.get_yaxis_transform(), va="center", fontsize=9
        )
    ax.text(
        1.02, -0.75, "oracle\n(points)", transform=ax.get_yaxis_transform(), va="bottom", fontsize=9
    )
    handles = [Patch(color=colors[role], label=role or "not used") for role in colors]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.4, -0.16), ncols=3)
