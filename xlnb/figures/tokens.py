"""Notebook 02, log-probabilities: a response token by token, a padded batch, sums and masks."""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike, NDArray

from xlnb.figures.style import (
    BLUE,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    YELLOW,
    Look,
    model_color,
    model_label,
    visible,
)

# A cell's colour says what its token is to a score.
ROLE_COLORS = {"pad": "#f4f4f4", "prompt": "#d6d6d6", "response": SKY, "end of turn": BLUE}

# Columns of texts or of numbers, by name.
Table = Mapping[str, Sequence]

CENTRED: Look = {"ha": "center", "va": "center"}

# A dot a response: a thousand of them lie over each other.
DOTS: Look = {"s": 9, "alpha": 0.35, "linewidths": 0, "rasterized": True}

# The most characters of a response that `token_rewards` shows in a line.
WIDEST = 90


def token_logprobs(table: Table, ax: Axes) -> None:
    """A response token by token: log-probability (nats) under two models, their difference above.

    `table`: `token` (text), and `sft` and `dpo`, log π(y_t | x, y_<t) in nats.
    """
    x = np.arange(len(table["token"]))
    sft, dpo = np.asarray(table["sft"]), np.asarray(table["dpo"])
    ax.axhline(0, color="black", linewidth=0.8)
    ax.bar(x - 0.2, sft, 0.4, color=model_color("sft"), label=f"log {model_label('sft')}")
    ax.bar(x + 0.2, dpo, 0.4, color=model_color("dpo"), label=f"log {model_label('dpo')}")
    room = max(0.2, -min(sft.min(), dpo.min()))
    for i, difference in enumerate(dpo - sft):
        ax.annotate(f"{difference:+.2f}", (i, 0.03 * room), ha="center", va="bottom", fontsize=9)
    ax.set_xticks(x, [visible(token) for token in table["token"]])
    ax.set(ylabel="log-probability (nats)", ylim=(-1.08 * room, 0.14 * room))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="lower right")


def token_rewards(rows: Sequence[Table], ax: Axes) -> None:
    """Which tokens earned the reward: a response a line, best on top, a token coloured by its part.

    `rows`, one a response: `tokens` (texts) and `rewards` (β nats), as many:
    β (log π(y_t | x, y_<t) − log π_ref(y_t | x, y_<t)). Their sum, the response's reward, stands
    at the left. Of a long response the beginning is shown.
    """
    rows = sorted(rows, key=lambda row: -sum(row["rewards"]))
    texts = [list(map(visible, row["tokens"])) for row in rows]
    every = np.concatenate([row["rewards"] for row in rows])
    reach = float(np.abs(every).max()) or 1.0
    scale = ScalarMappable(Normalize(-reach, reach), "PuOr")
    # A cell has a character to spare.
    widest = min(WIDEST, max(sum(map(len, line)) + len(line) for line in texts))
    inches = ax.get_window_extent().width / ax.figure.dpi
    font: Look = {"fontsize": min(9.0, 1.25 * 72 * inches / widest), "family": "monospace"}
    for y, (line, row) in enumerate(zip(texts, rows, strict=True)):
        x = 0
        for text, value in zip(line, row["rewards"], strict=True):
            width = len(text) + 1
            if x + width > widest:
                ax.text(widest, y, " …", va="center")
                break
            edge: Look = {"edgecolor": "#bbbbbb", "lw": 0.5}
            cell = Rectangle((x, y - 0.42), width, 0.84, facecolor=scale.to_rgba(value), **edge)
            ax.add_patch(cell)
            color = "white" if abs(value) > 0.6 * reach else "black"
            ax.text(x + width / 2, y, text, color=color, parse_math=False, **font, **CENTRED)
            x += width
    ax.set(xlim=(0, widest), ylim=(len(rows) - 0.5, -0.5), xticks=[], ylabel="reward (β nats)")
    ax.set_yticks(range(len(rows)), [f"{sum(row['rewards']):+.3f}" for row in rows])
    _bare(ax)
    ax.figure.colorbar(scale, ax=ax, pad=0.01, label="a token's part")


