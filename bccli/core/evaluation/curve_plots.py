"""ROC and precision–recall curves with bands.

Bands are pointwise 95 % intervals over the same bootstrap as those of the figures.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.metrics.bootstrap import draws
from bccli.core.metrics.cases import material_of
from bccli.core.metrics.limits import LEVEL, UNDEFINED, digits_of
from bccli.core.metrics.material import Floats, Material, Ranking
from bccli.core.metrics.plots import (
    COLOURS,
    DASHES,
    GREY,
    add_axes,
    below,
    new_figure,
    set_title,
    wrapped,
)
from bccli.core.metrics.support import FEWEST
from bccli.core.metrics.weighted import CELLS, chunks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ROUNDS = 400
"""Rounds for the bands, which need fewer than a table's limits."""
GRID = np.linspace(0, 1, 101)
SIDE = 4.4
"""Inches: the side of a square diagram."""


def shown_title(evaluation: Evaluation) -> str:
    figures = evaluation.whole
    return ", ".join(str(text) for text in (figures.name, figures.split, figures.protocol) if text)


def material_behind(evaluation: Evaluation) -> Material:
    units = evaluation.units
    return material_of(
        units.labels, units.probabilities, units.classes,
        positive=evaluation.whole.positive, patients=units.patients, owners=units.owners,
        predicted=units.predicted,
    )  # fmt: skip


def _shown_classes(material: Material) -> list[int]:
    return list(range(material.classes)) if material.positive is None else [material.positive]


def curves(ranking: Ranking, weights: Floats) -> Iterator[tuple[Floats, Floats, Floats]]:
    """For each weighting the false positive rates, true positive rates and precisions at the ties' ends.

    A weighting without positives or negatives is left out.
    """
    ends = slice(None) if ranking.ends is None else ranking.ends
    for counted in weights[:, ranking.owners]:
        counts = np.cumsum(counted)[ends]
        hits = np.cumsum(np.where(ranking.positives, counted, 0.0))[ends]
        positives, negatives = hits[-1], counts[-1] - hits[-1]
        if positives and negatives:
            precision = hits / np.maximum(counts, 1)
            yield (counts - hits) / negatives, hits / positives, precision


def _on_grid_roc(fpr: Floats, tpr: Floats, precision: Floats) -> Floats:
    return np.interp(GRID, np.append(0.0, fpr), np.append(0.0, tpr))


def _on_grid_precision(fpr: Floats, tpr: Floats, precision: Floats) -> Floats:
    """The precision at the first point that finds so large a share of the positives."""
    return precision[np.searchsorted(tpr, np.maximum(GRID, tpr[tpr > 0][0])).clip(max=len(tpr) - 1)]


def weightings(material: Material, rounds: int) -> Iterator[Floats]:
    return draws(np.random.default_rng(0), material.clusters, rounds=rounds)


Curve = Callable[[Floats, Floats, Floats], Floats]


def _band(material: Material, number: int, curve: Curve) -> tuple[Floats, Floats] | None:
    """Low and high values (GRID,) of a curve; None with too few clusters, of whatever kind."""
    ranking = material.rankings[number]
    if material.clusters < FEWEST:
        return None
    rounds = max(20, min(ROUNDS, 10 * CELLS // max(len(ranking.owners), 1)))
    found = [
        curve(*points)
        for weights in weightings(material, rounds)
        for chunk in chunks(len(weights), len(ranking.owners))
        for points in curves(ranking, weights[chunk])
    ]
    if len(found) < (1 - UNDEFINED) * rounds:
        return None
    low, high = np.quantile(found, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return low, high


def draw_roc(evaluation: Evaluation) -> "Figure | None":
    """ROC curves with bands; the legend has areas and their intervals."""
    return _draw_curves(evaluation, "roc_auc", _on_grid_roc, ("false positive rate", "true positive rate"))


def draw_precision_recall(evaluation: Evaluation) -> "Figure | None":
    """Precision–recall curves with bands; a dotted line is what chance would reach."""
    return _draw_curves(evaluation, "pr_auc", _on_grid_precision, ("recall (sensitivity)", "precision"))


def _draw_curves(
    evaluation: Evaluation, measure: str, curve: Curve, labels: tuple[str, str]
) -> "Figure | None":
    material = material_behind(evaluation)
    once = np.ones((1, material.clusters))
    figure, handles, names = new_figure(), [], []
    axes = add_axes(figure, 0, SIDE, SIDE)
    for index, number in enumerate(_shown_classes(material)):
        whole = list(curves(material.rankings[number], once)) if number in material.rankings else []
        if not whole:
            continue
        fpr, tpr, precision = whole[0]
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "linewidth": 1.6}
        points = (fpr, tpr) if measure == "roc_auc" else (tpr, precision)
        start = (0.0, 0.0) if measure == "roc_auc" else (0.0, float(precision[0]))
        x, y = (np.append(first, values) for first, values in zip(start, points, strict=True))
        handles += axes.plot(x, y, linestyle=DASHES[index % len(DASHES)], **style)
        if band := _band(material, number, curve):
            axes.fill_between(GRID, *band, color=style["color"], alpha=0.18, linewidth=0)
        names.append(_area(evaluation, measure, material.classes, number))
        if measure == "pr_auc":
            share = float(material.rankings[number].positives.mean())
            axes.axhline(share, color=style["color"], linestyle=":", linewidth=0.8)
    if not handles:
        return None
    if measure == "roc_auc":
        handles += axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        names.append("0.500   chance")
    finish_square(axes, labels, shown_title(evaluation))
    axes.legend(
        handles, names, title="area under the curve, with 95 % interval", handlelength=3,
        **below(0.5, 0.5 / SIDE),
    )  # fmt: skip
    return figure


def _area(evaluation: Evaluation, measure: str, classes: int, number: int) -> str:
    """An area with its interval, and the class's name."""
    figures = evaluation.whole
    name = figures.classes[number]
    value = (figures.per_class or {})[name][measure]
    key = measure if classes == 2 else f"{measure}.{name}"
    limits = (figures.ci or {}).get(key)
    shown = "undefined" if value is None else f"{value:.3f}"
    digits = digits_of(max((figures.ci_error or {}).values(), default=None))
    spread = f" ({limits[0]:.{digits}f}–{limits[1]:.{digits}f})" if limits else ""
    return f"{shown}{spread}   {wrapped(name, 40)}"


def finish_square(axes: "Axes", labels: tuple[str, str], title: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=labels[0], ylabel=labels[1])
    axes.grid(alpha=0.3)
    set_title(axes, title, SIDE)
