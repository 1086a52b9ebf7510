"""From a DICOM file's stored values to brightness: what the values mean, and which are no picture at all."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bccli.core.imaging.formats.dicom_tables import Table, read_descriptor, read_words

if TYPE_CHECKING:
    from pydicom import Dataset

_PADDINGS = ("PixelPaddingValue", "FloatPixelPaddingValue", "DoubleFloatPixelPaddingValue")
_LIMITS = ("PixelPaddingRangeLimit", "FloatPixelPaddingRangeLimit", "DoubleFloatPixelPaddingRangeLimit")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
GREY_TAGS = ("RescaleSlope", "ModalityLUTSequence", *_PADDINGS, *_LIMITS, *_GROUPS)
"""Elements that say what grey values mean."""


def brightness(pixels: np.ndarray, dataset: "Dataset") -> np.ndarray:
    """Grey with more as brighter, and of up to 8 bits over the whole range; colours in the upper bits.

    The Modality LUT is applied; of a rescaling only the sign matters, as it is linear. Padding is what is
    darkest. Raises ImageError for a damaged table.
    """
    bits = int(dataset.get("BitsStored") or 8 * pixels.itemsize)
    if pixels.ndim == 3:
        return _colours(pixels, bits)
    padding = _padding(pixels, dataset)
    table = _modality_table(dataset) if pixels.dtype.kind in "iu" else None
    if table is not None:
        pixels, bits = table(pixels), table.bits
    falling = table is None and _slope(dataset) < 0
    if bits <= 8:
        pixels = _eight_bits(pixels, bits)
    if falling != (dataset.PhotometricInterpretation == "MONOCHROME1"):
        pixels = -pixels if pixels.dtype.kind == "f" else np.invert(pixels)
    return pixels if padding is None else _darkened(pixels, padding)


def _colours(pixels: np.ndarray, bits: int) -> np.ndarray:
    if bits < 8 and pixels.dtype.kind in "iu":
        return _eight_bits(pixels, bits)
    words = pixels.dtype.kind == "u" and pixels.itemsize == 2  # in either byte order
    return pixels << (16 - bits) if words and bits < 16 else pixels


def _slope(dataset: "Dataset") -> float:
    """The growth of a value for each stored value; a slope that is missing or zero counts as one."""
    for item in (dataset, *_transformations(dataset)):
        if slope := item.get("RescaleSlope"):
            return float(slope)
    return 1.0


def _transformations(dataset: "Dataset") -> list["Dataset"]:
    """The items in which the newer kinds of files keep their rescaling."""
    groups = (group for name in _GROUPS for group in (dataset.get(name) or ())[:1])
    return [item for group in groups for item in group.get("PixelValueTransformationSequence") or ()]


def _modality_table(dataset: "Dataset") -> Table | None:
    items = dataset.get("ModalityLUTSequence")
    if not items:
        return None
    item, signed = items[0], dataset.get("PixelRepresentation") == 1
    descriptor = read_descriptor(item.LUTDescriptor, signed=signed)
    words = read_words(item.LUTData, descriptor, big_endian=is_big_endian(dataset))
    bits = descriptor.bits if int(words.max()) < 1 << descriptor.bits else 16
    return Table(descriptor.first, words, bits)


def is_big_endian(dataset: "Dataset") -> bool:
    """Whether words in the file begin with their upper byte."""
    return dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2"


def _padding(pixels: np.ndarray, dataset: "Dataset") -> np.ndarray | None:
    """A mask, bool (height, width), of pixels that only fill the rectangle; None where there are none.

    Values that the pixels cannot have are left aside: they are mistakes (DICOM part 3, C.7.5.1.1.2).
    """
    ends = [_stored(dataset.get(name), pixels.dtype) for names in (_PADDINGS, _LIMITS) for name in names]
    known = [end for end in ends if end is not None]
    if not known:
        return None
    padding: np.ndarray = (pixels >= min(known)) & (pixels <= max(known))
    return padding if padding.any() and not padding.all() else None


def _stored(value: Any, kind: np.dtype) -> Any:
    """A value as the pixels hold it, with or without sign whatever the file says; None where it cannot be."""
    if value is None or value == "":
        return None
    if kind.kind == "f":
        return float(value)
    limits, whole = np.iinfo(kind), int(value)
    if limits.min <= whole <= limits.max:
        return whole
    wrapped = whole - 2**16 if whole > limits.max else whole + 2**16
    return wrapped if limits.min <= wrapped <= limits.max else None


def _darkened(pixels: np.ndarray, padding: np.ndarray) -> np.ndarray:
    """Grey in which the padding is as dark as the darkest of the rest, so that it does not stretch the range;
    black where 8 bits are not stretched anyway."""
    darkest = 0 if pixels.dtype == np.uint8 else pixels[~padding].min()
    return np.where(padding, pixels.dtype.type(darkest), pixels)


def _eight_bits(pixels: np.ndarray, stored: int) -> np.ndarray:
    """Integers of up to 8 bits as uint8 from black to white, and not by their own range."""
    if stored == 8 and pixels.dtype == np.uint8:
        return pixels
    highest = 2**stored - 1
    levels = pixels.astype(np.int16) + 2 ** (stored - 1) if pixels.dtype.kind == "i" else pixels
    table = np.arange(highest + 1) * 255 // highest
    return table.astype(np.uint8)[np.clip(levels, 0, highest)]
