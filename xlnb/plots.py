"""Figures: each function draws one picture from a plain table on a matplotlib `ax` (or several `axes`).

Colours and names are the same everywhere: a model keeps its colour from notebook to notebook. All colours are
of seaborn's colour-blind palette. Call `style()` once, before the first figure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from numpy.typing import ArrayLike

PALETTE = sns.color_palette("colorblind").as_hex()
BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, PINK, GREY, YELLOW, SKY = PALETTE
MODEL_COLORS = {"sft": GREY, "dpo": ORANGE, "icr1": SKY, "icr2": BLUE}
MODEL_NAMES = {"sft": "π_I", "dpo": "π^0", "icr1": "π^1", "icr2": "π^2"}


def style() -> None:
    """seaborn's white-grid theme with the colour-blind palette, sized for a talk; 100 dots an inch."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.95)
    plt.rcParams |= {
        "figure.dpi": 100,
        "savefig.dpi": 100,
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "grid.color": "#e6e6e6",
        "legend.frameon": False,
    }


def model_name(model: str) -> str:
    """π_I, π^0, π^1 … for sft, dpo, icr1 …; between dollar signs matplotlib sets it as mathematics."""
    return MODEL_NAMES.get(model, model.replace("icr", "π^"))


def model_label(model: str) -> str:
    """The model's name for a legend or an axis."""
    return f"${model_name(model)}$"


def model_color(model: str) -> str:
    """A model's colour in every figure. Iterations after the second share green."""
    return MODEL_COLORS.get(model, GREEN)


def diagram(
    boxes: Mapping[str, tuple[float, float, str, str]], arrows: Sequence[tuple[str, str, str]], ax: Axes
) -> None:
    """Boxes joined by labelled arrows.

    `boxes`: name -> (x, y, text, fill), the centre on a grid where boxes are 1.5 wide and 0.6 high. `arrows`: (from,
    to, label); boxes of one row or column are joined by straight lines, others by one corner, first along x.
    """
    half = (0.75, 0.30)
    for x, y, text, fill in boxes.values():
        style = "round,pad=0,rounding_size=0.08"
        corner = (x - half[0], y - half[1])
        ax.add_patch(
            FancyBboxPatch(corner, 2 * half[0], 2 * half[1], boxstyle=style, fc=fill, ec="#444444", lw=1)
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
                ((tail[0] + head[0]) / 2, tail[1] + 0.06) if along_x else (x0 + 0.07, (tail[1] + head[1]) / 2)
            )
            ax.text(
                *at,
                label,
                ha="center" if along_x else "left",
                va="bottom" if along_x else "center",
                fontsize=9,
            )
    xs, ys = zip(*(box[:2] for box in boxes.values()), strict=True)
    ax.set(xlim=(min(xs) - 0.85, max(xs) + 0.85), ylim=(min(ys) - 0.4, max(ys) + 0.4))
    ax.set_aspect("equal")
    ax.axis("off")


def ranked_responses(table: pd.DataFrame, ax: Axes) -> None:
    """The responses to one prompt as bars of their implicit reward (β nats), best on top.

    `table`, a row a response: text, reward, oracle (points), role ("chosen", "rejected" or ""). The oracle's score,
    which the method never sees, stands at the right.
    """
    table = table.sort_values("reward", ascending=False, ignore_index=True)
    colors = {"chosen": BLUE, "rejected": ORANGE, "": "#cccccc"}
    ax.barh(table.index, table["reward"], color=[colors[role] for role in table["role"]], height=0.7)
    ax.axvline(0, color="#444444", lw=0.8)
    short = [text if len(text) <= 52 else text[:51] + "…" for text in table["text"]]
    ax.set_yticks(table.index, short, fontsize=9)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("implicit reward (β nats)")
    for row, score in table["oracle"].items():
        ax.text(1.02, row, f"{score:.1f}", transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    ax.text(1.02, -0.75, "oracle\n(points)", transform=ax.get_yaxis_transform(), va="bottom", fontsize=9)
    handles = [Patch(color=colors[role], label=role or "not used") for role in colors]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.4, -0.16), ncols=3)


