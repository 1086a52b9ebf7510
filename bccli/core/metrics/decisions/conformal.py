"""Conformal sets: the classes that an image may be of, so that the true one is among them as often as asked.

Images of a patient are alike, so patients are what is exchangeable: a limit is found with one image of each,
and the mean taken over many such draws (Dunn, Wasserman and Ramdas 2023, "Distribution-Free Prediction Sets
for Two-Layer Hierarchical Models", DOI 10.1080/01621459.2022.2060112). With one image a patient this is split
conformal prediction with the score 1 - p of the true class (Sadinle, Lei and Wasserman 2019, "Least Ambiguous
Set-Valued Classifiers with Bounded Error Levels", DOI 10.1080/01621459.2017.1395341), but that limits between
two images are interpolated, so that coverage is as asked and not a share of a patient more. It holds for new
patients like those of val, and says nothing of other sites.
"""

import math
from dataclasses import dataclass

import numpy as np

from bccli.core.errors import DataError


@dataclass(frozen=True)
class ConformalSets:
    """From which probability on each class belongs to a set, (classes,); `by_class` where each class has a
    limit of its own, and so the coverage that was asked for; `patients` of val were counted."""

    coverage: float
    limits: tuple[float, ...]
    by_class: bool
    patients: int

    def members(self, probabilities: np.ndarray) -> np.ndarray:
        """Which classes (n, classes) belong to the sets of n images; none where no class fits."""
        inside: np.ndarray = probabilities >= np.array(self.limits)
        return inside


def fewest_patients(coverage: float) -> int:
    """How many patients it takes for sets that do not always hold all classes.

    >>> fewest_patients(0.9), fewest_patients(0.95)
    (9, 19)
    """
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def conformal_sets(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, coverage: float, where: str
) -> ConformalSets:
    """Sets calibrated on n images of val: class numbers (n,), probabilities (n, classes), patients (n,).

    Each class has a limit of its own where all have enough patients, else they share one. Raises DataError
    where there are too few patients even for that.
    """
    needed, classes = fewest_patients(coverage), probabilities.shape[1]
    scores = 1 - np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    count = len(np.unique(patients))
    if count < needed:
        raise DataError(
            f"{where}: --coverage {coverage:g} needs at least {needed} patients in val, and there are "
            f"{count}; take more patients, or a lower coverage"
        )
    of_class = [labels == number for number in range(classes)]
    by_class = all(len(np.unique(patients[own])) >= needed for own in of_class)
    groups = of_class if by_class else [np.ones(len(labels), bool)] * classes
    limits = tuple(max(1 - _limit(scores[own], patients[own], coverage), 0.0) for own in groups)
    return ConformalSets(coverage, limits, by_class, count)


_DRAWS = 500


def _limit(scores: np.ndarray, patients: np.ndarray, coverage: float) -> float:
    """The score below which a new patient's image lies so often: the mean over draws of one image a patient.

    Of draws of n patients it is the value at (n + 1) · coverage in their order, interpolated.
    """
    _, numbers, counts = np.unique(patients, return_inverse=True, return_counts=True)
    ordered = scores[np.lexsort((scores, numbers))]
    first = np.cumsum(counts) - counts
    shares = np.random.default_rng(0).random((_DRAWS, len(counts)))
    drawn = ordered[first + (shares * counts).astype(np.int64)]
    return float(np.quantile(drawn, coverage, axis=1, method="weibull").mean())
