"""Contours: thin lines drawn around tumours, and what they enclose."""

from dataclasses import dataclass

import numpy as np

from bccli.core.imaging.opencv import load_cv2

_GAP = 9
"""Pixels that a line may be broken by; where JPEG and scanning left gaps, they are smaller."""
_OPEN, _ROUND = 2.0, 4.0
"""An open line encloses little more than itself, and far less than a line around it would."""


def fill(line: np.ndarray) -> np.ndarray:
    """A mask uint8 of 0 and 255 (height, width) with all that its closed lines enclose.

    Where a line is open, small gaps are bridged first. What is open then, as where the image's edge cuts
    a line off, becomes its convex hull. A mask that is filled already stays as it is.
    """
    cv2 = load_cv2()
    left, top, width, height = cv2.boundingRect(line)
    rows = slice(max(top - _GAP, 0), top + height + _GAP)
    columns = slice(max(left - _GAP, 0), left + width + _GAP)
    drawn = np.ascontiguousarray(line[rows, columns])
    shapes = _shapes(drawn)
    if any(shape.is_open for shape in shapes):
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_GAP, _GAP))
        shapes = _shapes(cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, kernel))
    filled = line.copy()
    for shape in shapes:
        filled[rows, columns] |= shape.hull if shape.is_open else shape.inside
    return filled


@dataclass(frozen=True)
class _Shape:
    """A line's outer edge and all within it, its convex hull, and whether it seems to be an open line."""

    inside: np.ndarray
    hull: np.ndarray
    is_open: bool


def _shapes(drawn: np.ndarray) -> list[_Shape]:
    cv2 = load_cv2()
    outlines, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    shapes = []
    for outline in outlines:
        inside, hull = np.zeros_like(drawn), np.zeros_like(drawn)
        cv2.drawContours(inside, [outline], -1, 255, cv2.FILLED)
        cv2.drawContours(hull, [cv2.convexHull(outline)], -1, 255, cv2.FILLED)
        area, ink = np.count_nonzero(inside), np.count_nonzero(inside & drawn)
        is_open = bool(area < _OPEN * ink and np.count_nonzero(hull) > _ROUND * area)
        shapes.append(_Shape(inside, hull, is_open))
    return shapes
