"""Flips and turns by right angles, whose answers `predict --tta` averages."""

from collections.abc import Callable

import numpy as np

Flip = Callable[[np.ndarray], np.ndarray]
"""A flip or turn of images (n, height, width, 3)."""


def as_is(images: np.ndarray) -> np.ndarray:
    """The images themselves."""
    return images


def flips_of(size: tuple[int, int]) -> tuple[Flip, ...]:
    """The flips and right angles of images (n, height, width, 3): eight for squares, the first as they are.

    Others keep the size (width, height) that the network knows in four of them: as they are, flipped
    left–right, flipped up–down, and turned by 180°.
    """
    quarters = range(4) if size[0] == size[1] else (0, 2)
    return tuple(_flip(count, mirrored=mirrored) for count in quarters for mirrored in (False, True))


def _flip(quarters: int, *, mirrored: bool) -> Flip:
    def flip(images: np.ndarray) -> np.ndarray:
        turned = np.rot90(images, quarters, axes=(1, 2))
        return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)

    return flip
