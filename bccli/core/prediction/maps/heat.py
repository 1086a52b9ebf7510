"""Maps of what speaks for a class, brought from what a network sees to a picture of the raw image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bccli.core.imaging.equalising import Box
from bccli.core.imaging.opencv import load_cv2
from bccli.core.imaging.preparation import Preparation, raw_rectangle
from bccli.core.metrics.material import Floats

LONGEST_SIDE, SHORTEST_LONG_SIDE = 512, 256
"""Pixels of a picture's longer side at most, and at least."""


@dataclass(frozen=True)
class Canvas:
    """A picture of an image: the raw image's `shape` (height, width), and the picture's `size` (width,
    height), in pixels."""

    shape: tuple[int, int]
    size: tuple[int, int]

    @property
    def scales(self) -> tuple[float, float]:
        """How many pixels of the picture a pixel of the raw image is, across and down."""
        return self.size[0] / self.shape[1], self.size[1] / self.shape[0]

    def to_raw(self, column: float, row: float) -> tuple[int, int]:
        """The pixel (column, row) of the raw image that lies under the middle of a pixel of the picture."""
        (height, width), (across, down) = self.shape, self.scales
        return min(int((column + 0.5) / across), width - 1), min(int((row + 0.5) / down), height - 1)

    def of_raw(self, box: Box) -> Box:
        """Where a box of the raw image is on the picture."""
        across, down = self.scales
        return Box(
            round(box.left * across),
            round(box.top * down),
            round(box.right * across),
            round(box.bottom * down),
        )


def canvas_of(shape: tuple[int, int]) -> Canvas:
    """The picture of a raw image of this shape (height, width)."""
    longest = max(shape)
    wanted = min(max(longest, SHORTEST_LONG_SIDE), LONGEST_SIDE)
    height, width = (max(round(side * wanted / longest), 1) for side in shape)
    return Canvas(shape, (width, height))


class Heat(Protocol):
    """What in an image speaks for a class; `largest` is the largest value that there can be, None where
    values mean something only beside each other."""

    @property
    def largest(self) -> float | None: ...

    def on(self, canvas: Canvas) -> Floats:
        """Values (height, width) of the canvas, none of them below 0."""


@dataclass(frozen=True)
class WholeHeat:
    """Values (rows, columns) ≥ 0 that are spread evenly over an image after a `preparation`, of this `size`
    (width, height); a region was at `box` in the raw image. None of them can be larger than `largest`."""

    values: Floats
    preparation: Preparation
    size: tuple[int, int]
    box: Box | None = None
    largest: float | None = None

    def on(self, canvas: Canvas) -> Floats:
        """Linear between the values, 0 where the preparation has cut something off."""
        left, top, right, bottom = raw_rectangle(self.preparation, self.size, canvas.shape, self.box)
        x, y = canvas.scales
        corners = left * x, top * y, right * x, bottom * y
        placed = _spread(self.values, corners, canvas.size)
        outside = np.ones(placed.shape, bool)
        outside[_pixels(top * y, bottom * y), _pixels(left * x, right * x)] = False
        placed[outside] = 0
        return placed


def _spread(values: Floats, corners: tuple[float, float, float, float], size: tuple[int, int]) -> Floats:
    """Values (rows, columns) spread over a rectangle (left, top, right, bottom) of a picture of this size
    (width, height), linear between them; those at its edges go on beyond it."""
    left, top, right, bottom = corners
    rows, columns = values.shape
    across, down = (right - left) / columns, (bottom - top) / rows
    # from the middles of cells to the middles of pixels; cells at the edge reach as far as the image does
    move = np.array([[across, 0, left + (across - 1) / 2], [0, down, top + (down - 1) / 2]])
    cv2 = load_cv2()
    spread: Floats = cv2.warpAffine(
        values.astype(np.float32), move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float64)
    return spread


@dataclass(frozen=True)
class TilesHeat:
    """Values (n, rows, columns) ≥ 0 that are spread evenly over n tiles, which lie at `corners`, rows and
    columns of the raw image, and came out of a `preparation` in this `size` (width, height). Each counts as
    much as its weight (n, rows, columns), all the same without."""

    values: Floats
    preparation: Preparation
    size: tuple[int, int]
    corners: Sequence[tuple[int, int]]
    weights: Floats | None = None
    largest: float | None = None

    def on(self, canvas: Canvas) -> Floats:
        """Where tiles overlap, the mean of their values; 0 where there is none."""
        assert self.preparation.patches
        side = self.preparation.patches.size
        shown = raw_rectangle(self.preparation, self.size, (side, side))
        left, top, right, bottom = (
            max(shown[0], 0),
            max(shown[1], 0),
            min(shown[2], side),
            min(shown[3], side),
        )
        totals, counts = np.zeros(canvas.size[::-1]), np.zeros(canvas.size[::-1])
        x, y = canvas.scales
        weights = np.ones(self.values.shape) if self.weights is None else self.weights
        for values, weight, (row, column) in zip(self.values, weights, self.corners, strict=True):
            rows = _pixels((row + top) * y, (row + bottom) * y)
            columns = _pixels((column + left) * x, (column + right) * x)
            window = totals[rows, columns]
            if not window.size:
                continue
            ends = (
                (column + shown[0]) * x,
                (row + shown[1]) * y,
                (column + shown[2]) * x,
                (row + shown[3]) * y,
            )
            first = (columns.start, rows.start) * 2
            corners = (ends[0] - first[0], ends[1] - first[1], ends[2] - first[2], ends[3] - first[3])
            window += _spread(values * weight, corners, window.shape[::-1])
            counts[rows, columns] += _spread(weight, corners, window.shape[::-1])
        return np.divide(totals, counts, out=np.zeros_like(totals), where=counts > _LEAST_WEIGHT)


_LEAST_WEIGHT = 1e-6
"""What has less weight on a canvas has none: it is what rounding leaves."""


@dataclass(frozen=True)
class PatchHeat:
    """A value ≥ 0 for each of n patches of `side` pixels at `positions` (n, 2), their rows and columns in the
    raw image."""

    values: Floats
    positions: np.ndarray
    side: int
    largest: float | None = None

    def on(self, canvas: Canvas) -> Floats:
        """Where patches overlap, the mean of their values; 0 where there is none."""
        totals, counts = np.zeros(canvas.size[::-1]), np.zeros(canvas.size[::-1])
        x, y = canvas.scales
        for value, (row, column) in zip(self.values, self.positions, strict=True):
            area = _pixels(row * y, (row + self.side) * y), _pixels(column * x, (column + self.side) * x)
            totals[area] += value
            counts[area] += 1
        return totals / np.maximum(counts, 1)


def _pixels(start: float, end: float) -> slice:
    """At least one pixel, and all whose middles lie between two edges."""
    first = max(round(start), 0)
    return slice(first, max(round(end), first + 1))


def mean_heat(heats: Sequence[Heat], canvas: Canvas) -> Floats:
    """The mean of several maps on a canvas, each as a share of the largest value that it has or can have; 0
    where none has any."""
    total = np.zeros(canvas.size[::-1])
    for heat in heats:
        values = heat.on(canvas)
        if (largest := heat.largest or values.max()) > 0:
            total += values / largest
    return total / max(len(heats), 1)
