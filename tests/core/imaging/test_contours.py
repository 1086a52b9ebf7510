"""Outlines by their corners, drawn as a point-by-point check of every pixel would have them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.imaging.contours import enclosed, reach_beyond

SHAPE = 20, 30


def within(corners: list[tuple[float, float]]) -> np.ndarray:
    """All pixels of a mask whose middle is inside of a polygon by the even-odd rule."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.0
    inside = np.zeros(SHAPE, bool)
    for (x, y), (u, v) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y != v:
            inside ^= ((y > rows) != (v > rows)) & (columns < (u - x) * (rows - y) / (v - y) + x)
    return inside


def distance(corners: list[tuple[float, float]]) -> np.ndarray:
    """How far each pixel is from a polygon's line."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    nearest = np.full(SHAPE, np.inf)
    for (x, y), (u, v) in zip(corners, [*corners[1:], corners[0]], strict=True):
        length = max((u - x) ** 2 + (v - y) ** 2, 1)
        along = np.clip(((columns - x) * (u - x) + (rows - y) * (v - y)) / length, 0, 1)
        far = np.hypot(columns - x - along * (u - x), rows - y - along * (v - y))
        nearest = np.minimum(nearest, far)
    return nearest


def corners(least: int, most: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Those of a polygon that may cross itself."""
    return st.lists(st.tuples(*[st.integers(least, most)] * 2), min_size=3, max_size=8)


@given(corners(0, 19))
def test_an_outline_is_filled_with_its_line(points: list[tuple[float, float]]) -> None:
    mask, inside = enclosed([points], SHAPE), within(points)
    assert set(np.unique(mask)) <= {0, 255}
    assert mask[inside].all()
    assert (distance(points)[(mask > 0) & ~inside] < 0.5 + 1e-9).all()


@given(corners(-60, 90))
def test_an_outline_from_beyond_is_right_to_a_pixel_and_a_half(points: list[tuple[float, float]]) -> None:
    wrong = (enclosed([points], SHAPE) > 0) != within(points)
    assert (distance(points)[wrong] < 1.5).all()


def test_one_or_two_corners_are_the_pixels_that_they_lie_in() -> None:
    mask = enclosed([[(3.9, 4.0)], [(0, 0), (29.5, 19.5)], [(30, 5)], [(-0.5, 5)], []], SHAPE)
    assert sorted(zip(*np.nonzero(mask), strict=True)) == [(0, 0), (4, 3), (19, 29)]


def test_outlines_that_overlap_are_joined_and_far_corners_do_no_harm() -> None:
    one, other = [(2, 2), (12, 2), (12, 12), (2, 12)], [(5, 5), (15, 5), (15, 15), (5, 15)]
    assert np.count_nonzero(enclosed([one, other], SHAPE)) == 2 * 121 - 64
    assert enclosed([[(-1e9, -1e9), (1e9, -1e9), (1e9, 1e9), (-1e9, 1e9)]], SHAPE).all()


@pytest.mark.parametrize(
    ("corner", "beyond"),
    [((0, 0), False), ((30.5, 20.5), False), ((-0.5, 3), False), ((31.5, 3), True), ((3, -2), True)],
)
def test_a_pixel_beyond_the_edge_is_not_remarked_upon(corner: tuple[float, float], beyond: bool) -> None:
    assert reach_beyond([[(3, 3)], [corner]], SHAPE) == beyond
    assert not reach_beyond([], SHAPE)
