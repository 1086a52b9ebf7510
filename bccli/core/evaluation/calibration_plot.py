"""The reliability diagram: how often what is said with a probability is true."""

from typing import TYPE_CHECKING

import numpy as np

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.metrics.limits import LEVEL
from bccli.core.metrics.material import CALIBRATION_BINS, Floats, Material, bins_of
from bccli.core.metrics.plots import (
    BLUE,
    GREY,
    VERMILLION,
    add_axes,
    new_figure,
    wrapped,
)
from bccli.core.metrics.support import FEWEST

if TYPE_CHECKING:
    from matplotlib.figure import Figure
from bccli.core.evaluation.curve_plots import (
    ROUNDS,
    SIDE,
    finish_square,
    material_behind,
    shown_title,
    weightings,
)


def draw_calibration(evaluation: Evaluation) -> "Figure | None":
    """Draw how often predictions of a probability are right: in bins, with intervals, over their counts.

    Two classes: the positive one's probability. More: that of the predicted class.
    """
    units, material = evaluation.units, material_behind(evaluation)
    if units.probabilities is None or not len(units):
        return None
    if material.positive is None:
        stated = np.take_along_axis(units.probabilities, units.predicted[:, None], axis=1)[:, 0]
        true, what = units.labels == units.predicted, "probability of the predicted class"
    else:
        stated = units.probabilities[:, material.positive]
        true, what = (
            units.labels == material.positive,
            wrapped(f"probability of {evaluation.whole.positive}", 40),
        )
    assert units.owners is not None
    owners = np.unique(units.owners, return_inverse=True)[1]
    bins = bins_of(stated)
    figure = new_figure()
    axes = add_axes(figure, 0, SIDE, SIDE)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    counts, hits = (_table(owners, bins, weights) for weights in (np.ones(len(bins)), true.astype(float)))
    used = counts.sum(axis=0) > 0
    middles = np.bincount(bins, stated, CALIBRATION_BINS)[used] / counts.sum(axis=0)[used]
    rates = (hits.sum(axis=0) / np.maximum(counts.sum(axis=0), 1))[used]
    axes.plot(middles, rates, color=BLUE, marker="o", markersize=4, linewidth=1.4)
    if material.clusters >= FEWEST:
        low, high = _bin_limits(counts, hits, material)
        axes.vlines(middles, low[used], high[used], color=BLUE, linewidth=1)
    finish_square(axes, ("", "share that is true"), shown_title(evaluation))
    axes.tick_params(labelbottom=False)
    below_it = figure.add_axes((0, -1.15, SIDE, 0.95), sharex=axes)
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    below_it.bar(edges[:-1], counts.sum(axis=0), width=1 / CALIBRATION_BINS, align="edge", color=VERMILLION)
    below_it.set(xlabel=what, ylabel=f"{evaluation.whole.level}s")
    below_it.grid(alpha=0.3)
    return figure


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
