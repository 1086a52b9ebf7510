"""The figures of runs and of their strata with their intervals, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.metrics.figures import Figures

MOST = 100
"""Rows of a plot; of more, the first are shown."""


@dataclass(frozen=True)
class Estimate:
    """A share with its interval; both ends are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ForestRow:
    """A run, or a stratum of one; `majority` is the accuracy of always saying the most frequent class."""

    name: str
    stratum: bool
    n: int
    patients: int | None
    accuracy: Estimate | None
    roc_auc: Estimate | None
    majority: float | None


def forest(evaluations: Sequence[Evaluation]) -> tuple[ForestRow, ...]:
    """A row for each run and each of its strata."""
    return tuple(_row(figures) for entry in evaluations for figures in entry.figures)


def _row(figures: Figures) -> ForestRow:
    return ForestRow(
        figures.group or figures.name or "",
        figures.group is not None,
        figures.n,
        figures.patients,
        estimate(figures, "accuracy"),
        estimate(figures, "roc_auc"),
        figures.majority_accuracy,
    )


def estimate(figures: Figures, measure: str) -> Estimate | None:
    """A measure with its interval; None where it is not defined."""
    value = getattr(figures, measure)
    if value is None:
        return None
    low, high = (figures.ci or {}).get(measure) or (None, None)
    return Estimate(value, low, high)
