"""Figures: each function draws one picture from a plain table on a matplotlib `ax` (or several `axes`).

Colours and names are the same everywhere: a model keeps its colour, line and marker from notebook to notebook. All
colours are of seaborn's colour-blind palette. Call `style()` once, before the first figure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle
from numpy.typing import ArrayLike

from xlnb.winrates import length_bias, length_controlled, win_rate

PALETTE = sns.color_palette("colorblind").as_hex()
BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, PINK, GREY, YELLOW, SKY = PALETTE
MODEL_COLORS = {"sft": GREY, "dpo": ORANGE, "icr1": SKY, "icr2": BLUE}
MODEL_LINES = {"sft": ":", "dpo": "--", "icr1": "-."}  # the others are solid
MODEL_MARKERS = {"sft": "o", "dpo": "s", "icr1": "^"}  # the others are diamonds
MODEL_NAMES = {"sft": "π_I", "dpo": "π^0", "icr1": "π^1", "icr2": "π^2"}


def style() -> None:
    """seaborn's white-grid theme with the colour-blind palette, sized for a talk; 100 dots an inch."""
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


def model_name(model: str) -> str:
    """π_I, π^0, π^1 … for sft, dpo, icr1 …; between dollar signs matplotlib sets it as mathematics."""
    return MODEL_NAMES.get(model, model.replace("icr", "π^"))


def model_label(model: str) -> str:
    """The model's name for a legend or an axis; a baseline that is given as files keeps its own."""
    name = model_name(model)
    return f"${name}$" if name.startswith("π") else name


def model_color(model: str) -> str:
    """A model's colour in every figure. Iterations after the second share green."""
    return MODEL_COLORS.get(model, GREEN)


def _line(model: str) -> dict[str, Any]:
    return {"color": model_color(model), "linestyle": MODEL_LINES.get(model, "-"), "label": model_label(model)}


def _dots(model: str) -> dict[str, Any]:
    return {"color": model_color(model), "marker": MODEL_MARKERS.get(model, "D"), "label": model_label(model)}


def diagram(
    boxes: Mapping[str, tuple[float, float, str, str]], arrows: Sequence[tuple[str, str, str]], ax: Axes
) -> None:
    """Boxes joined by labelled arrows.

    `boxes`: name -> (x, y, text, fill), the centre on a grid where boxes are 1.8 wide and 0.64 high. `arrows`: (from,
    to, label); boxes of one row or column are joined by straight lines, others by one corner, first along x.
    """
    half = (0.9, 0.32)
    for x, y, text, fill in boxes.values():
        style = "round,pad=0,rounding_size=0.08"
        corner = (x - half[0], y - half[1])
        ax.add_patch(FancyBboxPatch(corner, 2 * half[0], 2 * half[1], boxstyle=style, fc=fill, ec="#444444", lw=1))
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
            at = ((tail[0] + head[0]) / 2, tail[1] + 0.06) if along_x else (x0 + 0.07, (tail[1] + head[1]) / 2)
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
    ax.barh(table.index, table["reward"], color=[colors[role] for role in table["role"]], height=0.7)
    ax.axvline(0, color="#444444", lw=0.8)
    short = [text if len(text) <= 52 else text[:51] + "…" for text in table["text"]]
    short = [text + (f"  ×{n}" if n > 1 else "") for text, n in zip(short, table["times"], strict=True)]
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
    ax.legend(loc="upper left")


def reward_kl_frontier(curve: pd.DataFrame, others: pd.DataFrame, beta: float, ax: Axes) -> None:
    """Mean reward (points) against divergence from the reference (nats) for the optimal policies and for others.

    `curve`: kl, reward and beta of π*, a row a β, by falling β. `others`: kl and reward of any other policies. The
    dashed line joins what is worth as much as π* at `beta`: mean reward − β·KL = β log Z.
    """
    ax.plot(others["kl"], others["reward"], "o", color=GREY, ms=3, alpha=0.8, mew=0)
    ax.plot([], [], "o", color=GREY, ms=6, label="other policies")  # in the legend a dot of the cloud's size is lost
    ax.plot(curve["kl"], curve["reward"], color=BLUE, lw=2, label="π* for every β")
    best = curve.iloc[(curve["beta"] - beta).abs().argmin()]
    ax.axline((best["kl"], best["reward"]), slope=beta, color=ORANGE, ls="--", lw=1.5, label="E[r] − β KL = β log Z")
    ax.plot(best["kl"], best["reward"], "o", color=ORANGE, ms=9, zorder=4, label=f"π* at β = {beta:g}")
    ax.set_xlim(0, curve["kl"].max() * 1.05)
    ax.set_ylim(min(others["reward"].min(), curve["reward"].min()) - 0.2, curve["reward"].max() + 0.5)
    ax.set(xlabel="KL(π ‖ π_ref) (nats)", ylabel="mean reward (points)")
    ax.legend(loc="lower right", frameon=True, framealpha=0.95)