def tilted_policies(table: pd.DataFrame, ax: Axes) -> None:
    """Probability of every response under several policies, on a logarithmic axis.

    `table`: a row a response (its label the index), a column a policy (its name the legend's), probabilities.
    The first column is drawn as the reference: open circles.
    """
    rows = np.arange(len(table))
    for position, (name, probabilities) in enumerate(table.items()):
        color = GREY if position == 0 else (SKY, BLUE, GREEN, RED)[(position - 1) % 4]
        face = "white" if position == 0 else color
        ax.plot(probabilities, rows, "o", color=color, mfc=face, mew=1.6, ms=7, label=name, zorder=3)
    ax.hlines(rows, table.min(axis=1), table.max(axis=1), color="#bbbbbb", lw=1.2, zorder=2)
    ax.set_xscale("log")
    ax.set_yticks(rows, table.index)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("probability")
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.45, -0.15),
        ncols=len(table.columns),
        handletextpad=0.1,
        columnspacing=1.0,
    )


def reward_kl_frontier(curve: pd.DataFrame, others: pd.DataFrame, beta: float, ax: Axes) -> None:
    """Mean reward (points) against divergence from the reference (nats) for the optimal policies and for others.

    `curve`: kl, reward and beta of π*, a row a β, by falling β. `others`: kl and reward of any other policies. The
    dashed line joins what is worth as much as π* at `beta`: mean reward − β·KL = β log Z.
    """
    ax.plot(others["kl"], others["reward"], ".", color=GREY, ms=4, alpha=0.5, label="other policies")
    ax.plot(curve["kl"], curve["reward"], color=BLUE, lw=2, label="π* for every β")
    best = curve.iloc[(curve["beta"] - beta).abs().argmin()]
    ax.axline(
        (best["kl"], best["reward"]), slope=beta, color=ORANGE, ls="--", lw=1.5, label="E[r] − β KL = β log Z"
    )
    ax.plot(best["kl"], best["reward"], "o", color=ORANGE, ms=9, zorder=4, label=f"π* at β = {beta:g}")
    ax.set_xlim(0, curve["kl"].max() * 1.05)
    ax.set_ylim(min(others["reward"].min(), curve["reward"].min()) - 0.2, curve["reward"].max() + 0.5)
    ax.set(xlabel="KL(π ‖ π_ref) (nats)", ylabel="mean reward (points)")
    ax.legend(loc="lower right")


def rewards_compared(table: pd.DataFrame, ax: Axes) -> None:
    """Implicit reward against true reward, a colour a group, each with its line of slope 1 through the group's means.

    `table`: group, true, implicit (both in points), optionally lo and hi, an interval of `implicit`.
    """
    for position, (name, rows) in enumerate(table.groupby("group", sort=False)):
        color, marker = (BLUE, ORANGE, GREEN, PURPLE)[position % 4], "osD^"[position % 4]
        ax.axline((rows["true"].mean(), rows["implicit"].mean()), slope=1, color=color, lw=1, alpha=0.6)
        if "lo" in rows:
            reach = [rows["implicit"] - rows["lo"], rows["hi"] - rows["implicit"]]
            ax.errorbar(rows["true"], rows["implicit"], reach, fmt="none", color=color, lw=1.5)
        ax.plot(rows["true"], rows["implicit"], marker, color=color, ms=7, label=name)
    ax.set(xlabel="true reward r (points)", ylabel="implicit reward (points)")
    ax.legend(loc="upper left")


def dpo_loss_curve(table: pd.DataFrame, ax: Axes) -> None:
    """DPO's loss (nats) and the weight of a pair's gradient, σ(−margin), against the margin of its implicit rewards.

    `table`: margin (β nats), loss, weight.
    """
    ax.plot(table["margin"], table["loss"], color=BLUE, lw=2, label="loss (nats)")
    ax.plot(
        table["margin"],
        table["weight"],
        color=ORANGE,
        lw=2,
        ls="--",
        label="weight of the gradient, σ(−margin)",
    )
    ax.plot(0, np.log(2), "o", color=BLUE, ms=8, zorder=4)
    ax.annotate(
        "at the start: ln 2", (0, np.log(2)), (0.6, 1.5), arrowprops={"arrowstyle": "-", "color": "#444444"}
    )
    ax.set_xlabel("margin of implicit rewards, chosen − rejected (β nats)")
    ax.set_ylim(0, None)
    ax.legend(loc="upper right")


