"""Class-activation maps: where in an image a network finds what speaks for a class.

Of maps whose averages a dense layer weighs they are those of Zhou et al. 2016, "Learning Deep Features for
Discriminative Localization", DOI 10.1109/CVPR.2016.319. Where hidden layers follow, a map's weight is the
score's derivative by its average (Grad-CAM, Selvaraju et al. 2017, DOI 10.1109/ICCV.2017.74); where the head
takes each position for itself, each position has a weight of its own.
"""

from collections.abc import Callable, Sequence

import numpy as np

from bccli.core.imaging.equalising import Box
from bccli.core.imaging.opencv import load_cv2
from bccli.core.imaging.regions import middle_of
from bccli.core.metrics.material import Floats
from bccli.core.models.class_maps import ClassMaps, DenseHead, Shapes

Flip = Callable[[np.ndarray], np.ndarray]
"""A flip or turn of images (n, height, width, channels) that keeps their size."""

SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""From which share of its largest value on a map can count as the object."""


def activation_map(
    outputs: np.ndarray,
    head: DenseHead,
    shapes: Shapes,
    number: int,
    size: tuple[int, int],
    *,
    context: float = 0.0,
) -> Floats:
    """The map of a class at the size (width, height) of the image, negative values set to 0.

    `outputs` (n,) are the head's features and, behind them, maps of these `shapes`: what the features are
    the averages of, in their order, or one that is itself the features. Of several maps, all count: the sum
    is what they add to the score, position by position. With a `context`, the second is that of the middle
    part which so large a share surrounds, and counts there, the more for each pixel the fewer these are.
    What the outermost cells of fine maps say is left out, see `_inside`.
    """
    lengths = [rows * columns * channels for rows, columns, channels in shapes]
    features, *maps = np.split(outputs, np.cumsum([len(outputs) - sum(lengths), *lengths[:-1]]))
    slope = head.gradient(features, number)
    if len(slope) == sum(lengths):
        weights = [slope.reshape(shapes[0])]
    else:
        weights = np.split(slope, np.cumsum([channels for _, _, channels in shapes])[:-1])
    total = np.zeros(size[::-1])
    places = [total, middle_of(size, context).of(total)] if context else [total] * len(shapes)
    for flat, shape, weight, place in zip(maps, shapes, weights, places, strict=True):
        cells = _inside((flat.reshape(shape) * weight).sum(axis=2))
        found = _enlarged(cells, (place.shape[1], place.shape[0]))
        place += found * (total.size / place.size)
    return np.maximum(total, 0)


_FINE = 8
"""Cells along its shorter side from which on a map can spare the outermost ones."""


def _inside(cells: np.ndarray) -> np.ndarray:
    """A map (rows, columns) whose outermost cells say what their neighbours do; a coarse one as it is.

    At the edge a convolution sees the zeros around an image. In features that hardly differ between images,
    which a head on standardised ones weighs as much as others, that is more than anything inside: on made-up
    films the peak lay in a corner of 9 of 10, and with this it lies in the lesion of 6 of 10.
    """
    return np.pad(cells[1:-1, 1:-1], 1, mode="edge") if min(cells.shape) >= _FINE else cells


def activation_maps(
    maps: ClassMaps, images: np.ndarray, numbers: Sequence[int], flips: Sequence[Flip], step: int
) -> list[Floats]:
    """For each of n images uint8 (n, height, width, 3) the map (height, width) of its class of `numbers`
    (n,), the mean over its flips; `step` images at most go through the network at a time."""
    height, width = images.shape[1:3]
    indices = np.arange(height * width).reshape(1, height, width, 1)
    totals = np.zeros((len(images), height * width))
    for flip in flips:
        source = flip(indices).ravel()  # where each pixel of the flipped image comes from
        for start in range(0, len(images), step):
            rows = maps.network(flip(images[start : start + step]))
            for total, row, number in zip(totals[start:], rows, numbers[start:], strict=False):
                found = activation_map(
                    row, maps.head, maps.shapes, number, (width, height), context=maps.context
                )
                total[source] += found.ravel()
    return list(totals.reshape(-1, height, width) / len(flips))


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
    """The column and row of the largest value; of an area that has it, the pixel next to its middle.

    A map whose largest cell lies at its edge is flat from the middle of that cell on.
    """
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    _, areas = load_cv2().connectedComponents((found >= found.max()).astype(np.uint8), connectivity=8)
    pixels = np.argwhere(areas == areas[row, column])
    nearest = ((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1).argmin()
    row, column = pixels[nearest]
    return int(column), int(row)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    shared = max(width, 0) * max(height, 0)
    return shared / (_area(one) + _area(other) - shared)


def _area(box: Box) -> int:
    return (box.right - box.left) * (box.bottom - box.top)