def rewards_compared(table: pd.DataFrame, ax: Axes) -> None:
    """Implicit reward against true reward, a colour a group, each with its line of slope 1 through the group's means.

    `table`: group, true, implicit (both in points), optionally lo and hi, an interval of `implicit`; a group without
    one (NaN) beside others that have one is drawn as open markers.
    """
    for position, (name, rows) in enumerate(table.groupby("group", sort=False)):
        color, marker = (BLUE, ORANGE, GREEN, PURPLE)[position % 4], "osD^"[position % 4]
        ax.axline((rows["true"].mean(), rows["implicit"].mean()), slope=1, color=color, lw=1, alpha=0.6)
        if "lo" in rows:
            reach = [rows["implicit"] - rows["lo"], rows["hi"] - rows["implicit"]]
            ax.errorbar(rows["true"], rows["implicit"], reach, fmt="none", color=color, lw=1.8, capsize=3)
        hollow = "lo" in rows and rows["lo"].isna().all()
        look = {"mfc": "none", "mew": 1.8, "ms": 12} if hollow else {"ms": 6}
        ax.plot(rows["true"], rows["implicit"], marker, color=color, ls="none", label=name, **look)
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
    ax.annotate("at the start: ln 2", (0, np.log(2)), (0.6, 1.5), arrowprops={"arrowstyle": "-", "color": "#444444"})
    ax.set_xlabel("margin of implicit rewards, chosen − rejected (β nats)")
    ax.set(ylabel="loss (nats), weight (0 to 1)", ylim=(0, None))
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
        ax.text(score, 0.015, f"{n}", transform=ax.get_xaxis_transform(), ha="center", fontsize=8, color="#444444")
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
    """A logged quantity over training steps, a line a model: a running mean over `window` steps, raw faint.

    `logs`: {model: values, one a step}; `start`: what theory predicts for the first step, a dotted line.
    """
    for model, values in logs.items():
        half = min(window // 2, len(values) // 10)  # a short log needs no smoothing
        smooth = [np.mean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
        steps = np.arange(1, len(values) + 1)
        ax.plot(steps, values, color=model_color(model), linewidth=0.8, alpha=0.3)
        ax.plot(steps, smooth, **_line(model), linewidth=2.2)
    if start is not None:
        ax.axhline(start, color="black", linewidth=1.2, linestyle=":")
    ax.set_xlabel("step")


def logprob_changes(changes: Mapping[str, ArrayLike], ax: Axes) -> None:
    """What training did to log π(y|x) of the responses it was shown: a histogram a side, its mean a line.

    `changes`: {"chosen": (n,), "rejected": (n,)}, after less before, in nats; the 0.5% farthest at either end
    are drawn in the outermost bins.
    """
    sides = {side: np.asarray(values, float) for side, values in changes.items()}
    low, high = np.quantile(np.concatenate(list(sides.values())), [0.005, 0.995])
    edges = np.linspace(low, high, 41).tolist()
    for (side, values), color in zip(sides.items(), (BLUE, RED), strict=True):
        mean, clipped = float(values.mean()), np.clip(values, low, high)
        ax.hist(clipped, edges, color=color, alpha=0.45, label=f"{side}: mean {mean:+.1f}")
        ax.axvline(mean, color=color, linewidth=2)
    ax.axvline(0, color="black", linewidth=1.2, linestyle=":")
    ax.set(xlabel="change of log π(y|x) (nats)", ylabel="responses")
    ax.legend(frameon=True, framealpha=0.9, edgecolor="none")


# 05_judging and 06_win_rates

# What the oracle's reasons come to, best first.
RESPONSE_KINDS = {
    "right, full sentence": BLUE,
    "right, padded or repeated": SKY,
    "right, bare word": GREEN,
    "right, other language": YELLOW,
    "refuses": GREY,
    "wrong": RED,
    "off topic or garbled": BROWN,
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
    return "wrong" if reason.startswith(("wrong", "contradicts itself")) else "off topic or garbled"


def score_curves(scores: Mapping[str, ArrayLike], ax: Axes) -> None:
    """The share of responses with at least a score, a line a model: the higher the line, the better.

    `scores`: {model: (n,)}, the oracle's points from 0 to 7. The area under a line is the model's mean score.
    """
    for model, values in scores.items():
        points = np.unique(np.concatenate([[0.0, 7.0], np.asarray(values, float)]))
        share = [100 * np.mean(np.asarray(values) >= point) for point in points]
        ax.step(points, share, where="pre", **_line(model), linewidth=2)
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
    ax.grid(visible=False)
    ax.tick_params(axis="y", labelsize="large")
    ax.set(xlim=(0, 100), ylim=(len(shares) - 0.5, -0.5), xlabel="responses (%)")


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
    ax.legend(ncols=len(win_rates), loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)


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
        ax.scatter(chars, wr, **_dots(model), s=60, zorder=2)
    ax.axhline(50, color="black", linewidth=1.2, linestyle="--", zorder=0)
    ax.set(xlabel="mean length of the responses (characters)", ylabel="win rate (%)")


def win_rate_and_lc(win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]], ax: Axes) -> None:
    """Win rate against length-controlled win rate, both in points: a dot a model and language.

    `win_rates`: {model: {lang: {"wr", "lc"}}}, as in metrics.json. Above the diagonal, length held it back.
    """
    for model, rows in win_rates.items():
        wr, lc = ([row[key] for row in rows.values()] for key in ("wr", "lc"))
        ax.scatter(wr, lc, **_dots(model), s=60, zorder=2)
    ends = [limit([*ax.get_xlim(), *ax.get_ylim()]) for limit in (min, max)]
    ax.plot(ends, ends, color="black", linewidth=1.2, linestyle="--", zorder=1)
    ax.set(xlabel="win rate (%)", ylabel="length-controlled win rate (%)")
    ax.legend(loc="upper left")


def leaderboard(win_rates: Mapping[str, Mapping[str, Mapping[str, Any]]], ax: Axes, *, key: str = "lc") -> None:
    """Models by languages, best mean on top: a cell a win rate (`key`: "wr" or "lc", points), coloured around 50.

    `win_rates`: {model: {lang: {"wr", "lc", optionally "in_language" (0 to 1)}}}, as `leaderboard.win_rates` returns
    them. Where less than 95% of the responses are in the asked language, the share stands below the win rate.
    """
    langs = list(dict.fromkeys(lang for rows in win_rates.values() for lang in rows))
    values = pd.DataFrame({m: {k: row[key] for k, row in rows.items()} for m, rows in win_rates.items()}).T[langs]
    values = values.loc[values.mean(axis=1).sort_values(ascending=False).index]
    ax.imshow(values, cmap=sns.diverging_palette(30, 250, as_cmap=True), vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        if np.isnan(value):
            continue
        share = win_rates[values.index[row]][langs[column]].get("in_language", 1.0)
        text = f"{value:.1f}" + (f"\n{share:.0%} in {langs[column]}" if share < 0.95 else "")
        color = "white" if abs(value - 50) > 35 else "black"
        ax.text(column, row, text, ha="center", va="center", fontsize=9, color=color)
    ax.set_xticks(range(len(langs)), langs)
    ax.set_yticks(range(len(values)), [model_label(m) if m in MODEL_NAMES else m for m in values.index])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.set(xlabel="language of the prompts")


def win_rate_by_length(
    preference: ArrayLike, len_output: ArrayLike, len_baseline: ArrayLike, ax: Axes, *, bins: int = 8
) -> None:
    """What a win rate owes to length: the win rate by how much longer the model's response is, and what LC reads off.

    Arguments (n,) as for `winrates.length_controlled`, lengths in characters. Points: groups of equal size with their
    standard errors; line: the fit behind LC; diamond: LC, its value at equal lengths; dotted: the plain win rate.
    """
    p, output, baseline = (np.asarray(values, float) for values in (preference, len_output, len_baseline))
    p, output, baseline = (values[~np.isnan(p)] for values in (p, output, baseline))
    longer = output - baseline
    for group in np.array_split(np.argsort(longer, kind="stable"), min(bins, len(p))):
        wr, se = win_rate(p[group])
        ax.errorbar(longer[group].mean(), wr, se, fmt="o", color=BLUE, markersize=6, capsize=2.5)
    lc, w_len = length_controlled(p, output, baseline), length_bias(p, output, baseline)["w_len"]
    if w_len and 0 < lc < 100:
        x = np.linspace(min(longer.min(), 0), max(longer.max(), 0), 300)
        z = np.log(lc / (100 - lc)) + w_len * np.tanh(-x / longer.std(ddof=1))
        ax.plot(x, 100 / (1 + np.exp(-z)), color=ORANGE, linewidth=2, label="fit")
    ax.plot(0, lc, "D", color=ORANGE, markersize=9, label=f"LC {lc:.1f}", zorder=3)
    ax.axhline(win_rate(p)[0], color="black", linewidth=1.2, linestyle=":", label=f"WR {win_rate(p)[0]:.1f}")
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(xlabel="characters of the model − of the baseline", ylabel="win rate (%)", ylim=(-2, 102))
    ax.locator_params(axis="x", nbins=5)
    ax.legend()


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
    ax.legend(ncols=len(values), loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)


# Notebook 02: log-probabilities. A cell's colour says what its token is to a score.
ROLE_COLORS = {"pad": "#f4f4f4", "prompt": "#d6d6d6", "response": SKY, "end of turn": BLUE}


def token_logprobs(table: Mapping[str, Sequence[Any]], ax: Axes) -> None:
    """A response token by token: log-probability (nats) under two models, and their difference above.

    `table`: `token` (text), and `sft` and `dpo`, log π(y_t | x, y_<t) in nats.
    """
    x, sft, dpo = np.arange(len(table["token"])), np.asarray(table["sft"]), np.asarray(table["dpo"])
    ax.axhline(0, color="black", linewidth=0.8)
    ax.bar(x - 0.2, sft, 0.4, color=model_color("sft"), label=f"log {model_label('sft')}")
    ax.bar(x + 0.2, dpo, 0.4, color=model_color("dpo"), label=f"log {model_label('dpo')}")
    room = max(0.2, -min(sft.min(), dpo.min()))
    for i, difference in enumerate(dpo - sft):
        ax.annotate(f"{difference:+.2f}", (i, 0.03 * room), ha="center", va="bottom", fontsize=9)
    ax.set_xticks(x, [_visible(token) for token in table["token"]], rotation=30, ha="right")
    ax.set(ylabel="log-probability (nats)", ylim=(-1.08 * room, 0.14 * room))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="lower right")


def token_rewards(rows: Sequence[Mapping[str, Sequence[Any]]], ax: Axes) -> None:
    """Which tokens earned the reward: responses token by token, best on top, each token coloured by its part (β nats).

    `rows`, one a response: `tokens` (texts) and `rewards`, β (log π(y_t | x, y_<t) − log π_ref(y_t | x, y_<t)), as
    many. Their sum, the response's reward, stands at the left.
    """
    rows = sorted(rows, key=lambda row: -sum(row["rewards"]))
    reach = max(abs(value) for row in rows for value in row["rewards"]) or 1.0
    scale = ScalarMappable(Normalize(-reach, reach), "PuOr")
    texts = [[_visible(token) for token in row["tokens"]] for row in rows]
    # In characters; a cell has one to spare. Of a longer response the beginning is shown.
    widest = min(90, max(sum(len(text) + 1 for text in line) for line in texts))
    size = min(9.0, 1.25 * 72 * ax.get_window_extent().width / ax.figure.dpi / widest)
    for y, (line, row) in enumerate(zip(texts, rows, strict=True)):
        x = 0
        for text, value in zip(line, row["rewards"], strict=True):
            width = len(text) + 1
            if x + width > widest:
                ax.text(widest, y, " …", va="center")
                break
            cell = Rectangle((x, y - 0.42), width, 0.84, facecolor=scale.to_rgba(value), edgecolor="#bbbbbb", lw=0.5)
            ax.add_patch(cell)
            color = "white" if abs(value) > 0.6 * reach else "black"
            ax.text(x + width / 2, y, text, ha="center", va="center", fontsize=size, family="monospace", color=color)
            x += width
    ax.set(xlim=(0, widest), ylim=(len(rows) - 0.5, -0.5), xticks=[], ylabel="reward (β nats)")
    ax.set_yticks(range(len(rows)), [f"{sum(row['rewards']):+.3f}" for row in rows])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    sns.despine(ax=ax, left=True, bottom=True)
    ax.figure.colorbar(scale, ax=ax, pad=0.01, label="token's part of the reward (β nats)")


def batch_layout(
    tokens: Sequence[Sequence[str]], attention_mask: ArrayLike, response_mask: ArrayLike, ended: ArrayLike, ax: Axes
) -> None:
    """A padded batch as a grid, a row a response: what each column holds and which columns' logits are read.

    `tokens`: texts, (B, P + R); `attention_mask` (B, P + R) and `response_mask` (B, R): see `logprobs.collate`;
    `ended`: whether a token is an end of turn, (B, P + R).
    """
    attended, counted, ended = map(np.asarray, (attention_mask, response_mask, ended))
    height, width = attended.shape
    prompt_width = width - counted.shape[1]
    for row, column in np.ndindex(height, width):
        if not attended[row, column]:
            role = "pad"
        elif column < prompt_width:
            role = "prompt"
        else:
            role = "end of turn" if ended[row, column] else "response"
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=ROLE_COLORS[role], edgecolor="white"))
        if role != "pad":
            text, color = _visible(tokens[row][column]), "white" if role == "end of turn" else "black"
            ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8, color=color, rotation=60)
    brackets = (
        (prompt_width, -0.15, -0.6, "log-probabilities of these tokens …"),
        (prompt_width - 1, height + 0.15, height + 0.6, "… from the logits of these columns, one to the left"),
    )
    for start, y, y_text, text in brackets:
        end = start + width - prompt_width
        ax.plot([start + 0.08, end - 0.08], [y, y], color=RED, linewidth=3, solid_capstyle="butt")
        ax.text((start + end) / 2, y_text, text, ha="center", va="center", fontsize=10, color=RED)
    ax.set(xlim=(0, width), ylim=(height + 1, -1), xlabel="column", ylabel="row")
    ticks = [0, prompt_width - 1, prompt_width, width - 1]
    ax.set_xticks([tick + 0.5 for tick in ticks], ["0", "P−1 ", " P", "P+R−1"])
    ax.set_yticks(np.arange(height) + 0.5, [str(row) for row in range(height)])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    sns.despine(ax=ax, left=True, bottom=True)
    patches = [Patch(facecolor=color, edgecolor="#bbbbbb", label=role) for role, color in ROLE_COLORS.items()]
    ax.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(patches))


