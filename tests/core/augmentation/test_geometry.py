"""Movements as matrices: where corners come from, and that no larger rectangle was to be had."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.augmentation.geometry import inner_rotation, inner_shear, keras_zoom, zoom

SIZES = st.tuples(st.integers(2, 700), st.integers(2, 700))


def corners(size: tuple[int, int], matrix: np.ndarray) -> np.ndarray:
    """Where the outer edges of the image's four corners come from, from -½ to the side -½."""
    width, height = size
    edges = [(-0.5, -0.5, 1), (width - 0.5, -0.5, 1), (-0.5, height - 0.5, 1), (width - 0.5, height - 0.5, 1)]
    return (np.array(edges) @ matrix.T)[:, :2] + 0.5


def assert_inside(size: tuple[int, int], matrix: np.ndarray) -> None:
    found = corners(size, matrix)
    assert found.min() >= -1e-6 * max(size)
    assert (found.max(axis=0) <= np.array(size) * (1 + 1e-6)).all()


def area_of(size: tuple[int, int], matrix: np.ndarray) -> float:
    return abs(np.linalg.det(matrix[:2, :2])) * size[0] * size[1]


@given(SIZES, st.floats(-180, 180))
def test_an_inner_rotation_is_the_largest_rectangle_inside(size: tuple[int, int], degrees: float) -> None:
    matrix = inner_rotation(size, rotate=degrees)
    assert_inside(size, matrix)
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    shapes = np.geomspace(1e-3, 1e3, 400)  # height / width
    widths = np.minimum(size[0] / (cosine + shapes * sine), size[1] / (sine + shapes * cosine))
    assert (widths * widths * shapes).max() <= area_of(size, matrix) * (1 + 1e-6)


@given(SIZES, st.floats(-60, 60), st.sampled_from(["x", "y"]))
def test_an_inner_shear_is_the_largest_rectangle_inside(
    size: tuple[int, int], degrees: float, axis: str
) -> None:
    matrix = inner_shear(size, shear=degrees, axis=axis)
    assert_inside(size, matrix)
    along, across = size if axis == "x" else size[::-1]
    depths = np.linspace(0, across, 400)
    lengths = along - abs(math.tan(math.radians(degrees))) * depths
    assert (depths * lengths).max() <= area_of(size, matrix) * (1 + 1e-6)


def test_a_square_turned_shrinks_by_cosine_plus_sine() -> None:
    matrix = inner_rotation((320, 320), rotate=15)
    side = math.sqrt(area_of((320, 320), matrix))
    assert side == pytest.approx(320 / (math.cos(math.radians(15)) + math.sin(math.radians(15))))


@given(SIZES)
def test_nothing_moves_where_nothing_is_asked(size: tuple[int, int]) -> None:
    for matrix in (
        inner_rotation(size, rotate=0),
        inner_shear(size, shear=0, axis="x"),
        zoom(size, factor=1),
        keras_zoom(size, zoom_x=1, zoom_y=1),
    ):
        assert matrix == pytest.approx(np.eye(3), abs=1e-9)


def test_a_turn_is_against_the_clock() -> None:
    matrix = inner_rotation((101, 101), rotate=10)
    right = matrix @ (100, 50, 1)
    assert right[1] > 50  # what is now at the right was below
