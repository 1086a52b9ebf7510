"""The region of a mammogram that its mask marks (CBIS-DDSM paper, section 4.3.1; Mini-DDSM thesis, 2.2.2)."""

from dataclasses import dataclass

import numpy as np

from bccli.core.errors import ExcludedError, ImageError
from bccli.core.imaging.equalising import Box, Clahe, equalise, equalise_box
from bccli.core.imaging.film_edges import trimmed
from bccli.core.imaging.greys import Greys, normalise


@dataclass(frozen=True)
class Region:
    """What becomes of a mask: `crop` cuts out its bounding box with `margin` pixels on every side, and
    stretches that over all grey levels; `mask` blackens everything outside of the mask."""

    roi: str
    margin: int = 0


@dataclass(frozen=True)
class Found:
    """A grey image uint8 (height, width) and its mask; `box` is where in the raw image it was cut out."""

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
    box = bounding_box(mask, region.margin)
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


def bounding_box(mask: np.ndarray, margin: int = 0) -> Box:
    """The smallest box around a mask's pixels, and `margin` pixels more where the image has them.

    Raises ImageError for an empty mask.
    """
    rows, columns = np.flatnonzero(mask.max(axis=1)), np.flatnonzero(mask.max(axis=0))
    if not len(rows):
        raise ImageError("has an empty mask, which marks no region")
    height, width = mask.shape
    return Box(
        max(int(columns[0]) - margin, 0),
        max(int(rows[0]) - margin, 0),
        min(int(columns[-1]) + 1 + margin, width),
        min(int(rows[-1]) + 1 + margin, height),
    )


def check_aspect(image: np.ndarray, limits: tuple[float, float]) -> None:
    """Raise ExcludedError where width over height is not within the limits (paper, equations 5 and 6)."""
    height, width = image.shape[:2]
    if not limits[0] <= width / height <= limits[1]:
        raise ExcludedError(
            "aspect_ratio",
            f"has an aspect ratio of {width / height:.2f} ({width}×{height}), "
            f"which is not within {limits[0]:g} and {limits[1]:g}",
        )
