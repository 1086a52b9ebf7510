"""How wide intervals would be with more patients of the same kind: by the square root of their number."""

import math
from dataclasses import dataclass

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.report.absent import Absent
from bccli.core.metrics.support import FEWEST

_MEASURES = ("accuracy", "balanced_accuracy", "roc_auc", "tpr", "tnr")
_TIMES = (1, 2, 4, 10)
_WANTED = 0.05


@dataclass(frozen=True)
class Width:
    """A measure, half of its interval's width at each number of `MorePatients`, and how many there have to be
    for a half width of 0.05."""

    measure: str
    halves: tuple[float, ...]
    needed: int


@dataclass(frozen=True)
class MorePatients:
    """`unit` is what intervals draw again: patients, or images; `numbers` are how many of them."""

    unit: str
    numbers: tuple[int, ...]
    widths: tuple[Width, ...]


def more_patients(entry: Evaluation) -> MorePatients | Absent:
    """Widths with as many patients as there are, and with more."""
    figures = entry.whole
    unit = "patients" if figures.patients and (figures.resampled or "").startswith("patients") else "images"
    count = figures.patients if unit == "patients" else figures.n
    halves = {
        name: (limits[1] - limits[0]) / 2 for name in _MEASURES if (limits := (figures.ci or {}).get(name))
    }
    if not halves or not count:
        why = (figures.reasons or {}).get("ci", "none was asked for")
        return Absent(f"There is no interval to begin with: {why}.")
    return MorePatients(
        unit,
        tuple(count * times for times in _TIMES),
        tuple(_width(name, half, count) for name, half in halves.items()),
    )


def _width(measure: str, half: float, count: int) -> Width:
    halves = tuple(half / math.sqrt(times) for times in _TIMES)
    return Width(measure, halves, max(math.ceil(count * (half / _WANTED) ** 2), FEWEST))
