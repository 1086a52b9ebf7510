"""FROC curves as points of a diagram, whose axis of false boxes a film is logarithmic."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bccli.core.detection.study import BASES, SIZED

LEAST, MOST = 0.125, 8.0
"""False boxes a film at the ends of a diagram; fewer are drawn at its left edge, more are not drawn."""
NAMES = {"all": "on all films", "normal": "on normal films"}

Point = tuple[float, float]


@dataclass(frozen=True)
class Rate:
    """The share of lesions found at so many false boxes a film, and its interval, where there is one."""

    false: float
    value: float
    limits: tuple[float, float] | None


@dataclass(frozen=True)
class FrocLine:
    """A curve, with false boxes counted on some films: the corners of its staircase as false boxes a film and
    the share of lesions found, its `rates`, and the mean over these with its interval."""

    name: str
    corners: tuple[Point, ...]
    rates: tuple[Rate, ...]
    mean: float
    limits: tuple[float, float] | None


def froc_lines(froc: Mapping[str, Any]) -> list[FrocLine]:
    """The curves of figures as JSON has them, by the rule `either`; of films that there are none of, none."""
    bases = {base: froc["rules"][SIZED][base] for base in BASES}
    return [_line(NAMES[base], facts) for base, facts in bases.items() if facts["mean"]["value"] is not None]


def _line(name: str, facts: Mapping[str, Any]) -> FrocLine:
    rates = tuple(
        Rate(float(rate), found["value"], _limits(found)) for rate, found in facts["sensitivity"].items()
    )
    mean = facts["mean"]
    return FrocLine(name, tuple(_corners(facts["curve"])), rates, mean["value"], _limits(mean))


def _corners(steps: Sequence[Sequence[float]]) -> Iterator[Point]:
    """The corners of a staircase from LEAST to MOST, by its steps of score, false boxes and share found."""
    height = max((found for _, false, found in steps if false <= LEAST), default=0.0)
    yield LEAST, height
    for _, false, found in steps:
        if LEAST < false <= MOST:
            yield false, height
            yield false, found
            height = found
    yield MOST, height


def _limits(found: Mapping[str, Any]) -> tuple[float, float] | None:
    return None if found["low"] is None or found["high"] is None else (found["low"], found["high"])
