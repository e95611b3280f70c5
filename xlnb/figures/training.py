"""Notebook 05, training: rounding to 4 bits, curves over the steps, what training changed."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from xlnb.figures.style import BLUE, GREY, RED, SKY, Look, model_color, model_line


def nf4_block(
    weights: ArrayLike, dequantised: ArrayLike, levels: ArrayLike, absmax: float, ax: Axes
) -> None:
    """A block of weights before and after rounding to 4 bits, on the staircase of NF4's 16 values.

    `weights`, `dequantised`: (64,), in the weights' own units; `levels`: (16,), rising from -1 to
    1; `absmax`: what the levels are scaled by.
    """
    values = np.asarray(levels) * absmax
    middles = (values[1:] + values[:-1]) / 2
    edges = np.concatenate([[values[0]], middles, [values[-1]]])
    ends = edges[[0, -1]]
    ax.plot(ends, ends, color=GREY, linestyle="--", label="no rounding")
    nearest: Look = {"color": SKY, "linewidth": 2, "label": "nearest of the 16 values"}
    ax.stairs(values, edges, baseline=None, **nearest)
    points: Look = {"color": BLUE, "markersize": 5, "alpha": 0.8, "label": "the block's 64 weights"}
    ax.plot(weights, dequantised, "o", **points)
    ax.set(xlabel="weight in the checkpoint", ylabel="weight in the 4-bit model")
    ax.legend(loc="upper left")


def training_curve(
    logs: Mapping[str, Sequence[float]], ax: Axes, *, start: float | None = None, window: int = 11
) -> None:
    """A logged quantity over training steps, a line a model: its running mean, the raw one faint.

    `logs`: {model: values, one a step}; `start`: what theory predicts for the first step, a dotted
    line; `window`: steps of the running mean, fewer in a short log.
    """
    for model, values in logs.items():
        half = min(window // 2, len(values) // 10)
        smooth = [np.mean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
        steps = np.arange(1, len(values) + 1)
        ax.plot(steps, values, color=model_color(model), linewidth=0.8, alpha=0.3)
        ax.plot(steps, smooth, **model_line(model), linewidth=2.2)
    if start is not None:
        ax.axhline(start, color="black", linewidth=1.2, linestyle=":")
    ax.set_xlabel("step")


def logprob_changes(changes: Mapping[str, ArrayLike], ax: Axes) -> None:
    """What training did to log π(y|x) of the responses it was shown: a histogram a side.

    `changes`: {"chosen": (n,), "rejected": (n,)}, after less before, in nats; a line stands at each
    mean. The 0.5% farthest at either end are drawn in the outermost bins.
    """
    sides = {side: np.asarray(values, float) for side, values in changes.items()}
    low, high = np.quantile(np.concatenate(list(sides.values())), [0.005, 0.995])
    edges = np.linspace(low, high, 41).tolist()
    for (side, values), color in zip(sides.items(), (BLUE, RED), strict=True):
        mean = float(values.mean())
        clipped = np.clip(values, low, high)
        ax.hist(clipped, edges, color=color, alpha=0.45, label=f"{side}: mean {mean:+.1f}")
        ax.axvline(mean, color=color, linewidth=2)
    ax.axvline(0, color="black", linewidth=1.2, linestyle=":")
    ax.set(xlabel="change of log π(y|x) (nats)", ylabel="responses")
    ax.legend(frameon=True, framealpha=0.9, edgecolor="none")


def both_sides(logs: Mapping[str, Sequence[Mapping[str, float]]], ax: Axes) -> None:
    """How far the log-probabilities of chosen and rejected responses move over the steps.

    `logs`: {a run's name: a record a step, `chosen` and `rejected` in nats}; the first run's lines
    are solid, the second's dashed.
    """
    for (name, log), dashes in zip(logs.items(), ("-", "--"), strict=True):
        steps = range(1, len(log) + 1)
        for side, color in zip(("chosen", "rejected"), (BLUE, RED), strict=True):
            values = [record[side] for record in log]
            ax.plot(steps, values, dashes, color=color, linewidth=2, label=f"{side}, {name}")
    ax.axhline(0, color="black", linewidth=1.2, linestyle=":")
    ax.set(xlabel="step", ylabel="change of log π(y|x) (nats)")
    ax.legend(loc="lower left")
