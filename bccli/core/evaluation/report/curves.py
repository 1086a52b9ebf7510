"""ROC and precision–recall curves as points that a page can hold, however many predictions there are."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bccli.core.evaluation.curve_plots import (
    GRID,
    material_behind,
    on_grid_precision,
    on_grid_roc,
    values_of_rounds,
)
from bccli.core.evaluation.curve_plots import curves as curves_of
from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.report.absent import Absent
from bccli.core.evaluation.report.forest import Estimate
from bccli.core.metrics.figures import Figures
from bccli.core.metrics.limits import LEVEL
from bccli.core.metrics.material import Floats, Material, Ranking

Points = tuple[tuple[float, float], ...]
OnGrid = Callable[[Floats, Floats, Floats], Floats]
_STEPS = 320
"""Steps of the grid that points are moved to: as many as a diagram has pixels."""
MOST = 7
"""Curves in one diagram; of more classes, the first are shown."""


@dataclass(frozen=True)
class Curve:
    """The curve of a class against the rest, and the area below it; `chance` is what guessing reaches.

    `band` is the outline of its pointwise 95 % intervals; empty where its area has none, and of
    several curves.
    """

    name: str
    points: Points
    area: Estimate
    chance: float
    band: Points = ()


@dataclass(frozen=True)
class Curves:
    """The curves of both kinds, class by class; `left_out` counts classes beyond those that are shown."""

    roc: tuple[Curve, ...]
    precision_recall: tuple[Curve, ...]
    left_out: int = 0


def curves(entry: Evaluation) -> Curves | Absent:
    """The curves of the positive class, or of each of more than two."""
    if entry.units.probabilities is None:
        return Absent("Without probabilities there is one operating point and no curve.")
    material = material_behind(entry)
    numbers = [material.positive] if material.positive is not None else list(range(material.classes))
    roc, precision_recall = [], []
    for number in numbers[:MOST]:
        ranking = material.rankings.get(number)
        found = list(curves_of(ranking, np.ones((1, material.clusters)))) if ranking else []
        if not found or ranking is None:
            continue
        (fpr, tpr, precision), share = found[0], float(ranking.positives.mean())
        ends = np.append(0.0, fpr), np.append(0.0, tpr)
        roc.append(_curve(entry.whole, number, "roc_auc", ends, 0.5))
        ends = np.append(0.0, tpr), np.append(precision[0], precision)
        precision_recall.append(_curve(entry.whole, number, "pr_auc", ends, share))
    if not roc:
        return Absent("All images are of one class, and curves need two.")
    if len(roc) == 1:
        ranking = material.rankings[numbers[0]]
        roc = [_banded(roc[0], material, ranking, on_grid_roc)]
        precision_recall = [_banded(precision_recall[0], material, ranking, on_grid_precision)]
    return Curves(tuple(roc), tuple(precision_recall), len(numbers[MOST:]))


def _banded(curve: Curve, material: Material, ranking: Ranking, on_grid: OnGrid) -> Curve:
    """The curve with its band, where its area has an interval."""
    if curve.area.low is None:
        return curve
    _, drawn = values_of_rounds(material, ranking, on_grid)
    edges = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    low, high = (thinned(GRID, edge) for edge in edges)
    return replace(curve, band=(*high, *reversed(low)))


def _curve(figures: Figures, number: int, measure: str, ends: tuple[Floats, Floats], chance: float) -> Curve:
    name = figures.classes[number]
    value = (figures.per_class or {})[name][measure]
    key = measure if len(figures.classes) == 2 else f"{measure}.{name}"
    low, high = (figures.ci or {}).get(key) or (None, None)
    return Curve(name, thinned(*ends), Estimate(value, low, high), chance)


def thinned(x: Floats, y: Floats) -> Points:
    """The corners of a curve (n,) on a grid of 320 steps in both directions.

    >>> thinned(np.array([0.0, 0.2, 0.4, 0.4]), np.array([0.0, 0.0, 0.0, 1.0]))
    ((0.0, 0.0), (0.4, 0.0), (0.4, 1.0))
    """
    points = (np.stack([x, y], axis=1) * _STEPS).round()
    points = points[np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))]
    before, after = np.diff(points[:-1], axis=0), np.diff(points[1:], axis=0)
    straight = ((before == 0) & (after == 0)).any(axis=1)
    corners = np.concatenate([[True], ~straight, [True]])[: len(points)]
    return tuple((x, y) for x, y in (points[corners] / _STEPS).tolist())