def reward_by_score(table: pd.DataFrame, ax: Axes) -> None:
    """Mean implicit reward (β nats, each prompt's mean taken off) of the responses of every oracle score (points).

    `table`: score, mean, lo, hi (95% interval) and n, the prompts behind it, which is written at the foot.
    """
    reach = [table["mean"] - table["lo"], table["hi"] - table["mean"]]
    ax.axhline(0, color="#444444", lw=0.8)
    ax.errorbar(
        table["score"],
        table["mean"],
        reach,
        fmt="o",
        color=BLUE,
        ms=7,
        lw=1.5,
        capsize=3,
        label="mean, 95% interval over prompts",
    )
    for score, n in zip(table["score"], table["n"], strict=True):
        ax.text(
            score, 0.015, f"{n}", transform=ax.get_xaxis_transform(), ha="center", fontsize=8, color="#444444"
        )
    ax.set(xlabel="oracle's score (points)", ylabel="implicit reward − prompt's mean (β nats)")
    ax.margins(y=0.18)
    ax.legend(loc="upper left")


def nf4_block(weights: ArrayLike, dequantised: ArrayLike, levels: ArrayLike, absmax: float, ax: Axes) -> None:
    """A block of weights before and after rounding to 4 bits, as points on the staircase of NF4's 16 values.

    `weights`, `dequantised`: (64,), in the weights' own units; `levels`: (16,), rising from -1 to 1;
    `absmax`: what the levels are scaled by.
    """
    values = np.asarray(levels) * absmax
    edges = np.concatenate([[values[0]], (values[1:] + values[:-1]) / 2, [values[-1]]])
    ax.plot(edges[[0, -1]], edges[[0, -1]], color=GREY, linestyle="--", label="no rounding")
    ax.stairs(values, edges, baseline=None, color=SKY, linewidth=2, label="nearest of the 16 values")
    ax.plot(weights, dequantised, "o", color=BLUE, markersize=5, alpha=0.8, label="the block's 64 weights")
    ax.set(xlabel="weight in the checkpoint", ylabel="weight in the 4-bit model")
    ax.legend(loc="upper left")


