"""Turning pixels as the file says that they are to be shown (EXIF 2.3 and TIFF 6.0, tag Orientation)."""

from collections.abc import Callable

import numpy as np
from PIL import Image

TAG = 274
"""Orientation, in EXIF as in TIFF."""

UPRIGHT = 1

# What brings the stored rows and columns to the top and to the left; 5 and above swap width and height.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (height, width, …) as they are to be shown; values that the standard does not know change
    nothing."""
    turn = _TURNS.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def swaps_sides(orientation: int) -> bool:
    """Whether what was stored as width is the height of what is shown."""
    return orientation in (5, 6, 7, 8)


def orientation_of(image: Image.Image) -> int:
    """The orientation in EXIF or XMP of a PNG, JPEG or WebP; load a PNG first, which may have it at its end.

    Damaged data are ignored, as they are no part of the picture.
    """
    try:
        found = image.getexif().get(TAG)
    except Exception:  # Pillow's reader of EXIF raises many kinds
        return UPRIGHT
    return found if isinstance(found, int) else UPRIGHT
