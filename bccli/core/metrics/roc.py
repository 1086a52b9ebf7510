"""The ROC curve of one class against the rest, and the area under it."""

import math

import numpy as np
from numpy.typing import ArrayLike

from bccli.core.metrics.material import Floats, rank
from bccli.core.metrics.weighted import areas


def roc_auc(is_positive: ArrayLike, scores: ArrayLike) -> float | None:
    """The area under the ROC curve, both arguments (n,); None where positives or negatives are missing.

    Of the three pairs of a positive and a negative, two are in order:

    >>> roc_auc([False, True, False, False], [0.1, 0.4, 0.35, 0.8])
    0.6666666666666666
    """
    is_positive, scores = np.asarray(is_positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    ranking = rank(is_positive, scores, np.arange(len(scores)))
    area = float(areas(ranking, np.ones((1, len(scores))))[0][0])
    return None if math.isnan(area) else area


def roc_curve(is_positive: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats] | None:
    """False positive rates, true positive rates and thresholds, one per distinct score, highest first.

    A score at or above the threshold counts as positive; the curve starts at (0, 0) with an infinite
    threshold and ends at (1, 1). None where positives or negatives are missing.

    >>> for values in roc_curve([False, True, False, True], [0.1, 0.4, 0.35, 0.8]):
    ...     print(values.tolist())
    [0.0, 0.0, 0.0, 0.5, 1.0]
    [0.0, 0.5, 1.0, 1.0, 1.0]
    [inf, 0.8, 0.4, 0.35, 0.1]
    """
    is_positive, scores = np.asarray(is_positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if is_positive.all() or not is_positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    hits, ranked = is_positive[order], scores[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true_positives = np.cumsum(hits)[last_of_ties]
    false_positives = last_of_ties + 1 - true_positives
    return (
        np.append(0.0, false_positives / false_positives[-1]),
        np.append(0.0, true_positives / true_positives[-1]),
        np.append(np.inf, ranked[last_of_ties]),
    )
