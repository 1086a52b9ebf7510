"""Plots of a sweep: val against test, and β against the area under the ROC curve."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bccli.core.evaluation.published import PAPERS
from bccli.core.metrics.plots import (
    BLUE,
    GREY,
    VERMILLION,
    Target,
    add_axes,
    new_figure,
    set_title,
    write_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE, GAP = 4.2, 0.9
"""Inches: one panel, and what lies between two."""

_OFFSETS = ((5, 4), (-5, 4), (5, -4), (-5, -4))
"""Where a point's name may stand, in points of a 72nd inch from it."""

Row = Mapping[str, Any]
Point = tuple[str, float, float]
Name = tuple[str, float, float, str, bool]
"""A point's name, where the point is, the colour, and whether it is there even over others."""


def plot_sweep(rows: Sequence[Row], path: Target, *, recipe: str = "", title: str = "") -> None:
    """Draw the rows of a leaderboard, best first; where `recipe` is a paper's, its points stand beside them.

    Left: accuracy on val and on test. Right: β, for which the paper divides by test, against the paper's
    AUC where there is one, else against the area under the ROC curve, on test, or on val where no test is.
    """
    figure = new_figure()
    left, right = add_axes(figure, 0, SIDE, SIDE), add_axes(figure, SIDE + GAP, SIDE, SIDE)
    printed = _printed(recipe, tuned=any(row.get("from_layer") is not None for row in rows))
    _draw_accuracies(left, rows)
    _draw_beta(right, rows, printed)
    set_title(left, title, SIDE)
    write_figure(figure, path)


def _draw_accuracies(axes: "Axes", rows: Sequence[Row]) -> None:
    points = _points(rows, "val_accuracy", "test_accuracy")
    axes.set(xlabel="accuracy on val", ylabel="accuracy on test")
    names = _scatter(axes, points, rows)
    if points:
        low = min(min(x, y) for _, x, y in points)
        axes.plot([low, 1], [low, 1], color=GREY, linestyle=":", linewidth=1, label="the same on both")
    _finish(axes, bool(points), "no member has figures on both")
    _write_names(axes, names)


def _draw_beta(axes: "Axes", rows: Sequence[Row], printed: Mapping[str, tuple[float, float]]) -> None:
    beta = next((key for key in ("beta_paper", "beta") if _points(rows, key, key)), "beta")
    area = next(
        (key for key in ("test_auc_paper", "test_roc_auc", "val_roc_auc") if _points(rows, key, key)), ""
    )
    words = {"test_auc_paper": "the paper's AUC on test", "test_roc_auc": "area under the ROC curve on test"}
    axes.set(xlabel="train / test accuracy" if beta == "beta_paper" else "β (train / val accuracy)")
    axes.set(ylabel=words.get(area, "area under the ROC curve on val"))
    points = _points(rows, beta, area)
    names = _scatter(axes, points, rows)
    shown = [(name, *printed[name]) for name in printed]
    if shown:
        axes.scatter(
            [x for _, x, _ in shown], [y for _, _, y in shown],
            color=VERMILLION, marker="x", s=28, label="the paper's", zorder=2,
        )  # fmt: skip
        names += [(name, x, y, VERMILLION, False) for name, x, y in shown]
    axes.axvline(1, color=GREY, linestyle=":", linewidth=1)
    _finish(axes, bool(points or shown), "no member has both")
    _write_names(axes, names)


def _points(rows: Sequence[Row], x: str, y: str) -> list[Point]:
    return [
        (row["name"], row[x], row[y])
        for row in rows
        if row["status"] == "complete" and row.get(x) is not None and row.get(y) is not None
    ]


def _scatter(axes: "Axes", points: Sequence[Point], rows: Sequence[Row]) -> list[Name]:
    """Draw the members; returns their names, those of the chosen one and the best on test first."""
    chosen = {row["name"] for row in rows if row["chosen"]}
    if not points:
        return []
    axes.scatter(
        [x for _, x, _ in points], [y for _, _, y in points],
        color=BLUE, marker="o", s=28, alpha=0.8, label="members", zorder=3,
    )  # fmt: skip
    best = max(points, key=lambda point: point[2])[0]
    for name, x, y in points:
        if name in chosen:
            axes.scatter([x], [y], s=110, facecolors="none", edgecolors="black", label="chosen", zorder=4)
    names = [(name, x, y, "black", name in (*chosen, best)) for name, x, y in points]
    return sorted(names, key=lambda each: not each[-1])


def _write_names(axes: "Axes", names: Sequence[Name]) -> None:
    """Write each name beside its point, where it covers no other name, point or legend; else not at all."""
    axes.autoscale_view()
    legend = axes.get_legend()
    taken = [legend.get_window_extent()] if legend else []
    points: Any = axes.transData.transform([each[1:3] for each in names]) if names else ()
    for text, x, y, colour, needed in names:
        written = axes.annotate(
            text.replace("$", r"\$"), (x, y), xytext=_OFFSETS[0], textcoords="offset points",
            fontsize=7, color=colour,
        )  # fmt: skip
        for offset in _OFFSETS:
            written.set_position(offset)
            written.set_horizontalalignment("left" if offset[0] > 0 else "right")
            written.set_verticalalignment("bottom" if offset[1] > 0 else "top")
            box = written.get_window_extent()
            inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
            if inside and not box.count_overlaps(taken) and not box.count_contains(points):
                taken.append(box)
                break
        else:
            if not needed:
                written.remove()


def _finish(axes: "Axes", anything: bool, otherwise: str) -> None:
    axes.grid(alpha=0.3)
    if anything:
        axes.margins(0.12)
        axes.legend(fontsize=8, loc="best")
    else:
        axes.text(0.5, 0.5, otherwise, ha="center", va="center", transform=axes.transAxes, color=GREY)


def _printed(recipe: str, *, tuned: bool) -> dict[str, tuple[float, float]]:
    """A paper's β and AUC of each backbone that has both, of those that were fine-tuned or of the others."""
    found: dict[str, dict[str, float]] = {}
    for row in PAPERS.get(recipe, ()):
        gamma = row.model.gamma
        if row.measure in ("beta_paper", "auc_paper") and (gamma is not None) == tuned:
            name = row.model.backbone + (f"-{gamma}-FT" if tuned else "")
            found.setdefault(name, {})[row.measure] = row.value
    return {
        name: (values["beta_paper"], values["auc_paper"])
        for name, values in found.items()
        if len(values) == 2
    }
