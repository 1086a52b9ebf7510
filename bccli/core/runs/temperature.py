"""Temperature scaling: one number that makes probabilities as cautious as val says they should be.

Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2: softmax(scores / T). As scores are
logarithms of probabilities up to a constant, the probabilities are enough. Which class is the most probable
never changes.
"""

import math

import numpy as np

from bccli.core.errors import DataError
from bccli.core.runs.run_folder import Run

COLDEST, HOTTEST = 0.05, 20.0
"""Where val is classified without a mistake, no temperature is cold enough; these are the ends."""

_SMALLEST = float(np.finfo(np.float32).tiny)
"""What a probability of 0 stands for, such as that of a class for which no tree of a forest votes."""


def temper(probabilities: np.ndarray, temperature: float | None) -> np.ndarray:
    """Probabilities (n, classes) at a temperature; None leaves them as they are."""
    if temperature is None or temperature == 1:
        return probabilities
    scores = _scores(probabilities) / temperature
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _scores(probabilities: np.ndarray) -> np.ndarray:
    wide = np.asarray(probabilities, np.float64)
    return np.log(np.where(wide > 0, wide, _SMALLEST))


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray, where: str) -> float:
    """The temperature of least log loss on val: labels (n,), probabilities (n, classes).

    The loss is convex in 1/T, so that its slope has one root. Raises DataError without images.
    """
    if not len(labels):
        raise DataError(f"{where}: has no probabilities of val, on which --calibrate rests; leave it out")
    scores = _scores(probabilities)
    own = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    for _ in range(50):
        middle = (low + high) / 2
        expected = (temper(probabilities, math.exp(-middle)) * scores).sum(axis=1)
        low, high = (low, middle) if (expected - own).mean() > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def temperature_of(run: Run) -> float | None:
    """The temperature that was stored with a run, None where none was."""
    return float(run.info.calibration["temperature"]) if run.info.calibration else None
