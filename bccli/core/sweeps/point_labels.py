"""Where the names of points stand in a diagram: beside their points, and over nothing else.

All positions are in pixels; boxes are (left, bottom, right, top).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from bccli.core.metrics.material import Bools, Floats

DISTANCES = (4, 9, 15, 23, 33, 45, 60)
"""How far a name may be from its point, in points of a 72nd inch."""
DIRECTIONS = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class Surroundings:
    """What names keep to: the `frame`, `boxes` (m, 4) and `lines` (k, 2, 2) that they may not touch.

    `points` (p, 2) are those that a name could be taken for the name of.
    """

    frame: Floats
    boxes: Floats
    lines: Floats
    points: Floats


@dataclass(frozen=True)
class Place:
    """The box (4,) of a name, and whether it is nearer to its own point than to any other."""

    box: Floats
    clear: bool


def places(
    points: Floats, sizes: Floats, radii: Floats, around: Surroundings, distances: Sequence[float]
) -> Iterator[Place | None]:
    """The place of each name (n names, of `sizes` (n, 2)) for its point (n, 2), or None where none is free.

    Those that come first choose first: the box nearest to the point's edge, at its radius (n,), that touches
    neither what is around, nor earlier names and the lines that lead to them; if possible, a clear one.
    """
    boxes, lines = around.boxes, around.lines
    for point, size, radius in zip(points, sizes, radii, strict=True):
        found = _candidates(point, size, [radius + far for far in distances])
        leaders = np.stack([np.broadcast_to(point, (len(found), 2)), nearest(found, point)], axis=1)
        others = boxes[~_within(boxes, point)]
        free = _inside(found, around.frame) & ~_overlap(found, boxes).any(axis=1)
        free &= ~_crossed(found, lines).any(axis=1) & ~_crossed(others, leaders).any(axis=0)
        if not free.any():
            yield None
            continue
        clear = free & _is_nearest(found, point, around.points, 2 * radius)
        chosen = int((clear if clear.any() else free).argmax())
        boxes = np.concatenate([boxes, found[chosen, None]])
        lines = np.concatenate([lines, leaders[chosen, None]])
        yield Place(found[chosen], bool(clear[chosen]))


def nearest(boxes: Floats, point: Floats) -> Floats:
    """The point (n, 2) of each box (n, 4) that is nearest to a point."""
    return np.clip(point, boxes[..., :2], boxes[..., 2:])


def groups(points: Floats, reach: float) -> list[list[int]]:
    """The numbers of points (n, 2) that lie within a reach of the first of each group.

    >>> groups(np.array([[0.0, 0.0], [9.0, 9.0], [1.0, 0.0]]), 2)
    [[0, 2], [1]]
    """
    found: list[list[int]] = []
    for number, point in enumerate(points):
        near = (group for group in found if np.hypot(*(points[group[0]] - point)) <= reach)
        group = next(near, None)
        if group is None:
            found.append([number])
        else:
            group.append(number)
    return found


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in words, three and more that follow each other as a range.

    >>> ranges([7, 1, 2, 3, 9, 10])
    '1–3, 7, 9, 10'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _candidates(point: Floats, size: Floats, distances: Sequence[float]) -> Floats:
    """Boxes (n, 4) of a size around a point, the nearest ones first."""
    pairs = np.array([(*direction, far) for far, direction in product(distances, DIRECTIONS)])
    sides, reach = pairs[:, :2], pairs[:, 2:] / np.maximum(np.hypot(*pairs[:, :2].T), 1)[:, None]
    corners = point + sides * reach + (sides - 1) / 2 * size
    return np.concatenate([corners, corners + size], axis=1)


def _is_nearest(boxes: Floats, point: Floats, points: Floats, reach: float) -> Bools:
    """Which of the boxes (n, 4) are nearer to a point than to any other (p, 2) beyond its reach: (n,)."""
    others = points[np.hypot(*(points - point).T) > reach]
    own = np.hypot(*(nearest(boxes, point) - point).T)
    apart = np.hypot(*np.moveaxis(nearest(boxes[:, None], others) - others, -1, 0))
    return np.asarray((own[:, None] < apart).all(axis=1))


def _inside(boxes: Floats, frame: Floats) -> Bools:
    return np.asarray((boxes[:, :2] >= frame[:2]).all(axis=1) & (boxes[:, 2:] <= frame[2:]).all(axis=1))


def _within(boxes: Floats, point: Floats) -> Bools:
    return np.asarray(((boxes[:, :2] <= point) & (point <= boxes[:, 2:])).all(axis=1))


def _overlap(boxes: Floats, others: Floats) -> Bools:
    """Which of the boxes (n, 4) touch which of the others (m, 4): (n, m)."""
    one, other = boxes[:, None], others[None]
    return np.asarray(((one[..., :2] < other[..., 2:]) & (other[..., :2] < one[..., 2:])).all(axis=-1))


def _crossed(boxes: Floats, lines: Floats) -> Bools:
    """Which of the boxes (n, 4) are touched by which lines from end to end (k, 2, 2): (n, k)."""
    start, way = lines[None, :, 0], lines[None, :, 1] - lines[None, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (boxes[:, None, :2] - start) / way, (boxes[:, None, 2:] - start) / way
    enters = np.fmax.reduce(np.fmin(low, high), axis=-1, initial=0.0)
    leaves = np.fmin.reduce(np.fmax(low, high), axis=-1, initial=1.0)
    return enters <= leaves
