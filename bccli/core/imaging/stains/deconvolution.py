"""Colour deconvolution: an image whose amounts of stain change, as if it were taken apart and put together.

Ruifrok & Johnston, 2001, "Quantification of histochemical staining by color deconvolution", Anal. Quant.
Cytol. Histol. 23(4), 291–299.
"""

from collections.abc import Sequence

import numpy as np

from bccli.core.imaging.stains.densities import (
    TISSUE,
    Block,
    Floats,
    map_densities,
    multiply_densities,
)

_VECTORS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
RUIFROK: Floats = (_VECTORS / np.linalg.norm(_VECTORS, axis=1, keepdims=True)).T
"""The paper's stain matrix (3 × 3): haematoxylin, eosin, and diaminobenzidine, which takes up the rest."""


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
