"""JPEG to pixels, from whole files only.

Where data are missing or wrong, libjpeg makes the rest up and goes on; it says so in warnings, which Pillow
keeps to itself and simplejpeg raises. Both give the same pixels. Terms and markers are those of ITU-T T.81.
"""

import contextlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.strips import by_strips, cut_rows

MOST_LEFT = 0.01
"""The share of a scan's bytes that may be left over when all of its pixels are there."""

_MOST_REPAIRS = 32
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # SOF0 to SOF15 without the tables among them
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), (0xC2, 0xCA)  # the former with Huffman codes only
_END = bytes([0xFF, _END_OF_IMAGE])
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length: TEM, RST0 to RST7, SOI
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_END_OF_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_NOT_SENT = 255

_COLOURS = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
# What libjpeg says where it makes pixels up; its other words are of what it cannot decode at all.
_DAMAGE = re.compile("Corrupt JPEG data|Premature end|Inconsistent progression")

Decoder = Callable[[bytes], np.ndarray]


@dataclass(frozen=True)
class Scan:
    """One scan: where its header's content and its coded data begin, where these end, and what they hold.

    `components` are identifiers; coefficients `first` to `last` are known to all but `low` bits after it.
    """

    header: int
    start: int
    end: int
    components: bytes
    first: int
    last: int
    low: int


@dataclass(frozen=True)
class Stream:
    """The first image of a JPEG file: the kind of its frame (0 where there is none) and where its header's
    content begins, its scans, and what stands between segments and belongs to none."""

    frame: int
    header: int
    components: bytes
    scans: tuple[Scan, ...]
    junk: tuple[slice, ...]
    has_end: bool


def decode_jpeg(
    data: bytes, image: JpegImageFile, check_size: Callable[[int, int, int], None]
) -> np.ndarray | None:
    """The pixels of a file that Pillow has opened, uint8 (height, width) or RGB (height, width, 3).

    None for a rare kind that Pillow is to decode, of which nothing is known.
    `check_size` gets width, height and the bytes per pixel that decoding takes.

    Raises ImageError for a file that is cut or damaged: a scan that ends early, codes that do not exist,
    or more than MOST_LEFT of a scan left over.
    """
    stream = _walk(data)
    check_size(*image.size, _room(stream))
    _check_scans(stream)
    tidied = _tidied(data, stream)
    try:
        pixels = _decode_strictly(tidied, image)
    except (ImportError, _UnusualError):
        return _decode_with_pillow(data, stream)
    return _as_array(JpegImageFile(io.BytesIO(tidied))) if image.mode == "CMYK" else pixels


def check_jpeg(data: bytes) -> None:
    """Raise ImageError where a JPEG stream that another library will decode is known to be damaged.

    Lossless ones and those of more than 8 bits are tried as if they had 8: their codes stay the same.
    """
    stream = _walk(data)
    if stream.frame:
        data = data[: stream.header] + b"\x08" + data[stream.header + 1 :]
    try:
        image = JpegImageFile(io.BytesIO(data))
    except Exception:  # a kind that Pillow does not know, and the strict decoder neither
        return
    _check_scans(stream)
    with contextlib.suppress(ImportError, _UnusualError):
        _decode_strictly(_tidied(data, stream), image)


def check_streams(data: bytes, offsets: Iterable[int], lengths: Iterable[int], *, tables: bytes) -> None:
    """Check each strip or tile of a TIFF, a JPEG stream that may have its tables in a stream of their own."""
    for offset, length in zip(offsets, lengths, strict=False):
        coded = data[offset : offset + length]
        check_jpeg(tables.removesuffix(_END) + coded[2:] if tables else coded)


class _UnusualError(Exception):
    """The strict decoder does not know this kind of JPEG."""