def agreement(x: ArrayLike, y: ArrayLike, ax: Axes) -> None:
    """Two measurements of one quantity against each other, with the line on which they are equal."""
    x, y = np.asarray(x), np.asarray(y)
    ax.axline((float(x.mean()), float(x.mean())), slope=1, color="black", linewidth=1, label="equal")
    ax.scatter(x, y, s=9, alpha=0.35, color=BLUE, linewidths=0, label=f"a response (n = {len(x)})", rasterized=True)
    ax.legend(loc="upper left")


def summation_error(logps: ArrayLike, errors: ArrayLike, ax: Axes) -> None:
    """|error| of log-probabilities summed in bfloat16 against their size, and what 8 bits predict (nats)."""
    size = np.abs(np.asarray(logps))
    ax.scatter(
        size,
        np.abs(np.asarray(errors)),
        s=9,
        alpha=0.35,
        color=ORANGE,
        linewidths=0,
        label=f"a response (n = {len(size)})",
        rasterized=True,
    )
    line = np.geomspace(max(size.min(), 0.25), size.max(), 400)
    ax.plot(line, 2.0 ** (np.floor(np.log2(line)) - 8), color="black", linewidth=1.2, label="half a bfloat16 step")
    ax.set(xlabel="|log π(y|x)| (nats)", ylabel="|bfloat16 − float32| (nats)")
    ax.legend(loc="upper left")


