"""DICOM files to pixels; what such a file says about a patient is neither read nor repeated."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.dicom_modality import GREY_TAGS, brightness
from bccli.core.imaging.formats.dicom_palettes import PALETTE, PALETTE_TAGS, look_up
from bccli.core.imaging.formats.jpeg import check_jpeg

if TYPE_CHECKING:
    from pydicom import Dataset

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_NEEDED = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    *GREY_TAGS,
    *PALETTE_TAGS,
    *_PIXELS,
)

_DEFLATED, _PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"  # DICOM part 5, annex A
_META = b"DICM\2\0\0\0UL\4\0"  # the first element says how long the uncompressed first part is
# How the element of the pixels begins, up to its length, in the two little-endian syntaxes.
_ELEMENT_STARTS = {
    "1.2.840.10008.1.2": (b"\xe0\x7f\x10\0",),
    "1.2.840.10008.1.2.1": (b"\xe0\x7f\x10\0OW\0\0", b"\xe0\x7f\x10\0OB\0\0"),
}
_JPEG = "1.2.840.10008.1.2.4."  # JPEG, JPEG-LS and JPEG 2000 go on from here
_CHECKED = tuple(_JPEG + end for end in ("50", "51", "57", "70"))  # what libjpeg decodes
# What pydicom and Pillow leave alone, and which function of imagecodecs decodes it.
_CODECS = {
    f"{_JPEG}51": "jpeg8_decode",  # lossy, up to 12 bits
    f"{_JPEG}57": "jpeg8_decode",  # lossless
    f"{_JPEG}70": "jpeg8_decode",  # lossless, first-order prediction: the usual one
    f"{_JPEG}80": "jpegls_decode",
    f"{_JPEG}81": "jpegls_decode",
    f"{_JPEG}201": "jpeg2k_decode",  # high throughput, lossless in two forms and lossy
    f"{_JPEG}202": "jpeg2k_decode",
    f"{_JPEG}203": "jpeg2k_decode",
}


def read_dicom(data: bytes, check_size: Callable[[int, int, int], None], *, max_bytes: int) -> np.ndarray:
    """The one image of a DICOM file: grey (height, width) or colours (height, width, 3), as deep as stored.

    More is brighter, whatever the file's own convention; grey of up to 8 bits is uint8 and fills its range.
    Windows and look-up tables for display do not count. `check_size` gets width, height and the bytes per
    pixel that decoding takes, before it does; `max_bytes` is how far deflated content may grow. Raises
    ImageError with the reason.
    """
    with _reporting("is damaged (its DICOM header cannot be read)"):
        dataset, stored = _read_header(data, max_bytes)
        if stored is None and not any(name in dataset for name in _PIXELS):
            raise ImageError("holds no image (no pixel data)")
        check_size(int(dataset.Columns), int(dataset.Rows), _room(dataset))
        _check_colours(dataset)
        frames = int(dataset.get("NumberOfFrames") or 1)
        if frames != 1:
            raise ImageError(f"holds {frames} frames; one image is needed")
    with _reporting("is damaged (its pixel data cannot be decoded)"):
        found = _decode(dataset) if stored is None else stored
        if dataset.PhotometricInterpretation == PALETTE:
            return look_up(found, dataset)
        return brightness(found, dataset)


def _room(dataset: "Dataset") -> int:
    """Bytes per pixel while it is decoded: of grey three copies, of colours what pydicom's conversion takes,
    which is in float32."""
    depth = (int(dataset.get("BitsAllocated") or 8) + 7) // 8
    return 3 * depth if int(dataset.get("SamplesPerPixel") or 1) == 1 else 27 * depth


@contextmanager
def _reporting(sentence: str) -> Iterator[None]:
    """Raise ImageError in our words: pydicom's quote the values that it stumbled over."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception:
        raise ImageError(sentence) from None


def _read_header(data: bytes, max_bytes: int) -> tuple["Dataset", np.ndarray | None]:
    """The elements that make the image, with a transfer syntax, which without a preamble is guessed; and the
    pixels where they are so plain that no copy is needed."""
    import pydicom

    if data[128:132] == b"DICM":
        content = inflated(data, max_bytes)
        stream = io.BytesIO(content)
        dataset = pydicom.dcmread(stream, specific_tags=list(_NEEDED), stop_before_pixels=True)
        if (stored := _native_pixels(dataset, content, stream.tell())) is not None:
            return dataset, stored
        dataset = pydicom.dcmread(io.BytesIO(content), specific_tags=list(_NEEDED))
    else:
        with _reporting("is not an image that bccli can read"):
            dataset = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(_NEEDED))
            if "Rows" not in dataset or "Columns" not in dataset:
                raise ImageError("is not an image that bccli can read")
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset, None


