""""""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike

from xlnb.figures.style import (
    BLUE,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    YELLOW,
    model_color,
    model_label,
    shorten,
    visible,
)

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
    ax.set_xticks(x, [visible(token) for token in table["token"]], rotation=30, ha="right")
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
    texts = [[visible(token) for token in row["tokens"]] for row in rows]
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
            cell = Rectangle(
                (x, y - 0.42),
                width,
                0.84,
                facecolor=scale.to_rgba(value),
                edgecolor="#bbbbbb",
                lw=0.5,
            )
            ax.add_patch(cell)
            color = "white" if abs(value) > 0.6 * reach else "black"
            ax.text(
                x + width / 2,
                y,
                text,
                ha="center",
                va="center",
                fontsize=size,
                family="monospace",
                color=color,
            )
            x += width
    ax.set(xlim=(0, widest), ylim=(len(rows) - 0.5, -0.5), xticks=[], ylabel="reward (β nats)")
    ax.set_yticks(range(len(rows)), [f"{sum(row['rewards']):+.3f}" for row in rows])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    sns.despine(ax=ax, left=True, bottom=True)
    ax.figure.colorbar(scale, ax=ax, pad=0.01, label="token's part of the reward (β nats)")


def batch_layout(
    tokens: Sequence[Sequence[str]],
    attention_mask: ArrayLike,
    response_mask: ArrayLike,
    ended: ArrayLike,
    ax: Axes,
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
            text, color = (
                visible(tokens[row][column]),
                "white" if role == "end of turn" else "black",
            )
            ax.text(
                column + 0.5,
                row + 0.5,
                text,
                ha="center",
                va="center",
                fontsize=8,
                color=color,
                rotation=60,
            )
    brackets = (
        (prompt_width, -0.15, -0.6, "log-probabilities of these tokens …"),
        (
            prompt_width - 1,
            height + 0.15,
            height + 0.6,
            "… from the logits of these columns, one to the left",
        ),
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
    patches = [
        Patch(facecolor=color, edgecolor="#bbbbbb", label=role)
        for role, color in ROLE_COLORS.items()
    ]
    ax.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(patches))


def agreement(x: ArrayLike, y: ArrayLike, ax: Axes) -> None:
    """Two measurements of one quantity against each other, with the line on which they are equal."""
    x, y = np.asarray(x), np.asarray(y)
    ax.axline(
        (float(x.mean()), float(x.mean())), slope=1, color="black", linewidth=1, label="equal"
    )
    ax.scatter(
        x,
        y,
        s=9,
        alpha=0.35,
        color=BLUE,
        linewidths=0,
        label=f"a response (n = {len(x)})",
        rasterized=True,
    )
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
    ax.plot(
        line,
        2.0 ** (np.floor(np.log2(line)) - 8),
        color="black",
        linewidth=1.2,
        label="half a bfloat16 step",
    )
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
    ax.hlines(
        y, np.minimum(alone, padded), np.maximum(alone, padded), color=RED, alpha=0.45, linewidth=2
    )
    ax.scatter(
        alone,
        y,
        color=RED,
        marker="o",
        facecolor="white",
        s=45,
        zorder=3,
        label="release, longest of its batch",
    )
    ax.scatter(
        padded, y, color=RED, marker="X", s=45, zorder=3, label="release, shorter than its batch"
    )
    ax.scatter(
        score, y, color="black", marker="D", s=38, zorder=4, label="all tokens of the response"
    )
    ax.set_yticks(y, [shorten(table["text"][i], 48) for i in order])
    ax.set(xlabel="log $π^0$ − log $π_I$ (nats)")
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.35, -0.13),
        ncols=3,
        columnspacing=1.2,
        handletextpad=0.2,
    )


def shares(
    table: Mapping[str, Mapping[str, tuple[float, float, float, int]]], n: int, ax: Axes
) -> None:
    """Grouped bars of shares of prompts (percent) with 95% intervals and, above each, how many prompts of n.

    `table`: {series: {lang: (share, low, high, count)}}, shares in percent.
    """
    colors = dict(zip(table, (YELLOW, RED, PURPLE), strict=False))
    width = 0.8 / len(table)
    for number, (series, rows) in enumerate(table.items()):
        x = np.arange(len(rows)) - 0.4 + width * (number + 0.5)
        share, low, high = (np.array([row[i] for row in rows.values()]) for i in range(3))
        ax.bar(x, share, width * 0.94, color=colors[series], label=series)
        ax.errorbar(
            x,
            share,
            [share - low, high - share],
            fmt="none",
            ecolor="black",
            elinewidth=1,
            capsize=2,
        )
        for at, top, row in zip(x, high, rows.values(), strict=True):
            ax.annotate(
                str(row[3]),
                (at, top),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    ax.set_xticks(range(len(rows)), list(rows))
    ax.set(ylabel=f"% of prompts (numbers: prompts of {n})", ylim=(0, None))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=len(table))
