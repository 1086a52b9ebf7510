"""PNG to pixels: plain files by libpng, with Pillow's pixels in a third of its time; all others are Pillow's.

Chunks are those of the PNG specification, third edition. Pillow passes over the checksums of the pixels, and
over what is wrong behind the last row.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import reduce
from typing import NamedTuple

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from bccli.core.errors import ImageError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START = len(_SIGNATURE)
# Bit depth, colour type, and no interlacing: grey of 8 and 16 bits, colours of 8
_PLAIN = {(8, 0, 0), (16, 0, 0), (8, 2, 0)}
# What changes no pixel in either library, and is not refused by Pillow once the pixels are reached; the last
# three are what ImageMagick writes.
_HARMLESS = frozenset(
    {b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"iCCP", b"tIME", b"tEXt", b"zTXt", b"iTXt"}
    | {b"bKGD", b"oFFs", b"vpAg"}
)
# Of it, what cannot say that the image lies on its side
_SILENT = frozenset({b"IHDR", b"IDAT", b"IEND", b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"tIME"})
# The lengths that the specification gives to some of it: Pillow refuses a file where one is too short
_LENGTHS = {b"pHYs": 9, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1}
_HARMLESS_BEHIND = frozenset({b"tIME", b"tEXt"})
_MOST_BEHIND = 2**20  # bytes: far less text than what Pillow takes for an attack
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each colour type
# Of each interlaced pass the first column and row, and how far apart they are
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PORTION = 2**20
_LEAST_UNPACKED = 2**15  # bytes: of fewer, the calls cost threads that wait for each other what they gain
_MOST_UNPACKED = 2**24  # bytes of rows, which are in memory three times on the way to libpng
_BLOCK = 2**16 - 1  # bytes: the most that a stored block holds


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    length: int


def decode_silent_png(data: bytes, check_size: Callable[[int, int], None]) -> np.ndarray | None:
    """The same as `decode_png` of a plain file that says nothing of how it is to be shown, which Pillow need
    not open, either.

    `check_size` is told width and height before anything is decoded. None for all other files.
    """
    if not data.startswith(_SIGNATURE):
        return None
    chunks = list(_chunks(data))
    if not all(map(_is_silent, chunks)) or not _is_plain(data, chunks):
        return None
    size = struct.unpack_from(">II", data, chunks[0].start)
    if not all(size):  # of which Pillow says that it is no image
        return None
    check_size(*size)
    return _decode(data, chunks)


def _is_silent(chunk: _Chunk) -> bool:
    """Whether a chunk says nothing of how the image is to be shown, and Pillow would take it."""
    return chunk.kind in _SILENT and chunk.length == _LENGTHS.get(chunk.kind, chunk.length)


def decode_png(data: bytes) -> np.ndarray | None:
    """The pixels of a whole PNG: grey (height, width) uint8 or uint16, or RGB uint8 (height, width, 3).

    None where Pillow is to decode them. Raises ImageError where the checksum of some pixels is wrong.
    """
    return _decode(data, list(_chunks(data)))


def _decode(data: bytes, chunks: list[_Chunk]) -> np.ndarray | None:
    for chunk in chunks:
        if chunk.kind == b"IDAT" and not _is_sound(data, chunk):
            raise ImageError("is damaged (a checksum of its PNG data is wrong)")
    if _is_plain(data, chunks):
        try:
            import imagecodecs

            pixels: np.ndarray = imagecodecs.png_decode(_unpacked(data, chunks))
            return pixels
        except (ImportError, RuntimeError):  # a build without it; what libpng refuses, Pillow may read
            pass
    return None


def is_bare(data: bytes, pixels: np.ndarray) -> bool:
    """Whether a PNG that was decoded to these pixels, uint8, is as bccli writes them: with nothing else."""
    chunks = list(_chunks(data))
    colour = {2: 0, 3: 2}[pixels.ndim]
    return (
        {chunk.kind for chunk in chunks} == {b"IHDR", b"IDAT", b"IEND"}
        and _is_plain(data, chunks)
        and tuple(data[chunks[0].start + 8 :][:2]) == (8, colour)
        and _end(chunks[-1]) + 4 == len(data)
    )


def _unpacked(data: bytes, chunks: list[_Chunk]) -> bytes:
    """A plain file with the same rows in blocks that are only stored, so that libpng need not inflate them.

    libdeflate does that in less than half of its time. A large file, and one whose rows are not exactly what
    its header says, remain as they are.
    """
    pieces = [chunk for chunk in chunks if chunk.kind == b"IDAT"]
    length = _length(*struct.unpack_from(">IIBBxxB", data, chunks[0].start))
    if not _LEAST_UNPACKED <= length <= _MOST_UNPACKED or (rows := _inflated(data, pieces, length)) is None:
        return data
    return b"".join((data[: pieces[0].start - 8], *_stored_chunk(rows), data[_end(pieces[-1]) + 4 :]))


def _inflated(data: bytes, pieces: list[_Chunk], length: int) -> bytes | bytearray | None:
    """The rows, None where libdeflate finds a fault with them or has another number of bytes."""
    import imagecodecs

    packed = b"".join(data[piece.start : _end(piece)] for piece in pieces)
    try:
        rows = imagecodecs.deflate_decode(packed, out=length)
    except (ImportError, RuntimeError):
        return None
    return rows if len(rows) == length else None


def _stored_chunk(rows: bytes | bytearray) -> Iterator[bytes | bytearray]:
    """The chunk IDAT of rows as they are, in pieces."""
    import imagecodecs

    pieces = [b"IDAT", *_stored(rows, imagecodecs.deflate_adler32(rows))]
    yield struct.pack(">I", sum(map(len, pieces)) - 4)
    yield from pieces
    yield struct.pack(">I", reduce(lambda before, piece: imagecodecs.deflate_crc32(piece, before), pieces, 0))


def _stored(rows: bytes | bytearray, checksum: int) -> Iterator[bytes | bytearray]:
    """A zlib stream of blocks that are stored (RFC 1950 and 1951), in pieces."""
    yield b"\x78\x01"
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        yield struct.pack("<BHH", start + _BLOCK >= len(rows), len(block), len(block) ^ 0xFFFF)
        yield block
    yield struct.pack(">I", checksum)


def around_pixels(data: bytes) -> bytes:
    """The content of a file before its pixels and behind them; all of it where these are not in one place."""
    chunks = list(_chunks(data))
    pixels = [number for number, chunk in enumerate(chunks) if chunk.kind == b"IDAT"]
    if not pixels or pixels[-1] - pixels[0] >= len(pixels):
        return data
    return data[: chunks[pixels[0]].start] + data[_end(chunks[pixels[-1]]) :]


def check_rows(data: bytes, image: PngImageFile) -> None:
    """Raise ImageError where a file that Pillow has loaded holds fewer rows: Pillow leaves those black."""
    # interlaced ones end with the odd rows
    end = image.crop((0, max(0, image.height - 2), image.width, image.height))
    if not any(end.tobytes()) and _lacks_rows(data, list(_chunks(data))):
        raise ImageError("is damaged (some of its rows are missing)")


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Up to the end that is marked, or else to the last chunk that is there as a whole."""
    position = _START
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunk = _Chunk(data[position + 4 : position + 8], position + 8, length)
        position += 12 + length
        if position > len(data):
            return
        yield chunk
        if chunk.kind == b"IEND":
            return