def inflated(data: bytes, max_bytes: int, *, partly: bool = False) -> bytes:
    """Deflated content as if it had not been: pydicom would let it grow without limit.

    Raises ImageError where it grows beyond `max_bytes`, unless that much of it is enough.
    """
    if not data.startswith(_META, 128):
        return data
    start = 144 + struct.unpack("<I", data[140:144])[0]
    if _DEFLATED not in data[144:start]:
        return data
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(data[start:], max_bytes)
    if inflater.unconsumed_tail and not partly:
        raise ImageError(f"is too large (its content grows beyond {max_bytes:,} bytes)")
    return data[:144] + data[144:start].replace(_DEFLATED, _PLAIN) + content


def _decode(dataset: "Dataset") -> np.ndarray:
    """Pixels as stored, colours as RGB."""
    from pydicom import pixels

    syntax = dataset.file_meta.TransferSyntaxUID
    codec = _CODECS.get(syntax)
    if not codec:
        _check_supported(syntax)
    if syntax.startswith(_JPEG):
        _check_stream(dataset)
    if syntax in _CHECKED:
        check_jpeg(_frame(dataset))
    if codec:
        return _decode_with_imagecodecs(dataset, codec)
    spare = _spare_bits(dataset)
    if not spare or _precision(dataset) <= dataset.BitsStored:
        return pixels.pixel_array(dataset, index=0)
    return _shifted(dataset, spare)


def _spare_bits(dataset: "Dataset") -> int:
    """The number of bits below the stored ones: 0 unless HighBit is out of the ordinary."""
    stored, allocated = int(dataset.get("BitsStored") or 0), int(dataset.get("BitsAllocated") or 0)
    high = dataset.get("HighBit")
    if not stored or high is None or high == stored - 1:
        return 0
    if not stored - 1 <= high < allocated:
        raise ImageError(f"is damaged (HighBit {high} for {stored} bits stored in {allocated})")
    return high + 1 - stored


def _shifted(dataset: "Dataset", spare: int) -> np.ndarray:
    """Pixels whose bits begin `spare` above the lowest: pydicom takes them all, and the rest is cut off."""
    from pydicom import pixels

    stored, allocated, signed = dataset.BitsStored, dataset.BitsAllocated, dataset.PixelRepresentation == 1
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = allocated, allocated - 1, 0
    found = pixels.pixel_array(dataset, index=0)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = stored, stored - 1, int(signed)
    upper = found << (allocated - stored - spare)
    kind = "i" if signed else "u"
    return upper.view(f"{kind}{found.itemsize}") >> (allocated - stored)


def _native_pixels(dataset: "Dataset", content: bytes, position: int) -> np.ndarray | None:
    """Plain grey pixels as they lie in the file, where the element at `position` holds one frame of them;
    else None."""
    starts = _ELEMENT_STARTS.get(str(dataset.file_meta.get("TransferSyntaxUID", "")), ())
    start = next((start for start in starts if content.startswith(start, position)), None)
    if start is None or dataset.get("NumberOfFrames", 1) != 1:
        return None
    bits = dataset.get("BitsAllocated")
    depth = 1, bits, bits, (bits or 0) - 1
    if depth != tuple(map(dataset.get, ("SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"))):
        return None
    grey = str(dataset.get("PhotometricInterpretation")).startswith("MONOCHROME")
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    if bits not in (8, 16) or not (grey and rows and columns and "PixelRepresentation" in dataset):
        return None
    kind = np.dtype(f"<{'i' if dataset.PixelRepresentation else 'u'}{bits // 8}")
    position += len(start)
    length = struct.unpack_from("<I", content, position)[0]
    size = rows * columns * kind.itemsize
    if length not in (size, size + size % 2) or position + 4 + length > len(content):
        return None
    return np.frombuffer(content, kind, rows * columns, position + 4).reshape(rows, columns)


