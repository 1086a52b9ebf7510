"""Plots of a sweep: val against test, and β against the area under the ROC curve."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bccli.core.evaluation.published import PAPERS
from bccli.core.metrics.material import Floats
from bccli.core.metrics.plots import (
    BLUE,
    CHARACTER,
    GREY,
    VERMILLION,
    Target,
    add_axes,
    below,
    literal,
    new_figure,
    own_style,
    set_title,
    wrapped,
    write_figure,
)
from bccli.core.sweeps.point_labels import DISTANCES, Surroundings, groups, nearest, places, ranges

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE, GAP = 4.2, 0.9
"""Inches: one panel, and what lies between two."""

INK = "black"
MOST_NAMES, MOST_NUMBERS = 12, 60
"""Up to so many points have their names beside them; of more the first ones have numbers."""
NEAR, LONG = 5, 10
"""So many of the DISTANCES are near enough for a name; a text farther off than this (points) has a line."""
FONT, KEY_FONT, LINE = 7, 8, 0.15
"""Points of a label and of the key, and inches of the key's lines."""
PAD = 1.5
"""Points around a label, so that those beside each other do not read as one."""
MOST_COLUMNS, MOST_LETTERS = 4, 120
"""Of the key, and of a name in it."""
RADIUS, RING = 3.5, 6.0
"""Of a point and of the chosen one's ring, in points of a 72nd inch."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """A point of a diagram: the member's name or the paper's backbone, where it is, and its colour."""

    name: str
    x: float
    y: float
    colour: str = INK
    chosen: bool = False

    @property
    def radius(self) -> float:
        """How far its mark reaches, in points of a 72nd inch."""
        return RING if self.chosen else RADIUS


Diagram: TypeAlias = tuple["Axes", Sequence[Point]]


@own_style()
def plot_sweep(rows: Sequence[Row], path: Target, *, recipe: str = "", title: str = "") -> None:
    """Draw the rows of a leaderboard, best first; where `recipe` is a paper's, its points stand beside them.

    Left: accuracy on val and on test. Right: β, for which the paper divides by test, against the paper's
    AUC where there is one, else against the area under the ROC curve, on test, or on val where no test is.
    Each point has its name beside it, or, where names do not fit, its number in a key below.
    """
    figure = new_figure()
    left, right = add_axes(figure, 0, SIDE, SIDE), add_axes(figure, SIDE + GAP, SIDE, SIDE)
    printed = _printed(recipe, tuned=any(row.get("from_layer") is not None for row in rows))
    diagrams = [(left, _draw_accuracies(left, rows)), (right, _draw_beta(right, rows, printed))]
    set_title(left, title, SIDE)
    shown = {point.name for _, points in diagrams for point in points}
    if len(shown) > MOST_NAMES or not _write_names(diagrams):
        order = [name for name in dict.fromkeys(row["name"] for row in rows) if name in shown]
        order += [point.name for point in printed if point.name not in order]
        numbers = {name: number for number, name in enumerate(order[:MOST_NUMBERS], 1)}
        _write_numbers(diagrams, numbers)
        _write_key(figure, numbers, {row["name"] for row in rows}, len(order))
    write_figure(figure, path)


def _draw_accuracies(axes: "Axes", rows: Sequence[Row]) -> list[Point]:
    points = _points(rows, "val_accuracy", "test_accuracy")
    axes.set(xlabel="accuracy on val", ylabel="accuracy on test")
    _scatter(axes, points)
    if points:
        low = min(min(point.x, point.y) for point in points)
        axes.plot([low, 1], [low, 1], color=GREY, linestyle=":", linewidth=1, label="the same on both")
    _finish(axes, bool(points), "no member has figures on both")
    return points


def _draw_beta(axes: "Axes", rows: Sequence[Row], printed: Sequence[Point]) -> list[Point]:
    beta = next((key for key in ("beta_paper", "beta") if _points(rows, key, key)), "beta")
    area = next(
        (key for key in ("test_auc_paper", "test_roc_auc", "val_roc_auc") if _points(rows, key, key)), ""
    )
    words = {"test_auc_paper": "the paper's AUC on test", "test_roc_auc": "area under the ROC curve on test"}
    axes.set(xlabel="train / test accuracy" if beta == "beta_paper" else "β (train / val accuracy)")
    axes.set(ylabel=words.get(area, "area under the ROC curve on val"))
    points = _points(rows, beta, area)
    _scatter(axes, points)
    if printed:
        axes.scatter(
            [point.x for point in printed], [point.y for point in printed],
            color=VERMILLION, marker="x", s=28, label="the paper's", zorder=2,
        )  # fmt: skip
    axes.axvline(1, color=GREY, linestyle=":", linewidth=1, label="the same on both")
    _finish(axes, bool(points or printed), "no member has both")
    return [*points, *printed]


def _points(rows: Sequence[Row], x: str, y: str) -> list[Point]:
    return [
        Point(row["name"], row[x], row[y], chosen=bool(row["chosen"]))
        for row in rows
        if row["status"] == "complete" and all(_is_finite(row.get(key)) for key in (x, y))
    ]


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _scatter(axes: "Axes", points: Sequence[Point]) -> None:
    """Draw the members, and a ring around the chosen one."""
    if not points:
        return
    style: dict[str, Any] = {"color": BLUE, "marker": "o", "s": 28, "alpha": 0.8, "zorder": 3}
    axes.scatter([point.x for point in points], [point.y for point in points], label="members", **style)
    ringed = [(point.x, point.y) for point in points if point.chosen]
    if ringed:
        ring: dict[str, Any] = {"s": 110, "facecolors": "none", "edgecolors": INK, "zorder": 4}
        axes.scatter(*zip(*ringed, strict=True), label="chosen", **ring)


def _write_names(diagrams: Sequence[Diagram]) -> bool:
    """Write each point's name near it; nothing, and False, where one of them has no place."""

    def words(points: Sequence[Point]) -> str:
        return "\n".join(literal(point.name) for point in points)

    written = [_write(*diagram, words, DISTANCES[:NEAR]) for diagram in diagrams]
    complete = all(every for _, every in written)
    for artists, _ in () if complete else written:
        for artist in artists:
            artist.remove()
    return complete


