"""Files to pixels: the one way in which bccli reads an image, in `prepare` and in `predict`."""

import contextlib
import ctypes
import io
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from bccli.core.errors import ImageError
from bccli.core.imaging.jpeg import check_parts, decode_jpeg
from bccli.core.imaging.png import check_rows, decode_png
from bccli.core.imaging.strips import by_strips, cut_rows
from bccli.core.imaging.turns import take_turn

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
SUFFIXES = DICOM_SUFFIXES | {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".ppm", ".pnm"}

# 10,000 × 10,000: more than twice the largest mammogram, and all that is made of it takes less than 1.5 GB.
MAX_PIXELS = 10**8
# What decoding may take on its way; kinds that take more than 8 bytes per pixel have a lower limit.
_MAX_ROOM = 8 * MAX_PIXELS
# A file of more is a whole slide, and is not even read.
MAX_BYTES = 2**29

Image.MAX_IMAGE_PIXELS = None  # the limit above is checked from the header, as a refusal, not a warning

# GIF and WebP for downloads that carry another name. Without a list, Pillow would try all that it knows
# on each damaged file, among them formats that start other programs.
_KINDS = (PngImageFile, JpegImageFile, TiffImageFile, BmpImageFile, PpmImageFile, GifImageFile, WebPImageFile)
_FORMATS = tuple(kind.format for kind in _KINDS)
# Bytes per pixel where decoding takes more than 8, by format or mode: WebP copies all colours several times.
_ROOMS = {"WEBP": 16, "F": 12, "I": 12}
_ANIMATED = (PngImageFile, GifImageFile, WebPImageFile)  # the pages of a TIFF, the previews in a JPEG are not

# What these say of a damaged file is part of our sentence, or was overcome. Once and for good, because
# images are decoded in threads, and `warnings.catch_warnings` is not made for those.
for _library in ("PIL", "tifffile", "pydicom", "imagecodecs"):
    warnings.filterwarnings("ignore", module=rf"{_library}(\.|$)")
    logging.getLogger(_library).addHandler(logging.NullHandler())
    logging.getLogger(_library).propagate = False
with contextlib.suppress(AttributeError, OSError):  # libtiff writes to stderr itself, where it can be reached
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


def decode(path: Path | str) -> np.ndarray:
    """Read an image file as uint8 RGB of shape (height, width, 3), read-only.

    Grey images of more than 8 bits are stretched by their own minimum and maximum (CBIS-DDSM paper,
    section 4.3.1); the rest is as in `decode_deep`.
    """
    with _enough_memory():
        pixels = to_rgb(decode_deep(path))
    pixels.flags.writeable = False
    return pixels


def decode_deep(path: Path | str) -> np.ndarray:
    """Read an image file: grey (height, width) of the file's own depth, or uint8 RGB (height, width, 3).

    It is read-only. Colour of 16 bits keeps its upper byte; transparent pixels become white; of a TIFF's
    pages the first counts. The content decides, not the name; only DICOM without its preamble needs the
    name. Raises ImageError with the reason, without the path.
    """
    with _enough_memory():
        pixels = _decode_bytes(_read(path), os.path.splitext(path)[1].lower() in DICOM_SUFFIXES)
    pixels.flags.writeable = False  # as most are already: what comes straight from Pillow
    return pixels


def read_size(path: Path | str) -> tuple[int, int]:
    """Width and height of an image file, from its header where Pillow knows its kind.

    Raises ImageError as `decode_deep`.
    """
    with contextlib.suppress(Exception), Image.open(path, formats=_FORMATS) as image:
        return image.size
    height, width = decode_deep(path).shape[:2]
    return width, height


@contextlib.contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise ImageError("needs more memory than there is") from None


def _read(path: Path | str) -> bytes:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ImageError(f"is too large ({size:,} bytes; the limit is {MAX_BYTES:,})")
            data = file.read()
    except FileNotFoundError:
        raise ImageError("does not exist") from None
    except ValueError:
        raise ImageError("has a name that no file can have") from None
    except OSError as error:
        raise ImageError(f"cannot be opened ({(error.strerror or str(error)).lower()})") from None
    if not data:
        raise ImageError("is empty (0 bytes)")
    return data


def _decode_bytes(data: bytes, named_dicom: bool) -> np.ndarray:
    try:
        if data[128:132] == b"DICM":
            return _decode_dicom(data)
        try:
            return _decode_with_pillow(data)
        except UnidentifiedImageError:
            if data[:4] in _TIFF_STARTS:
                return _decode_tiff(data)
        if named_dicom:
            return _decode_dicom(data)
        raise ImageError("is not an image that bccli can read")
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's and tifffile's decoders raise many kinds for damaged data
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"is damaged ({reason})") from None


def _decode_with_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        width, height = image.size
        check_size(width, height, _ROOMS.get(image.format or "", _ROOMS.get(image.mode, 8)))
        if isinstance(image, _ANIMATED) and image.is_animated:
            raise ImageError(f"is animated ({image.n_frames} frames); one image is needed")
        if _is_misread(image):
            return _decode_tiff(data)
        if isinstance(image, TiffImageFile):
            _check_strips(image)
            _check_jpeg_strips(image, data)
        if (pixels := _decode_directly(image, data)) is not None:
            return pixels
        image.load()
        if isinstance(image, PngImageFile):
            check_rows(data, image)
        return _to_array(image)


def _decode_directly(image: Image.Image, data: bytes) -> np.ndarray | None:
    """The pixels by a decoder that is better than Pillow's and gives the same; None where there is none."""
    if isinstance(image, JpegImageFile):
        return decode_jpeg(data, image, check_size)
    return decode_png(data) if isinstance(image, PngImageFile) else None


