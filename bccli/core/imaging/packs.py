"""Packs: the pixels of many images of one size in one array on the disk, and the hash of each.

`WxH.npy` is an array uint8 (images, height, width, 3), which NumPy reads, too, and `WxH.sha256` has a line
for each of its rows: the `pixel_hash` of the image. Whoever reads an image knows its hash, and what a row
holds is compared with it: a pack that is damaged, outdated or another dataset's does no harm.
"""

import errno
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bccli.core.cores import available_cores
from bccli.core.imaging.formats.decoding import MAX_PIXELS
from bccli.core.imaging.hashes import pixel_hash
from bccli.core.reading.regular_files import explained, open_file
from bccli.core.reading.rows import read_header

Size = tuple[int, int]
"""Width and height in pixels."""

LINE = 65
"""Bytes of a line: 64 hexadecimal digits and its end."""
MOST_ROWS = 1 << 24
"""A pack of more images is not read: their hashes alone take a gigabyte."""
_MOST_OPEN = 64
"""So many packs stay open."""
_SHARE = 1 << 18
"""Reading so many bytes is worth a thread."""


class PackError(Exception):
    """What is wrong with a pack, in words that follow its path."""


def pack_path(folder: Path, size: Size) -> Path:
    """The array of the images of this size in a folder of packs."""
    return folder / f"{size[0]}x{size[1]}.npy"


def hashes_path(path: Path) -> Path:
    """The file of the hashes of an array's rows."""
    return path.with_suffix(".sha256")


class Pack:
    """An open pack.

    It is read and never mapped: where a network's file system loses a mapped file, the process is killed.
    """

    def __init__(self, path: Path, size: Size, array: BinaryIO, offset: int, prefixes: np.ndarray) -> None:
        self.path, self._offset = path, offset
        self._row_bytes = size[0] * size[1] * 3
        self._order = np.argsort(prefixes, kind="stable")
        self._prefixes = prefixes[self._order]
        self._number = os.dup(array.fileno())
        weakref.finalize(self, os.close, self._number)

    def find(self, hashes: Sequence[str]) -> np.ndarray:
        """The row that has the pixels of each hash, or may have; -1 where none has."""
        wanted = np.array([int(text[:16], 16) for text in hashes], np.uint64)
        places = np.searchsorted(self._prefixes, wanted)
        there = places < len(self._prefixes)
        there[there] = self._prefixes[places[there]] == wanted[there]
        rows = np.full(len(wanted), -1)
        rows[there] = self._order[places[there]]
        return rows

    def read(self, rows: np.ndarray, pixels: np.ndarray) -> None:
        """Read rows into `pixels` (rows, height, width, 3), those that follow each other at once.

        Negative ones are passed over. Raises OSError.
        """
        buffer = pixels.data.cast("B")
        apart = (np.diff(rows) != 1) | (rows[:-1] < 0)
        for start, stop in pairwise([0, *(np.flatnonzero(apart) + 1).tolist(), len(rows)]):
            if (row := int(rows[start])) >= 0:
                self._read(buffer[start * self._row_bytes : stop * self._row_bytes], row)

    def _read(self, buffer: memoryview, row: int) -> None:
        place = self._offset + row * self._row_bytes
        while buffer:
            if not (size := os.preadv(self._number, [buffer], place)):
                raise OSError(errno.EIO, "has been cut short", str(self.path))
            buffer, place = buffer[size:], place + size