def _write_numbers(diagrams: Sequence[Diagram], numbers: Mapping[str, int]) -> None:
    """Write the points' numbers beside them, as far as there is room."""

    def words(points: Sequence[Point]) -> str:
        return wrapped(ranges([numbers[point.name] for point in points if point.name in numbers]), 14)

    for diagram in diagrams:
        _write(*diagram, words, DISTANCES)


def _write(
    axes: "Axes", points: Sequence[Point], words: Callable[[Sequence[Point]], str], distances: Sequence[float]
) -> tuple[list["Artist"], bool]:
    """Write words beside points, one text for those over each other; what was written, and if it is all."""
    axes.autoscale_view()
    grouped = [group for colour in (INK, VERMILLION) for group in _groups(axes, points, colour)]
    texts = [(group[0], text) for group in grouped if (text := words(group))]
    unit = axes.figure.dpi / 72
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": FONT, "ha": "left", "va": "bottom"}
    notes = [
        axes.annotate(text, (point.x, point.y), (0, 0), color=point.colour, **style) for point, text in texts
    ]
    middles = _pixels(axes, [point for point, _ in texts])
    sizes = np.array([note.get_window_extent().size for note in notes]) + 2 * PAD * unit
    radii = np.array([point.radius for point, _ in texts]) * unit
    found = places(middles, sizes, radii, _around(axes, points), [far * unit for far in distances])
    written: list[Artist] = []
    for note, middle, place, radius in zip(notes, middles, found, radii, strict=True):
        if place is None:
            note.remove()
            continue
        note.set_position((place.box[:2] - middle) / unit + PAD)
        written.append(note)
        end = nearest(place.box, middle) - middle
        if not place.clear or np.hypot(*end) > radius + LONG * unit:
            written.append(_draw_leader(axes, note.xy, end / unit, radius / unit))
    return written, {*notes} <= {*written}


