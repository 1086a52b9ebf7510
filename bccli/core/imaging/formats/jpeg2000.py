"""JPEG 2000 of more than 8 bits to pixels, where Pillow's are wrong.

Pillow rounds colours of more than 8 bits (and grey of 9) to 8 without a limit, so that full white turns into
black. The header is that of ITU-T T.800, annex A.5.1.
"""

import struct

import numpy as np
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.strips import by_strips

_START = b"\xff\x4f\xff\x51"  # SOC and SIZ
_COMPONENTS = 40  # bytes from the start to how many there are, and then to the first one's three bytes
_BITS = 0x7F  # the last bit says whether they are signed
ROOM = 24
"""Bytes per pixel that decoding takes: 4 per component, and the samples as they are returned."""


def is_too_deep(data: bytes, image: Jpeg2KImageFile) -> bool:
    """Whether Pillow, which has opened this file, would make it wrong."""
    depths = _depths(data)
    return max(depths, default=8) > 8 and image.mode != "I;16"


def decode_jpeg2000(data: bytes, image: Jpeg2KImageFile) -> np.ndarray:
    """The samples as uint16 (height, width), or each colour's (and the transparency's) upper byte, uint8
    (height, width, channels). Raises ImageError for channels of several depths."""
    import imagecodecs

    depths = _depths(data)
    if len(set(depths)) > 1:
        raise ImageError("has colours of an unusual kind (channels of several depths)")
    samples = imagecodecs.jpeg2k_decode(data)
    if samples.shape[:2] != image.size[::-1]:
        raise ImageError(f"has an unusual layout {samples.shape}")
    bits = depths[0]

    def filled(rows: slice) -> np.ndarray:
        strip = samples[rows].astype(np.int32)
        if samples.dtype.kind == "i":  # the least is black, as in unsigned ones
            strip += 1 << (bits - 1)
        return strip.astype(np.uint16) if samples.ndim == 2 else (strip >> (bits - 8)).astype(np.uint8)

    return by_strips(samples.shape, filled)


def _depths(data: bytes) -> list[int]:
    """The bits of each component; none where there is no header."""
    start = data.find(_START)
    if start < 0:
        return []
    (count,) = struct.unpack_from(">H", data, start + _COMPONENTS)
    sizes = data[start + _COMPONENTS + 2 :][: 3 * count : 3]
    return [(size & _BITS) + 1 for size in sizes]
