"""The shares of tissue and of nuclei in an image."""

import numpy as np

from bccli.core.imaging.stains.deconvolution import RUIFROK
from bccli.core.imaging.stains.densities import densities_of, is_tissue, sample_pixels

NUCLEUS = 0.4
"""Amount of haematoxylin, by Ruifrok & Johnston's matrix, from which on a pixel counts as nucleus. Set by
eye on BreakHis images; slides stained before they are normalised differ by a factor of three."""


def tissue_share(image: np.ndarray) -> float:
    """The share of a uint8 RGB image's pixels, 0…1, that is not clear glass."""
    return float(is_tissue(densities_of(sample_pixels(image))).mean())


def nuclear_density(image: np.ndarray) -> float:
    """The share of a uint8 RGB image's pixels, 0…1, that is dark with haematoxylin.

    Golatkar et al., 2018, "Classification of breast cancer histology using deep learning", ICIAR, keep the
    patches in which nuclei are dense (BCNet paper, related work).
    """
    haematoxylin = densities_of(sample_pixels(image)) @ np.linalg.inv(RUIFROK)[0]
    return float((haematoxylin >= NUCLEUS).mean())