def _draw_leader(axes: "Axes", point: tuple[float, float], end: Floats, radius: float) -> "Artist":
    """A thin line from a point's edge to its text; `end` in points of a 72nd inch from the point."""
    style = {"arrowstyle": "-", "linewidth": 0.5, "color": GREY, "shrinkA": 0, "shrinkB": radius}
    return axes.annotate("", point, tuple(end), textcoords="offset points", arrowprops=style)


def _groups(axes: "Axes", points: Sequence[Point], colour: str) -> list[list[Point]]:
    """The points of a colour, those that lie over each other together."""
    some = [point for point in points if point.colour == colour]
    reach = RADIUS * axes.figure.dpi / 72
    return [[some[number] for number in group] for group in groups(_pixels(axes, some), reach)]


def _pixels(axes: "Axes", points: Sequence[Point]) -> Floats:
    where = np.array([(point.x, point.y) for point in points]).reshape(-1, 2)
    return np.asarray(axes.transData.transform(where))


def _around(axes: "Axes", points: Sequence[Point]) -> Surroundings:
    """What texts in a diagram may not cover: points and dotted lines."""
    middles = _pixels(axes, points)
    reach = np.array([point.radius for point in points]).reshape(-1, 1) * axes.figure.dpi / 72
    lines = [line.get_transform().transform(line.get_xydata()) for line in axes.lines]
    return Surroundings(
        np.array(axes.bbox.extents),
        np.concatenate([middles - reach, middles + reach], axis=1),
        np.array(lines).reshape(-1, 2, 2),
        middles,
    )


def _write_key(figure: "Figure", numbers: Mapping[str, int], members: Collection[str], count: int) -> None:
    """The numbers' names in columns below the diagrams, those of the paper alone in its colour."""
    longest = max(map(len, numbers))
    width = 2 * SIDE + GAP
    columns = min(max(1, int(width * 72 / ((longest + 6) * KEY_FONT * CHARACTER))), MOST_COLUMNS)
    lines = math.ceil(len(numbers) / columns)
    top = -0.95
    for name, number in numbers.items():
        column, line = divmod(number - 1, lines)
        left, height = column * width / columns, top - line * LINE
        colour = INK if name in members else VERMILLION
        style: dict[str, Any] = {"fontsize": KEY_FONT, "va": "top", "color": colour}
        figure.text(left + 0.2, height, str(number), ha="right", **style)
        figure.text(left + 0.27, height, _shortened(name), **style)
    if count > len(numbers):
        words = f"and {count - len(numbers):,} more without numbers, in leaderboard.csv"
        figure.text(0.27, top - lines * LINE, words, fontsize=KEY_FONT, va="top")


def _shortened(name: str) -> str:
    return literal(name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…")


def _finish(axes: "Axes", anything: bool, otherwise: str) -> None:
    axes.grid(alpha=0.3)
    if anything:
        axes.margins(0.12)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles, labels, fontsize=8, ncols=len(handles), **below(0.5, 0.5 / SIDE))
    else:
        axes.text(0.5, 0.5, otherwise, ha="center", va="center", transform=axes.transAxes, color=GREY)


def _printed(recipe: str, *, tuned: bool) -> list[Point]:
    """A paper's β and AUC of each backbone that has both, of those that were fine-tuned or of the others."""
    found: dict[str, dict[str, float]] = {}
    for row in PAPERS.get(recipe, ()):
        gamma = row.model.gamma
        if row.measure in ("beta_paper", "auc_paper") and (gamma is not None) == tuned:
            name = row.model.backbone + (f"-{gamma}-FT" if tuned else "")
            found.setdefault(name, {})[row.measure] = row.value
    return [
        Point(name, values["beta_paper"], values["auc_paper"], VERMILLION)
        for name, values in found.items()
        if len(values) == 2
    ]
