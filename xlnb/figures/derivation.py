"""Notebook 01, the reward's derivation: tilted policies, their frontier, DPO's loss."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from xlnb.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, Look

DARK = "#444444"


def reward_kl_frontier(curve: pd.DataFrame, others: pd.DataFrame, beta: float, ax: Axes) -> None:
    """Mean reward (points) against divergence from the reference (nats), for π* and for others.

    `curve`: kl, reward and beta of π*, a row a β, by falling β. `others`: kl and reward of any
    other policies. The dashed line joins what is worth as much as π* at `beta`:
    mean reward − β·KL = β log Z.
    """
    ax.plot(others["kl"], others["reward"], "o", color=GREY, ms=3, alpha=0.8, mew=0)
    # In the legend a dot of the cloud's size would be lost.
    ax.plot([], [], "o", color=GREY, ms=6, label="other policies")
    ax.plot(curve["kl"], curve["reward"], color=BLUE, lw=2, label="π* for every β")
    best = curve.iloc[(curve["beta"] - beta).abs().argmin()]
    at = (best["kl"], best["reward"])
    level: Look = {"color": ORANGE, "ls": "--", "lw": 1.5, "label": "E[r] − β KL = β log Z"}
    ax.axline(at, slope=beta, **level)
    ax.plot(*at, "o", color=ORANGE, ms=9, zorder=4, label=f"π* at β = {beta:g}")
    lowest = min(others["reward"].min(), curve["reward"].min())
    ax.set_xlim(0, curve["kl"].max() * 1.05)
    ax.set_ylim(lowest - 0.2, curve["reward"].max() + 0.5)
    ax.set(xlabel="KL(π ‖ π_ref) (nats)", ylabel="mean reward (points)")
    ax.legend(loc="lower right", frameon=True, framealpha=0.95)


def rewards_compared(table: pd.DataFrame, ax: Axes) -> None:
    """Implicit against true reward, a colour a group with a line of slope 1 through its means.

    `table`: group, true, implicit (both in points), optionally lo and hi, an interval of
    `implicit`; a group without one (NaN) beside others that have one is drawn as open markers.
    """
    for position, (name, rows) in enumerate(table.groupby("group", sort=False)):
        color = (BLUE, ORANGE, GREEN, PURPLE)[position % 4]
        marker = "osD^"[position % 4]
        middle = (rows["true"].mean(), rows["implicit"].mean())
        ax.axline(middle, slope=1, color=color, lw=1, alpha=0.6)
        look: Look = {"ms": 6}
        if "lo" in rows:
            reach = [rows["implicit"] - rows["lo"], rows["hi"] - rows["implicit"]]
            whiskers: Look = {"fmt": "none", "color": color, "lw": 1.8, "capsize": 3}
            ax.errorbar(rows["true"], rows["implicit"], reach, **whiskers)
            if rows["lo"].isna().all():
                look = {"mfc": "none", "mew": 1.8, "ms": 12}
        ax.plot(rows["true"], rows["implicit"], marker, color=color, ls="none", label=name, **look)
    ax.set(xlabel="true reward r (points)", ylabel="implicit reward (points)")
    ax.legend(loc="upper left")


def dpo_loss_curve(table: pd.DataFrame, ax: Axes) -> None:
    """DPO's loss (nats) and the weight of a pair's gradient, σ(−margin), against the margin.

    `table`: margin of implicit rewards (β nats), loss, weight.
    """
    ax.plot(table["margin"], table["loss"], color=BLUE, lw=2, label="loss (nats)")
    dashes: Look = {"color": ORANGE, "lw": 2, "ls": "--"}
    label = "weight of the gradient, σ(−margin)"
    ax.plot(table["margin"], table["weight"], label=label, **dashes)
    start = (0, np.log(2))
    ax.plot(*start, "o", color=BLUE, ms=8, zorder=4)
    line = {"arrowstyle": "-", "color": DARK}
    ax.annotate("at the start: ln 2", start, (0.6, 1.5), arrowprops=line)
    ax.set_xlabel("margin of implicit rewards, chosen − rejected (β nats)")
    ax.set(ylabel="loss (nats), weight (0 to 1)", ylim=(0, None))
    ax.legend(loc="upper right")


def reward_by_score(table: pd.DataFrame, ax: Axes) -> None:
    """Mean implicit reward (β nats, less its prompt's mean) of responses by oracle score (points).

    `table`: score, mean, lo, hi (95% interval, clustered by fact) and n, the prompts
    behind it, written at the foot.
    """
    reach = [table["mean"] - table["lo"], table["hi"] - table["mean"]]
    ax.axhline(0, color=DARK, lw=0.8)
    look: Look = {"fmt": "o", "color": BLUE, "ms": 7, "lw": 1.5, "capsize": 3}
    label = "mean, 95% interval clustered by fact"
    ax.errorbar(table["score"], table["mean"], reach, label=label, **look)
    small: Look = {"ha": "center", "fontsize": 8, "color": DARK}
    for score, n in zip(table["score"], table["n"], strict=True):
        ax.text(score, 0.015, f"{n}", transform=ax.get_xaxis_transform(), **small)
    ax.set(xlabel="oracle's score (points)", ylabel="implicit reward − prompt's mean (β nats)")
    ax.margins(y=0.18)
    ax.legend(loc="upper left")
