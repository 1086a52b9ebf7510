"""What a network learns: the classes of images, or anything else that has a truth.

Everywhere: truth (n, width) has a row for each example, scores (n, …) are what the network makes of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.models import runtimes as engines
from bccli.core.models.heads import OUTPUTS, find_loss


@dataclass(frozen=True)
class Objective:
    """What is minimised and what counts as a hit.

    `losses` and `hits` give tensors (n,) of truth and scores; `answers` makes of scores what a network says
    (n, …) in NumPy, which `measured` compares with the truth: the mean loss and the share of hits.
    """

    width: int
    losses: Callable[[Any, Any], Any]
    hits: Callable[[Any, Any], Any]
    answers: Callable[[np.ndarray], np.ndarray]
    measured: Callable[[np.ndarray, np.ndarray], tuple[float, float]]


def of_classes(classes: int, *, loss: str, output: str, label_smoothing: float = 0.0) -> Objective:
    """The objective of a classifier: truth has a 1 for the class of each example, answers are
    probabilities (n, classes)."""

    def hits(truth: Any, scores: Any) -> Any:
        import tensorflow as tf

        return tf.equal(tf.argmax(OUTPUTS[output](scores), -1), tf.argmax(truth, -1))

    def measured(truth: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
        from bccli.core.metrics.losses import mean_loss

        labels = truth.argmax(axis=1)
        mean = mean_loss(labels, probabilities, loss, label_smoothing=label_smoothing)
        return float("nan") if mean is None else mean, float((probabilities.argmax(axis=1) == labels).mean())

    return Objective(
        classes,
        find_loss(loss, output, label_smoothing=label_smoothing),
        hits,
        engines.OUTPUTS[output],
        measured,
    )
