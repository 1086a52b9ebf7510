"""Maps on pictures of raw images: whatever the preparation, they mark what the network saw there."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bccli.core.imaging.equalising import Box
from bccli.core.imaging.preparation import Patches, Preparation, prepare_image
from bccli.core.imaging.regions import Region
from bccli.core.prediction.maps.class_activation import peak_of
from bccli.core.prediction.maps.heat import (
    LONGEST_SIDE,
    PatchHeat,
    TilesHeat,
    WholeHeat,
    canvas_of,
    mean_heat,
)

SIDES = st.integers(60, 400)


def film_with_a_dot(width: int, height: int, x: float, y: float, radius: int) -> tuple[np.ndarray, int, int]:
    """A black image uint8 (height, width) with a white disc, and the disc's middle."""
    column, row = round(x * (width - 1)), round(y * (height - 1))
    rows, columns = np.mgrid[:height, :width]
    return np.where(np.hypot(rows - row, columns - column) <= radius, 255, 0).astype(np.uint8), column, row


@given(
    SIDES, SIDES, st.floats(0.2, 0.8), st.floats(0.2, 0.8),
    st.sampled_from(["stretch", "pad", "crop"]), st.tuples(SIDES, SIDES), st.booleans(),
)  # fmt: skip
def test_the_peak_is_where_the_network_saw_it(
    width: int, height: int, x: float, y: float, fit: str, size: tuple[int, int], cut: bool
) -> None:
    radius = max(width, height) // 20
    raw, column, row = film_with_a_dot(width, height, x, y, radius)
    centre = (size[0] * 3 // 4, size[1] * 3 // 4) if cut else None
    preparation = Preparation(size=size, fit=fit, centre=centre)
    (piece,) = prepare_image(raw, preparation).patches
    prepared = piece.image[..., 0]
    assume((prepared >= 250).any())  # it may have been cut off
    inner = prepared[1:-1, 1:-1]
    assume(prepared.max() == inner.max() and not prepared[[0, -1]].any() and not prepared[:, [0, -1]].any())
    canvas = canvas_of(raw.shape)
    found = WholeHeat(prepared.astype(float), preparation, prepared.shape[::-1]).on(canvas)
    at = canvas.to_raw(*peak_of(found))
    assert np.hypot(at[0] - column, at[1] - row) <= radius + 2


def test_a_region_is_shown_where_it_was_cut_out() -> None:
    raw, column, row = film_with_a_dot(300, 200, 0.7, 0.4, 6)
    mask = np.zeros(raw.shape, np.uint8)
    mask[60:120, 180:250] = 255
    preparation = Preparation(size=(64, 64), region=Region("crop", 5))
    (piece,) = prepare_image(raw, preparation, mask).patches
    heat = WholeHeat(piece.image[..., 0].astype(float), preparation, (64, 64), piece.box)
    canvas = canvas_of(raw.shape)
    found = heat.on(canvas)
    at = canvas.to_raw(*peak_of(found))
    assert np.hypot(at[0] - column, at[1] - row) <= 6
    assert piece.box is not None
    outside = np.ones(raw.shape, bool)
    outside[piece.box.top : piece.box.bottom, piece.box.left : piece.box.right] = False
    shrunk = canvas.size[0] / raw.shape[1]
    assert not found[(np.argwhere(outside) * shrunk).astype(int)[::97, 0], 0].any()


def test_cells_at_the_edge_reach_the_edge() -> None:
    values = np.zeros((4, 4))
    values[0, 3] = 1
    found = WholeHeat(values, Preparation(size=(64, 64)), (64, 64)).on(canvas_of((256, 256)))
    assert found[0, -1] == found.max() == 1
    assert peak_of(found) == (239, 15)  # the middle of the flat corner
    assert not found[128:, :128].any()


def test_patches_lie_where_they_were_cut() -> None:
    positions = np.array([(0, 0), (0, 50), (50, 0), (50, 50)])
    canvas = canvas_of((1000, 1500))
    assert canvas.size == (LONGEST_SIDE, round(LONGEST_SIDE / 1.5))
    found = PatchHeat(np.array([0.0, 0.2, 0.4, 1.0]), positions * 10, 500).on(canvas)
    middle = canvas.size[1] // 4, canvas.size[0] // 6
    assert found[middle] == 0
    assert found[3 * middle[0], 3 * middle[1]] == 1
    assert not found[:, -canvas.size[0] // 4 :].any()  # where no patch was


def test_where_patches_overlap_their_mean_counts() -> None:
    found = PatchHeat(np.array([1.0, 0.0]), np.array([(0, 0), (0, 128)]), 256).on(canvas_of((256, 384)))
    assert found[100, 50] == 1
    assert found[100, 200] == 0.5
    assert found[100, 300] == 0


def test_each_map_has_the_same_weight() -> None:
    canvas = canvas_of((256, 256))
    small = PatchHeat(np.array([0.001]), np.array([(0, 0)]), 128)
    large = PatchHeat(np.array([9.0]), np.array([(128, 128)]), 128)
    empty = PatchHeat(np.array([0.0]), np.array([(0, 0)]), 128)
    found = mean_heat([small, large], canvas)
    assert found[10, 10] == found[200, 200] == 0.5
    assert not mean_heat([empty], canvas).any()
    assert not mean_heat([], canvas).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (7, 3), (5000, 4000), (50, 50)])
