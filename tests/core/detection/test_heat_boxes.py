"""Every summit of a map has a box around it, in pixels of the film."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.detection.boxes import iou, iou_matrix
from bccli.core.detection.heat_boxes import Grid, grid_over, heat_boxes
from bccli.core.detection.lesions import find_lesions
from bccli.core.errors import ImageError
from bccli.core.imaging.equalising import Box

FILM = (300, 400)
WHOLE = Box(0, 0, 400, 300)


def hill(x: float, y: float, width: float, height: float = 1.0, shape: tuple[int, int] = (30, 40)):
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    return height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))


def test_two_hills_have_two_boxes_the_higher_first() -> None:
    heat = np.maximum(hill(10, 8, 2, 0.6), hill(30, 20, 3, 0.9))
    first, second = heat_boxes(heat, grid_over(WHOLE, heat.shape), FILM)
    assert (first.score, second.score) == (
        pytest.approx(heat[10:].max(), abs=1e-6),
        pytest.approx(heat[:15].max(), abs=1e-6),
    )
    reach = np.sqrt(2 * np.log(2)) * 10  # where a hill has fallen to a half, in pixels
    wanted = [
        Box(*(round(edge) for edge in (x - w, y - w, x + w, y + w)))
        for x, y, w in ((300, 200, 3 * reach), (100, 80, 2 * reach))
    ]
    assert iou(first.box, wanted[0]) > 0.9
    assert iou(second.box, wanted[1]) > 0.9


@pytest.mark.parametrize("finer", [1, 2, 3, 4, 5])
def test_a_map_of_noughts_and_ones_has_the_edges_of_its_cells(finer: int) -> None:
    heat = np.zeros((30, 40))
    heat[4:9, 10:12] = heat[20, 30] = 1
    found = heat_boxes(heat, grid_over(WHOLE, heat.shape), FILM, finer=finer)
    assert {one.box for one in found} == {Box(100, 40, 120, 90), Box(300, 200, 310, 210)}
    assert [one.score for one in found] == [1, 1]


def test_boxes_are_finer_than_the_cells_of_their_map() -> None:
    rng = np.random.default_rng(0)
    coarse, fine = [], []
    for _ in range(20):
        (x, y), radius = rng.uniform(80, 180, 2), rng.uniform(25, 60)
        rows, columns = np.mgrid[:256, :256] + 0.5
        disc = np.hypot(columns - x, rows - y) < radius
        heat = disc.reshape(16, 16, 16, 16).mean(axis=(1, 3))
        true = find_lesions([disc])[0].box
        for finer, found in ((1, coarse), (4, fine)):
            grid = grid_over(Box(0, 0, 256, 256), heat.shape)
            found.append(iou(heat_boxes(heat, grid, (256, 256), finer=finer)[0].box, true))
    assert np.mean(coarse) < 0.88 < 0.91 < np.mean(fine)


def test_a_lower_hill_has_no_part_of_the_higher_one() -> None:
    heat = np.zeros((10, 20), np.float32)
    heat[3:6, 2:6], heat[3:6, 6:9], heat[3:6, 9:14] = 1.0, 0.3, 0.4
    found = heat_boxes(heat, grid_over(Box(0, 0, 20, 10), heat.shape), (10, 20), finer=1)
    assert [one.box for one in found] == [Box(2, 3, 6, 6), Box(6, 3, 14, 6)]


def test_a_plain_at_the_foot_of_a_hill_is_no_summit() -> None:
    heat = np.full((30, 40), 0.1)
    heat[10:15, 10:15] = 0.8
    assert [one.score for one in heat_boxes(heat, grid_over(WHOLE, heat.shape), FILM)] == pytest.approx([0.8])
    flat = np.full((30, 40), 0.1)
    (one,) = heat_boxes(flat, grid_over(WHOLE, flat.shape), FILM)
    assert one.box == WHOLE


def test_a_map_of_nothing_and_a_map_of_rustle() -> None:
    assert heat_boxes(np.zeros((5, 5)), grid_over(WHOLE, (5, 5)), FILM) == []
    assert heat_boxes(np.full((5, 5), 0.009), grid_over(WHOLE, (5, 5)), FILM) == []
    rustle = np.random.default_rng(0).random((60, 80))
    assert 1 <= len(heat_boxes(rustle, grid_over(WHOLE, rustle.shape), FILM)) <= 20
    assert len(heat_boxes(rustle, grid_over(WHOLE, rustle.shape), FILM, most=3)) == 3
    assert heat_boxes(rustle, grid_over(WHOLE, rustle.shape), FILM, most=0) == []


@pytest.mark.parametrize(
    "heat",
    [np.full((3, 3), np.nan), np.full((3, 3), 1.5), np.full((3, 3), -0.1), np.ones(9), np.ones((0, 3))],
)
def test_other_numbers_are_refused(heat: np.ndarray) -> None:
    with pytest.raises(ImageError, match="numbers from 0 to 1"):
        heat_boxes(heat, Grid(1, 1), FILM)


def test_a_tile_has_its_place_and_ends_with_the_film() -> None:
    heat = np.zeros((4, 4))
    heat[2:, 2:] = 1
    tile = Box(360, 260, 424, 324)
    (one,) = heat_boxes(heat, grid_over(tile, heat.shape), FILM)
    assert one.box == Box(392, 292, 400, 300)
    beyond = heat_boxes(heat, grid_over(Box(400, 300, 464, 364), heat.shape), FILM)
    assert beyond == []


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 4]))
def test_boxes_lie_in_the_film_fall_in_score_and_stand_apart(
    seed: int, rows: int, columns: int, finer: int
) -> None:
    heat = np.random.default_rng(seed).integers(0, 5, (rows, columns)) / 4
    found = heat_boxes(heat, grid_over(WHOLE, heat.shape), FILM, finer=finer)
    assert found == heat_boxes(heat.copy(), grid_over(WHOLE, heat.shape), FILM, finer=finer)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        left, top, right, bottom = one.box
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 300
    overlaps = iou_matrix(*[[one.box for one in found]] * 2)
    assert (overlaps - np.eye(len(found)) < 0.3).all()
    assert bool(found) == bool(heat.any())
    if found:
        assert found[0].score == heat.max()


@given(st.integers(0, 100))
def test_a_mirrored_map_has_mirrored_boxes(seed: int) -> None:
    heat = np.random.default_rng(seed).permutation(63).reshape(7, 9) / 62
    grid = grid_over(Box(0, 0, 90, 70), heat.shape)
    found = heat_boxes(heat, grid, (70, 90))
    mirrored = heat_boxes(heat[:, ::-1], grid, (70, 90))
    assert [one.score for one in found] == [one.score for one in mirrored]
    for one, other in zip(found, mirrored, strict=True):
        assert abs(one.box.left + other.box.right - 90) <= 1
        assert (one.box.top, one.box.bottom) == (other.box.top, other.box.bottom)
