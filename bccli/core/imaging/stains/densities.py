"""Optical density: how much light the stains in a pixel have taken away, in each of R, G and B.

Amounts of stain add up as optical density (Beer and Lambert's law): a pixel's densities are the stain
matrix (3 × stains, a unit vector per stain) times the amounts of the stains.
"""

from collections.abc import Callable
from math import gcd

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Block = NDArray[np.float32]
"""Some pixels of an image, (pixels, 3)."""

WHITE_LEVEL = 240.0
"""The grey level of clear glass in the code that Macenko's authors published."""

TISSUE = 0.15
"""Optical density in green, which haematoxylin and eosin both take away, from which on a pixel is tissue."""

SAMPLE = 2**17
"""About so many pixels of a large image, evenly spread, speak for all of them in statistics."""

_BLOCK = 2**14  # pixels: as float32 RGB, they and what is made of them stay in a core's cache
_DENSITIES = -np.log((np.arange(256) + 1) / WHITE_LEVEL)


def sample_pixels(image: np.ndarray, limit: int = SAMPLE) -> np.ndarray:
    """Every k-th pixel (pixels, 3), row by row: a third of `limit` to `limit` and a half, or all if there are
    fewer.

    k shares no divisor with the width, so that all columns take their turn.
    """
    pixels = image.reshape(-1, 3)
    step = max(len(pixels) // limit, 1 + (len(pixels) > limit))
    while gcd(step, image.shape[1]) > 1:
        step += 1
    return pixels[::step]


def densities_of(pixels: np.ndarray) -> Floats:
    """Optical densities of uint8 pixels, in the same shape: -ln((level + 1) / WHITE_LEVEL)."""
    return _DENSITIES.take(pixels)


def brightest(density: float) -> int:
    """The highest grey level that has at least so much optical density."""
    return int(np.flatnonzero(density <= _DENSITIES)[-1])


def is_tissue(densities: Floats) -> NDArray[np.bool_]:
    """A mask of the densities (…, 3) of tissue, in contrast to clear glass."""
    return densities[..., 1] >= TISSUE


def map_levels(image: np.ndarray, change: Callable[[Block], Block]) -> np.ndarray:
    """A new image by a function of grey levels, float32 (pixels, 3), which it may overwrite.

    What the function returns is cut to 0…255 and truncated.
    """
    pixels = image.reshape(-1, 3)
    result = np.empty(pixels.shape, np.uint8)
    for start in range(0, len(pixels), _BLOCK):
        block = slice(start, start + _BLOCK)
        levels = change(pixels[block].astype(np.float32))
        np.copyto(result[block], np.clip(levels, 0, 255, out=levels), casting="unsafe")
    return result.reshape(image.shape)


def map_densities(image: np.ndarray, change: Callable[[Block], Block], *, exact: bool = False) -> np.ndarray:
    """A new image by a function of negated optical densities, float32 (pixels, 3), which it may overwrite.

    With `exact`, densities that stay the same give the same pixels. Without, what was added to keep the
    logarithm of black finite stays in, as in the code of Macenko's authors.
    """
    shift = np.float32(-0.5 if exact else 0)  # takes away the 1 and rounds

    def change_levels(levels: Block) -> Block:
        levels += 1
        levels *= np.float32(1 / WHITE_LEVEL)
        densities = change(np.log(levels, out=levels))
        with np.errstate(over="ignore"):  # endlessly bright is white
            np.exp(densities, out=densities)
        densities *= np.float32(WHITE_LEVEL)
        densities += shift
        return densities

    return map_levels(image, change_levels)


def multiply_densities(image: np.ndarray, matrix: Floats, *, exact: bool = False) -> np.ndarray:
    """A new image whose optical densities are `matrix` (3 × 3) times those of `image`."""
    transposed = np.ascontiguousarray(matrix.T, np.float32)
    return map_densities(image, lambda densities: densities @ transposed, exact=exact)
