"""Slides made of known stains in known amounts, for the tests of stains and tissue."""

import numpy as np
from skimage.color import separate_stains

from bccli.core.imaging.stains.fits import StainFit

PURPLE = StainFit.of(np.array([0.65, 0.70, 0.29]), np.array([0.25, 0.85, 0.46]), np.array([1.3, 1.0]))
PINK = StainFit.of(np.array([0.50, 0.75, 0.43]), np.array([0.16, 0.90, 0.40]), np.array([0.9, 1.4]))
"""Two ways of staining, 25° and 24° between their vectors."""

SIZE = (96, 128)


def draw_amounts(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Amounts (height, width, 2), the strongest 1: nuclei, stroma, both mixed, and a quarter glass."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(4, size, p=[0.25, 0.3, 0.2, 0.25])
    shares = np.array([[1, 0], [0, 1], [0.5, 0.5], [0, 0]])[kind]
    return shares * rng.uniform(0.75, 1, (*size, 1))


def stain(amounts: np.ndarray, fit: StainFit) -> np.ndarray:
    """The uint8 RGB image of amounts that are 1 at most, by the law of Beer and Lambert."""
    densities = amounts * np.array(fit.maxima) @ fit.matrix.T
    return np.clip(np.rint(240 * np.exp(-densities) - 1), 0, 255).astype(np.uint8)


def amounts_in(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The amounts of stain (height, width, stains) in an image, by scikit-image; what is below 0 is 0."""
    return separate_stains((image + 1.0) / 240, np.linalg.pinv(matrix).T) * -np.log(1e-6)


def degrees_between(first: object, second: object) -> float:
    """The angle between two unit vectors."""
    return float(np.degrees(np.arccos(np.clip(np.dot(np.asarray(first), np.asarray(second)), -1, 1))))


def farthest(first: StainFit, second: StainFit) -> float:
    """The larger of the angles between two fits' stains, in degrees."""
    pairs = ((first.haematoxylin, second.haematoxylin), (first.eosin, second.eosin))
    return max(degrees_between(*pair) for pair in pairs)


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """The mean absolute difference of two images in grey levels."""
    return float(np.abs(first.astype(int) - second).mean())


def draw_slide(patient: int, number: int, size: tuple[int, int]) -> np.ndarray:
    """An image of `size` (width, height) of a patient whose stain lies somewhere between the two."""
    share = (patient * 0.37) % 1
    mixed = [
        (1 - share) * np.array(one) + share * np.array(other)
        for one, other in zip((PURPLE.haematoxylin, PURPLE.eosin, PURPLE.maxima),
                              (PINK.haematoxylin, PINK.eosin, PINK.maxima), strict=True)
    ]  # fmt: skip
    return stain(draw_amounts(patient * 100 + number, size[::-1]), StainFit.of(*mixed))
