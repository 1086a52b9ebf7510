"""The region of a mammogram that its mask marks (CBIS-DDSM paper, section 4.3.1; Mini-DDSM thesis, 2.2.2)."""

import math
from dataclasses import dataclass

import numpy as np

from bccli.core.errors import DataError, ExcludedError, ImageError
from bccli.core.imaging.equalising import Box, Clahe, equalise, equalise_box
from bccli.core.imaging.film_edges import trimmed
from bccli.core.imaging.greys import Greys, normalise


@dataclass(frozen=True)
class Region:
    """The use of a mask: `crop` cuts out its bounding box and what surrounds it, see `grown`, and stretches
    that over all grey levels; `mask` blackens everything outside of the mask."""

    roi: str
    margin: int = 0
    context: float = 0.0


@dataclass(frozen=True)
class Found:
    """A grey image uint8 (height, width) and its mask; it was cut out of the raw image at `box`."""

    image: np.ndarray
    mask: np.ndarray | None
    box: Box | None = None


def find_region(
    image: np.ndarray,
    mask: np.ndarray | None,
    region: Region | None,
    *,
    clahe: Clahe | None,
    trim_edge: bool = False,
) -> Found:
    """A decoded image as 8-bit grey, equalised with `clahe`, and of it the region that is wanted.

    With `trim_edge`, the white edge of a film neither stretches the greys nor belongs to the region. CLAHE
    sees it all the same, as it cuts such peaks of a histogram off. Raises ExcludedError where a region is
    wanted and there is no mask, ImageError for an empty one.
    """
    greys = Greys(image, trim_edge=trim_edge)
    if region is None:
        return Found(_whole(greys, clahe), mask)
    if mask is None:
        raise ExcludedError("no_region", "has no region to cut out, as no mask belongs to it")
    mask = trimmed(mask, greys.edge)
    if region.roi == "mask":
        if not mask.any():
            raise ImageError("has an empty mask, which marks no region")
        return Found(np.where(mask > 0, _whole(greys, clahe), np.uint8(0)), mask)
    box = grown(bounding_box(mask), mask.shape, margin=region.margin, context=region.context)
    crop = equalise_box(greys, box, clahe) if clahe else greys.crop(*_slices(box))
    return Found(normalise(_darkened(crop, greys.edge, box)), box.of(mask), box)


def _darkened(crop: np.ndarray, edge: np.ndarray | None, box: Box) -> np.ndarray:
    """A crop of an image, in which a white edge is no brighter than the rest of the crop."""
    beside = None if edge is None else ~box.of(edge)
    if beside is None or beside.all() or not beside.any():
        return crop
    return np.minimum(crop, crop[beside].max())


def _whole(greys: Greys, clahe: Clahe | None) -> np.ndarray:
    return equalise(greys.whole(), clahe) if clahe else greys.whole()


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.bottom), slice(box.left, box.right)


def bounding_box(mask: np.ndarray) -> Box:
    """The smallest box around a mask's pixels. Raises ImageError for an empty mask."""
    rows, columns = np.flatnonzero(mask.max(axis=1)), np.flatnonzero(mask.max(axis=0))
    if not len(rows):
        raise ImageError("has an empty mask, which marks no region")
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def grown(box: Box, shape: tuple[int, int], *, margin: int = 0, context: float = 0.0) -> Box:
    """A box in an image of this shape (height, width) and its surroundings.

    It grows by the share `context` of its width and of its height, half of that on either side, rounded up to
    whole pixels, and by `margin` pixels on every side. What would lie outside of the image is left out: the
    box is then smaller and its middle elsewhere, as pixels that nobody took would teach a network where the
    border is.

    >>> grown(Box(100, 100, 140, 120), (500, 500), context=0.5)
    Box(left=90, top=95, right=150, bottom=125)
    >>> grown(Box(0, 480, 40, 500), (500, 500), context=0.5)
    Box(left=0, top=475, right=50, bottom=500)
    """
    across = margin + _half(context * (box.right - box.left))
    upwards = margin + _half(context * (box.bottom - box.top))
    return Box(
        max(box.left - across, 0),
        max(box.top - upwards, 0),
        min(box.right + across, shape[1]),
        min(box.bottom + upwards, shape[0]),
    )


def middle_of(size: tuple[int, int], context: float) -> Box:
    """The middle part of an image of this size (width, height) that a share `context` surrounds.

    It is as wide and as high as 1 / (1 + context) of the image, its edges rounded outwards to whole pixels.
    So it holds all of a box that `grown` has surrounded by so much, whatever the margin; of one at the edge
    of its raw image, which has less on that side, it may lack a part. Raises DataError where less than a
    pixel is left around it.

    >>> middle_of((120, 60), 0.5)
    Box(left=20, top=10, right=100, bottom=50)
    """
    width, height = size
    left, top = (math.floor(side * context / (1 + context) / 2 + 1e-6) for side in size)
    if not (left and top):
        raise DataError(
            f"of images of {width}×{height}, a --context of {context:g} is less than a pixel on each side; "
            "prepare them with more, or with a larger --size"
        )
    return Box(left, top, width - left, height - top)


def _half(growth: float) -> int:
    """Half of a length in whole pixels, rounded up, but not for what binary numbers add to 0.1."""
    return math.ceil(growth / 2 - 1e-6)


def check_aspect(image: np.ndarray, limits: tuple[float, float]) -> None:
    """Raise ExcludedError where width over height is not within the limits (paper, equations 5 and 6)."""
    height, width = image.shape[:2]
    if not limits[0] <= width / height <= limits[1]:
        raise ExcludedError(
            "aspect_ratio",
            f"has an aspect ratio of {width / height:.2f} ({width}×{height}), "
            f"which is not within {limits[0]:g} and {limits[1]:g}",
        )
