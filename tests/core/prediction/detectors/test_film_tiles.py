"""Boxes and lesions of films are those of their tiles, put together."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.data.manifest import Sample
from bccli.core.detection.lesions import find_lesions
from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.patches import grid as positions_of
from bccli.core.imaging.preparation import Patches, Preparation
from bccli.core.prediction.detectors.boxes_file import Detected
from bccli.core.prediction.detectors.film_tiles import (
    Corner,
    Heated,
    PlacedTiles,
    boxes_in_tile,
    films_detected,
    rims_of,
    rims_of_samples,
    without_rims,
)
from bccli.core.prediction.detectors.heat_maps import HeatGrid
from tests.conftest import save

SIDE, STRIDE = 24, 16
TILES = Preparation(patches=Patches(SIDE, STRIDE, to_edges=True))
GRID = HeatGrid((SIDE, SIDE), (6, 6))
FILM = 60, 50


def corners(shape: tuple[int, int] = FILM) -> list[Corner]:
    """Where the tiles of a film of this shape lie."""
    return [*map(tuple, positions_of(np.zeros(shape), SIDE, stride=STRIDE, to_edges=True))]


def tiles_of(root: Path, mask: np.ndarray, name: str = "film.png") -> list[Sample]:
    """The prepared tiles of a film, with the parts of its mask bool (height, width)."""
    found = []
    for number, (row, column) in enumerate(corners(mask.shape)):
        part = mask[row : row + SIDE, column : column + SIDE]
        path = f"masks/{name}/{number}.png" if part.any() else ""
        if path:
            save(root / path, np.where(part, 255, 0).astype(np.uint8))
        found.append(Sample(f"images/{name}/{number}.png", source=name, row=row, col=column, mask=path))
    return found


def heat_of(mask: np.ndarray, corner: Corner) -> np.ndarray:
    """The share of each cell of a tile that a mask has, (6, 6)."""
    row, column = corner
    part = mask[row : row + SIDE, column : column + SIDE].astype(np.float64)
    return part.reshape(6, SIDE // 6, 6, SIDE // 6).mean(axis=(1, 3))


def detected(root: Path, mask: np.ndarray, preparation: Preparation = TILES) -> Detected:
    """What a detector that cannot be wrong finds in a film."""
    heats = (
        Heated(sample, "test", heat_of(mask, (sample.row or 0, sample.col or 0)))
        for sample in tiles_of(root, mask)
    )
    (found,) = films_detected(root, GRID, preparation, heats)
    return found


@given(st.integers(0, 2**32 - 1))
def test_lesions_are_those_of_the_whole_mask(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros(FILM, bool)
    for _ in range(rng.integers(1, 4)):
        top, left = rng.integers(0, FILM[0] - 4), rng.integers(0, FILM[1] - 4)
        mask[top : top + rng.integers(2, 30), left : left + rng.integers(2, 30)] = True
    found = detected(tmp_path_factory.mktemp("film"), mask)
    assert (found.path, found.shape) == ("film.png", FILM)
    wanted = find_lesions([mask])
    assert [(one.box, one.area) for one in found.lesions] == [(one.box, one.area) for one in wanted]
    for one, other in zip(found.lesions, wanted, strict=True):
        assert one.mask is not None
        assert other.mask is not None
        assert (one.mask == other.mask).all()


@given(st.integers(0, FILM[0] - 12), st.integers(0, FILM[1] - 12))
def test_a_lesion_on_edges_of_tiles_has_one_box_around_all_its_parts(
    tmp_path_factory: pytest.TempPathFactory, top: int, left: int
) -> None:
    mask = np.zeros(FILM, bool)
    mask[top : top + 12, left : left + 12] = True
    found = detected(tmp_path_factory.mktemp("film"), mask)
    box = found.boxes[0].box
    assert found.boxes[0].score == 1
    assert max(box.left - left, box.top - top) <= 4
    assert max(left + 8 - box.right, top + 8 - box.bottom) <= 0
    assert all(one.score < 1 or one is found.boxes[0] for one in found.boxes)


@given(st.integers(0, 2**32 - 1))
def test_a_placed_map_has_the_stored_boxes(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = corners()
    maps = rng.random((len(places), 6, 6)) ** 3
    samples = [Sample(f"{n}.png", source="f", row=row, col=col) for n, (row, col) in enumerate(places)]
    heats = [Heated(sample, "val", heat) for sample, heat in zip(samples, maps, strict=True)]
    (stored,) = films_detected(tmp_path_factory.mktemp("film"), GRID, TILES, heats)
    placed = PlacedTiles(GRID, maps, (TILES, GRID.size), places).boxes(FILM)
    assert tuple(placed) == stored.boxes
    assert 0 < len(placed) <= 20


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_boxes_of_scaled_tiles_are_in_pixels_of_the_film(fit: str) -> None:
    spec = replace(TILES, size=(48, 36), fit=fit), (48, 36)
    heat = np.zeros((9, 12))
    heat[2:4, 6:9] = 1
    (box,) = (one.box for one in boxes_in_tile(HeatGrid((48, 36), (9, 12)), heat, spec, (100, 200)))
    wanted = {
        "stretch": Box(212, 105, 218, 111),
        "pad": Box(212, 105, 220, 111),
        "crop": Box(212, 107, 218, 111),
    }[fit]
    assert max(abs(one - other) for one, other in zip(box, wanted, strict=True)) <= 1


@given(st.integers(24, 90), st.integers(24, 90), st.integers(4, 24))
def test_rims_are_left_only_to_tiles_that_see_them_further_inside(
    height: int, width: int, stride: int
) -> None:
    film = np.zeros((height, width))
    places = [*map(tuple, positions_of(film, SIDE, stride=stride, to_edges=True))]
    rims = rims_of(places, SIDE, (6, 6))
    kept = without_rims(np.ones((len(places), 6, 6)), rims) > 0
    for (row, column), cells in zip(places, kept, strict=True):
        film[row : row + SIDE, column : column + SIDE] += cells.repeat(4, axis=0).repeat(4, axis=1)
    assert (film > 0).all()


def test_rims_by_hand() -> None:
    assert rims_of([(0, 0), (0, 8), (8, 0)], SIDE, (6, 6)).tolist() == [
        [False, False, True, True],
        [True, False, False, False],
        [False, True, False, False],
    ]
    assert not rims_of([(0, 0), (0, 9), (20, 0)], SIDE, (6, 6)).any(), "less than four cells overlap"
    whole = [Sample("a.png", source="a"), Sample("b.png", source="a")]
    assert not rims_of_samples(whole, Preparation(), (6, 6)).any()


def test_two_films_and_two_splits_stay_apart(tmp_path: Path) -> None:
    mask = np.zeros(FILM, bool)
    mask[3:9, 3:9] = True
    heats: Sequence[Heated] = [
        Heated(sample, split, heat_of(mask, (sample.row or 0, sample.col or 0)))
        for name, split in (("a.png", "val"), ("b.png", "test"), ("a.png", "test"))
        for sample in tiles_of(tmp_path, mask, name)
    ]
    found = list(films_detected(tmp_path, GRID, TILES, heats))
    assert [one.path for one in found] == ["a.png", "b.png", "a.png"]
    assert [len(one.lesions) for one in found] == [1, 1, 1]


def test_masks_that_mark_the_whole_film_and_tiles_without_a_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"film\.png has a mask that marks 100% of the film"):
        detected(tmp_path, np.ones(FILM, bool))
    nowhere = Heated(Sample("a.png", source="f"), "val", np.zeros((6, 6)))
    with pytest.raises(DataError, match="without row and col"):
        list(films_detected(tmp_path, GRID, TILES, [nowhere]))
