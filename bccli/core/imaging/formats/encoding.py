"""Pixels to files: the one way in which bccli writes prepared images."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from bccli.core.imaging.formats.strips import strips_of

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {2: 0, 3: 2}  # grey and RGB, by the dimensions of the array
_UP = 2  # the filter that stores what differs from the row above


def encode_png(pixels: np.ndarray) -> bytes:
    """Pixels uint8 (height, width, 3) or (height, width) as PNG.

    The same pixels give the same bytes on all x86-64 CPUs that have SSE 4.2; others, and another version of
    ISA-L, may choose other bytes. At level 1 it takes a third of the time of zlib's run lengths for slides of
    700×460, and makes files 1 % larger; for grey in three channels they are 4 % smaller.
    """
    height, width = pixels.shape[:2]
    packed = list(_packed(np.ascontiguousarray(pixels).reshape(height, -1), width))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[pixels.ndim], 0, 0, 0)
    chunks = (*_chunk(b"IHDR", header), *_chunk(b"IDAT", *packed), *_chunk(b"IEND"))
    return b"".join((_SIGNATURE, *chunks))


def _packed(rows: np.ndarray, width: int) -> Iterator[bytes]:
    """The deflated rows uint8 (height, bytes of a row), filtered, in pieces."""
    compressor = _compressor()
    for strip in strips_of(len(rows), width):
        yield compressor.compress(_filtered(rows, strip))
    yield compressor.flush()


def _filtered(rows: np.ndarray, strip: slice) -> np.ndarray:
    """Some rows, each less the one above it (in bytes), behind the number of this filter."""
    result = np.empty((strip.stop - strip.start, 1 + rows.shape[1]), np.uint8)
    result[:, 0] = _UP
    first = max(strip.start, 1)  # above the first row there is nothing
    top, rest = np.split(result[:, 1:], [first - strip.start])
    top[:] = rows[strip.start : first]
    np.subtract(rows[first : strip.stop], rows[first - 1 : strip.stop - 1], out=rest)
    return result


def _chunk(kind: bytes, *content: bytes) -> Iterator[bytes]:
    """A chunk with its length and its checksum, in pieces."""
    checksum = 0
    for piece in (kind, *content):
        checksum = zlib.crc32(piece, checksum)
    yield from (struct.pack(">I", sum(map(len, content))), kind, *content, struct.pack(">I", checksum))


def _compressor() -> Any:
    """One of ISA-L."""
    from isal import isal_zlib

    return isal_zlib.compressobj(1)
