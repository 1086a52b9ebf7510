"""Macenko's stain normalisation: two stains found as the edges of the colours in an image.

Macenko et al., 2009, "A method for normalizing histology slides for quantitative analysis", ISBI,
1107–1110, doi:10.1109/ISBI.2009.5193250; the "SVD geodesic method" of the hybrid paper, section IV.A.
Constants, and where numbers are cut, are those of the code that its authors published and of
torchstain after it.
"""

import numpy as np

from bccli.core.imaging.stains.densities import brightest, densities_of, multiply_densities, sample_pixels
from bccli.core.imaging.stains.fits import StainFit, fit_stains, is_enough, percentiles

STAINED = 0.15  # β: the optical density that tissue has at least in each of R, G and B
EDGE = 1.0  # α: percent of the tissue beyond each edge

_PALEST = brightest(STAINED)

REFERENCE = StainFit.of(
    np.array([0.5626, 0.7201, 0.4062]), np.array([0.2159, 0.8012, 0.5581]), np.array([1.9705, 1.0308])
)
"""The target in the code of Macenko's authors."""


def measure_macenko(image: np.ndarray) -> StainFit | None:
    """The stains of a uint8 RGB image (height, width, 3); None where too little tissue is stained.

    The sample that stands for a large image moves no stain by more than 0.3°, and a normalised image by
    less than half a grey level on average (BreakHis, phantoms).
    """
    colours = np.ascontiguousarray(sample_pixels(image).T)  # each in one piece: three times as fast
    stained = colours.max(axis=0) <= _PALEST
    if not is_enough(int(stained.sum()), stained.size):
        return None
    densities = densities_of(colours)
    tissue = np.stack([colour[stained] for colour in densities])
    plane = np.linalg.eigh(np.cov(tissue))[1][:, 1:]  # ascending: the two largest
    plane *= np.where(plane.sum(axis=0) < 0, -1, 1)  # eigenvectors have no sign of their own
    angles = np.arctan2(*(plane.T @ tissue))
    edges = percentiles(angles, (EDGE, 100 - EDGE))
    first, second = (plane @ (np.sin(angle), np.cos(angle)) for angle in edges)
    return fit_stains(first, second, lambda stains: np.linalg.pinv(stains) @ densities)


def normalise_macenko(image: np.ndarray, source: StainFit, target: StainFit) -> np.ndarray:
    """An image of stains `source` as if stained like `target`: amounts scaled from maximum to maximum."""
    scale = np.array(target.maxima) / np.array(source.maxima)
    return multiply_densities(image, target.matrix * scale @ np.linalg.pinv(source.matrix))