def training_curve(
    logs: Mapping[str, Sequence[float]], ax: Axes, *, start: float | None = None, window: int = 11
) -> None:
    """A logged quantity over training steps, a line a model: a running mean over `window` steps, raw values faint.

    `logs`: {model: values, one a step}; `start`: what theory predicts for the first step, a dotted line.
    """
    for model, values in logs.items():
        half = window // 2
        smooth = [np.mean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
        steps = np.arange(1, len(values) + 1)
        ax.plot(steps, values, color=model_color(model), linewidth=0.8, alpha=0.3)
        ax.plot(steps, smooth, color=model_color(model), linewidth=2.2, label=model_label(model))
    if start is not None:
        ax.axhline(start, color="black", linewidth=1.2, linestyle=":")
    ax.set_xlabel("step")


def logprob_changes(changes: Mapping[str, ArrayLike], ax: Axes) -> None:
    """What training did to log π(y|x) of the responses it was shown: a histogram a side, its mean a line.

    `changes`: {"chosen": (n,), "rejected": (n,)}, after less before, in nats; the 0.5% farthest at either end
    are drawn in the outermost bins.
    """
    both = np.concatenate([np.asarray(values) for values in changes.values()])
    edges = np.linspace(*np.quantile(both, [0.005, 0.995]), 41)
    for (side, values), color in zip(changes.items(), (BLUE, RED), strict=True):
        mean, clipped = float(np.mean(values)), np.clip(values, edges[0], edges[-1])
        ax.hist(clipped, edges, color=color, alpha=0.45, label=f"{side}: mean {mean:+.1f}")
        ax.axvline(mean, color=color, linewidth=2)
    ax.axvline(0, color="black", linewidth=1.2, linestyle=":")
    ax.set(xlabel="change of log π(y|x) (nats)", ylabel="responses")
    ax.legend()


# 05_judging and 06_win_rates

# What the oracle's reasons come to, best first.
RESPONSE_KINDS = {
    "right, full sentence": BLUE,
    "right, padded or repeated": SKY,
    "right, bare word": GREEN,
    "right, other language": YELLOW,
    "refuses": GREY,
    "wrong": RED,
    "no answer": BROWN,
}


def response_kind(reason: str) -> str:
    """The kind of response, one of `RESPONSE_KINDS`, that a reason of the oracle's describes."""
    if reason.startswith("right, in another language"):
        return "right, other language"
    if reason.startswith("right"):
        if any(clutter in reason for clutter in ("padded", "repeats itself", "stray words")):
            return "right, padded or repeated"
        return "right, full sentence" if "full sentence" in reason else "right, bare word"
    if reason.startswith("refuses"):
        return "refuses"
    return "wrong" if reason.startswith(("wrong", "contradicts itself")) else "no answer"


def score_curves(scores: Mapping[str, ArrayLike], ax: Axes) -> None:
    """The share of responses with at least a score, a line a model: the higher the line, the better.

    `scores`: {model: (n,)}, the oracle's points from 0 to 7. The area under a line is the model's mean score.
    """
    for model, values in scores.items():
        points = np.unique(np.concatenate([[0.0, 7.0], np.asarray(values, float)]))
        share = [100 * np.mean(np.asarray(values) >= point) for point in points]
        ax.step(points, share, where="pre", color=model_color(model), linewidth=2, label=model_label(model))
    ax.set(xlabel="oracle score (points)", ylabel="at least that score (%)", xlim=(0, 7), ylim=(0, 102))


def kind_shares(shares: Mapping[str, Mapping[str, float]], ax: Axes) -> None:
    """Stacked horizontal bars, one a model: what share of its responses is of each kind.

    `shares`: {model: {kind: share in %}}, kinds of `RESPONSE_KINDS`; a kind left out has no share.
    """
    labels, left = [model_label(model) for model in shares], np.zeros(len(shares))
    for kind, color in RESPONSE_KINDS.items():
        width = np.array([row.get(kind, 0.0) for row in shares.values()])
        ax.barh(labels, width, left=left, color=color, edgecolor="white", linewidth=0.7)
        left += width
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.set(xlim=(0, 100), xlabel="responses (%)")


def kind_legend(figure: Figure) -> None:
    """The legend of `kind_shares`, once for a figure, below its axes."""
    handles = [Patch(color=color, label=kind) for kind, color in RESPONSE_KINDS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)


def win_rate_bars(win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]], ax: Axes) -> None:
    """Win rates in points, a group of bars a language, a bar a model, with 95% intervals.

    `win_rates`: {model: {lang: {"wr", "wr_ci": [lo, hi]}}}, as in metrics.json.
    """
    langs = list(next(iter(win_rates.values())))
    width, places = 0.84 / len(win_rates), np.arange(len(langs))
    for position, (model, rows) in enumerate(win_rates.items()):
        wr = np.array([rows[lang]["wr"] for lang in langs])
        interval = np.array([rows[lang]["wr_ci"] for lang in langs]).T
        x = places + (position - (len(win_rates) - 1) / 2) * width
        ax.bar(x, wr, width * 0.94, color=model_color(model), label=model_label(model))
        ax.errorbar(x, wr, np.abs(interval - wr), fmt="none", ecolor="#333333", elinewidth=1.3, capsize=2.5)
        for at, value, top in zip(x, wr, interval[1], strict=True):
            ax.text(at, top + 1, f"{value:.0f}", ha="center", va="bottom", fontsize=9)
    ax.axhline(50, color="black", linewidth=1.2, linestyle="--")
    ax.grid(visible=False, axis="x")
    ax.set_xticks(places, langs)
    ax.set(xlabel="language of the prompts", ylabel="win rate (%)", ylim=(0, 100))
    ax.legend(ncols=len(win_rates), loc="upper left")


