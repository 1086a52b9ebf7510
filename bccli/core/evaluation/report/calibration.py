"""Whether what is said with a probability comes true as often: in bins, and as a line in logits.

The line is that of a logistic regression of the truth on the logit of the probability (Cox 1958, DOI
10.1093/biomet/45.3-4.562): a slope below 1 says that probabilities are too extreme. The intercept is the one
with a slope of 1: above 0, what is foretold is too rare (Van Calster et al. 2019, DOI
10.1186/s12916-019-1466-7, "calibration in the large").
"""

from dataclasses import dataclass

import numpy as np

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.report.absent import Absent
from bccli.core.metrics.material import CALIBRATION_BINS, Bools, Floats, bins_of

_CLOSEST = 1e-6
"""Probabilities are taken to be at least so far from 0 and 1, where logits end."""
_STEPS, _STEEPEST = 50, 1e3


@dataclass(frozen=True)
class Bin:
    """The cases whose probability lies between two limits: its mean, and the share that is true."""

    low: float
    high: float
    n: int
    stated: float
    true: float


@dataclass(frozen=True)
class Calibration:
    """`of` is whose probability it is, None where it is that of the predicted class; bins without cases are
    left out, and intercept and slope are None where no line can be fitted."""

    of: str | None
    bins: tuple[Bin, ...]
    intercept: float | None
    slope: float | None
    ece: float | None
    brier: float | None

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """What is said and what is true in each bin."""
        return tuple((entry.stated, entry.true) for entry in self.bins)


def calibration(entry: Evaluation) -> Calibration | Absent:
    """The calibration of the positive class of two, or of the predicted one of several."""
    units, figures = entry.units, entry.whole
    if units.probabilities is None or not len(units):
        return Absent("Without probabilities there is nothing to calibrate.")
    numbers = units.predicted
    if figures.positive is not None:
        numbers = np.full(len(units), figures.classes.index(figures.positive))
    stated = np.take_along_axis(units.probabilities, numbers[:, None], axis=1)[:, 0]
    true = units.labels == numbers
    found = figures.calibration or {}
    return Calibration(
        figures.positive, _bins(stated, true), *line(stated, true), found.get("ece"), found.get("brier")
    )


def _bins(stated: Floats, true: Bools) -> tuple[Bin, ...]:
    members = bins_of(stated)
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1).tolist()
    found = []
    for number in np.unique(members).tolist():
        here = members == number
        shares = float(stated[here].mean()), float(true[here].mean())
        found.append(Bin(edges[number], edges[number + 1], int(here.sum()), *shares))
    return tuple(found)


def line(stated: Floats, true: Bools) -> tuple[float | None, float | None]:
    """Intercept (at a slope of 1) and slope; None for what has no finite value, as of a perfect separation.

    Of two cases with a probability of 0.8, one is true, and of two with 0.2, one is: the probabilities say
    nothing, and are right on average.

    >>> intercept, slope = line(np.array([0.8, 0.8, 0.2, 0.2]), np.array([True, False, True, False]))
    >>> abs(round(intercept, 6)), abs(round(slope, 6))
    (0.0, 0.0)
    """
    clipped = np.clip(stated, _CLOSEST, 1 - _CLOSEST)
    logits = np.log(clipped / (1 - clipped))
    ones = np.ones((len(logits), 1))
    large = _fitted(ones, true, logits)
    both = _fitted(np.column_stack([ones, logits]), true, np.zeros(len(logits)))
    return (None if large is None else float(large[0])), (None if both is None else float(both[1]))


def _fitted(columns: Floats, true: Bools, offset: Floats) -> Floats | None:
    """The weights of a logistic regression by Newton's method; None where they are not finite."""
    if true.all() or not true.any():
        return None
    weights = np.zeros(columns.shape[1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(columns @ weights + offset, -500, 500)))
        curvature = columns.T @ (columns * (chance * (1 - chance))[:, None])
        try:
            step = np.linalg.solve(curvature, columns.T @ (true - chance))
        except np.linalg.LinAlgError:
            return None
        weights = weights + step
        if not np.isfinite(weights).all() or np.abs(weights).max() > _STEEPEST:
            return None
        if np.abs(step).max() < 1e-9:
            return weights
    return None