def _end(chunk: _Chunk) -> int:
    """Where its checksum begins."""
    return chunk.start + chunk.length


def _is_sound(data: bytes, chunk: _Chunk) -> bool:
    end = _end(chunk)
    return zlib.crc32(memoryview(data)[chunk.start - 4 : end]) == int.from_bytes(data[end : end + 4], "big")


def _is_plain(data: bytes, chunks: list[_Chunk]) -> bool:
    """Whether both libraries are sure to see the same: a header, harmless chunks, pixels, the end."""
    kinds = [chunk.kind for chunk in chunks]
    if kinds[:1] != [b"IHDR"] or kinds[-1] != b"IEND" or chunks[0].length != 13 or b"IDAT" not in kinds:
        return False
    first, behind = kinds.index(b"IDAT"), len(kinds) - kinds[::-1].index(b"IDAT")
    depth, colour, compression, filtering, interlace = struct.unpack_from("5B", data, chunks[0].start + 8)
    return (
        (depth, colour, interlace) in _PLAIN
        and compression == filtering == 0
        and _HARMLESS.issuperset(kinds[1:first])
        and set(kinds[first:behind]) == {b"IDAT"}
        and _HARMLESS_BEHIND.issuperset(kinds[behind:-1])
        and sum(chunk.length for chunk in chunks[behind:]) < _MOST_BEHIND
        and all(_is_sound(data, chunk) for chunk in chunks[:first])
    )


def _lacks_rows(data: bytes, chunks: list[_Chunk]) -> bool:
    """Whether a file that has its end holds less than its header promises."""
    if len(chunks) < 2 or chunks[-1].kind != b"IEND" or chunks[0] != _Chunk(b"IHDR", _START + 8, 13):
        return False
    missing = _length(*struct.unpack_from(">IIBBxxB", data, chunks[0].start))
    inflater = zlib.decompressobj()
    try:
        for chunk in chunks:
            rest = data[chunk.start : _end(chunk)] if chunk.kind == b"IDAT" else b""
            while rest and missing > 0:
                missing -= len(inflater.decompress(rest, _PORTION))
                rest = inflater.unconsumed_tail
    except zlib.error:  # Pillow has its own words for it
        return False
    return missing > 0


def _length(width: int, height: int, depth: int, colour: int, interlaced: int) -> int:
    """Bytes of all rows before they are deflated, each with that of its filter."""
    bits = depth * _CHANNELS.get(colour, 0)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes)
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)
