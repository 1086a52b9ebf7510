"""ROC and precision–recall curves with bands.

Bands are pointwise 95 % intervals over the same bootstrap as those of the figures. Where they would
lie over each other, each class has a panel of its own.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.metrics import panels
from bccli.core.metrics.bootstrap import draws
from bccli.core.metrics.cases import material_of
from bccli.core.metrics.limits import LEVEL, UNDEFINED, digits_of
from bccli.core.metrics.material import Floats, Material, Ranking
from bccli.core.metrics.panels import FONT
from bccli.core.metrics.plots import (
    CHARACTER,
    COLOURS,
    DASHES,
    GREY,
    add_axes,
    below,
    new_figure,
    set_title,
    wrapped,
)
from bccli.core.metrics.support import Support, supports
from bccli.core.metrics.weighted import CELLS, chunks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


ROUNDS = 400
"""Rounds for the bands, which need fewer than a table's limits."""
GRID = np.linspace(0, 1, 101)
SIDE = 4.4
"""Inches: the side of a square diagram."""
MANY_BANDS = 2
"""From so many bands on, each class has a panel: with them come three curves or more."""
PANEL, APART, LINE = 2.4, 0.4, 0.17
"""Inches: the side of a class's panel, what lies between two, and a line of its title."""
FEW_ACROSS, MOST_ACROSS = 3, 4
"""Panels in a row: of up to nine, and of more."""
TITLE_FONT = 11
HALVES = (0, 0.5, 1)
PALE = "#BBBBBB"


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


def on_grid_roc(fpr: Floats, tpr: Floats, precision: Floats) -> Floats:
    """The true positive rates at the false positive rates of GRID."""
    return np.interp(GRID, np.append(0.0, fpr), np.append(0.0, tpr))


def on_grid_precision(fpr: Floats, tpr: Floats, precision: Floats) -> Floats:
    """The precision at the first point that finds so large a share of the positives."""
    return precision[np.searchsorted(tpr, np.maximum(GRID, tpr[tpr > 0][0])).clip(max=len(tpr) - 1)]


def weightings(material: Material, rounds: int) -> Iterator[Floats]:
    return draws(np.random.default_rng(0), material.clusters, rounds=rounds)


Curve = Callable[[Floats, Floats, Floats], Floats]


