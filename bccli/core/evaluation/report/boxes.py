"""FROC curves of a detector as points that a page can hold."""

import math
from dataclasses import dataclass

from bccli.core.evaluation.detections.lines import LEAST, MOST, FrocLine, Point, froc_lines
from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.report.forest import Estimate


@dataclass(frozen=True)
class BoxCurve:
    """A curve, its axis of false boxes a film brought to 0…1: its corners, the share that is found at each
    rate, the intervals there as pairs of points, and the mean over the rates."""

    name: str
    points: tuple[Point, ...]
    rates: tuple[Point, ...]
    intervals: tuple[tuple[Point, Point], ...]
    mean: Estimate


@dataclass(frozen=True)
class BoxCurves:
    """Curves for false boxes on all films and on normal ones, and where numbers stand along their axis."""

    curves: tuple[BoxCurve, ...]
    ticks: tuple[tuple[float, str], ...]


def box_curves(entry: Evaluation) -> BoxCurves | None:
    """The curves of a detector; None where there is none, or there are no lesions."""
    lines = froc_lines(entry.whole.froc) if entry.whole.froc else []
    if not lines:
        return None
    numbers = [LEAST * 2**step for step in range(round(math.log2(MOST / LEAST)) + 1)]
    curves = tuple(_curve(line, index * _APART) for index, line in enumerate(lines))
    return BoxCurves(curves, tuple((along(number), f"{number:g}") for number in numbers))


def along(false: float) -> float:
    """Where so many false boxes a film are on the axis, 0…1.

    >>> along(0.125), along(1), along(8)
    (0.0, 0.5, 1.0)
    """
    return min(max(math.log2(false / LEAST) / math.log2(MOST / LEAST), 0.0), 1.0)


_APART = 0.015
"""How far the rates of the second curve stand beside those of the first, so that both are seen."""


def _curve(line: FrocLine, beside: float) -> BoxCurve:
    """A curve whose rates stand a little `beside` where they are."""
    places = {rate: along(rate.false) + beside for rate in line.rates}
    low, high = line.limits or (None, None)
    return BoxCurve(
        line.name,
        tuple((along(false), found) for false, found in line.corners),
        tuple((place, rate.value) for rate, place in places.items()),
        tuple(
            ((place, rate.limits[0]), (place, rate.limits[1]))
            for rate, place in places.items()
            if rate.limits
        ),
        Estimate(line.mean, low, high),
    )
