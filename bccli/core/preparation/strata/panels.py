"""The panels of stats.png that say who is in a dataset: a bar for each value of a column of metadata."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bccli.core.evaluation.breakdown.columns import Column, Strata, choose, in_words
from bccli.core.metrics.panels import (
    SMALL_FONT,
    add_axes,
    letters_in,
    percentage,
    room_of,
    shortened,
    write_heading,
    write_label,
)
from bccli.core.metrics.plots import COLOURS, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POSITIVE, _REST = COLOURS[3], COLOURS[5]
"""Not the colours of the splits, which stand in the same picture."""

_WIDTH, _HALF, _GAP = 8.6, 3.7, 0.3
_ROW, _LINE, _BETWEEN, _TITLE = 0.23, 0.15, 0.07, 0.2
_NAMES, _HEADING_LETTERS, _SMALL_LETTERS = 1.4, 105, 125


def draw_strata(
    figure: "Figure", top: float, strata: Strata, totals: Mapping[str, int], positive: str
) -> None:
    """Two panels beside each other, as many as there are columns to show; nothing where there are none.

    `totals` has the images of each class.
    """
    chosen = choose(strata, totals, positive)
    if not chosen.columns and not chosen.left_out:
        return
    heading = f"images by their metadata, and the share of {positive} among them (purple)"
    top = write_heading(figure, 0, top, wrapped(heading if chosen.columns else "metadata", _HEADING_LETTERS))
    if chosen.left_out:
        text = shortened(f"not shown: {in_words(chosen.left_out)}", _SMALL_LETTERS)
        figure.text(0, top + 0.1, text, fontsize=SMALL_FONT, va="top")
        top -= 0.1 + _LINE * text.count("\n")
    for first in range(0, len(chosen.columns), 2):
        pair = chosen.columns[first : first + 2]
        lefts = (0, _WIDTH - _HALF)
        top = min(_draw_column(figure, left, top, each) for left, each in zip(lefts, pair, strict=False))


def _draw_column(figure: "Figure", left: float, top: float, column: Column) -> float:
    """The bars of a column, below its name; returns where what comes below may begin."""
    names = [shortened(value, letters_in(_NAMES)) for value in column.values]
    rows = [max(_ROW, _LINE * (1 + name.count("\n")) + _BETWEEN) for name in names]
    middles = [sum(rows[:index]) + row / 2 for index, row in enumerate(rows)]
    title = shortened(column.name, letters_in(_HALF))
    top -= _TITLE + _LINE * title.count("\n")
    axes = add_axes(figure, left, top, _HALF, sum(rows))
    axes.set_title(title, fontsize=SMALL_FONT + 1, loc="left", pad=3)
    axes.barh(middles, column.images, height=0.7 * _ROW, color=_REST)
    axes.barh(middles, column.positive, height=0.7 * _ROW, color=_POSITIVE)
    for images, positive, middle in zip(column.images, column.positive, middles, strict=True):
        text = f"{images:,} ({percentage(positive, images)})"
        write_label(axes, text, (images, middle), (3, 0), va="center_baseline")
    longest = max(column.images)
    room = room_of(f"{longest:,} (>99%)")
    axes.set(xlim=(0, longest * _HALF / (_HALF - room)), ylim=(sum(rows), 0), xticks=[])
    axes.set_yticks(middles, names)
    axes.tick_params(length=0, labelsize=SMALL_FONT)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return top - sum(rows) - _GAP
