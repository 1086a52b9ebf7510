"""The losses of --loss for each image, as Keras computes them from probabilities.

Everywhere: n images, K classes; labels (n,) are class numbers, probabilities have shape (n, K).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bccli.core.errors import UsageError
from bccli.core.metrics.material import Floats, Integers

EPSILON = 1e-7
"""Keras's fuzz factor: probabilities are kept this far from 0 and 1 before their logarithm is taken."""


@dataclass(frozen=True)
class Loss:
    """A loss by its name in `LOSSES`; `label_smoothing` is the share of the truth spread over all classes."""

    name: str
    label_smoothing: float = 0.0


CROSS_ENTROPY = Loss("categorical_crossentropy")


def mean_loss(
    labels: Integers, probabilities: Floats, name: str, *, label_smoothing: float = 0.0
) -> float | None:
    """The mean of a loss of `LOSSES` over the images, as Keras computes it from probabilities.

    (`Model.fit` may compute cross-entropy from the logits behind a softmax or sigmoid, which is not
    clipped: the two differ where a probability is nearer than 1e-7 to 0 or 1.) `label_smoothing` is the
    share of the truth that is spread evenly over all classes. None for no images.
    Raises UsageError for an unknown name.

    >>> probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    >>> round(mean_loss(np.array([0, 1]), probabilities, "categorical_crossentropy"), 4)
    0.4904
    """
    values = losses(labels, probabilities, name, label_smoothing=label_smoothing)
    return float(values.mean()) if len(values) else None


def losses(labels: Integers, probabilities: Floats, name: str, *, label_smoothing: float = 0.0) -> Floats:
    """A loss of `LOSSES` for each image, (n,). Raises UsageError for an unknown name."""
    if name not in LOSSES:
        raise UsageError(f"loss {name!r} is unknown; choose one of {', '.join(LOSSES)}")
    truth = one_hot(labels, probabilities)
    truth = truth * (1 - label_smoothing) + label_smoothing / truth.shape[1]
    return LOSSES[name](truth, probabilities)


def log_losses(labels: Integers, probabilities: Floats) -> Floats:
    """The negative logarithm of each image's share of its own class, (n,), as scikit-learn clips it."""
    own = np.take_along_axis(_shares(probabilities), labels[:, None], axis=1)[:, 0]
    return -np.log(np.clip(own, np.finfo(np.float64).eps, 1))


def _categorical_crossentropy(target: Floats, output: Floats) -> Floats:
    return -(target * np.log(_clip(_shares(output)))).sum(axis=1)


def _binary_crossentropy(target: Floats, output: Floats) -> Floats:
    output = _clip(output)
    return -(target * np.log(output) + (1 - target) * np.log(1 - output)).mean(axis=1)


def _mean_squared_error(target: Floats, output: Floats) -> Floats:
    return ((target - output) ** 2).mean(axis=1)


def _focal(target: Floats, output: Floats) -> Floats:
    """The loss of `models.heads` with its γ of 2 and α of 0.25."""
    output = _clip(_shares(output))
    return -0.25 * (target * (1 - output) ** 2 * np.log(output)).sum(axis=1)


LOSSES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "categorical_crossentropy": _categorical_crossentropy,
    "binary_crossentropy": _binary_crossentropy,
    "mse": _mean_squared_error,
    "focal": _focal,
}
"""Loss per image (n,) from one-hot labels and probabilities, both (n, K), by the name of --loss."""


def _shares(output: Floats) -> Floats:
    """Outputs (n, K) as shares of their sum, as Keras takes them where classes exclude each other."""
    return output / np.maximum(output.sum(axis=1, keepdims=True), EPSILON)


def _clip(probabilities: Floats) -> Floats:
    return np.clip(probabilities, EPSILON, 1 - EPSILON)


def one_hot(labels: Integers, probabilities: Floats) -> Floats:
    return np.eye(probabilities.shape[1])[labels]
