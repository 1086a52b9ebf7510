"""Tables of rows in .npy files that bccli keeps for itself: what is damaged there is made again."""

import errno
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np

from bccli.core.reading.regular_files import open_file

_BLOCK = 8 << 20
"""About so many bytes are read at a time."""
_GAP = 1 << 16
"""Up to so many bytes between two wanted rows are read with them."""


_MOST_OPEN = 48


class _OpenFiles:
    """The files of which rows were read last, `_MOST_OPEN` at most, fewer where the process has too many."""

    def __init__(self) -> None:
        self._numbers: dict[Path, int] = {}
        self._lock = threading.Lock()

    def read(self, path: Path, size: int, place: int) -> bytes:
        """Some bytes of a file from a place on; fewer where it ends."""
        with self._lock:
            number = self._numbers.pop(path, None)
            if number is None:
                number = self._open(path)
            self._numbers[path] = number
            return os.pread(number, size, place)

    def _open(self, path: Path) -> int:
        while len(self._numbers) >= _MOST_OPEN:
            self._close_oldest()
        while True:
            try:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._numbers:
                    raise
                self._close_oldest()

    def _close_oldest(self) -> None:
        os.close(self._numbers.pop(next(iter(self._numbers))))


_OPEN = _OpenFiles()


@dataclass(frozen=True)
class StoredRows:
    """A file with `count` rows of type `record`, which is open only where it is read.

    All methods raise OSError where the file has gone or was cut.
    """

    path: Path
    record: np.dtype[Any]
    offset: int
    count: int

    @property
    def size(self) -> int:
        """The size of all rows."""
        return self.count * self.record.itemsize

    def read(self) -> np.ndarray:
        """All rows."""
        with open_file(self.path) as stream:
            return self._span(stream, 0, self.count)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The rows of these numbers, in their order."""
        wanted, order = np.unique(rows, return_inverse=True)
        found = np.empty(len(wanted), self.record)
        with open_file(self.path) as stream:
            for some in filter(len, self._near(wanted)):
                first, last = wanted[some[0]], wanted[some[-1]]
                found[some] = self._span(stream, first, last + 1)[wanted[some] - first]
        return found[order]

    def _near(self, wanted: np.ndarray) -> list[np.ndarray]:
        """Positions in ascending row numbers, those together that are read at once."""
        size = self.record.itemsize
        far = np.diff(wanted) * size > max(_GAP, size)
        blocks = (wanted - wanted[:1]) * size // _BLOCK
        return np.split(np.arange(len(wanted)), np.flatnonzero(far | (np.diff(blocks) > 0)) + 1)

    def row(self, number: int) -> np.ndarray:
        """One row, read from a file that stays open for a while, as other rows of it may follow soon."""
        size = self.record.itemsize
        data = _OPEN.read(self.path, size, self.offset + number * size)
        if len(data) < size:
            raise self._cut()
        return np.frombuffer(data, self.record)[0]

    def column(self, name: str) -> np.ndarray:
        """One field of all rows; where rows are long, nothing else is read."""
        fields: Any = self.record.fields
        kind, start = fields[name][:2]
        result = np.empty(self.count, kind)
        step = max(1, _BLOCK // self.record.itemsize)
        with open_file(self.path) as stream:
            if self.record.itemsize <= _GAP:
                for first in range(0, self.count, step):
                    last = min(first + step, self.count)
                    result[first:last] = self._span(stream, first, last)[name]
            else:
                for row in range(self.count):
                    place = self.offset + row * self.record.itemsize + start
                    result[row] = np.frombuffer(self._bytes(stream, place, kind.itemsize), kind)[0]
        return result

    def _span(self, stream: BinaryIO, start: int, stop: int) -> np.ndarray:
        size = self.record.itemsize
        data = self._bytes(stream, self.offset + int(start) * size, int(stop - start) * size)
        return np.frombuffer(data, self.record)

    def _bytes(self, stream: BinaryIO, place: int, size: int) -> bytes:
        stream.seek(place)
        data = stream.read(size)
        if len(data) < size:
            raise self._cut()
        return data

    def _cut(self) -> OSError:
        return OSError(f"{self.path}: has been cut short while it was read; run the same command again")


def find_rows(path: Path, record: np.dtype[Any]) -> StoredRows | None:
    """What an .npy file holds, without its rows; None for anything but a whole table of this type.

    Raises OSError where the file cannot be opened or is none.
    """
    with open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if (header := read_header(stream)) is None:
            return None
        shape, _, dtype = header
        found = StoredRows(path, record, stream.tell(), shape[0] if len(shape) == 1 else -1)
    whole = found.count >= 0 and found.offset + found.size == size
    return found if whole and dtype == record else None


def read_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]] | None:
    """The shape of the array in an .npy file, whether it is in Fortran's order, and its type; what follows in
    the stream is its content. None for anything but such a file as bccli writes them."""
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            return None
        return np.lib.format.read_array_header_1_0(stream)
    except (ValueError, TypeError, SyntaxError, TokenError, EOFError, MemoryError, RecursionError):
        return None


def read_rows(path: Path, record: np.dtype[Any], count: int | None = None) -> np.ndarray | None:
    """All rows (n,) of a table; None where the file holds no such table, or not `count` rows.

    Raises OSError as `find_rows`.
    """
    found = find_rows(path, record)
    return found.read() if found and count in (None, found.count) else None
