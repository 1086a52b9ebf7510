"""Boxes from a map that says of each cell how likely a lesion is there.

No threshold is asked for: every summit of the map has a box, whose score is the summit's height. Where the
box ends, the map has fallen to a share of that height.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bccli.core.detection.boxes import ScoredBox, area, clipped, suppress
from bccli.core.errors import ImageError
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.opencv import load_cv2

SHARE = 0.5
"""A box ends where the map has fallen to this share of its summit."""
LEAST = 0.01
"""Lower summits have no box: they are the rustle of a map that shows nothing."""
MOST = 20
"""So many boxes at most a film has."""
FINER = 4
"""Into so many parts a cell is divided along each side, so that boxes need not end where cells do."""


@dataclass(frozen=True)
class Grid:
    """Where a map lies in its film: the cell in row r and column c begins at x = left + c · across and
    y = top + r · down, in pixels of the film, and is `across` pixels wide and `down` high."""

    across: float
    down: float
    left: float = 0.0
    top: float = 0.0

    def box(self, first: tuple[float, float], last: tuple[float, float]) -> Box:
        """The box in the film from one corner (row, column) of the map to another, in whole pixels."""
        return Box(
            round(self.left + first[1] * self.across),
            round(self.top + first[0] * self.down),
            round(self.left + last[1] * self.across),
            round(self.top + last[0] * self.down),
        )


def grid_over(box: Box, shape: tuple[int, int]) -> Grid:
    """The grid of a map of this shape (rows, columns) that covers a box of the film: a tile, or all of it."""
    return Grid((box.right - box.left) / shape[1], (box.bottom - box.top) / shape[0], box.left, box.top)


def heat_boxes(
    heat: np.ndarray,
    grid: Grid,
    film: tuple[int, int],
    *,
    share: float = SHARE,
    least: float = LEAST,
    most: int = MOST,
    finer: int = FINER,
) -> list[ScoredBox]:
    """Boxes in pixels of a film of shape `film` (height, width), the surest first, from a map of numbers
    from 0 to 1 (rows, columns) that lies in it as `grid` says.

    The highest summit takes the region around it in which the map, drawn `finer` by straight lines between
    the middles of its cells, reaches `share` of the summit; the next highest that lies in no region takes
    one from what is left; and so on down to `least`, until there are `most`. A box has at least the cell of
    its summit; a plain is one summit. A map of 0 and 1 has boxes whose edges are those of its cells. The
    same map always has the same boxes.

    Raises ImageError for a map with other numbers.
    """
    if heat.ndim != 2 or not heat.size or not ((heat >= 0) & (heat <= 1)).all():
        raise ImageError("has a map that is not of numbers from 0 to 1; train its network anew")
    heat = heat.astype(np.float32)
    found = []
    for box, score in _regions(heat, share=share, least=least, most=most, finer=finer):
        placed = clipped(grid.box(*box), film)
        if area(placed):
            found.append(ScoredBox(placed, score))
    return suppress(found, most=most)


_Corners = tuple[tuple[float, float], tuple[float, float]]


def _regions(
    heat: np.ndarray, *, share: float, least: float, most: int, finer: int
) -> Iterator[tuple[_Corners, float]]:
    """The first and last corner (row, column), in cells of the map, of summits' regions, and their height."""
    cv2 = load_cv2()
    rows, columns = heat.shape
    fine = cv2.resize(heat, (columns * finer, rows * finer), interpolation=cv2.INTER_LINEAR)
    free = np.ones(fine.shape, bool)
    for row, column in _summits(heat, least)[:_TRIED]:
        middle = row * finer + finer // 2, column * finer + finer // 2
        if not most or not free[middle]:
            continue
        most -= 1
        height = float(heat[row, column])
        region = fine >= share * height
        region[row * finer : (row + 1) * finer, column * finer : (column + 1) * finer] = True
        box, taken = _piece(region & free, middle)
        box.of(free)[taken] = False
        yield ((box.top / finer, box.left / finer), (box.bottom / finer, box.right / finer)), height


_TRIED = 1000
"""So many summits at most are looked at, the highest first, of a map that is all rustle."""


def _piece(region: np.ndarray, place: tuple[int, int]) -> tuple[Box, np.ndarray]:
    """The box around the connected piece of a region, bool, that a place (row, column) lies in, and which
    of the box's cells the piece has."""
    filled = region.astype(np.uint8)
    *_, (left, top, width, height) = load_cv2().floodFill(filled, None, place[::-1], _FILLED, flags=4)
    box = Box(left, top, left + width, top + height)
    return box, box.of(filled) == _FILLED


_FILLED = 2


def _summits(heat: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Row and column of each place that is lower than nothing around it, the highest first.

    Of a plain it is the cell nearest to its middle. A plain at the foot of something higher is no summit.
    """
    cv2 = load_cv2()
    around = np.ones((3, 3), np.uint8)
    high = heat >= cv2.dilate(heat, around)
    lower = cv2.dilate(np.where(high, np.float32(-1), heat), around)  # the highest neighbour that is not high
    count, labels, _, middles = cv2.connectedComponentsWithStats(high.astype(np.uint8), connectivity=8)
    at_the_foot = np.zeros(count, bool)
    at_the_foot[labels[high & (lower >= heat)]] = True
    at_the_foot[0] = True
    wanted = high & ~at_the_foot[labels] & (heat >= max(least, np.finfo(np.float32).tiny))
    places = np.argwhere(wanted)
    numbers = labels[wanted]
    distances = ((places - middles[numbers][:, ::-1]) ** 2).sum(axis=1)
    order = np.lexsort((places[:, 1], places[:, 0], distances, numbers))
    _, firsts = np.unique(numbers[order], return_index=True)
    chosen = places[order[firsts]]
    order = np.lexsort((chosen[:, 1], chosen[:, 0], -heat[chosen[:, 0], chosen[:, 1]]))
    return [(int(row), int(column)) for row, column in chosen[order]]
