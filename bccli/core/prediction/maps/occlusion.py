"""Occlusion: how much less a class is worth where a part of the image is covered.

Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks",
DOI 10.1007/978-3-319-10590-1_53, section 4.2. It asks for nothing but probabilities, so it is the way for
classifiers on features, and for networks whose maps are not to be had.
"""

from collections.abc import Callable

import numpy as np

from bccli.core.metrics.material import Floats

CELLS, COVERED = 8, 2
"""Cells along each side of an image, and how many of them along each side a cover hides."""

_SUREST = 1e-6  # a probability of 1 has no finite log-odds


def occlusion_map(answer: Callable[[np.ndarray], np.ndarray], image: np.ndarray, number: int) -> Floats:
    """By how much covers lower the log-odds of class `number`, in cells (CELLS, CELLS), none below 0.

    `answer` gives probabilities (n, classes) of images (n, height, width, 3); the image is one of them. A
    cover has the image's mean colour, and a cell the mean of the covers that hide it.
    """
    corners = [(row, column) for row in range(CELLS - COVERED + 1) for column in range(CELLS - COVERED + 1)]
    whole, *covered = _log_odds(answer(np.stack([image, *(_covered(image, *at) for at in corners)])), number)
    totals, counts = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for (row, column), odds in zip(corners, covered, strict=True):
        area = slice(row, row + COVERED), slice(column, column + COVERED)
        totals[area] += whole - odds
        counts[area] += 1
    return np.maximum(totals / counts, 0)


def _covered(image: np.ndarray, row: int, column: int) -> np.ndarray:
    copy = image.copy()
    height, width = image.shape[:2]
    rows, columns = (
        slice(start * side // CELLS, max((start + COVERED) * side // CELLS, start * side // CELLS + 1))
        for start, side in ((row, height), (column, width))
    )
    copy[rows, columns] = image.reshape(-1, image.shape[2]).mean(axis=0).round()
    return copy


def _log_odds(probabilities: np.ndarray, number: int) -> Floats:
    share = np.clip(probabilities[:, number].astype(np.float64), _SUREST, 1 - _SUREST)
    return np.asarray(np.log(share / (1 - share)), np.float64)
