"""Films that a detector sees in tiles: boxes and lesions in pixels of the film, from those of its tiles.

Prepared tiles belong together by their film's `source`; where they lie is in their `row` and `col`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bccli.core.data.image_batches import Images, decode_sized
from bccli.core.data.manifest import Sample
from bccli.core.detection.boxes import ScoredBox, clipped, hull, merge_tiles, shifted
from bccli.core.detection.heat_boxes import MOST
from bccli.core.detection.lesions import Lesion, placed_lesions
from bccli.core.errors import DataError, ImageError
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.opencv import load_cv2
from bccli.core.imaging.preparation import Preparation, raw_rectangle
from bccli.core.prediction.detectors.boxes_file import Detected, lesions_in
from bccli.core.prediction.detectors.heat_maps import HeatGrid
from bccli.core.prediction.run_predictor import InputSpec

Corner = tuple[int, int]
"""The row and column of a tile's top-left pixel in its film."""


_SHARED_CELLS = 4
"""So many cells at least overlap where tiles leave their rims to each other."""


def side_of(preparation: Preparation) -> int:
    """The side of a preparation's tiles, in pixels of the film."""
    assert preparation.patches
    return preparation.patches.size


def tile_at(corner: Corner, side: int) -> Box:
    """Where a tile lies in its film."""
    row, column = corner
    return Box(column, row, column + side, row + side)


def rims_of(corners: Sequence[Corner], side: int, cells: tuple[int, int]) -> np.ndarray:
    """Which of their rims the tiles at n corners leave to others: bool (n, 4), left, top, right and bottom;
    maps have `cells` (rows, columns).

    A rim is the outermost row or column of cells. There a network sees the zeros beyond its image, and
    takes them for something; where a tile beside it sees the same cells further inside, that one is believed.
    What is left of both still overlaps, so that parts of a lesion are known as such.
    """
    rims = np.zeros((len(corners), 4), bool)
    for axis, low in ((1, 0), (0, 1)):
        least = _SHARED_CELLS * side / cells[axis]
        order = sorted(range(len(corners)), key=lambda k: (corners[k][1 - axis], corners[k][axis]))
        for one, other in pairwise(order):
            shared = corners[one][axis] + side - corners[other][axis]
            if corners[one][1 - axis] == corners[other][1 - axis] and least <= shared < side:
                rims[one, low + 2] = rims[other, low] = True
    return rims


def rims_of_samples(
    samples: Sequence[Sample], preparation: Preparation, cells: tuple[int, int]
) -> np.ndarray:
    """The same of n prepared images: those of each film's tiles, and none of whole images."""
    rims = np.zeros((len(samples), 4), bool)
    if preparation.patches is None:
        return rims
    films: dict[tuple[str, int], list[int]] = {}
    for number, sample in enumerate(samples):
        films.setdefault((sample.source, sample.variant), []).append(number)
    for numbers in films.values():
        corners = [corner_of(samples[number]) for number in numbers]
        rims[numbers] = rims_of(corners, preparation.patches.size, cells)
    return rims


def without_rims(maps: np.ndarray, rims: np.ndarray) -> np.ndarray:
    """Maps (n, rows, columns) that are 0 in those of their `rims` (n, 4) that they leave to others."""
    if not rims.any():
        return maps
    left = maps.copy()
    left[rims[:, 0], :, 0] = left[rims[:, 2], :, -1] = 0
    left[rims[:, 1], 0] = left[rims[:, 3], -1] = 0
    return left


def boxes_in_tile(grid: HeatGrid, heat: np.ndarray, spec: InputSpec, corner: Corner) -> list[ScoredBox]:
    """The boxes in the map (rows, columns) of a tile, in pixels of its film, the surest first; none of them
    reaches beyond the tile."""
    side, (row, column) = side_of(spec[0]), corner
    found = grid.raw_boxes(heat, spec, (side, side))
    return [ScoredBox(shifted(one.box, column, row), one.score) for one in found]


def film_boxes(tiles: Sequence[Sequence[ScoredBox]], corners: Sequence[Corner], side: int) -> list[ScoredBox]:
    """The boxes of a film from those of its tiles at `corners`, in pixels of the film, the surest first."""
    return merge_tiles(tiles, [tile_at(corner, side) for corner in corners], most=MOST)


@dataclass(frozen=True)
class PlacedTiles:
    """The maps (n, rows, columns) of a film's tiles at `corners`, which were prepared by a spec."""

    grid: HeatGrid
    maps: np.ndarray
    spec: InputSpec
    corners: Sequence[Corner]

    def boxes(self, shape: tuple[int, int]) -> list[ScoredBox]:
        """The boxes in pixels of the film, of this shape (height, width), the surest first."""
        tiles = [
            boxes_in_tile(self.grid, heat, self.spec, corner)
            for heat, corner in zip(self.maps, self.corners, strict=True)
        ]
        found = film_boxes(tiles, self.corners, side_of(self.spec[0]))
        return [ScoredBox(clipped(one.box, shape), one.score) for one in found]