def _walk(data: bytes) -> Stream:
    frame, header, components, has_end = 0, 0, b"", False
    scans, junk = [], []
    offset = 2
    while match := _MARKER.search(data, offset):
        if match.start() > offset:
            junk.append(slice(offset, match.start()))
        code, offset = data[match.end() - 1], match.end()
        if code == _END_OF_IMAGE:
            has_end = True
            break
        if code in _BARE:
            continue
        content, offset = offset + 2, offset + int.from_bytes(data[offset : offset + 2], "big")
        if code in _FRAMES and not frame:
            frame, header, components = code, content, data[content + 6 : offset : 3]
        elif code == _START_OF_SCAN:
            found = _END_OF_SCAN.search(data, offset)
            scans.append(_scan(data, content, offset, found.start() if found else len(data)))
            offset = scans[-1].end
    return Stream(frame, header, components, tuple(scans), tuple(junk), has_end)


def _scan(data: bytes, header: int, start: int, end: int) -> Scan:
    components = data[header + 1 : start - 3 : 2]
    first, last, bits = (data[start - 3 : start] + bytes(3))[:3]
    return Scan(header, start, end, components, first, last, bits & 15)


def _room(stream: Stream) -> int:
    """Bytes per pixel: its samples, and where several scans bring them its coefficients of two bytes too."""
    return len(stream.components) * (3 if len(stream.scans) > 1 else 1)


def _check_scans(stream: Stream) -> None:
    """Raise ImageError where a component has no scan, or where what a scan began is not brought to its end.

    Decoders take such a file, cut between two scans, for one that was meant to be so coarse.
    """
    progressive = stream.frame in _PROGRESSIVE
    known = {component: bytearray([_NOT_SENT] * 64) for component in stream.components}
    for scan in stream.scans:
        first, last = (scan.first, min(scan.last, 63)) if progressive else (0, 0)
        for component in scan.components:
            if component in known:
                known[component][first : last + 1] = bytes([scan.low if progressive else 0]) * (
                    last + 1 - first
                )
    missing = any(bits[0] == _NOT_SENT for bits in known.values())
    if stream.scans and (missing or any(set(bits) - {0, _NOT_SENT} for bits in known.values())):
        raise ImageError("is damaged (some of its scans are missing)")


def _tidied(data: bytes, stream: Stream) -> bytes:
    """The data with an end, and without what stands between segments."""
    if stream.junk:
        intact = np.ones(len(data), bool)
        for junk in stream.junk:
            intact[junk] = False
        data = np.frombuffer(data, np.uint8)[intact].tobytes()
    return data if stream.has_end else data + _END


def _decode_strictly(data: bytes, image: JpegImageFile) -> np.ndarray:
    """The pixels as libjpeg gives them without a warning, but for those that are harmless.

    Raises _UnusualError where the decoder cannot tell, ImageError for damage.
    """
    decode = _decoder(image)
    for _ in range(_MOST_REPAIRS):
        try:
            return decode(data)
        except ValueError as error:
            data = _repaired(data, str(error), decode)
    raise ImageError("is damaged (too much is wrong with its JPEG data)")


def _decoder(image: JpegImageFile) -> Decoder:
    import simplejpeg

    colours = _COLOURS.get(image.mode)
    if colours is None:
        raise _UnusualError

    def decode(data: bytes) -> np.ndarray:
        try:
            height, width, *_ = simplejpeg.decode_jpeg_header(data, strict=False)
        except KeyError:  # a subsampling that it has no name for
            raise _UnusualError from None
        if (width, height) != image.size:
            raise ImageError(
                f"is damaged (two headers, of {image.size[0]}×{image.size[1]} and {width}×{height})"
            )
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, colorspace=colours, strict=True)
        return pixels[:, :, 0] if colours == "GRAY" else pixels

    return decode


def _repaired(data: bytes, complaint: str, decode: Decoder) -> bytes:
    """The data without what was complained of, where that is harmless; only the first fault is reported."""
    for pattern, repair in _REPAIRS:
        if match := pattern.search(complaint):
            for candidate in repair(data, match):
                if not _is_damage(_complaint(candidate, decode)):
                    return candidate
            break
    if _is_damage(complaint):
        reason = "more is left of a scan than its pixels need" if _EXTRA.search(complaint) else complaint
        raise ImageError(f"is damaged ({reason.removeprefix('Corrupt JPEG data: ')})")
    raise _UnusualError