def masked_scores(table: Mapping[str, Sequence[Any]], ax: Axes) -> None:
    """One prompt's responses under the right mask and the release's, whose value depends on the batch (nats).

    `table`: `text`, `score` (every token), `alone` (first token dropped) and `padded` (and log p(pad) added),
    each log π − log π_I in nats.
    """
    order = np.argsort(table["score"])
    y = np.arange(len(order))
    score, alone, padded = (np.asarray(table[name])[order] for name in ("score", "alone", "padded"))
    ax.hlines(y, np.minimum(alone, padded), np.maximum(alone, padded), color=RED, alpha=0.45, linewidth=2)
    ax.scatter(
        alone, y, color=RED, marker="o", facecolor="white", s=45, zorder=3, label="release, longest of its batch"
    )
    ax.scatter(padded, y, color=RED, marker="X", s=45, zorder=3, label="release, shorter than its batch")
    ax.scatter(score, y, color="black", marker="D", s=38, zorder=4, label="all tokens of the response")
    ax.set_yticks(y, [shorten(table["text"][i], 48) for i in order])
    ax.set(xlabel="log $π^0$ − log $π_I$ (nats)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.35, -0.13), ncols=3, columnspacing=1.2, handletextpad=0.2)


def shares(table: Mapping[str, Mapping[str, tuple[float, float, float, int]]], n: int, ax: Axes) -> None:
    """Grouped bars of shares of prompts (percent) with 95% intervals and, above each, how many prompts of n.

    `table`: {series: {lang: (share, low, high, count)}}, shares in percent.
    """
    colors = dict(zip(table, (YELLOW, RED, PURPLE), strict=False))
    width = 0.8 / len(table)
    for number, (series, rows) in enumerate(table.items()):
        x = np.arange(len(rows)) - 0.4 + width * (number + 0.5)
        share, low, high = (np.array([row[i] for row in rows.values()]) for i in range(3))
        ax.bar(x, share, width * 0.94, color=colors[series], label=series)
        ax.errorbar(x, share, [share - low, high - share], fmt="none", ecolor="black", elinewidth=1, capsize=2)
        for at, top, row in zip(x, high, rows.values(), strict=True):
            ax.annotate(str(row[3]), (at, top), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8)
    ax.set_xticks(range(len(rows)), list(rows))
    ax.set(ylabel=f"% of prompts (numbers: prompts of {n})", ylim=(0, None))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=len(table))