def test_pictures_are_neither_tiny_nor_large(shape: tuple[int, int]) -> None:
    canvas = canvas_of(shape)
    assert 256 <= max(canvas.size) <= LONGEST_SIDE
    assert min(canvas.size) >= 1
    column, row = canvas.to_raw(canvas.size[0] - 1, canvas.size[1] - 1)
    assert 0 <= column < shape[1]
    assert 0 <= row < shape[0]
    values = np.ones((3, 3))
    box = Box(0, 0, shape[1], shape[0])
    assert WholeHeat(values, Preparation(), (shape[1], shape[0]), box).on(canvas).min() == 1


@given(st.integers(20, 70), st.integers(10, 60), st.integers(0, 2**32 - 1))
def test_a_map_of_tiles_is_the_mean_of_what_each_would_show(side: int, stride: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    canvas = canvas_of((150, 256))
    rows, columns = (range(0, length - side + 1, stride) for length in canvas.shape)
    corners = [(row, column) for row in rows for column in columns]
    values = rng.random((len(corners), 5, 4))
    preparation = Preparation(patches=Patches(side, stride))
    found = TilesHeat(values, preparation, (side, side), corners).on(canvas)
    total, count = np.zeros(canvas.shape), np.zeros(canvas.shape)
    for (row, column), heat in zip(corners, values, strict=True):
        box = Box(column, row, column + side, row + side)
        total += WholeHeat(heat, Preparation(), (side, side), box).on(canvas)
        count[row : row + side, column : column + side] += 1
    np.testing.assert_allclose(found, total / np.maximum(count, 1), atol=1e-4)


def test_cells_without_weight_are_left_to_other_tiles() -> None:
    canvas = canvas_of((256, 256))
    values, weights = np.ones((2, 4, 4)), np.ones((2, 4, 4))
    values[0, :, -1], weights[0, :, -1] = 0, 0
    preparation = Preparation(patches=Patches(128, 64))
    heat = TilesHeat(values, preparation, (128, 128), [(0, 0), (0, 64)], weights)
    assert heat.on(canvas)[:128, :192] == pytest.approx(1)
    assert not heat.on(canvas)[128:].any()


def test_tiles_smaller_than_a_pixel_of_the_picture_are_shown() -> None:
    canvas = canvas_of((4096, 3072))
    corners = [(row, column) for row in range(0, 4096, 4) for column in range(0, 8, 4)]
    heat = TilesHeat(np.ones((len(corners), 2, 2)), Preparation(patches=Patches(4, 4)), (4, 4), corners)
    assert heat.on(canvas)[:, 0] == pytest.approx(1)