def gains(table: Mapping[str, Mapping[str, Any]], ax: Axes) -> None:
    """Differences of two win rates in points with their 95% intervals, a row each; grey where that holds 0.

    `table`: {row's name: {"difference", "ci": [lo, hi]}}, as `winrates.paired_difference` returns them.
    """
    for row, entry in enumerate(table.values()):
        (lo, hi), difference = entry["ci"], entry["difference"]
        color = GREY if lo <= 0 <= hi else BLUE
        ax.plot([lo, hi], [row, row], color=color, linewidth=3, solid_capstyle="round")
        ax.plot(difference, row, "o", color=color, markersize=9)
        ax.annotate(f"{difference:+.1f}", (hi, row), (7, 0), textcoords="offset points", va="center")
    ax.axvline(0, color="black", linewidth=1.2, linestyle="--")
    ax.set_yticks(range(len(table)), list(table))
    ax.set(ylim=(len(table) - 0.5, -0.5), xlabel="gain in win rate (points), 95% interval over prompts")
    ax.margins(x=0.15)
    ax.grid(visible=False, axis="y")


def length_and_win_rate(win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]], ax: Axes) -> None:
    """Mean characters of the responses against win rate in points: a dot a model and language.

    `win_rates`: {model: {lang: {"wr", "mean_chars"}}}, as in metrics.json. A grey line joins a language's
    models in their order; its name stands at the last.
    """
    for lang in next(iter(win_rates.values())):
        of_lang = [rows[lang] for rows in win_rates.values()]
        chars, wr = ([row[key] for row in of_lang] for key in ("mean_chars", "wr"))
        ax.plot(chars, wr, color="#c4c4c4", linewidth=1.2, zorder=1)
        ax.annotate(lang, (chars[-1], wr[-1]), (7, 3), textcoords="offset points")
    for model, rows in win_rates.items():
        chars, wr = ([row[key] for row in rows.values()] for key in ("mean_chars", "wr"))
        ax.scatter(chars, wr, color=model_color(model), s=60, label=model_label(model), zorder=2)
    ax.axhline(50, color="black", linewidth=1.2, linestyle="--", zorder=0)
    ax.set(xlabel="mean length of the responses (characters)", ylabel="win rate (%)")


def win_rate_and_lc(win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]], ax: Axes) -> None:
    """Win rate against length-controlled win rate, both in points: a dot a model and language.

    `win_rates`: {model: {lang: {"wr", "lc"}}}, as in metrics.json. Above the diagonal, length held a model back.
    """
    for model, rows in win_rates.items():
        wr, lc = ([row[key] for row in rows.values()] for key in ("wr", "lc"))
        ax.scatter(wr, lc, color=model_color(model), s=60, label=model_label(model), zorder=2)
    ends = [limit([*ax.get_xlim(), *ax.get_ylim()]) for limit in (min, max)]
    ax.plot(ends, ends, color="black", linewidth=1.2, linestyle="--", zorder=1)
    ax.set(xlabel="win rate (%)", ylabel="length-controlled win rate (%)")
    ax.legend(loc="upper left")


def seed_points(values: Mapping[str, Mapping[str, Sequence[float]]], ax: Axes) -> None:
    """Runs that differ in their seed: a dot a run, a bar at their mean; a group a language, a colour a model.

    `values`: {model: {lang: a win rate in points a seed}}.
    """
    langs, width = list(next(iter(values.values()))), 0.84 / len(values)
    for position, (model, rows) in enumerate(values.items()):
        color, offset = model_color(model), (position - (len(values) - 1) / 2) * width
        seeds = np.array([rows[lang] for lang in langs])  # (languages, seeds)
        x = np.arange(len(langs)) + offset
        jitter = np.linspace(-0.25, 0.25, seeds.shape[1]) * width * (seeds.shape[1] > 1)
        ax.hlines(seeds.mean(1), x - 0.42 * width, x + 0.42 * width, color, lw=4, label=model_label(model))
        ax.plot((x[:, None] + jitter).ravel(), seeds.ravel(), "o", color=color, ms=5, mec="black", mew=0.6)
    ax.axhline(50, color="black", linewidth=1.2, linestyle="--", zorder=0)
    ax.grid(visible=False, axis="x")
    ax.set_xticks(range(len(langs)), langs)
    ax.set(xlabel="language of the prompts", ylabel="win rate (%)")
    ax.legend(ncols=len(values), loc="upper left")
