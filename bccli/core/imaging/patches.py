"""Square patches of an image."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bccli.core.errors import ImageError


class Position(NamedTuple):
    """The top-left corner of a patch in its image, in pixels."""

    row: int
    col: int


def grid(
    image: np.ndarray, size: int, *, stride: int | None = None, to_edges: bool = False
) -> list[Position]:
    """The positions of patches of `size` × `size` pixels in an image or mask, row by row.

    They are `stride` pixels apart, side by side by default; strips at the right and bottom edge that hold no
    whole patch are left out; with `to_edges`, a last patch lies there that ends with the image, and overlaps
    with the one before. Raises ImageError where not even one fits.
    """
    height, width = image.shape[:2]
    if height < size or width < size:
        raise ImageError(
            f"is smaller ({width}×{height}) than a patch ({size}×{size}); choose smaller patches"
        )
    rows, cols = (_starts(side - size, stride or size, to_edges) for side in (height, width))
    return [Position(row, col) for row in rows for col in cols]


def _starts(last: int, step: int, to_edges: bool) -> list[int]:
    """Where patches start along a side, `last` at most."""
    starts = list(range(0, last + 1, step))
    return [*starts, last] if to_edges and starts[-1] < last else starts


def cut(image: np.ndarray, positions: Iterable[Position], size: int) -> Iterator[np.ndarray]:
    """Yield the patches at the positions, as views of an image or mask."""
    for row, col in positions:
        yield image[row : row + size, col : col + size]


def choose(
    positions: Sequence[Position],
    scores: Sequence[float],
    *,
    at_least: float = 0.0,
    most: int | None = None,
) -> list[Position]:
    """The positions whose score is `at_least` so high, and of those the `most` best, in their own order.

    Of equal scores the earlier position wins.
    """
    good = [number for number, score in enumerate(scores) if score >= at_least]
    best = sorted(good, key=lambda number: -scores[number])[:most]
    return [positions[number] for number in sorted(best)]
