"""DICOM images whose pixels are numbers of colours."""

from typing import TYPE_CHECKING

import numpy as np

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.dicom_modality import is_big_endian
from bccli.core.imaging.formats.dicom_tables import (
    Descriptor,
    Table,
    expand,
    read_descriptor,
    read_words,
    to_bytes,
)

if TYPE_CHECKING:
    from pydicom import Dataset

PALETTE = "PALETTE COLOR"
_COLOURS = ("Red", "Green", "Blue")
_DESCRIPTOR = "{}PaletteColorLookupTableDescriptor"
_DATA = "{}PaletteColorLookupTableData"
_SEGMENTS = "Segmented{}PaletteColorLookupTableData"
PALETTE_TAGS = tuple(
    pattern.format(colour) for colour in _COLOURS for pattern in (_DESCRIPTOR, _DATA, _SEGMENTS)
)
"""Elements that make a palette; how transparent its colours are is not among them."""


def look_up(numbers: np.ndarray, dataset: "Dataset") -> np.ndarray:
    """The colours uint8 (height, width, 3) of stored values. Raises ImageError where the palette is damaged,
    or not in the file."""
    signed = dataset.get("PixelRepresentation") == 1
    descriptors = [_descriptor(dataset, colour, signed) for colour in _COLOURS]
    words = [_words(dataset, *pair) for pair in zip(_COLOURS, descriptors, strict=True)]
    colours = to_bytes(words, max(descriptor.bits for descriptor in descriptors))
    pairs = zip(descriptors, colours, strict=True)
    return np.stack([Table(descriptor.first, table, 8)(numbers) for descriptor, table in pairs], axis=2)


def _descriptor(dataset: "Dataset", colour: str, signed: bool) -> Descriptor:
    numbers = dataset.get(_DESCRIPTOR.format(colour)) or dataset.get(_DESCRIPTOR.format(_COLOURS[0]))
    if numbers is None:
        raise ImageError("has colours of a palette that it does not hold")
    return read_descriptor(numbers, signed=signed)


def _words(dataset: "Dataset", colour: str, descriptor: Descriptor) -> np.ndarray:
    big_endian = is_big_endian(dataset)
    if data := dataset.get(_DATA.format(colour)):
        return read_words(data, descriptor, big_endian=big_endian)
    if data := dataset.get(_SEGMENTS.format(colour)):
        return expand(data, descriptor, big_endian=big_endian)
    raise ImageError("has colours of a palette that it does not hold")
