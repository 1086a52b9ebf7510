"""FROC curves as a picture: which share of the lesions is found at how many false boxes a film."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bccli.core.detection.study import SIZED
from bccli.core.evaluation.detections.lines import LEAST, MOST, FrocLine, froc_lines
from bccli.core.metrics.plots import COLOURS, DASHES, GREY, add_axes, below, new_figure, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE, _HEIGHT = 4.4, 3.6
"""Inches."""
_APART = 1.05
"""By this factor the intervals of the second curve stand beside those of the first."""


def draw_froc(froc: Mapping[str, Any] | None, title: str) -> "Figure | None":
    """A curve for false boxes on all films and one for those on normal films, with intervals at the rates and
    the point of the threshold, by figures as JSON has them; None without boxes or lesions."""
    lines = froc_lines(froc) if froc else []
    if not froc or not lines:
        return None
    figure = new_figure()
    axes = add_axes(figure, 0, _SIDE, _HEIGHT)
    handles = [_draw_line(axes, line, number) for number, line in enumerate(lines)]
    names = [_named(line) for line in lines]
    if (point := _draw_point(axes, froc)) is not None:
        handles, names = [*handles, point], [*names, _named_point(froc)]
    _finish(axes)
    axes.legend(handles, names, title="mean over the rates, with 95 % interval", **below(0.5, 0.55 / _HEIGHT))
    set_title(axes, title, _SIDE)
    return figure


def _draw_line(axes: "Axes", line: FrocLine, number: int) -> Any:
    """Draw a curve and the intervals of its rates; returns its handle."""
    colour = COLOURS[number % len(COLOURS)]
    (handle,) = axes.plot(*zip(*line.corners, strict=True), color=colour, linestyle=DASHES[number])
    beside = _APART if number else 1 / _APART
    for rate in line.rates:
        axes.plot(rate.false * beside, rate.value, "o", color=colour, markersize=3.5)
        if rate.limits:
            axes.vlines(rate.false * beside, *rate.limits, color=colour, linewidth=1)
    return handle


def _named(line: FrocLine) -> str:
    limits = f" ({line.limits[0]:.2f}–{line.limits[1]:.2f})" if line.limits else ""
    return f"{line.mean:.3f}{limits}   false boxes counted {line.name}"


def _draw_point(axes: "Axes", froc: Mapping[str, Any]) -> Any:
    """Draw where the threshold lies on the curve of all films; None where no score will do."""
    point = froc["rules"][SIZED]["point"]
    false, found = point["false_per_film"]["value"], point["sensitivity"]["value"]
    threshold = math.inf if point["threshold"] is None else point["threshold"]
    if math.isinf(threshold) or false is None or false > MOST:
        return None
    (handle,) = axes.plot(max(false, LEAST), found, "D", color=GREY, markersize=5, linestyle="", zorder=3)
    return handle


def _named_point(froc: Mapping[str, Any]) -> str:
    where = "val" if froc["given_threshold"] else "these films"
    return f"boxes from {froc['rules'][SIZED]['point']['threshold']:.4f} on, chosen on {where}"


def _finish(axes: "Axes") -> None:
    ticks = [LEAST * 2**number for number in range(7)]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlim=(LEAST / 1.06, MOST), ylim=(-0.01, 1.02))
    axes.set(xlabel="false boxes a film", ylabel="share of the lesions that is found")
    axes.grid(alpha=0.3)
