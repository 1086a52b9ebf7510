"""Files to pixels: the one way in which bccli reads an image, in `prepare` and in `predict`."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from bccli.core.errors import ImageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".ppm", ".pnm"})

# 16,384 × 16,384: above any mammogram or patch, below what fills a node's memory (0.8 GB as RGB).
MAX_PIXELS = 2**28

Image.MAX_IMAGE_PIXELS = None  # the limit above is checked from the header, as a refusal, not a warning


def decode(path: Path | str) -> np.ndarray:
    """Read an image file as uint8 RGB of shape (height, width, 3).

    Grey images of more than 8 bits are stretched by their own minimum and maximum (CBIS-DDSM paper,
    section 4.3.1); colour of 16 bits keeps its upper byte; transparent pixels become white; of several
    frames the first counts. Raises ImageError with the reason, without the path.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError("does not exist") from None
    except ValueError:
        raise ImageError("has a name that no file can have") from None
    except OSError as error:
        raise ImageError(f"cannot be opened ({(error.strerror or str(error)).lower()})") from None
    if not data:
        raise ImageError("is empty (0 bytes)")
    return _decode_bytes(data)


def _decode_bytes(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(f"is too large ({width}×{height} pixels; the limit is {MAX_PIXELS:,})")
            if _is_deep_in_planes(image):
                return _decode_tiff(data)
            image.load()
            return _to_rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        if data[:4] in _TIFF_STARTS:
            return _decode_tiff(data)
        raise ImageError("is not an image that bccli can read") from None
    except Exception as error:  # Pillow's decoders raise many kinds for damaged data
        raise ImageError(f"is damaged ({str(error) or type(error).__name__})") from None


_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _PLANAR = 258, 284  # TIFF 6.0: BitsPerSample, PlanarConfiguration


def _is_deep_in_planes(image: Image.Image) -> bool:
    """Whether this is a TIFF that Pillow opens and misreads: more than 8 bits, one plane per colour."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_PLANAR) == 2 and max(tags.get(_BITS, (8,))) > 8


def _decode_tiff(data: bytes) -> np.ndarray:
    """TIFF kinds that Pillow leaves alone: 16-bit colour, BigTIFF, rare compressions."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages[0]
            if page.size > 4 * MAX_PIXELS:
                raise ImageError(f"is too large ({page.shape}; the limit is {MAX_PIXELS:,} pixels)")
            pixels = page.asarray()
            if page.axes.startswith("S"):  # planes stored one after the other
                pixels = np.moveaxis(pixels, 0, -1)
    except ImageError:
        raise
    except Exception as error:  # as above: damaged data, many kinds
        raise ImageError(f"is damaged ({str(error) or type(error).__name__})") from None
    if pixels.ndim == 2:
        return _grey_to_rgb(pixels)
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise ImageError(f"has an unusual layout {pixels.shape}")
    colour = pixels[:, :, :3]
    if colour.dtype == np.uint16:
        return np.ascontiguousarray((colour >> 8).astype(np.uint8))
    if colour.dtype == np.uint8:
        return np.ascontiguousarray(colour)
    raise ImageError(f"has colours of type {colour.dtype}")


def _grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    """Grey pixels of any depth to RGB; deeper than 8 bits by their own minimum and maximum."""
    if grey.dtype != np.uint8:
        values = grey.astype(np.float64)
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise ImageError("has pixels that are not numbers")
        scale = 255.0 / (high - low) if high > low else 0.0
        grey = np.rint((values - low) * scale).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _opaque(image: Image.Image) -> np.ndarray:
    coloured = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, coloured).convert("RGB"))


def _grey(image: Image.Image) -> np.ndarray:
    return _grey_to_rgb(np.asarray(image))


# How each of Pillow's modes becomes RGB; all others go through Pillow's own conversion.
_CONVERSIONS: dict[str, Callable[[Image.Image], np.ndarray]] = {
    "L": _grey,
    "I": _grey,
    "I;16": _grey,
    "I;16B": _grey,
    "I;16L": _grey,
    "F": _grey,
    "RGBA": _opaque,
    "LA": _opaque,
    "PA": _opaque,
}


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in ("P", "RGB", "L") and "transparency" in image.info:
        return _opaque(image)
    convert = _CONVERSIONS.get(image.mode)
    return convert(image) if convert else np.array(image.convert("RGB"))