def batch_layout(
    tokens: Sequence[Sequence[str]],
    attention_mask: ArrayLike,
    response_mask: ArrayLike,
    ended: ArrayLike,
    ax: Axes,
) -> None:
    """A padded batch, a row a response: what each column holds and which columns' logits are read.

    `tokens`: texts, (B, P + R); `attention_mask` (B, P + R) and `response_mask` (B, R): see
    `logprobs.collate`; `ended`: whether a token is an end of turn, (B, P + R).
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
        cell = Rectangle((column, row), 1, 1, facecolor=ROLE_COLORS[role], edgecolor="white")
        ax.add_patch(cell)
        if role != "pad":
            text = visible(tokens[row][column])
            color = "white" if role == "end of turn" else "black"
            look: Look = {"color": color, "fontsize": 9, "parse_math": False}
            ax.text(column + 0.5, row + 0.5, text, **look, **CENTRED)
    columns = width - prompt_width
    bottom = height + 0.15
    above = "log-probabilities of these tokens …"
    below = "… from the logits of these columns, one to the left"
    _bracket(prompt_width, columns, -0.15, -0.6, above, ax)
    _bracket(prompt_width - 1, columns, bottom, height + 0.6, below, ax)
    ax.set(xlim=(0, width), ylim=(height + 1, -1), xlabel="column", ylabel="row")
    ticks = np.array([0, prompt_width - 1, prompt_width, width - 1])
    ax.set_xticks(ticks + 0.5, ["0", "P−1 ", " P", "P+R−1"])
    ax.set_yticks(np.arange(height) + 0.5, [str(row) for row in range(height)])
    _bare(ax)
    patches = []
    for role, color in ROLE_COLORS.items():
        patches.append(Patch(facecolor=color, edgecolor="#bbbbbb", label=role))
    ax.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(patches))


def _bracket(start: int, columns: int, y: float, y_text: float, text: str, ax: Axes) -> None:
    end = start + columns
    ax.plot([start + 0.08, end - 0.08], [y, y], color=RED, linewidth=3, solid_capstyle="butt")
    ax.text((start + end) / 2, y_text, text, fontsize=10, color=RED, **CENTRED)


def _bare(ax: Axes) -> None:
    """No grid, ticks and frame: the picture is a table."""
    ax.tick_params(length=0)
    ax.grid(visible=False)
    sns.despine(ax=ax, left=True, bottom=True)


def agreement(x: ArrayLike, y: ArrayLike, ax: Axes) -> None:
    """Two measurements of one quantity against each other, with the line where they are equal."""
    x, y = np.asarray(x), np.asarray(y)
    middle = float(x.mean())
    ax.axline((middle, middle), slope=1, color="black", linewidth=1, label="equal")
    ax.scatter(x, y, color=BLUE, label=f"a response (n = {len(x)})", **DOTS)
    ax.legend(loc="upper left")


def summation_error(logps: ArrayLike, errors: ArrayLike, ax: Axes) -> None:
    """|error| (nats) of log-probabilities summed in bfloat16, and what its 8 bits predict."""
    size: NDArray[np.float64] = np.abs(np.asarray(logps))
    error = np.abs(np.asarray(errors))
    ax.scatter(size, error, color=ORANGE, label=f"a response (n = {len(size)})", **DOTS)
    line = np.geomspace(max(size.min(), 0.25), size.max(), 400)
    half_step = 2.0 ** (np.floor(np.log2(line)) - 8)
    ax.plot(line, half_step, color="black", linewidth=1.2, label="half a bfloat16 step")
    ax.set(xlabel="|log π(y|x)| (nats)", ylabel="|bfloat16 − float32| (nats)")
    ax.legend(loc="upper left")


def shares(
    table: Mapping[str, Mapping[str, tuple[float, float, float, int]]], n: int, ax: Axes
) -> None:
    """Grouped bars of shares of prompts (percent) with 95% intervals; above, how many of n.

    `table`: {series: {lang: (share, low, high, count)}}, shares in percent.
    """
    colors = dict(zip(table, (YELLOW, RED, PURPLE), strict=False))
    width = 0.8 / len(table)
    whiskers: Look = {"fmt": "none", "ecolor": "black", "elinewidth": 1, "capsize": 2}
    above: Look = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "fontsize": 8}
    for number, (series, rows) in enumerate(table.items()):
        x = np.arange(len(rows)) - 0.4 + width * (number + 0.5)
        share, low, high, count = zip(*rows.values(), strict=True)
        ax.bar(x, share, width * 0.94, color=colors[series], label=series)
        ax.errorbar(x, share, [np.subtract(share, low), np.subtract(high, share)], **whiskers)
        for at, top, prompts in zip(x, high, count, strict=True):
            ax.annotate(str(prompts), (at, top), **above)
    ax.set_xticks(range(len(rows)), list(rows))
    ax.set(ylabel=f"% of prompts (numbers: prompts of {n})", ylim=(0, None))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=len(table))
