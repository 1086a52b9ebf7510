"""Lesions are the connected pieces of masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.detection.lesions import Lesion, boxed_lesion, find_lesions
from bccli.core.errors import ImageError
from bccli.core.imaging.equalising import Box


def mask(*places: tuple[slice, slice], shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    marked = np.zeros(shape, np.uint8)
    for place in places:
        marked[place] = 255
    return marked


ONE, OTHER = (slice(2, 12), slice(5, 25)), (slice(20, 30), slice(40, 50))


def boxes(found: list[Lesion]) -> list[Box]:
    return [lesion.box for lesion in found]


def test_each_piece_is_a_lesion_from_top_to_bottom() -> None:
    found = find_lesions([mask(OTHER, ONE)], (40, 60))
    assert boxes(found) == [Box(5, 2, 25, 12), Box(40, 20, 50, 30)]
    assert [lesion.area for lesion in found] == [200, 100]
    assert all(lesion.mask is not None and lesion.mask.all() for lesion in found)
    assert boxes(find_lesions([mask(OTHER), mask(ONE)])) == boxes(found)


def test_pieces_that_touch_by_a_corner_are_one() -> None:
    assert boxes(find_lesions([mask((slice(0, 5), slice(0, 5)), (slice(5, 10), slice(5, 10)))])) == [
        Box(0, 0, 10, 10)
    ]


def test_specks_are_no_lesions_and_small_lesions_are_no_specks() -> None:
    speck = (slice(35, 36), slice(1, 2))
    assert len(find_lesions([mask(ONE, speck)])) == 1
    assert len(find_lesions([mask(ONE, (slice(35, 36), slice(1, 3)))])) == 2
    assert len(find_lesions([mask(ONE), mask(speck)])) == 2, "what has a mask of its own is no dirt"


def test_a_lesion_that_two_masks_have_counts_once() -> None:
    assert len(find_lesions([mask(ONE), mask(ONE, OTHER)])) == 2
    wider = mask((slice(2, 12), slice(5, 26)))
    assert len(find_lesions([mask(ONE), wider])) == 2
    assert find_lesions([]) == []


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        (np.ones((40, 60), bool), "marks 100% of the film"),
        (np.ones((40, 60), np.uint8), "marks 100% of the film"),
        (1 - mask((slice(0, 4), slice(0, 4))) // 255, "marks 99% of the film"),
        (mask(), "empty mask"),
        (np.zeros((0, 0), bool), "empty mask"),
        (np.ones((40, 60, 3)), "not of height and width"),
    ],
)
def test_a_mask_that_marks_no_place_is_refused(marked: np.ndarray, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        find_lesions([marked])


def test_a_mask_of_another_film_is_refused() -> None:
    with pytest.raises(ImageError, match="not of 30×20; scale"):
        find_lesions([mask(ONE)], (20, 30))


def test_a_middle_in_the_hole_of_a_ring_is_not_in_the_lesion() -> None:
    ring = mask((slice(0, 20), slice(0, 20)))
    ring[5:15, 5:15] = 0
    (lesion,) = find_lesions([ring])
    whole = Box(0, 0, 20, 20)
    assert not lesion.holds_centre(whole)
    assert boxed_lesion(lesion.box).holds_centre(whole)
    assert lesion.holds_centre(Box(0, 0, 6, 6))


@given(st.integers(0, 500))
def test_lesions_have_all_the_pixels_of_their_mask_but_specks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    marked = rng.random((9, 11)) < 0.4
    marked[0, 0], marked[-1, -1] = True, False
    again = np.zeros_like(marked)
    for lesion in find_lesions([marked]):
        assert lesion.mask is not None
        assert lesion.area == lesion.mask.sum()
        edges = lesion.mask[0], lesion.mask[-1], lesion.mask[:, 0], lesion.mask[:, -1]
        assert all(edge.any() for edge in edges)
        lesion.box.of(again)[...] |= lesion.mask
    assert (again == marked).all()  # one of a hundred pixels is no speck here
