"""Labels that out-of-fold probabilities speak against: confident learning's ranking.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
DOI 10.1613/jair.1.12125, section 3: a class counts as likely where its probability reaches the mean that
images labelled so have; suspect is what is likely of another class only, and the normalised margin ranks.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Suspects:
    """n images by how doubtful their labels are: their `order` (n,), the most doubtful first; of each image
    (n,) the `margin` by which its label leads the best other class, which class is `suggested`, and whether
    it is `likely` of that class, and so not of its own."""

    order: np.ndarray
    margin: np.ndarray
    suggested: np.ndarray
    likely: np.ndarray


def find_suspects(labels: np.ndarray, probabilities: np.ndarray) -> Suspects:
    """Rank n images: class numbers (n,) and probabilities (n, classes) of models that had not seen them.

    >>> probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    >>> found = find_suspects(np.array([0, 0, 1, 1]), probabilities)
    >>> found.order.tolist(), found.likely.tolist()
    ([1, 3, 2, 0], [False, True, False, False])
    """
    rows, classes = np.arange(len(labels)), probabilities.shape[1]
    own = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    suggested = others.argmax(axis=1)
    margin = own - others[rows, suggested]
    usual = np.array([own[labels == k].mean() if (labels == k).any() else np.inf for k in range(classes)])
    reached = np.where(probabilities >= usual - 1e-12, probabilities, -np.inf)
    best = reached.argmax(axis=1)
    likely = np.isfinite(reached[rows, best]) & (best != labels)
    return Suspects(np.argsort(margin, kind="stable"), margin, suggested, likely)
