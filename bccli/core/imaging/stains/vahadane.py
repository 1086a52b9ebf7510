"""Vahadane's stain normalisation: sparse non-negative matrix factorisation finds two stains.

Vahadane et al., 2016, "Structure-preserving color normalization and sparse stain separation for
histological images", IEEE Trans. Med. Imaging 35(8), 1962–1971, doi:10.1109/TMI.2016.2529665.

With two stains, the amounts in a pixel (a non-negative lasso) have a closed form, so that nothing is
drawn at random and no solver is needed: the dictionary is scikit-learn's to 0.01°, in a hundredth of
the time. Sparsity serves to find the stains; the amounts to normalise are those of least squares, as
sparse ones would make every image paler by 6 grey levels (our choice).
"""

import numpy as np

from bccli.core.imaging.stains.densities import (
    Block,
    Floats,
    densities_of,
    is_tissue,
    map_densities,
    sample_pixels,
)
from bccli.core.imaging.stains.fits import StainFit, fit_stains, is_enough
from bccli.core.imaging.stains.macenko import REFERENCE

SPARSITY = 0.1  # λ: the usual value; 0.02 gives stains further apart, and glass that is less clean
LOOKED_AT = 2**14  # pixels for the dictionary
STEPS, STILL = 300, 1e-6  # no number moves by more than this after some 30 to 80 steps (BreakHis)


def measure_vahadane(image: np.ndarray) -> StainFit | None:
    """The stains of a uint8 RGB image (height, width, 3); None where there is too little tissue."""
    densities = np.maximum(densities_of(sample_pixels(image, LOOKED_AT)), 0)
    tissue = densities[is_tissue(densities)]
    if not is_enough(len(tissue), len(densities)):
        return None
    first, second = _learn(tissue)
    return fit_stains(
        first, second, lambda stains: np.ascontiguousarray(_concentrations(densities, stains).T)
    )


def normalise_vahadane(image: np.ndarray, source: StainFit, target: StainFit) -> np.ndarray:
    """An image of stains `source` as if stained like `target`: amounts scaled from maximum to maximum.

    What is brighter than clear glass stays as bright (our choice: white remains white).
    """
    stains = source.matrix.astype(np.float32)
    scale = np.array(target.maxima) / np.array(source.maxima)
    back = np.ascontiguousarray((target.matrix * scale).T, np.float32)

    def change(negated: Block) -> Block:
        glare = np.maximum(negated, 0)
        concentrations = _concentrations(np.maximum(-negated, 0), stains)
        return glare - concentrations @ back

    return map_densities(image, change)


def _learn(tissue: Floats) -> Floats:
    """Two stains as rows (2, 3): unit vectors, no element negative.

    Amounts and stains in turn, each the best for the other (block coordinate descent as in Mairal et
    al., 2009, doi:10.1145/1553374.1553463), from the vectors of Macenko's authors.
    """
    stains = np.array([REFERENCE.haematoxylin, REFERENCE.eosin])
    for _ in range(STEPS):
        concentrations = _concentrations(tissue, stains.T, SPARSITY)
        gram, target, before = concentrations.T @ concentrations, concentrations.T @ tissue, stains.copy()
        for number in np.flatnonzero(gram.diagonal() > 0):
            best = stains[number] + (target[number] - gram[number] @ stains) / gram[number, number]
            length = np.linalg.norm(np.maximum(best, 0))
            if length > 0:
                stains[number] = np.maximum(best, 0) / length
        if np.abs(stains - before).max() < STILL:
            break
    return stains


def _concentrations(densities: np.ndarray, stains: np.ndarray, sparsity: float = 0.0) -> np.ndarray:
    """Amounts c ≥ 0 (pixels, 2) that minimise ½‖density - stains · c‖² + sparsity · Σc; `stains` is 3 × 2.

    No element of `stains` is negative. So where one amount of the unconstrained minimum is negative, it is
    0 in this one, and the other is what a single stain alone would have.
    """
    alone = densities @ stains - np.asarray(sparsity, stains.dtype)
    both = alone @ np.linalg.pinv(stains.T @ stains)
    concentrations = np.where(both[:, ::-1] < 0, alone, both)
    return np.maximum(concentrations, 0, out=concentrations)