def _complaint(data: bytes, decode: Decoder) -> str:
    try:
        decode(data)
    except ValueError as error:
        return str(error)
    return ""


def _is_damage(complaint: str) -> bool:
    return bool(_DAMAGE.search(complaint)) and not _EXTRA.search(complaint)


_EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]+)")


def _without_extra(data: bytes, match: re.Match[str]) -> Iterator[bytes]:
    """The data without some bytes before a marker, for each scan in which they may be few enough."""
    count, code = int(match[1]), bytes([int(match[2], 16)])
    marker = re.compile(rb"\xff+" + re.escape(code), re.DOTALL)
    for scan in _walk(data).scans:
        if count > ceil(MOST_LEFT * (scan.end - scan.start)):
            continue
        for found in marker.finditer(data, scan.start, scan.end + 2):
            yield data[: found.start() - count] + data[found.start() :]


def _with_known_jfif(data: bytes, match: re.Match[str]) -> Iterator[bytes]:
    yield data.replace(b"JFIF\0" + bytes([int(match[1])]), b"JFIF\0\1", 1)


def _with_known_adobe(data: bytes, match: re.Match[str]) -> Iterator[bytes]:
    """libjpeg takes a colour transform that it does not know for that of YCbCr or YCCK."""
    offset = data.find(b"Adobe") + 11
    for transform in (1, 2):
        yield data[:offset] + bytes([transform]) + data[offset + 1 :]


def _with_whole_spectrum(data: bytes, match: re.Match[str]) -> Iterator[bytes]:
    """Of a sequential scan libjpeg decodes all coefficients, whatever its header says."""
    changed = bytearray(data)
    for scan in _walk(data).scans:
        changed[scan.start - 3 : scan.start] = bytes([0, 63, 0])
    yield bytes(changed)


_REPAIRS = (
    (_EXTRA, _without_extra),
    (re.compile(r"unknown JFIF revision number (\d+)"), _with_known_jfif),
    (re.compile("Unknown Adobe color transform code"), _with_known_adobe),
    (re.compile("Invalid SOS parameters for sequential"), _with_whole_spectrum),
)


_LOOKAHEAD = b"\xff\0" * 16
"""libjpeg wants ones behind the last code: encoders fill up with them, and they begin no code."""


class _Portions(io.BytesIO):
    """Bytes of which those up to `limit` are read before any behind it."""

    limit = 0

    def read(self, size: int | None = -1) -> bytes:
        here = self.tell()
        reaches = size is None or size < 0 or here + size > self.limit
        return super().read(self.limit - here if here < self.limit and reaches else size)


def _decode_with_pillow(data: bytes, stream: Stream) -> np.ndarray | None:
    """Decode a file that the strict decoder does not know, with as much care as Pillow allows.

    Where no marker follows, Pillow waits for more data and makes nothing up, and what it has not asked for
    at the end is left over. That is known for a single scan with Huffman codes.
    """
    if stream.frame not in _SEQUENTIAL or len(stream.scans) != 1:
        return None
    (scan,) = stream.scans
    source = _Portions(data[: scan.end] + _LOOKAHEAD)
    source.limit = scan.end - ceil(MOST_LEFT * (scan.end - scan.start))
    image = JpegImageFile(source)
    image.load()
    if source.tell() <= source.limit:
        raise ImageError("is damaged (more is left of a scan than its pixels need)")
    return _as_array(image)


def _as_array(image: JpegImageFile) -> np.ndarray:
    """Grey as it is; what is printed in CMYK as Pillow converts it."""

    def convert(rows: slice) -> np.ndarray:
        strip = cut_rows(image, rows)
        return np.asarray(strip.convert("RGB") if strip.mode == "CMYK" else strip)

    return by_strips((image.height, image.width), convert)