class PackedImages:
    """Images by the rows of a pack. Of each, what is first read is compared with its hash; whatever is wrong
    with the pack goes to `tell`, in words that follow its path."""

    def __init__(self, pack: Pack, hashes: Sequence[str], tell: Callable[[str], None]) -> None:
        self._pack, self._hashes, self._tell = pack, hashes, tell
        self._rows = pack.find(hashes)
        self._checked = np.zeros(len(hashes), bool)

    @property
    def lacking(self) -> int:
        """How many of the images are not in the pack."""
        return int((self._rows < 0).sum())

    def fill(
        self, positions: np.ndarray, pixels: np.ndarray, pool: ThreadPoolExecutor | None = None
    ) -> list[int]:
        """Read the images at these positions into `pixels` (positions, height, width, 3).

        Returns the indices of those that are not in the pack, or damaged there. A `pool` reads many at once.
        """
        threads = min(available_cores(), 1 + pixels.nbytes // _SHARE, max(len(positions), 1))
        if pool is None or threads == 1:
            return self._fill(positions, pixels, 0)
        ends = np.linspace(0, len(positions), threads + 1).astype(int).tolist()
        parts = pool.map(
            lambda span: self._fill(positions[slice(*span)], pixels[slice(*span)], span[0]), pairwise(ends)
        )
        return [index for part in parts for index in part]

    def _fill(self, positions: np.ndarray, pixels: np.ndarray, first: int) -> list[int]:
        if not len(positions):
            return []
        rows = self._rows[positions]
        try:
            self._pack.read(rows, pixels)
        except OSError as error:
            self._tell(f"cannot be read ({explained(error)})")
            return list(range(first, first + len(positions)))
        good = rows >= 0
        for index in np.flatnonzero(good & ~self._checked[positions]).tolist():
            good[index] = self._check(int(positions[index]), pixels[index])
        return (np.flatnonzero(~good) + first).tolist()

    def _check(self, position: int, pixels: np.ndarray) -> bool:
        """Whether an image has the pixels of its hash; its row is never read again where it has not."""
        if pixel_hash(pixels) == self._hashes[position]:
            self._checked[position] = True
            return True
        self._tell(f"has other pixels in row {self._rows[position]} than the manifest says")
        self._rows[position] = -1
        return False


class _OpenPacks:
    """The packs that were opened last, each for as long as its files stay as they are."""

    def __init__(self) -> None:
        self._packs: dict[Path, tuple[tuple[int, ...], Pack]] = {}
        self._lock = threading.Lock()

    def open(self, path: Path, size: Size) -> Pack:
        state = _state(path.stat()) + _state(hashes_path(path).stat())
        with self._lock:
            known, pack = self._packs.pop(path, ((), None))
            if pack is None or known != state:
                while len(self._packs) >= _MOST_OPEN:
                    del self._packs[next(iter(self._packs))]
                pack = _open(path, size)
            self._packs[path] = state, pack
            return pack


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


_OPEN = _OpenPacks()


def open_pack(folder: Path, size: Size) -> Pack | None:
    """The pack of images of this size; None where there is none. Raises PackError where it is of no use."""
    path = pack_path(folder, size)
    if not os.path.lexists(path):
        return None
    try:
        return _OPEN.open(path, size)
    except FileNotFoundError as error:
        missing = hashes_path(path).name if path.exists() else path.name
        raise PackError(f"cannot be read ({missing}: {explained(error)})") from None
    except OSError as error:
        raise PackError(f"cannot be read ({explained(error)})") from None


def _open(path: Path, size: Size) -> Pack:
    with open_file(path) as array, open_file(hashes_path(path)) as lines:
        count, offset = _shape(array, size)
        return Pack(path, size, array, offset, np.concatenate([*_prefixes(lines, count)]))


def _shape(array: BinaryIO, size: Size) -> tuple[int, int]:
    """How many rows an array has, and where they begin. Raises PackError for one of another form, or cut."""
    header = read_header(array)
    if header is None or len(header[0]) != 4:
        raise PackError("is damaged (it is no array of images)")
    (count, *form), by_column, dtype = header
    if size[0] * size[1] > MAX_PIXELS:
        raise PackError("holds larger images than are read")
    if form != [size[1], size[0], 3] or by_column or dtype != np.uint8:
        raise PackError("holds something else than images of this size")
    if not 0 <= count <= MOST_ROWS:
        raise PackError(f"has more than {MOST_ROWS:,} images")
    offset, found = array.tell(), os.fstat(array.fileno()).st_size
    if (wanted := offset + count * size[0] * size[1] * 3) != found:
        raise PackError(f"is damaged (it has {found:,} bytes, not {wanted:,})")
    return count, offset


def _prefixes(lines: BinaryIO, count: int) -> Iterator[np.ndarray]:
    """The first 64 bits of each hash, some at a time. Raises PackError where they are not so many."""
    if os.fstat(lines.fileno()).st_size != count * LINE:
        raise PackError("has other images than its list of hashes")
    yield np.empty(0, np.uint64)
    for first in range(0, count, 1 << 16):
        data = lines.read(min(1 << 16, count - first) * LINE)
        digits = _VALUES[np.frombuffer(data, np.uint8)[: len(data) // LINE * LINE].reshape(-1, LINE)[:, :16]]
        yield (digits[:, ::2] << 4 | digits[:, 1::2]).view(">u8")[:, 0].astype(np.uint64)


def _digit_values() -> np.ndarray:
    """The value of each character as a hexadecimal digit, 0 of any other: pixels are compared anyway."""
    values = np.zeros(256, np.uint8)
    values[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
    return values


_VALUES = _digit_values()