def _check_colours(dataset: "Dataset") -> None:
    """Raise ImageError for colours that the standard has known and that nothing here decodes."""
    colours = str(dataset.get("PhotometricInterpretation"))
    bits = dataset.get("BitsAllocated") or 0
    if colours in _UNUSUAL or (colours.startswith("YBR_FULL") and bits > 8):
        raise ImageError(f"has colours of an unusual kind ({colours}, {bits} bits)")


_UNUSUAL = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "XYB")


def _check_supported(syntax: str) -> None:
    """Raise ImageError, with the standard's name for it, where a syntax cannot be decoded here; it says which
    package would do so, where there is one."""
    from pydicom import pixels
    from pydicom._uid_dict import UID_dictionary

    advice = ""
    try:
        decoder = pixels.get_decoder(syntax)
        if decoder.is_available:
            return
        missing = (text.rpartition("requires ")[2] for text in decoder.missing_dependencies)
        advice = f"; install {' or '.join(missing)}"
    except NotImplementedError:
        pass
    known = UID_dictionary.get(syntax)  # anything else is whatever text the file holds there
    name = known[0] if known else "unknown transfer syntax"
    raise ImageError(f"is compressed in a way that bccli cannot read ({name}){advice}")


def _frame(dataset: "Dataset") -> bytes:
    """The one compressed stream in the pixel data."""
    from pydicom.encaps import get_frame

    return get_frame(dataset.PixelData, 0, number_of_frames=1)


def _decode_with_imagecodecs(dataset: "Dataset", codec: str) -> np.ndarray:
    from pydicom import pixels

    as_it_is = {"colorspace": "RGB", "outcolorspace": "RGB"}
    options = as_it_is if codec == "jpeg8_decode" and dataset.SamplesPerPixel == 3 else {}
    try:
        import imagecodecs

        found = getattr(imagecodecs, codec)(_frame(dataset), **options)
    except ImportError:  # a codec may be left out of a build of imagecodecs, and fails like this when called
        raise ImageError(f"needs {codec} of imagecodecs, which is not there; install imagecodecs") from None
    if dataset.PhotometricInterpretation.startswith("YBR_FULL"):
        return pixels.convert_color_space(found, "YBR_FULL", "RGB")
    if dataset.PixelRepresentation == 1:  # the stream knows no signs
        unused = 8 * found.itemsize - dataset.BitsStored
        return (found << unused).view(f"i{found.itemsize}") >> unused
    return found


def _precision(dataset: "Dataset") -> int:
    """The number of bits of a decoded pixel: that of a compressed stream, else all allocated ones."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.startswith(_JPEG):
        return _read_stream(_frame(dataset))[2]
    return int(dataset.BitsAllocated)


def _check_stream(dataset: "Dataset") -> None:
    """Raise ImageError where a compressed stream has another size than the header, which was checked, or
    keeps its bits at another position than all others do."""
    width, height, bits = _read_stream(_frame(dataset))
    if bits > dataset.BitsStored and _spare_bits(dataset):
        raise ImageError(f"keeps {dataset.BitsStored} bits in compressed data of {bits}; export it again")
    if (width, height) != (dataset.Columns, dataset.Rows):
        stated = f"{dataset.Columns}×{dataset.Rows}"
        raise ImageError(f"is damaged (a header of {stated} and pixel data of {width}×{height} pixels)")


def _read_stream(stream: bytes) -> tuple[int, int, int]:
    """Width, height and bits of a JPEG, JPEG-LS or JPEG 2000 stream. Raises struct.error where there is no
    end."""
    codestream = stream.find(b"\xff\x4f\xff\x51")
    if codestream >= 0 and not stream.startswith(b"\xff\xd8"):
        right, bottom, left, top = struct.unpack_from(">4I", stream, codestream + 8)
        (depth,) = struct.unpack_from(">B", stream, codestream + 42)  # SIZ: 38 bytes, then each component's
        return right - left, bottom - top, (depth & 0x7F) + 1
    position = 2
    while True:
        marker, length = struct.unpack_from(">HH", stream, position)
        if marker in _FRAME_STARTS:
            bits, height, width = struct.unpack_from(">BHH", stream, position + 4)
            return width, height, bits
        position += 2 + length


# SOF0 to SOF15 without the tables among them, and SOF55 of JPEG-LS
_FRAME_STARTS = frozenset({*range(0xFFC0, 0xFFD0), 0xFFF7} - {0xFFC4, 0xFFC8, 0xFFCC})
