"""Files to pixels: the one way in which bccli reads an image, in `prepare` and in `predict`."""

import contextlib
import ctypes
import errno
import io
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile, DibImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.colours import from_array, to_array, to_rgb
from bccli.core.imaging.formats.jpeg import decode_jpeg
from bccli.core.imaging.formats.jpeg2000 import ROOM, decode_jpeg2000, is_too_deep
from bccli.core.imaging.formats.orientation import UPRIGHT, orientation_of, swaps_sides, upright
from bccli.core.imaging.formats.png import around_pixels, check_rows, decode_png, decode_silent_png
from bccli.core.imaging.formats.tiff import TIFF_STARTS, check_strips, is_plain, read_tiff, turn_to_image
from bccli.core.imaging.formats.turns import take_turn
from bccli.core.reading.regular_files import NotAFileError, open_file

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima"})
SUFFIXES = DICOM_SUFFIXES | {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp", ".avif"),
    *(".pgm", ".ppm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
}

# 10,000 × 10,000: more than twice the largest mammogram, and all that is made of it takes less than 1.5 GB.
MAX_PIXELS = 10**8
# What decoding may take on its way; kinds that take more than 8 bytes per pixel have a lower limit.
_MAX_ROOM = 8 * MAX_PIXELS
# A file of more is a whole slide, and is not even read.
MAX_BYTES = 2**29

Image.MAX_IMAGE_PIXELS = None  # the limit above is checked from the header, as a refusal, not a warning

# Without a list, Pillow would try all that it knows on each damaged file, among them formats that start
# other programs.
_KINDS = (
    *(PngImageFile, JpegImageFile, TiffImageFile, BmpImageFile, DibImageFile, PpmImageFile),
    *(GifImageFile, WebPImageFile, AvifImageFile, Jpeg2KImageFile),
)
_FORMATS = tuple(kind.format for kind in _KINDS)
# Bytes per pixel where decoding takes more than 8, by format or mode: copies of all colours, 32-bit numbers.
_ROOMS = {**dict.fromkeys(("WEBP", "AVIF", "JPEG2000"), 16), "F": 12, "I": 12}
# The pages of a TIFF and the previews in a JPEG are no animation.
_ANIMATED = (PngImageFile, GifImageFile, WebPImageFile, AvifImageFile)

# What these say of a damaged file is in our sentence, or was overcome. Once and for good, because
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

    It is read-only, and turned as EXIF or TIFF says. Colour of 16 bits keeps its upper byte, as neither PNG
    nor TIFF says that only lower bits are used: an image of 12 bits becomes nearly black, as `blankness_of`
    tells. Transparent pixels become white; of a TIFF's pages the largest counts, as in `read_tiff`. The
    content decides; only DICOM without its preamble needs the name. Raises ImageError with the reason.
    """
    with _enough_memory():
        pixels = _decode_bytes(_read(path), os.path.splitext(path)[1].lower() in DICOM_SUFFIXES)
    pixels.flags.writeable = False  # as most are already: what comes straight from Pillow
    return pixels


def read_size(path: Path | str) -> tuple[int, int]:
    """Width and height of an image file, from its header where Pillow knows its kind.

    Raises ImageError as `decode_deep`.
    """
    with (
        contextlib.suppress(Exception),
        open_file(path) as stream,
        Image.open(stream, formats=_FORMATS) as image,
    ):
        if (size := _shown_size(image)) is not None:
            return size
    height, width = decode_deep(path).shape[:2]
    return width, height


# Failures to open a file that say nothing of the file.
_NOT_ITS_FAULT = (errno.EMFILE, errno.ENFILE)

# How the chunks of a PNG begin that may say that it lies on its side; they may stand behind the pixels.
_PNG_MARKS = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


def _shown_size(image: Image.Image) -> tuple[int, int] | None:
    """Width and height of an image that has only been opened; None where its header does not tell."""
    if isinstance(image, TiffImageFile):
        return image.size if is_plain(image) else None
    if isinstance(image, PngImageFile):
        assert image.fp is not None
        image.fp.seek(0)
        content = image.fp.read(MAX_BYTES)
        return None if any(mark in content for mark in _PNG_MARKS) else image.size
    return image.size[::-1] if swaps_sides(orientation_of(image)) else image.size


def is_dicom_file(path: Path | str) -> bool:
    """Whether a file's content says that it is DICOM, whatever its name; not where it cannot be opened."""
    try:
        with open_file(path) as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


@contextlib.contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise ImageError("needs more memory than there is") from None


def _read(path: Path | str) -> bytes:
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ImageError(f"is too large ({size:,} bytes; the limit is {MAX_BYTES:,})")
            data = file.read()
    except FileNotFoundError:
        raise ImageError("does not exist") from None
    except NotAFileError as error:
        raise ImageError(f"is {error.kind} and not an image") from None
    except ValueError:
        raise ImageError("has a name that no file can have") from None
    except OSError as error:
        if error.errno in _NOT_ITS_FAULT:
            raise
        raise ImageError(f"cannot be opened ({(error.strerror or str(error)).lower()})") from None
    if not data:
        raise ImageError("is empty (0 bytes)")
    return data


def _decode_bytes(data: bytes, named_dicom: bool) -> np.ndarray:
    try:
        if data[128:132] == b"DICM":
            return _decode_dicom(data)
        if (pixels := decode_silent_png(data, check_size)) is not None:
            return pixels
        try:
            return _decode_with_pillow(data)
        except UnidentifiedImageError:
            if data[:4] in TIFF_STARTS:
                return _decode_tiff(data)
        if named_dicom:
            return _decode_dicom(data)
        raise ImageError("is not an image that bccli can read")
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's and tifffile's decoders raise many kinds for damaged data
        raise ImageError(_explained(error)) from None


_UNSUPPORTED = re.compile(
    r"unsupported|not supported|not implemented|not available|requires the 'imagecodecs'|DelayedImportError|"
    r"unknown (pixel mode|data organization)",
    re.IGNORECASE,
)


def _explained(error: Exception) -> str:
    """Why a decoder gave up: what it does not know need not be damaged."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(reason):
        return f"is of a kind that bccli cannot read ({reason})"
    return f"is damaged ({reason})"


def _decode_with_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        _check_image(image)
        if isinstance(image, _ANIMATED) and image.is_animated:
            raise ImageError(f"is animated ({image.n_frames} frames); one image is needed")
        if isinstance(image, TiffImageFile):
            if not turn_to_image(image, data):
                return _decode_tiff(data)
            _check_image(image)
            check_strips(image, data)
        pixels = _decode_directly(image, data)
        if pixels is None:
            image.load()
            if isinstance(image, PngImageFile):
                check_rows(data, image)
            pixels = to_array(image)
        return upright(pixels, _turn_left(image, data))


def _turn_left(image: Image.Image, data: bytes) -> int:
    """The orientation that is still to be followed: Pillow follows those of TIFF, and would decode a PNG for
    what may stand behind its pixels."""
    if isinstance(image, TiffImageFile):
        return UPRIGHT
    if isinstance(image, PngImageFile):
        around = around_pixels(data)
        if not any(mark in around for mark in _PNG_MARKS):
            return UPRIGHT
    return orientation_of(image)


def _decode_directly(image: Image.Image, data: bytes) -> np.ndarray | None:
    """The pixels by a decoder that is better than Pillow's and gives the same; None where there is none."""
    if isinstance(image, JpegImageFile):
        return decode_jpeg(data, image, check_size)
    if isinstance(image, Jpeg2KImageFile) and is_too_deep(data, image):
        return _decode_jpeg2000(image, data)
    return decode_png(data) if isinstance(image, PngImageFile) else None


def _decode_jpeg2000(image: Jpeg2KImageFile, data: bytes) -> np.ndarray:
    check_size(*image.size, ROOM)
    samples = decode_jpeg2000(data, image)
    return samples if samples.ndim == 2 else to_array(Image.fromarray(samples, image.mode))


def _check_image(image: Image.Image) -> None:
    """`check_size` of an image that has only been opened."""
    check_size(*image.size, _ROOMS.get(image.format or "", _ROOMS.get(image.mode, 8)))


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


def _decode_tiff(data: bytes) -> np.ndarray:
    return from_array(read_tiff(data, check_size, max_pixels=MAX_PIXELS))


def _decode_dicom(data: bytes) -> np.ndarray:
    from bccli.core.imaging.formats.dicom import read_dicom

    return from_array(read_dicom(data, check_size, max_bytes=MAX_BYTES))
