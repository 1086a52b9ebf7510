"""Colour deconvolution: an image taken apart into amounts of stain, and put together again.

Ruifrok & Johnston, 2001, "Quantification of histochemical staining by color deconvolution", Anal. Quant.
Cytol. Histol. 23(4), 291–299.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bccli.core.imaging.stains.densities import (
    LIGHT,
    TISSUE,
    Block,
    Floats,
    densities_of,
    map_densities,
    multiply_densities,
)

_VECTORS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
RUIFROK: Floats = (_VECTORS / np.linalg.norm(_VECTORS, axis=1, keepdims=True)).T
"""The paper's stain matrix (3 × 3): haematoxylin, eosin, and diaminobenzidine, which takes up the rest."""


def separate(image: np.ndarray, matrix: Floats = RUIFROK) -> NDArray[np.float32]:
    """The amount of each stain in each pixel of a uint8 RGB image: (height, width, stains).

    `matrix` is 3 × stains (two or three). Glass that is brighter than LIGHT has slightly negative amounts.
    """
    return densities_of(image).astype(np.float32) @ np.linalg.pinv(matrix).T.astype(np.float32)


def combine(concentrations: np.ndarray, matrix: Floats = RUIFROK) -> NDArray[np.uint8]:
    """The uint8 RGB image of amounts (height, width, stains); with three stains the inverse of `separate`."""
    densities = concentrations.astype(np.float32) @ matrix.T.astype(np.float32)
    with np.errstate(over="ignore"):  # endlessly bright is white
        levels = np.float32(LIGHT) * np.exp(-densities) - 1
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def scale_stains(
    image: np.ndarray, factors: Sequence[float], matrix: Floats = RUIFROK, *, keep_glass: bool = False
) -> np.ndarray:
    """An image with each stain's amount multiplied by its factor; what is of no stain stays.

    The hybrid paper's augmentation (section IV.A) draws the factors of haematoxylin and eosin from
    U(0.7, 1.3). There may be fewer factors than stains. With `keep_glass`, pixels that are not tissue stay
    as they are, and those with less than half as much stain again move in part, so that no edge appears.
    """
    stains = matrix.shape[1]
    more = np.zeros(stains)
    more[: len(factors)] = np.asarray(factors) - 1
    change = matrix * more @ np.linalg.pinv(matrix)
    if not keep_glass:
        return multiply_densities(image, np.eye(3) + change, exact=True)
    transposed = np.ascontiguousarray(change.T, np.float32)

    def change_tissue(densities: Block) -> Block:  # (negated)
        share = np.clip(-densities[:, 1:2] / np.float32(TISSUE / 2) - 2, 0, 1)
        return densities + share * (densities @ transposed)

    return map_densities(image, change_tissue, exact=True)
