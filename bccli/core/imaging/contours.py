"""Contours: thin lines drawn around tumours or the corners of such lines, and what they enclose."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.imaging.opencv import load_cv2

_GAP = 9
"""Pixels that a line may be broken by; where JPEG and scanning left gaps, they are smaller."""
_OPEN, _ROUND = 2.0, 4.0
"""An open line encloses little more than itself, and far less than a line around it would."""

_FAR = 2**15 - 1
"""OpenCV takes corners at any place in whole pixels of 32 bits, and draws those up to here exactly."""
_AT_THE_EDGE = 1.0

Outline = Sequence[tuple[float, float]]
"""Corners (x, y) in pixels from the top left corner of an image."""


def enclosed(outlines: Iterable[Outline], shape: tuple[int, int]) -> np.ndarray:
    """A mask uint8 of 0 and 255 of this shape (height, width): all pixels on or within an outline.

    One or two corners are the pixels that they lie in. What is beyond the image is cut off.
    """
    cv2 = load_cv2()
    framed = np.zeros((shape[0] + 2, shape[1] + 2), np.uint8)
    mask = framed[1:-1, 1:-1]  # OpenCV draws lines from beyond along the edge of what it draws on
    for outline in outlines:
        corners = np.floor(np.clip(np.array(outline, float).reshape(-1, 2), -_FAR, _FAR)).astype(np.int32)
        if len(corners) > 2:
            cv2.fillPoly(framed, [corners + 1], 255)
        else:
            there = ((corners >= 0) & (corners < shape[::-1])).all(axis=1)
            mask[corners[there, 1], corners[there, 0]] = 255
    return np.ascontiguousarray(mask)


def reach_beyond(outlines: Iterable[Outline], shape: tuple[int, int]) -> bool:
    """Whether a corner lies more than a pixel outside of an image of this shape (height, width)."""
    corners = np.array([corner for outline in outlines for corner in outline], float).reshape(-1, 2)
    most = np.array(shape[::-1]) + _AT_THE_EDGE
    return bool(((corners < -_AT_THE_EDGE) | (corners > most)).any())


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
