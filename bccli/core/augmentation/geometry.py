"""Movements of an image, each as the matrix by which a resampled pixel finds its position in the old image.

Matrices are 3 × 3, float64, on (x, y, 1) in pixels with the first pixel's centre at 0. Those of movements
that follow each other are multiplied, so that pixels are resampled once. Sizes are (width, height).
"""

import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Size = tuple[int, int]


def inner_rotation(size: Size, *, rotate: float) -> Matrix:
    """A turn by `rotate` degrees against the clock, of which the largest inner rectangle fills the image."""
    angle = math.radians(rotate)
    cosine, sine = math.cos(angle), math.sin(angle)
    width, height = _inner_of_turned(size, abs(cosine), abs(sine))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return _about_centre(size, turn @ np.diag([width / size[0], height / size[1]]))


def _inner_of_turned(size: Size, cosine: float, sine: float) -> tuple[float, float]:
    """The sides of the upright rectangle of largest area inside a turned one."""
    long, short = max(size), min(size)
    if short <= 2 * sine * cosine * long or math.isclose(sine, cosine):
        # two corners lie on the long sides, the other two in between
        half = short / 2
        inner = (half / sine, half / cosine) if size[0] >= size[1] else (half / cosine, half / sine)
        return inner
    double = cosine * cosine - sine * sine
    return (
        abs((size[0] * cosine - size[1] * sine) / double),
        abs((size[1] * cosine - size[0] * sine) / double),
    )


def inner_shear(size: Size, *, shear: float, axis: str) -> Matrix:
    """A slant by `shear` degrees along `axis`, of which the largest inner rectangle fills the image."""
    slope = math.tan(math.radians(shear))
    along, across = size if axis == "x" else size[::-1]
    depth = min(across, along / (2 * abs(slope)) if slope else math.inf)
    length = along - abs(slope) * depth
    slant = np.array([[length / along, -slope * depth / across], [0, depth / across]])
    return _about_centre(size, slant if axis == "x" else slant[::-1, ::-1])


def zoom(size: Size, *, factor: float) -> Matrix:
    """The middle of the image, `factor` times as large."""
    return _about_centre(size, np.eye(2) / factor)


def keras_zoom(size: Size, *, zoom_x: float, zoom_y: float) -> Matrix:
    """Keras's zoom (`apply_affine_transform`): above 1 the image becomes smaller."""
    return _about_centre(size, np.diag([zoom_x, zoom_y]))


def _about_centre(size: Size, change: Matrix) -> Matrix:
    """A 2 × 2 matrix as a movement that leaves the middle of the image where it is."""
    centre = (np.array(size) - 1) / 2
    matrix = np.eye(3)
    matrix[:2, :2] = change
    matrix[:2, 2] = centre - change @ centre
    return matrix
