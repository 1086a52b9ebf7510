"""Decoded images as arrays: grey as it is, colours as RGB of 8 bits, transparent pixels as white."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.strips import by_strips, cut_rows


def from_array(pixels: np.ndarray) -> np.ndarray:
    """Grey (height, width) as it is, colours (height, width, 3 or more) of any depth as RGB."""
    if pixels.ndim == 2:
        return pixels
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise ImageError(f"has an unusual layout {pixels.shape}")
    colour = pixels[:, :, :3]
    if colour.dtype == np.uint8:
        return np.ascontiguousarray(colour)
    if colour.dtype.kind == "u":
        unused = 8 * (colour.itemsize - 1)
        return by_strips(colour.shape, lambda rows: (colour[rows] >> unused).astype(np.uint8, order="C"))
    raise ImageError(f"has colours of type {colour.dtype}")


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """An array of `decode_deep` as uint8 RGB; deep grey is stretched by its own minimum and maximum."""
    if pixels.ndim == 3:
        return pixels
    return np.repeat((pixels if pixels.dtype == np.uint8 else stretched(pixels))[:, :, None], 3, axis=2)


def stretched(grey: np.ndarray) -> np.ndarray:
    """Grey of any type to uint8, its least value to 0 and its greatest to 255."""
    if grey.dtype.kind not in "biuf":
        raise ImageError(f"has pixels of type {grey.dtype}")
    low, spread = float(grey.min()), float(grey.max()) - float(grey.min())
    if not math.isfinite(spread):
        raise ImageError("has pixels that are not numbers")
    scale = 255.0 / spread if spread > 1e-300 else 0.0  # (what is smaller makes it infinite)
    if grey.dtype.kind in "iu" and grey.dtype.itemsize == 2:  # a look-up spares many bytes per pixel
        table, least = np.rint(np.arange(spread + 1) * scale).astype(np.uint8), grey.min()
        return by_strips(grey.shape, lambda rows: table[(grey[rows] - least).view(np.uint16)])
    return by_strips(
        grey.shape, lambda rows: np.rint((grey[rows].astype(np.float64) - low) * scale).astype(np.uint8)
    )


def _opaque(image: Image.Image) -> np.ndarray:
    if image.mode == "La":  # multiplied by its transparency: Pillow knows only this way back
        image = image.convert("LA")
    coloured = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, coloured).convert("RGB"))


# How each of Pillow's modes becomes an array; all others go through Pillow's own conversion.
_CONVERSIONS: dict[str, Callable[[Image.Image], np.ndarray]] = {
    **dict.fromkeys(("RGB", "L", "I", "I;16", "I;16B", "I;16L", "F"), np.asarray),
    "RGBA": _opaque,
    "LA": _opaque,
    "La": _opaque,
    "PA": _opaque,
}


def to_array(image: Image.Image) -> np.ndarray:
    def convert(rows: slice) -> np.ndarray:
        return _convert(cut_rows(image, rows))

    return by_strips((image.height, image.width), convert)


def _convert(image: Image.Image) -> np.ndarray:
    if image.mode in ("P", "RGB", "L") and "transparency" in image.info:
        return _opaque(image)
    convert = _CONVERSIONS.get(image.mode)
    return convert(image) if convert else np.asarray(image.convert("RGB"))
