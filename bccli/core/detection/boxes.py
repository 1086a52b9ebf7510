"""Boxes with scores: how much they overlap, and which of those around one thing are kept.

A box is `imaging.equalising.Box`: whole pixels of the source film, `right` and `bottom` the first outside.
As an array it is float64 (n, 4) in that order: left, top, right, bottom.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bccli.core.imaging.equalising import Box

Floats = NDArray[np.float64]
SAME = 0.3
"""From this IoU on, two boxes are taken for boxes around one thing."""
SHARED = 0.5
"""From this share of the smaller one on, boxes of two tiles are taken for parts of one thing."""


@dataclass(frozen=True)
class ScoredBox:
    """A box in pixels of the film, and how sure it is: the larger, the surer."""

    box: Box
    score: float


def area(box: Box) -> int:
    """How many pixels a box has; 0 for one that ends before it begins."""
    return max(box.right - box.left, 0) * max(box.bottom - box.top, 0)


def centre(box: Box) -> tuple[float, float]:
    """Where the middle of a box is: x and y in pixels from the film's top left corner."""
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


def holds_centre(box: Box, other: Box) -> bool:
    """Whether the middle of `other` lies in the box; its left and top edge belong to it."""
    x, y = centre(other)
    return box.left <= x < box.right and box.top <= y < box.bottom


def clipped(box: Box, shape: tuple[int, int]) -> Box:
    """The part of a box that lies in a film of this shape (height, width); it may have no pixel."""
    height, width = shape
    return Box(
        min(max(box.left, 0), width),
        min(max(box.top, 0), height),
        min(max(box.right, 0), width),
        min(max(box.bottom, 0), height),
    )


def shifted(box: Box, across: int, down: int) -> Box:
    """A box that lies so many pixels further to the right and further down."""
    return Box(box.left + across, box.top + down, box.right + across, box.bottom + down)


