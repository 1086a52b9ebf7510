"""A picture of an image, and on it what speaks for a class."""

import hashlib
import os
import re
from collections.abc import Sequence

import numpy as np

from bccli.core.imaging.equalising import Box
from bccli.core.imaging.formats.colours import to_rgb
from bccli.core.imaging.opencv import load_cv2
from bccli.core.metrics.material import Floats
from bccli.core.prediction.maps.heat import Canvas

_STRONGEST = 0.6  # of what lies under the largest value, so much is hidden
_LEVEL = 0.5  # of the largest value, around which a line is drawn
_BLACK, _WHITE, _BLUE = (0, 0, 0), (255, 255, 255), (86, 180, 233)
_DIRECT = ("uint8", "uint16", "float32")
"""What OpenCV makes smaller as it is; of all else the whole image is brought to 8 bits before."""


def picture_of(raw: np.ndarray, canvas: Canvas) -> np.ndarray:
    """A raw image, as `decode_deep` gives it, as uint8 (height, width, 3) of the canvas."""
    cv2 = load_cv2()
    smaller = canvas.size[0] < raw.shape[1]
    pixels = raw if raw.dtype.name in _DIRECT else to_rgb(raw)
    pixels = cv2.resize(pixels, canvas.size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return to_rgb(pixels)


def overlay(
    picture: np.ndarray,
    found: Floats,
    peak: tuple[int, int] | None,
    mask: np.ndarray | None = None,
    *,
    largest: float | None = None,
    boxes: Sequence[Box] = (),
) -> np.ndarray:
    """A picture uint8 (height, width, 3) with a map (height, width) ≥ 0 on it.

    The more there is, the less it shines through; a white line runs around half of the largest value, a blue
    one around the mask (height, width), and a ring around the peak (column, row). A map of zeros is not
    shown, and has no peak. With the `largest` value that there can be, the map is as strong as it is, and has
    no line and no ring of its own; `boxes` are drawn in their place.
    """
    top = largest or found.max()
    painted = np.ascontiguousarray(picture if peak is None else _blended(picture, found / top))
    if mask is not None:
        _draw_lines(painted, mask > 0, _BLUE)
    for box in boxes:
        for shade, width in ((_BLACK, 3), (_WHITE, 1)):
            corners = (box.left, box.top), (box.right - 1, box.bottom - 1)
            load_cv2().rectangle(painted, *corners, shade, width, load_cv2().LINE_AA)
    if peak is not None and largest is None:
        _draw_lines(painted, found >= _LEVEL * found.max(), _WHITE)
        radius = max(min(picture.shape[:2]) // 40, 4)
        for colour, width in ((_BLACK, 3), (_WHITE, 1)):
            load_cv2().circle(painted, peak, radius, colour, width, load_cv2().LINE_AA)
    return painted


def _blended(picture: np.ndarray, share: Floats) -> np.ndarray:
    cv2 = load_cv2()
    colours = cv2.applyColorMap((share * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = (share * _STRONGEST).astype(np.float32)
    blended: np.ndarray = cv2.blendLinear(picture, np.ascontiguousarray(colours), 1 - weight, weight)
    return blended


def _draw_lines(painted: np.ndarray, areas: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw a line around areas (height, width), which is seen on light and on dark."""
    cv2 = load_cv2()
    lines, _ = cv2.findContours(areas.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for shade, width in ((_BLACK, 3), (colour, 1)):
        cv2.drawContours(painted, lines, -1, shade, width, cv2.LINE_AA)


def overlay_name(path: str) -> str:
    """The file name of an image's overlay: the image's own, in plain letters, and a hash of its path."""
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.splitext(os.path.basename(path))[0])[:60].strip("._")
    return f"{stem or 'image'}-{digest}.png"
