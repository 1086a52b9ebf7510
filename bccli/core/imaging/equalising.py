"""CLAHE, contrast-limited adaptive histogram equalisation, as OpenCV does it; of a box, only its tiles.

Pizer et al., 1987, "Adaptive histogram equalization and its variations"; CBIS-DDSM paper, section 4.3.1.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from bccli.core.imaging.greys import Greys
from bccli.core.imaging.opencv import load_cv2


@dataclass(frozen=True)
class Clahe:
    """The numbers of CLAHE: how many times the mean a bin of a tile's histogram may hold (`clip`), and the
    `tiles` across and down.

    The paper gives neither; the defaults are those of OpenCV's tutorial.
    """

    clip: float = 2.0
    tiles: int = 8


USUAL = Clahe()


class Box(NamedTuple):
    """A rectangle of an image in pixels; `right` and `bottom` are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """That rectangle of an image, which shares its memory."""
        return image[self.top : self.bottom, self.left : self.right]


def equalise(grey: np.ndarray, clahe: Clahe = USUAL) -> np.ndarray:
    """CLAHE of a uint8 image (height, width)."""
    equalised: np.ndarray = load_cv2().createCLAHE(clahe.clip, (clahe.tiles, clahe.tiles)).apply(grey)
    return equalised


def equalise_box(greys: Greys, box: Box, clahe: Clahe = USUAL) -> np.ndarray:
    """That rectangle of the equalised image, to the pixel, from the tiles around it alone."""
    if not _is_mirrored():
        return box.of(equalise(greys.whole(), clahe))
    return _equalise_box(greys, box, clahe)


@cache
def _is_mirrored() -> bool:
    """Whether this OpenCV computes as `_equalise_part` does, tried on a pattern."""
    rows, columns = np.indices((67, 83))
    pattern = ((rows * 7 + columns * columns * 3 + (rows * columns) // 5) % 256).astype(np.uint8)
    return bool(np.array_equal(equalise(pattern), _equalise_box(Greys(pattern), Box(0, 0, 83, 67), USUAL)))


def _equalise_box(greys: Greys, box: Box, clahe: Clahe) -> np.ndarray:
    height, width = _tile_sides(greys.shape, clahe.tiles)
    above, below, down = _neighbours(box.top, box.bottom, height, clahe.tiles)
    before, after, across = _neighbours(box.left, box.right, width, clahe.tiles)
    curves = np.zeros((clahe.tiles, clahe.tiles, 256), np.float32)
    for row in range(above[0], below[-1] + 1):
        for column in range(before[0], after[-1] + 1):
            tile = greys.crop(
                _mirrored(row * height, (row + 1) * height, greys.shape[0]),
                _mirrored(column * width, (column + 1) * width, greys.shape[1]),
            )
            curves[row, column] = _curve(tile, clahe.clip)
    values = greys.crop(slice(box.top, box.bottom), slice(box.left, box.right))

    def level(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """What the values become by the curves of some tiles, float32."""
        tiles = rows[:, None] * clahe.tiles + columns
        return np.take(curves.ravel(), tiles * 256 + values)

    # in OpenCV's order of operations, all in float32, so that every rounding is the same
    upper = level(above, before) * (1 - across) + level(above, after) * across
    lower = level(below, before) * (1 - across) + level(below, after) * across
    down = down[:, None]
    return np.rint(upper * (1 - down) + lower * down).astype(np.uint8)


def _tile_sides(shape: tuple[int, int], tiles: int) -> tuple[int, int]:
    """Height and width of a tile of the image, which OpenCV extends to multiples of `tiles`.

    It extends both sides where one is no multiple, the other then by a pixel per tile.
    """
    whole = not any(side % tiles for side in shape)
    height, width = ((side + (0 if whole else tiles - side % tiles)) // tiles for side in shape)
    return height, width


def _mirrored(start: int, stop: int, length: int) -> slice | np.ndarray:
    """Rows or columns, those beyond the end mirrored about the last one."""
    if stop <= length:
        return slice(start, stop)
    positions = np.arange(start, stop)
    period = max(2 * (length - 1), 1)
    positions %= period
    return np.minimum(positions, period - positions)


def _neighbours(start: int, stop: int, side: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each pixel along one direction the tiles whose centres are before and after it, and how far the
    latter counts, float32."""
    positions = np.arange(start, stop).astype(np.float32) * (np.float32(1) / np.float32(side)) - np.float32(
        0.5
    )
    before = np.floor(positions).astype(np.int64)
    shares = positions - before.astype(np.float32)
    return np.clip(before, 0, tiles - 1), np.clip(before + 1, 0, tiles - 1), shares


def _curve(tile: np.ndarray, clip: float) -> np.ndarray:
    """What each of 256 levels becomes by the tile's histogram, of which the peaks are cut and shared out."""
    counts = load_cv2().calcHist([tile], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    limit = max(int(clip * tile.size / 256), 1)
    cut = int(np.clip(counts - limit, 0, None).sum())
    counts = np.minimum(counts, limit) + cut // 256
    if rest := cut % 256:
        counts[: rest * (256 // rest) : 256 // rest] += 1
    sums = np.cumsum(counts).astype(np.float32)
    return np.clip(np.rint(sums * np.float32(255 / tile.size)), 0, 255)
