"""Class-activation maps: where in an image a network finds what speaks for a class.

Of maps whose averages a dense layer weighs they are those of Zhou et al. 2016, "Learning Deep Features for
Discriminative Localization", DOI 10.1109/CVPR.2016.319. Where hidden layers follow, a map's weight is the
score's derivative by its average (Grad-CAM, Selvaraju et al. 2017, DOI 10.1109/ICCV.2017.74); where the head
takes each position for itself, each position has a weight of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.imaging.equalising import Box
from bccli.core.imaging.opencv import load_cv2
from bccli.core.metrics.material import Floats

SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""From which share of its largest value on a map can count as the object."""


@dataclass(frozen=True)
class DenseHead:
    """A head's layers in inference, kernels (inputs, outputs) with biases (outputs,), ReLU between them."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def gradient(self, features: np.ndarray, number: int) -> Floats:
        """The derivative (features,) of the score of class `number` against the others.

        That is the class's score minus the mean of the others', so that it is the same for scores that give
        the same probabilities; a single score is that of the second class of two.
        """
        hidden, signs = np.asarray(features, np.float64), []
        for kernel, bias in self.layers[:-1]:
            hidden = hidden @ kernel + bias
            signs.append(hidden > 0)
            hidden = np.maximum(hidden, 0)
        kernel = self.layers[-1][0].astype(np.float64)
        if kernel.shape[1] == 1:
            slope = kernel[:, 0] if number else -kernel[:, 0]
        else:
            slope = kernel[:, number] - np.delete(kernel, number, axis=1).mean(axis=1)
        for (kernel, _), sign in zip(reversed(self.layers[:-1]), reversed(signs), strict=True):
            slope = kernel @ (slope * sign)
        return np.asarray(slope, np.float64)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As stored in a file."""
        return {
            f"{name}_{index}": array
            for index, layer in enumerate(self.layers)
            for name, array in zip(("kernel", "bias"), layer, strict=True)
        }


def head_from_arrays(arrays: Mapping[str, Any]) -> DenseHead:
    """Read what `DenseHead.to_arrays` wrote."""
    count = sum(name.startswith("kernel") for name in arrays)
    return DenseHead(tuple((arrays[f"kernel_{index}"], arrays[f"bias_{index}"]) for index in range(count)))


Shapes = Sequence[tuple[int, int, int]]
"""Rows, columns and channels of one map or several."""


def activation_map(
    outputs: np.ndarray, head: DenseHead, shapes: Shapes, number: int, size: tuple[int, int]
) -> Floats:
    """The map of a class at the size (width, height) of the image, negative values set to 0.

    `outputs` (n,) are the head's features and, behind them, maps of these `shapes`: what the features are
    the averages of, in their order, or one that is itself the features. Of several maps, all count: the sum
    is what they add to the score, position by position.
    """
    lengths = [rows * columns * channels for rows, columns, channels in shapes]
    features, *maps = np.split(outputs, np.cumsum([len(outputs) - sum(lengths), *lengths[:-1]]))
    slope = head.gradient(features, number)
    if len(slope) == sum(lengths):
        weights = [slope.reshape(shapes[0])]
    else:
        weights = np.split(slope, np.cumsum([channels for _, _, channels in shapes])[:-1])
    total = np.zeros(size[::-1])
    for flat, shape, weight in zip(maps, shapes, weights, strict=True):
        total += _enlarged((flat.reshape(shape) * weight).sum(axis=2), size)
    return np.maximum(total, 0)


def _enlarged(found: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map at a size (width, height), linear between the middles of its cells."""
    cv2 = load_cv2()
    larger: np.ndarray = cv2.resize(found.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return larger


def box_in(found: Floats, share: float) -> Box:
    """The box around the largest connected area of a map that reaches so large a share of its maximum; the
    whole map where nothing speaks for the class."""
    height, width = found.shape
    if found.max() <= 0:
        return Box(0, 0, width, height)
    cv2 = load_cv2()
    mask = (found >= share * found.max()).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    left, top, across, down, _ = (int(value) for value in max(stats[1:], key=lambda row: row[4]))
    return Box(left, top, left + across, top + down)


def peak_of(found: Floats) -> tuple[int, int]:
    """The column and row of the largest value."""
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    return int(column), int(row)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    shared = max(width, 0) * max(height, 0)
    return shared / (_area(one) + _area(other) - shared)


def _area(box: Box) -> int:
    return (box.right - box.left) * (box.bottom - box.top)