def values_of_rounds(material: Material, ranking: Ranking, curve: Curve) -> tuple[int, list[Floats]]:
    """The rounds of a bootstrap, and of each in which the curve is defined its values (GRID,)."""
    rounds = max(20, min(ROUNDS, 10 * CELLS // max(len(ranking.owners), 1)))
    return rounds, [
        curve(*points)
        for weights in weightings(material, rounds)
        for chunk in chunks(len(weights), len(ranking.owners))
        for points in curves(ranking, weights[chunk])
    ]


def _band(material: Material, number: int, curve: Curve, support: Support) -> tuple[Floats, Floats] | None:
    """Low and high values (GRID,) of a curve; None where its area has no interval, with too few clusters."""
    ranking = material.rankings[number]
    if support.clusters < support.needed:
        return None
    rounds, found = values_of_rounds(material, ranking, curve)
    if len(found) < (1 - UNDEFINED) * rounds:
        return None
    low, high = np.quantile(found, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return low, high


@dataclass(frozen=True)
class ClassCurve:
    """The curve of a class against the rest.

    Its points (n,), its band over GRID where there is one, what chance reaches at both ends of the diagram,
    and the area with its interval. A class without images, or alone, has no points.
    """

    name: str
    area: str
    x: Floats
    y: Floats
    band: tuple[Floats, Floats] | None
    chance: tuple[float, float]
    style: Mapping[str, Any]


@dataclass(frozen=True)
class Diagram:
    """What tells a kind of curve from another: its measure, axes, points, and what chance reaches.

    `points` and `on_grid` take false positive rates, true positive rates and precisions; `chance` the share
    of the positives.
    """

    measure: str
    labels: tuple[str, str]
    points: Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]
    on_grid: Curve
    chance: Callable[[float], tuple[float, float]]


_ROC = Diagram(
    "roc_auc",
    ("false positive rate", "true positive rate"),
    lambda fpr, tpr, precision: (np.append(0.0, fpr), np.append(0.0, tpr)),
    on_grid_roc,
    lambda share: (0.0, 1.0),
)
_PRECISION_RECALL = Diagram(
    "pr_auc",
    ("recall (sensitivity)", "precision"),
    lambda fpr, tpr, precision: (np.append(0.0, tpr), np.append(precision[0], precision)),
    on_grid_precision,
    lambda share: (share, share),
)


def draw_roc(evaluation: Evaluation) -> "Figure | None":
    """ROC curves with bands, areas and their intervals; a panel for each class where bands would overlap."""
    return _draw_curves(evaluation, _ROC)


def draw_precision_recall(evaluation: Evaluation) -> "Figure | None":
    """Precision–recall curves, as ROC curves; a dotted line is what chance would reach."""
    return _draw_curves(evaluation, _PRECISION_RECALL)


def _draw_curves(evaluation: Evaluation, diagram: Diagram) -> "Figure | None":
    material = material_behind(evaluation)
    behind = supports(material)
    found = [
        _class_curve(evaluation, material, diagram, index, number, behind[f"{diagram.measure}.{number}"])
        for index, number in enumerate(_shown_classes(material))
    ]
    if not any(len(curve.x) for curve in found):
        return None
    banded = sum(curve.band is not None for curve in found)
    draw = _draw_together if banded < MANY_BANDS else _draw_panels
    return draw(shown_title(evaluation), diagram, found)


def _class_curve(
    evaluation: Evaluation, material: Material, diagram: Diagram, index: int, number: int, support: Support
) -> ClassCurve:
    name, area = evaluation.whole.classes[number], _area(evaluation, diagram.measure, material, number)
    style = {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}
    once = np.ones((1, material.clusters))
    whole = list(curves(material.rankings[number], once)) if number in material.rankings else []
    if not whole:
        return ClassCurve(name, area, np.empty(0), np.empty(0), None, (0.0, 0.0), style)
    chance = diagram.chance(float(material.rankings[number].positives.mean()))
    band = _band(material, number, diagram.on_grid, support)
    return ClassCurve(name, area, *diagram.points(*whole[0]), band, chance, style)


def _draw_together(title: str, diagram: Diagram, found: Sequence[ClassCurve]) -> "Figure":
    """All curves in one diagram; the legend has areas and their intervals."""
    figure = new_figure()
    axes = add_axes(figure, 0, SIDE, SIDE)
    handles = [_draw_curve(axes, curve) for curve in found]
    levels = {curve.chance: curve.style["color"] for curve in found if len(curve.x)}
    for ends, colour in levels.items():
        axes.plot([0, 1], ends, linestyle=":", linewidth=1, color=GREY if len(levels) == 1 else colour)
    handles.append(axes.plot([], [], linestyle=":", linewidth=1, color=GREY)[0])
    by_chance = (
        f"{sum(next(iter(levels))) / 2:.3f}   chance" if len(levels) == 1 else "chance, class by class"
    )
    names = [f"{curve.area}   {wrapped(curve.name, 40)}" for curve in found]
    finish_square(axes, diagram.labels, title)
    axes.legend(
        handles, [*names, by_chance], handlelength=3, **below(0.5, 0.5 / SIDE),
        title="area under the curve" + ", with 95 % interval" * any("(" in curve.area for curve in found),
    )  # fmt: skip
    return figure


def _draw_curve(axes: "Axes", curve: ClassCurve) -> "Line2D":
    """Draw a curve with its band; returns its line."""
    if curve.band:
        axes.fill_between(GRID, *curve.band, color=curve.style["color"], alpha=0.18, linewidth=0)
    return axes.plot(curve.x, curve.y, linewidth=1.6, **curve.style)[0]


def _draw_panels(title: str, diagram: Diagram, found: Sequence[ClassCurve]) -> "Figure":
    """A panel for each class that has a curve, with the curves of the others in grey behind it."""
    figure, shown = new_figure(), [curve for curve in found if len(curve.x)]
    lines = math.ceil(len(shown) / (FEW_ACROSS if len(shown) <= FEW_ACROSS**2 else MOST_ACROSS))
    across = math.ceil(len(shown) / lines)
    width, top = across * (PANEL + APART) - APART, 0.0
    for first in range(0, len(shown), across):
        top = _draw_row(figure, top - 0.12 * (first > 0), diagram, shown, range(first, first + across))
    heading = wrapped(title, _letters(width, TITLE_FONT))
    figure.text(width / 2, 0.1, heading, fontsize=TITLE_FONT, ha="center", va="bottom")
    notes = [_TOO_FEW] * any(curve.band is None for curve in shown)
    notes += [f"No curve: {curve.name}." for curve in found if not len(curve.x)]
    words = wrapped(" ".join((_LEGEND, *notes)), _letters(width, FONT))
    figure.text(0, top - 0.55, words, fontsize=FONT, va="top")
    return figure


def _draw_row(
    figure: "Figure", top: float, diagram: Diagram, shown: Sequence[ClassCurve], row: range
) -> float:
    """Draw a row of panels below `top`; returns where they end. The lowest of a column names its x axis."""
    names = [wrapped(curve.name, _letters(PANEL, FONT)) for curve in shown[row.start : row.stop]]
    top -= (max(name.count("\n") for name in names) + 2) * LINE
    for column, (number, name) in enumerate(zip(row, names, strict=False)):
        axes = panels.add_axes(figure, column * (PANEL + APART), top, PANEL, PANEL)
        _draw_panel(axes, number, shown)
        axes.set_title(f"{name}\n{shown[number].area}", fontsize=FONT, pad=4)
        lowest, leftmost = number + len(row) >= len(shown), not column
        axes.set(xlabel=diagram.labels[0] * lowest, ylabel=diagram.labels[1] * leftmost)
        axes.tick_params(labelbottom=lowest, labelleft=leftmost)
    return top - PANEL


_LEGEND = (
    "Above each panel: the area under the curve, with its 95 % interval. "
    "Grey: the other classes. Dotted: chance. Band: 95 % interval at each point."
)
_TOO_FEW = "A class of too few patients has neither interval nor band."


def _draw_panel(axes: "Axes", number: int, shown: Sequence[ClassCurve]) -> None:
    for other in (*shown[:number], *shown[number + 1 :]):
        axes.plot(other.x, other.y, color=PALE, linewidth=0.8)
    axes.plot([0, 1], shown[number].chance, color=GREY, linestyle=":", linewidth=1)
    _draw_curve(axes, shown[number])
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xticks=HALVES, yticks=HALVES)
    axes.grid(alpha=0.3)


def _letters(inches: float, size: float) -> int:
    """How many letters of a font's size fit on a line."""
    return int(inches * 72 / (size * CHARACTER))


def _area(evaluation: Evaluation, measure: str, material: Material, number: int) -> str:
    """An area with its interval."""
    figures = evaluation.whole
    name = figures.classes[number]
    value = (figures.per_class or {})[name][measure]
    key = measure if material.classes == 2 else f"{measure}.{name}"
    limits = (figures.ci or {}).get(key)
    shown = "undefined" if value is None else f"{value:.3f}"
    digits = digits_of(max((figures.ci_error or {}).values(), default=None))
    return f"{shown} ({limits[0]:.{digits}f}–{limits[1]:.{digits}f})" if limits else shown


def finish_square(axes: "Axes", labels: tuple[str, str], title: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=labels[0], ylabel=labels[1])
    axes.grid(alpha=0.3)
    set_title(axes, title, SIDE)