def check_size(width: int, height: int, room: int = 8) -> None:
    """Raise ImageError for an image that its header says is too large, or of no pixels.

    `room` is how many bytes per pixel are needed while it is decoded.
    """
    limit = min(MAX_PIXELS, _MAX_ROOM // max(room, 1))
    if width * height > limit:
        raise ImageError(f"is too large ({width}×{height} pixels; the limit is {limit:,})")
    if width < 1 or height < 1:
        raise ImageError(f"has no pixels ({width}×{height})")
    take_turn(width * height)


_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _PHOTOMETRIC, _PLANAR = 258, 262, 284  # TIFF 6.0: BitsPerSample, …, PlanarConfiguration
_COMPRESSION, _JPEG, _JPEG_TABLES = 259, 7, 347
_PARTS = (273, 279), (324, 325)  # where strips begin and how long they are, and tiles
_WHITE_IS_ZERO = 0
_TIFF_COLOURS = (_WHITE_IS_ZERO, 1, 2, 6)  # grey of both kinds, RGB, YCbCr


def _is_misread(image: Image.Image) -> bool:
    """Whether this is a TIFF that Pillow opens and misreads: deep, in a plane per colour or white as zero."""
    tags = getattr(image, "tag_v2", {})
    unusual = tags.get(_PLANAR) == 2 or tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    return unusual and max(tags.get(_BITS, (1,))) > 8


def _check_strips(image: TiffImageFile) -> None:
    """Raise ImageError where a TIFF has too few strips or tiles: Pillow leaves the rest black."""
    boxes = np.array([part[1] for part in image.tile], np.int64).reshape(-1, 4)
    covered = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum()
    if covered < math.prod(image.size):
        raise ImageError("is damaged (some of its strips or tiles are missing)")


def _check_jpeg_strips(image: TiffImageFile, data: bytes) -> None:
    """Raise ImageError where a strip or tile of a TIFF is a damaged JPEG: libtiff keeps it to itself."""
    tags = image.tag_v2
    if tags.get(_COMPRESSION) == _JPEG:
        places, lengths = next(pair for pair in _PARTS if pair[0] in tags)
        check_parts(data, tags[places], tags[lengths], tables=tags.get(_JPEG_TABLES, b""))


def _decode_tiff(data: bytes) -> np.ndarray:
    """TIFF kinds that Pillow leaves alone: 16-bit colour, BigTIFF, rare compressions."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        check_size(page.imagewidth, page.imagelength)
        check_size(page.tilewidth or 1, page.tilelength or 1)
        if page.size > 4 * MAX_PIXELS:
            raise ImageError(f"has an unusual layout {page.shape}")
        # decoded pixels lie in a strip of their own, and in the image that it goes to
        check_size(page.imagewidth, page.imagelength, 2 * page.nbytes // (page.imagewidth * page.imagelength))
        if page.photometric not in _TIFF_COLOURS:
            kind = getattr(page.photometric, "name", page.photometric)
            raise ImageError(f"has colours of an unusual kind ({kind})")
        if sum(map(bool, page.databytecounts)) < math.prod(page.chunked):  # tifffile makes them up, as black
            raise ImageError("is damaged (some of its strips or tiles are missing)")
        if page.compression == _JPEG:
            check_parts(data, page.dataoffsets, page.databytecounts, tables=page.jpegtables or b"")
        pixels = page.asarray()
        if page.axes.startswith("S"):  # planes stored one after the other
            pixels = np.moveaxis(pixels, 0, -1)
        if page.photometric == _WHITE_IS_ZERO:
            pixels = -pixels if pixels.dtype.kind == "f" else np.invert(pixels)
    return _from_array(pixels)


def _decode_dicom(data: bytes) -> np.ndarray:
    from bccli.core.imaging.dicom import read_dicom

    return _from_array(read_dicom(data, check_size, max_bytes=MAX_BYTES))


def _from_array(pixels: np.ndarray) -> np.ndarray:
    """Grey (height, width) as it is, colours (height, width, 3 or more) of any depth as RGB."""
    if pixels.ndim == 2:
        return pixels
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise ImageError(f"has an unusual layout {pixels.shape}")
    colour = pixels[:, :, :3]
    if colour.dtype == np.uint16:
        return by_strips(colour.shape, lambda rows: (colour[rows] >> 8).astype(np.uint8, order="C"))
    if colour.dtype == np.uint8:
        return np.ascontiguousarray(colour)
    raise ImageError(f"has colours of type {colour.dtype}")


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """What `decode_deep` gives as uint8 RGB; grey of more than 8 bits by its own minimum and maximum."""
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
    coloured = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, coloured).convert("RGB"))


# How each of Pillow's modes becomes an array; all others go through Pillow's own conversion.
_CONVERSIONS: dict[str, Callable[[Image.Image], np.ndarray]] = {
    **dict.fromkeys(("RGB", "L", "I", "I;16", "I;16B", "I;16L", "F"), np.asarray),
    "RGBA": _opaque,
    "LA": _opaque,
    "PA": _opaque,
}


def _to_array(image: Image.Image) -> np.ndarray:
    def convert(rows: slice) -> np.ndarray:
        return _convert(cut_rows(image, rows))

    return by_strips((image.height, image.width), convert)


def _convert(image: Image.Image) -> np.ndarray:
    if image.mode in ("P", "RGB", "L") and "transparency" in image.info:
        return _opaque(image)
    convert = _CONVERSIONS.get(image.mode)
    return convert(image) if convert else np.asarray(image.convert("RGB"))
