"""The reliability diagram: how often what is said with a probability is true, and of how many."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bccli.core.evaluation.curve_plots import (
    LINE,
    ROUNDS,
    SIDE,
    finish_square,
    material_behind,
    shown_title,
    weightings,
)
from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.metrics.limits import LEVEL
from bccli.core.metrics.material import CALIBRATION_BINS, Floats, Material, bins_of
from bccli.core.metrics.panels import count_on
from bccli.core.metrics.plots import (
    BLUE,
    CHARACTER,
    GREY,
    VERMILLION,
    add_axes,
    below,
    new_figure,
    wrapped,
)
from bccli.core.metrics.support import FEWEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS, COUNT_FONT = 0.8, 7
"""Inches of the highest bar, and points of the numbers on bars."""


def draw_calibration(evaluation: Evaluation) -> "Figure | None":
    """Draw how often predictions of a probability are right: in bins, with intervals, over their counts.

    Two classes: the positive one's probability. More: that of the predicted class.
    """
    units, material = evaluation.units, material_behind(evaluation)
    if units.probabilities is None or not len(units):
        return None
    figure = new_figure()
    axes = add_axes(figure, 0, SIDE, SIDE)
    counts, handles = _draw_shares(axes, evaluation, material)
    finish_square(axes, ("", "share that is true"), shown_title(evaluation))
    axes.tick_params(labelbottom=False)
    bars = _draw_counts(axes, counts, f"{evaluation.whole.level}s")
    positive = evaluation.whole.positive if material.positive is not None else "the predicted class"
    name = wrapped(f"probability of {positive}", 40)
    bars.set_xlabel(name)
    depth = 0.5 + name.count("\n") * LINE
    bars.legend(handles=handles, ncols=len(handles), **below(0.5, depth / bars.get_position().height))
    return figure


def _draw_shares(axes: "Axes", evaluation: Evaluation, material: Material) -> tuple[list[int], list[Any]]:
    """Draw the share that is true in each bin; returns the bins' counts, and what a legend names."""
    units = evaluation.units
    assert units.probabilities is not None
    assert units.owners is not None
    number = units.predicted if material.positive is None else np.full(len(units), material.positive)
    stated = np.take_along_axis(units.probabilities, number[:, None], axis=1)[:, 0]
    bins, owners = bins_of(stated), np.unique(units.owners, return_inverse=True)[1]
    counts = _table(owners, bins, np.ones(len(bins)))
    hits = _table(owners, bins, (units.labels == number).astype(float))
    totals = counts.sum(axis=0)
    used = totals > 0
    middles = np.bincount(bins, stated, CALIBRATION_BINS)[used] / totals[used]
    handles: list[Any] = axes.plot(
        [0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="as it should be"
    )
    handles += axes.plot(
        middles, hits.sum(axis=0)[used] / totals[used],
        color=BLUE, marker="o", markersize=4, linewidth=1.4, label="share in a bin",
    )  # fmt: skip
    if material.clusters >= FEWEST:
        low, high = _bin_limits(counts, hits, material)
        handles.append(
            axes.vlines(middles, low[used], high[used], color=BLUE, linewidth=1, label="95 % interval")
        )
    return totals.astype(int).tolist(), handles


def _draw_counts(axes: "Axes", counts: list[int], name: str) -> "Axes":
    """Bars below a diagram with the number of each bin that is not empty; upright where they are long."""
    texts = [f"{count:,}" if count else "" for count in counts]
    longest = max(map(len, texts)) * COUNT_FONT * CHARACTER / 72
    upright = longest > 0.95 * SIDE / CALIBRATION_BINS
    room = (longest if upright else COUNT_FONT / 72) + 0.08
    height = BARS + room
    bars = axes.figure.add_axes((0, -0.2 - height, SIDE, height), sharex=axes)
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    bars.bar(edges[:-1], counts, width=1 / CALIBRATION_BINS, align="edge", color=VERMILLION)
    for left, count, text in zip(edges, counts, texts, strict=False):
        bars.annotate(
            text, (left + 0.5 / CALIBRATION_BINS, count), (0, 2), textcoords="offset points",
            fontsize=COUNT_FONT, ha="center", va="bottom", rotation=90 if upright else 0,
        )  # fmt: skip
    count_on(bars, "y", name, 3)
    bars.set_ylim(0, max(*counts, 1) * height / BARS)
    bars.grid(alpha=0.3)
    return bars


def _table(owners: np.ndarray, bins: np.ndarray, weights: np.ndarray) -> Floats:
    count = int(owners.max(initial=-1)) + 1
    cells = np.bincount(owners * CALIBRATION_BINS + bins, weights, count * CALIBRATION_BINS)
    return cells.astype(np.float64).reshape(count, CALIBRATION_BINS)


def _bin_limits(counts: Floats, hits: Floats, material: Material) -> tuple[Floats, Floats]:
    drawn = [(weights @ counts, weights @ hits) for weights in weightings(material, ROUNDS)]
    totals, trues = (np.concatenate(blocks) for blocks in zip(*drawn, strict=True))
    shares = np.where(totals > 0, trues / np.maximum(totals, 1), np.nan)
    shares = np.where(np.isnan(shares).all(axis=0), 0.0, shares)
    low, high = np.nanquantile(shares, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return low, high
