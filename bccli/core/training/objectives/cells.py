"""The objective of a detector: cells of an image that lie in a lesion, outside of all, or at an edge.

Everywhere: truth (n, cells) is 1 inside, 0 outside, and -1 where a cell is ignored; scores (n, cells) are
logits. The loss of an image is a focal loss over its cells, those outside being the hardest ones only, and
of images with a lesion 1 − Dice besides, which sees the whole of a lesion.
"""

from typing import Any

import numpy as np

from bccli.core.prediction.detectors.heat_maps import chances_of
from bccli.core.training.objectives.objective import Objective

FOCUS, INSIDE = 2.0, 0.75
"""γ of the focal loss (Lin et al. 2017, DOI 10.1109/ICCV.2017.324), and the weight of a cell inside of a
lesion against 1 − INSIDE of one outside: our choice, as the paper's 0.25 is for more candidates inside."""
HARDEST = 64
"""So many cells outside of lesions count, those that the network is most wrong about: hard negatives, of
which a film without a lesion has nothing else (after Shrivastava et al. 2016, DOI 10.1109/CVPR.2016.89)."""
LEAST = 1e-7
FOCAL, DICE, BOTH = "focal", "dice", "focal+dice"


def of_cells(cells: int, *, loss: str = BOTH) -> Objective:
    """The objective of a heat map of so many cells; `loss` is focal, dice, or the sum of both.

    Answers are the probabilities (n, cells); an image is hit where the largest of them is right about
    whether it has a lesion.
    """

    def losses(truth: Any, scores: Any) -> Any:
        import tensorflow as tf

        inside, outside = tf.cast(truth > 0.5, tf.float32), tf.cast(tf.abs(truth) < 0.5, tf.float32)
        chances = tf.sigmoid(scores)
        found = tf.zeros_like(scores[:, 0])
        if loss in (FOCAL, BOTH):
            missed = INSIDE * inside * (1 - chances) ** FOCUS * tf.math.softplus(-scores)
            raised = (1 - INSIDE) * outside * chances**FOCUS * tf.math.softplus(scores)
            hardest = tf.math.top_k(raised, min(HARDEST, cells), sorted=False).values
            count = tf.maximum(tf.reduce_sum(inside, 1), 1.0)
            found += tf.reduce_sum(missed, 1) / count + tf.reduce_sum(hardest, 1) / HARDEST * _OF_NEGATIVES
        if loss in (DICE, BOTH):
            shared = tf.reduce_sum(chances * inside, 1)
            both = tf.reduce_sum(chances * (inside + outside), 1) + tf.reduce_sum(inside, 1)
            has = tf.cast(tf.reduce_any(truth > 0.5, 1), tf.float32)
            found += has * (1 - (2 * shared + 1) / (both + 1))
        return found

    def hits(truth: Any, scores: Any) -> Any:
        import tensorflow as tf

        return tf.equal(tf.reduce_max(scores, 1) >= 0, tf.reduce_any(truth > 0.5, 1))

    def measured(truth: np.ndarray, answers: np.ndarray) -> tuple[float, float]:
        clipped = np.clip(answers.astype(np.float64), LEAST, 1 - LEAST)
        scores = (np.log(clipped) - np.log1p(-clipped)).astype(np.float32)
        right = (answers.max(axis=1) >= 0.5) == (truth > 0.5).any(axis=1)
        return float(np.mean(losses(truth, scores).numpy())), float(right.mean())

    return Objective(cells, losses, hits, _sigmoid, measured)


_OF_NEGATIVES = 4.0
"""What the hardest cells outside of lesions weigh together against those inside (our choice)."""


def _sigmoid(scores: np.ndarray) -> np.ndarray:
    return np.asarray(chances_of(scores), np.float32)