@dataclass
class TiledFilm:
    """What is known of a film by its tiles so far: how far they reach, to the right and down, where each is,
    the boxes in it, and those that have a mask."""

    right: int = 0
    bottom: int = 0
    corners: list[Corner] = field(default_factory=list)
    boxes: list[list[ScoredBox]] = field(default_factory=list)
    marked: list[Sample] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the film, as far as its tiles reach."""
        return self.bottom, self.right

    def add(self, sample: Sample, corner: Corner, side: int, boxes: list[ScoredBox]) -> None:
        """Add a tile."""
        tile = tile_at(corner, side)
        self.right, self.bottom = max(self.right, tile.right), max(self.bottom, tile.bottom)
        self.corners.append(corner)
        self.boxes.append(boxes)
        if sample.mask:
            self.marked.append(sample)


class Heated(NamedTuple):
    """A prepared image or tile, the split that it had, and its map (rows, columns)."""

    sample: Sample
    split: str
    heat: np.ndarray


def detected_in(
    images: Images, grid: HeatGrid, preparation: Preparation, heats: Iterable[Heated]
) -> Iterator[Detected]:
    """Yield what was found in prepared images, or in the films that they are tiles of.

    Raises DataError for a damaged mask, and for one that marks no place.
    """
    if preparation.patches:
        yield from films_detected(images.root, grid, preparation, heats)
        return
    for sample, split, heat in heats:
        lesions = lesions_in(images.root, sample, images.size)
        yield Detected(sample.path, tuple(grid.boxes(heat)), lesions, split)


def films_detected(
    root: Path, grid: HeatGrid, preparation: Preparation, tiles: Iterable[Heated]
) -> Iterator[Detected]:
    """Yield what was found in each film that tiles belong to, by its source.

    Raises DataError for a damaged mask, and where masks mark a whole film.
    """
    spec, side = (preparation, grid.size), side_of(preparation)
    films: dict[tuple[str, str], TiledFilm] = {}
    for sample, split, heat in tiles:
        corner = corner_of(sample)
        boxes = boxes_in_tile(grid, heat, spec, corner)
        films.setdefault((sample.source, split), TiledFilm()).add(sample, corner, side, boxes)
    for (source, split), film in films.items():
        lesions = lesions_of_tiles(root, film, preparation, grid.size)
        yield Detected(source, tuple(film_boxes(film.boxes, film.corners, side)), lesions, split, film.shape)


def corner_of(sample: Sample) -> Corner:
    """Where a tile lies. Raises DataError where its dataset does not say so."""
    if sample.row is None or sample.col is None:
        raise DataError(f"{sample.path}: is a tile without row and col; prepare the dataset again")
    return sample.row, sample.col


def lesions_of_tiles(
    root: Path, film: TiledFilm, preparation: Preparation, size: tuple[int, int]
) -> tuple[Lesion, ...]:
    """The lesions of a film from the masks of its prepared tiles of a `size` (width, height): what touches
    across edges of tiles is one.

    Raises DataError for a damaged mask, and where they mark the whole film.
    """
    if not film.marked:
        return ()
    side = side_of(preparation)
    around = hull([tile_at(corner_of(sample), side) for sample in film.marked])
    canvas = np.zeros((around.bottom - around.top, around.right - around.left), bool)
    for tile, mask in _placed_masks(root, film.marked, preparation, size):
        shifted(tile, -around.left, -around.top).of(canvas)[mask] = True
    try:
        return tuple(placed_lesions(canvas, around, film.shape))
    except ImageError as error:
        raise DataError(f"{root}: {film.marked[0].source} {error}") from None


def _placed_masks(
    root: Path, samples: Iterable[Sample], preparation: Preparation, size: tuple[int, int]
) -> Iterator[tuple[Box, np.ndarray]]:
    """Where each tile lies, and its mask bool (side, side) in pixels of the film."""
    side = side_of(preparation)
    left, top, right, bottom = map(round, raw_rectangle(preparation, size, (side, side)))
    cv2 = load_cv2()
    for sample in samples:
        mask = np.maximum.reduce([decode_sized(root / name, size)[..., 0] for name in sample.masks])
        shown = cv2.resize(mask, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST) > 127
        whole = np.zeros((side, side), bool)
        inner = Box(max(left, 0), max(top, 0), min(right, side), min(bottom, side))
        inner.of(whole)[:] = shifted(inner, -left, -top).of(shown)
        yield tile_at(corner_of(sample), side), whole