def hull(boxes: Sequence[Box]) -> Box:
    """The smallest box around one or more boxes."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return Box(min(left), min(top), max(right), max(bottom))


def as_array(boxes: Sequence[Box]) -> Floats:
    """Boxes as an array (n, 4)."""
    return np.array(boxes, np.float64).reshape(-1, 4)


def shared_areas(ones: Sequence[Box], others: Sequence[Box]) -> Floats:
    """How many pixels each of n boxes shares with each of m others, (n, m)."""
    first, second = as_array(ones)[:, None], as_array(others)[None]
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    shared: Floats = np.clip(high - low, 0, None).prod(axis=-1)
    return shared


def iou_matrix(ones: Sequence[Box], others: Sequence[Box]) -> Floats:
    """The pixels that two boxes share by those that either has, of n boxes and m others, (n, m).

    Boxes without a pixel overlap with nothing.

    >>> iou_matrix([Box(0, 0, 10, 10)], [Box(0, 0, 10, 10), Box(5, 0, 15, 10), Box(10, 0, 20, 10)]).round(3)
    array([[1.   , 0.333, 0.   ]])
    """
    shared = shared_areas(ones, others)
    return _by(shared, _areas(ones)[:, None] + _areas(others)[None] - shared)


def iou(one: Box, other: Box) -> float:
    """The intersection of two boxes over their union, 0…1."""
    return float(iou_matrix([one], [other])[0, 0])


def share_of_smaller(ones: Sequence[Box], others: Sequence[Box]) -> Floats:
    """The pixels that two boxes share by those of the smaller one, of n boxes and m others, (n, m)."""
    return _by(shared_areas(ones, others), np.minimum(_areas(ones)[:, None], _areas(others)[None]))


def _areas(boxes: Sequence[Box]) -> Floats:
    return np.array([area(box) for box in boxes], np.float64)


def _by(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def by_score(boxes: Sequence[ScoredBox]) -> list[ScoredBox]:
    """The surest first; equally sure ones by their edges, so that the order they came in does not matter."""
    return sorted(boxes, key=lambda one: (-one.score, one.box))


def suppress(boxes: Sequence[ScoredBox], *, same: float = SAME, most: int | None = None) -> list[ScoredBox]:
    """The boxes that no surer one overlaps with, from an IoU of `same` on; `most` of them, the surest first.

    Greedy non-maximum suppression (Neubeck and Van Gool 2006, DOI 10.1109/ICPR.2006.479).
    """
    ordered = by_score(boxes)
    alike = iou_matrix(*[[one.box for one in ordered]] * 2) >= same
    free = np.ones(len(ordered), bool)
    kept: list[ScoredBox] = []
    for index, one in enumerate(ordered):
        if len(kept) == most:
            break
        if free[index]:
            kept.append(one)
            free &= ~alike[index]
    return kept


def merge_tiles(
    tiles: Sequence[Sequence[ScoredBox]],
    areas: Sequence[Box] | None = None,
    *,
    shared: float = SHARED,
    same: float = SAME,
    most: int | None = None,
) -> list[ScoredBox]:
    """The boxes of a film from those of its overlapping tiles, all in pixels of the film, the surest first.

    What lies across an edge of tiles has a box in each of them, none of which is whole. The surest box takes
    in those of other tiles that share with it from `shared` of the smaller one on, and becomes the box
    around all of them with its own score, and around what other tiles have wholly within that; then the
    surest that is left, and so on. It is its own pixels that others have to share, not those that it has
    taken in, so that boxes side by side do not join to a chain. `suppress` has the last word. Boxes of one
    tile are not merged: that tile saw both as a whole.

    Where it is known which `areas` the tiles have, a box is also taken in where both tiles agree about what
    they both see: there, the IoU of the boxes is `same` or more. So a lesion is one that reaches far beyond
    the overlap of its tiles.
    """
    pool = [(one, number) for number, boxes in enumerate(tiles) for one in boxes]
    pool.sort(key=lambda entry: (-entry[0].score, entry[0].box, entry[1]))
    merged: list[ScoredBox] = []
    wanted = None if most is None else 2 * most
    for one in _taken_in(pool, areas, shared=shared, same=same):
        if wanted is not None and len(merged) >= wanted and one.score < merged[-1].score:
            if len(suppress(merged, same=same, most=most)) == most:
                break  # none of the less sure ones is among the `most`
            wanted = 2 * len(merged)
        merged.append(one)
    return suppress(merged, same=same, most=most)


def _taken_in(
    pool: Sequence[tuple[ScoredBox, int]], areas: Sequence[Box] | None, *, shared: float, same: float
) -> Iterator[ScoredBox]:
    """Yield the boxes that `merge_tiles` makes of those of a pool, with the numbers of their tiles, in its
    order. A film has thousands of tiles, whose boxes are therefore not all compared with all at once."""
    boxes, owners = [one.box for one, _ in pool], np.array([number for _, number in pool], int)
    edges, sizes = as_array(boxes), _areas(boxes)
    seen = None if areas is None else as_array(areas)[owners]
    free = np.ones(len(pool), bool)
    for index, (one, owner) in enumerate(pool):
        if not free[index]:
            continue
        both = _sizes(_common(edges, edges[index]))
        parts = _by(both, np.minimum(sizes, sizes[index])) >= shared
        if seen is not None:
            parts |= _agreement(edges, seen, index) >= same
        others = free & (owners != owner)
        taken = np.flatnonzero(parts & others)
        whole = hull([one.box, *(boxes[number] for number in taken)])
        within = (edges[:, :2] >= whole[:2]).all(axis=1) & (edges[:, 2:] <= whole[2:]).all(axis=1)
        free[taken] = free[within & others] = free[index] = False
        yield ScoredBox(whole, one.score)


def _agreement(edges: Floats, seen: Floats, index: int) -> Floats:
    """The IoU of each box with that of an index in what the tiles of both have in common, 0 where that is
    nothing, or shows nothing of them."""
    common = _common(seen, seen[index])
    ones, other = _common(edges, common), _common(edges[index], common)
    both = _sizes(_common(ones, other))
    return _by(both, _sizes(ones) + _sizes(other) - both)


def _common(ones: Floats, others: Floats) -> Floats:
    """What boxes (n, 4) have in common, pair by pair; it may end before it begins."""
    return np.concatenate(
        [np.maximum(ones[..., :2], others[..., :2]), np.minimum(ones[..., 2:], others[..., 2:])], axis=-1
    )


def _sizes(edges: Floats) -> Floats:
    """How many pixels boxes (n, 4) have; 0 of those that end before they begin."""
    sizes: Floats = np.clip(edges[..., 2:] - edges[..., :2], 0, None).prod(axis=-1)
    return sizes


def boxes_text(boxes: Sequence[ScoredBox]) -> str:
    """Boxes as a cell of a table: `left,top,right,bottom,score`, several separated by semicolons.

    >>> boxes_text([ScoredBox(Box(1, 2, 30, 40), 0.91234)])
    '1,2,30,40,0.91234'
    """
    return ";".join(f"{','.join(map(str, one.box))},{one.score:.6g}" for one in boxes)
