"""Patches: where they lie, and which are chosen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.errors import ImageError
from bccli.core.imaging.patches import Position, choose, cut, grid
from bccli.core.imaging.tissue import tissue_share


def test_the_hybrid_paper_s_twelve() -> None:
    positions = grid(np.zeros((1536, 2048, 3), np.uint8), 512)
    assert positions == [(row, col) for row in (0, 512, 1024) for col in (0, 512, 1024, 1536)]
    assert positions[5].row == 512
    assert positions[5].col == 512


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 30), st.integers(1, 40) | st.none())
def test_patches_lie_inside_and_leave_no_room(height: int, width: int, size: int, stride: int | None) -> None:
    image = np.arange(height * width).reshape(height, width)
    if min(height, width) < size:
        with pytest.raises(ImageError):
            grid(image, size, stride=stride)
        return
    positions, step = grid(image, size, stride=stride), stride or size
    assert positions == sorted(set(positions))
    assert len(positions) == ((height - size) // step + 1) * ((width - size) // step + 1)
    for position, patch in zip(positions, cut(image, positions, size), strict=True):
        assert patch.shape == (size, size)
        assert patch[0, 0] == image[position]
        assert np.shares_memory(patch, image)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 30), st.integers(1, 30))
def test_patches_to_the_edges_cover_all(height: int, width: int, side: int, step: int) -> None:
    size, stride = min(side, height, width), min(step, side, height, width)
    image = np.zeros((height, width), int)
    inner = grid(image, size, stride=stride)
    positions = grid(image, size, stride=stride, to_edges=True)
    assert set(inner) <= set(positions)
    assert positions == sorted(set(positions))
    for patch in cut(image, positions, size):
        patch += 1
    assert image.all()


def test_side_by_side_patches_are_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
    patches = list(cut(image, grid(image, 6), 6))
    assert (np.vstack([np.hstack(patches[:3]), np.hstack(patches[3:])]) == image).all()


def test_masks_are_cut_alike() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[4:, :4] = 255
    assert [int(patch.max()) for patch in cut(mask, grid(mask, 4), 4)] == [0, 0, 255, 0]


def test_too_small_an_image_is_a_sentence() -> None:
    with pytest.raises(ImageError, match=r"^is smaller \(700×460\) than a patch \(512×512\); "):
        grid(np.zeros((460, 700, 3), np.uint8), 512)


CORNERS = [Position(0, 0), Position(0, 4), Position(4, 0), Position(4, 4)]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, [0, 1, 2, 3]),
        ({"at_least": 0.5}, [1, 2, 3]),
        ({"most": 1}, [2]),
        ({"most": 2}, [1, 2]),  # of equal ones the earlier
        ({"at_least": 0.5, "most": 9}, [1, 2, 3]),
        ({"at_least": 0.95}, []),
        ({"most": 0}, []),
    ],
)
def test_choosing(options: dict[str, float], chosen: list[int]) -> None:
    scores = [0.1, 0.5, 0.9, 0.5]
    assert choose(CORNERS, scores, **options) == [CORNERS[k] for k in chosen]  # type: ignore[arg-type]


def test_choosing_by_tissue() -> None:
    image = np.full((8, 8, 3), 240, np.uint8)
    image[4:, :4] = (150, 60, 120)
    positions = grid(image, 4)
    scores = [tissue_share(patch) for patch in cut(image, positions, 4)]
    assert choose(positions, scores, at_least=0.5) == [(4, 0)]