# Notebook 03: annotation. R_c, R_m and R_t keep their colours and markers.
SCORER_COLORS = {"cross_lingual": GREEN, "multilingual": PURPLE, "translated": BROWN}
SCORER_MARKERS = {"cross_lingual": "o", "multilingual": "s", "translated": "^"}
SCORER_NAMES = {
    "cross_lingual": "$R_c$ (English question)",
    "multilingual": "$R_m$ (question in the language)",
    "translated": "$R_t$ (response translated)",
}


def truth_by_rank(table: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Mean oracle score (0 to 7) of the responses that a reward ranks first, second …; a language an axes.

    `table`: a row a response and scorer, with `lang`, `scorer`, `rank` (1: highest reward) and `truth`. Bands:
    95% bootstrap intervals over prompts.
    """
    for ax, (lang, rows) in zip(axes, table.groupby("lang", sort=False), strict=True):
        ax.axhline(rows["truth"].mean(), color="black", linestyle=":", linewidth=1, label="mean of all responses")
        for scorer, ranked in rows.groupby("scorer", sort=False):
            sns.lineplot(
                ranked,
                x="rank",
                y="truth",
                ax=ax,
                color=SCORER_COLORS[scorer],
                label=SCORER_NAMES[scorer],
                errorbar=("ci", 95),
                n_boot=300,
                seed=0,
                marker=SCORER_MARKERS[scorer],
                markersize=5,
                legend=False,
            )
        ax.set(title=lang, xlabel="rank by reward (1: highest)", ylabel="oracle score (0–7)")
        ax.set_xticks(sorted(set(rows["rank"]))[:: 1 + table["rank"].max() // 7])


def intervals(table: Mapping[str, Mapping[str, tuple[float, float, float]]], chance: float, ax: Axes) -> None:
    """A point and a 95% interval for each language and scorer, in percent, beside the value of a coin.

    `table`: {scorer: {lang: (value, low, high)}}; the first scorer has all languages.
    """
    ax.axhline(chance, color="black", linestyle=":", linewidth=1, label="a coin")
    langs = list(next(iter(table.values())))
    for number, (scorer, rows) in enumerate(table.items()):
        if not rows:
            continue
        x = np.array([langs.index(lang) for lang in rows]) + 0.22 * (number - (len(table) - 1) / 2)
        value, low, high = np.array(list(rows.values())).T
        ax.errorbar(
            x,
            value,
            [value - low, high - value],
            fmt=SCORER_MARKERS[scorer],
            markersize=7,
            capsize=3,
            elinewidth=2,
            color=SCORER_COLORS[scorer],
            label=SCORER_NAMES[scorer],
        )
    ax.set_xticks(range(len(langs)), langs)
    ax.set(ylim=(0, 105))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4)


def reward_against_length(table: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Reward (β nats) against characters, both less their prompt's mean, and the least-squares line.

    `table`: a row a response, with `lang`, `prompt_id`, `reward`, `n_chars` and, where it is known, `kind`. A language
    an axes, whose title gives the line's slope in β nats.
    """
    for ax, (lang, rows) in zip(axes, table.groupby("lang", sort=False), strict=True):
        centred = rows[["reward", "n_chars"]] - rows.groupby("prompt_id")[["reward", "n_chars"]].transform("mean")
        for kind, color in (RESPONSE_KINDS if "kind" in rows else {"": BLUE}).items():
            some = centred[rows["kind"] == kind] if kind else centred
            ax.scatter(some["n_chars"], some["reward"], s=7, alpha=0.5, color=color, linewidths=0, rasterized=True)
        slope = (centred["n_chars"] * centred["reward"]).sum() / max((centred["n_chars"] ** 2).sum(), 1)
        ax.axline((0, 0), slope=slope, color="black", linewidth=1.6)
        ax.set_title(f"{lang}: {100 * slope:+.3f} per 100 characters")
        ax.set(xlabel="characters − prompt's mean", ylabel="reward (β nats)")
        ax.label_outer()
        ax.tick_params(labelleft=True)  # a scale of its own


def length_gap(
    curve: tuple[ArrayLike, ArrayLike], marks: Mapping[str, tuple[float, float]], reach: float, ax: Axes
) -> None:
    """The staircase of the mean of len(chosen) − len(rejected) (characters) over α, for |α| < `reach`.

    `curve`: see `pairs.length_gap_curve`, α in β nats a character, drawn per 1,000 characters; `marks`:
    {"before" | "exact" | "grid" | "negative": (α, gap)}. α < 0, which the release does not search, is shaded.
    """
    looks: dict[str, tuple[str, dict[str, Any]]] = {
        "before": ("α = 0", {"marker": "o", "s": 190, "facecolor": "none", "edgecolor": "black", "linewidth": 1.5}),
        "exact": ("exact, α ≥ 0", {"marker": "D", "s": 80, "color": BLUE}),
        "grid": ("release's grid", {"marker": "x", "s": 60, "color": YELLOW, "linewidth": 2}),
        "negative": ("exact, any α", {"marker": "v", "s": 60, "color": PURPLE}),
    }
    alphas, gaps = (np.asarray(values, float) for values in curve)
    inside = (alphas > -reach) & (alphas < reach)
    before = gaps[np.flatnonzero(alphas <= -reach)[-1]]
    x = 1000 * np.concatenate([[-reach], alphas[inside], [reach]])
    y = np.concatenate([[before], gaps[inside], gaps[inside][-1:] if inside.any() else [before]])
    ax.axvspan(x[0], 0, color="#eeeeee")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.step(x, y, where="post", color=GREY, linewidth=1.8)
    for name, (label, look) in looks.items():
        if name in marks:
            ax.scatter(1000 * marks[name][0], marks[name][1], zorder=3, label=label, **look)
    ax.set(xlim=(x[0], x[-1]), xlabel="α (β nats per 1,000 characters)", ylabel="gap (characters)")


def panels(n: int, *, height: float, columns: int = 3, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure of n axes in rows of at most `columns`, `height` inches a row; `shared`: sharex, sharey."""
    columns = min(columns, n)
    rows = -(-n // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(11, height * rows), squeeze=False, **shared)
    for ax in grid.flat[n:]:
        ax.set_axis_off()
    return figure, list(grid.flat[:n])


def shorten(text: str, most: int) -> str:
    """The text in at most so many characters, an ellipsis for the rest."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _visible(token: str) -> str:
    """A token's text with its spaces drawn and special tokens' marks shortened; a dollar would start mathematics."""
    for old, new in ((" ", "␣"), ("\n", "⏎"), ("<|", "‹"), ("|>", "›"), ("$", r"\$")):
        token = token.replace(old, new)
    return token
