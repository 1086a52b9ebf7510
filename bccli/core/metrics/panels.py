"""The panels of a picture: headings, sentences, bars, labels and axes.

Positions are in inches; the drawing starts at (0, 0) and goes downwards.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bccli.core.metrics.plots import CHARACTER, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEADING, FONT, SMALL_FONT = 11, 10, 8.5
"""Sizes of fonts in points."""


def draw_bars(
    axes: "Axes",
    width: float,
    numbers: Sequence[int | None],
    wholes: Sequence[int],
    colours: Sequence[str] | str,
    longest: int,
) -> None:
    """Bars from top to bottom, each with its number and its share of the whole behind it; None is unknown."""
    texts = [
        "unknown" if number is None else f"{number:,} ({percentage(number, whole)})"
        for number, whole in zip(numbers, wholes, strict=True)
    ]
    lengths = [number or 0 for number in numbers]
    room = room_of(f"{longest:,} (100%)")
    axes.barh(range(len(texts)), lengths, height=0.7, color=colours)
    for index, (length, text) in enumerate(zip(lengths, texts, strict=True)):
        write_label(axes, text, (length, index), (3, 0), va="center_baseline")
    axes.set(xlim=(0, max(longest, 1) * width / (width - room)), ylim=(len(texts) - 0.5, -0.5), xticks=[])
    axes.tick_params(length=0, labelsize=SMALL_FONT)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def write_label(
    axes: "Axes", text: str, at: tuple[float, float], shift: tuple[float, float], **style: Any
) -> None:
    """Write a small text at a position in the data, shifted by some points."""
    axes.annotate(text, at, shift, textcoords="offset points", fontsize=SMALL_FONT, **style)


def room_of(text: str) -> float:
    """The width in inches that a small text takes at most."""
    return len(text) * SMALL_FONT * CHARACTER / 72


def letters_in(width: float) -> int:
    """How many letters of a plain text a width in inches holds."""
    return int(width * 72 / (FONT * CHARACTER))


def shortened(text: str, letters: int) -> str:
    """A text in at most three lines of so many letters."""
    lines = wrapped(text, letters).split("\n")
    return "\n".join(lines[:3]) + "…" * (len(lines) > 3)


def percentage(number: int, whole: int) -> str:
    """A percentage that says 0 of nothing only, and 100 of everything only."""
    percent = 100 * number / max(whole, 1)
    if 0 < percent < 1:
        return "<1%"
    return ">99%" if 99 < percent < 100 else f"{percent:.0f}%"


def count_on(axes: "Axes", which: str, name: str, most: int) -> None:
    """Name the axis x or y and give it whole numbers, about `most` at most."""
    from matplotlib.ticker import MaxNLocator

    axes.set(**{f"{which}label": name})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 5, 10], integer=True))
    axis.set_major_formatter(_grouped)


def make_logarithmic(axes: "Axes", which: str, name: str) -> None:
    """Make the axis x or y logarithmic, with few and readable numbers."""
    from matplotlib.ticker import NullLocator

    axes.set(**{f"{which}scale": "log", f"{which}label": name})
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    digits = (1, 2, 5) if high < 3000 * low else (1,)
    ticks = [digit * 10**power for power in range(math.ceil(math.log10(high))) for digit in digits]
    axis.set_ticks([tick for tick in ticks if low <= tick <= high])
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(_grouped)


def _grouped(value: float, _position: float) -> str:
    """A tick's number."""
    return f"{value:,.0f}"


def add_axes(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Axes that hang from `top`."""
    return figure.add_axes((left, top - height, width, height))


def write_heading(figure: "Figure", left: float, top: float, text: str) -> float:
    """Write a heading, perhaps of several lines; returns the top of the panel below it."""
    figure.text(left, top, text, fontsize=_HEADING, va="top")
    return top - 0.35 - text.count("\n") * 0.18


def write_sentence(figure: "Figure", left: float, top: float, title: str, text: str) -> None:
    """A heading, and a sentence in place of a picture."""
    figure.text(left, write_heading(figure, left, top, title), wrapped(text, 46), fontsize=FONT, va="top")
