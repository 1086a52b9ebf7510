"""Look-up tables as DICOM files store them: those of palettes and of modalities (DICOM part 3, C.7.6.3.1 and
C.11.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.strips import by_strips

MOST = 2**16
"""Entries of the largest table, whose number is written as 0."""


@dataclass(frozen=True)
class Table:
    """A look-up table of stored values: `values` from the value `first` on, of which `bits` count."""

    first: int
    values: np.ndarray
    bits: int

    def __call__(self, stored: np.ndarray) -> np.ndarray:
        """The entries of stored integers; those outside of the table get its first or last."""
        if stored.dtype.itemsize > 2:
            return by_strips(stored.shape, lambda rows: self._entries(stored[rows]))
        unsigned = np.dtype(f"u{stored.dtype.itemsize}")
        every = np.arange(1 << 8 * stored.dtype.itemsize).astype(unsigned).view(stored.dtype)
        entries = self._entries(every.astype(np.int32))
        return by_strips(stored.shape, lambda rows: entries[stored[rows].view(unsigned)])

    def _entries(self, stored: np.ndarray) -> np.ndarray:
        last = self.first + len(self.values) - 1
        indices = np.clip(stored, self.first, last).astype(np.int64) - self.first
        return self.values[indices]


@dataclass(frozen=True)
class Descriptor:
    """The number of a table's entries, the value of the first one, and the bits of an entry that count."""

    entries: int
    first: int
    bits: int


def read_descriptor(numbers: Sequence[int], *, signed: bool) -> Descriptor:
    """A descriptor from its three numbers, which may have been read with or without signs.

    Raises ImageError for bits that no table has.
    """
    entries, first, bits = (int(number) % MOST for number in numbers)
    if not 1 <= bits <= 16:
        raise ImageError(f"is damaged (a look-up table of {bits} bits)")
    return Descriptor(entries or MOST, first - MOST if signed and first >= MOST // 2 else first, bits)


def read_words(data: bytes | Sequence[int], descriptor: Descriptor, *, big_endian: bool) -> np.ndarray:
    """The entries uint16 of a table, whether each takes a byte or a word in the file.

    Raises ImageError where there are fewer than the descriptor says.
    """
    wanted = descriptor.entries
    if not isinstance(data, bytes):  # pydicom reads some kinds as numbers
        words = np.asarray(data, np.int64).astype(np.uint16).reshape(-1)
    elif len(data) >= 2 * wanted or len(data) not in (wanted, wanted + 1):
        words = _as_words(data, big_endian)
    else:
        swapped = _as_words(data + bytes(len(data) % 2), big_endian)
        words = np.frombuffer(swapped.astype("<u2").tobytes(), np.uint8).astype(np.uint16)
    if len(words) < wanted:
        raise ImageError(f"is damaged (a look-up table of {len(words)} entries, not {wanted})")
    return words[:wanted]


def _as_words(data: bytes, big_endian: bool) -> np.ndarray:
    return np.frombuffer(data, ">u2" if big_endian else "<u2", len(data) // 2).astype(np.uint16)


def to_bytes(tables: Sequence[np.ndarray], bits: int) -> list[np.ndarray]:
    """The tables of three colours as uint8: the upper eight of their `bits`.

    Eight bits may stand in the lower or the upper byte of a word, whatever the descriptor says: writers
    differ. Where all upper bytes are empty it is the lower one, as nobody draws with black alone.
    """
    highest = max(int(table.max()) for table in tables)
    shift = bits - 8 if bits > 8 and highest < 1 << bits else 8
    if highest < 256:
        shift = 0
    return [(table >> shift).astype(np.uint8) for table in tables]


def expand(data: bytes, descriptor: Descriptor, *, big_endian: bool) -> np.ndarray:
    """The entries uint16 of a table that is stored in segments (DICOM part 3, C.7.9.2).

    Raises ImageError where it is damaged or gives another number of entries than the descriptor says.
    """
    words = np.frombuffer(data, np.uint8) if descriptor.bits <= 8 else _as_words(data, big_endian)
    source = words.tolist()
    entries: list[int] = []
    try:
        index = 0
        while index + 1 < len(source) and len(entries) < descriptor.entries:
            index = _SEGMENTS[source[index]](source, index, entries, descriptor.bits <= 8)
    except (IndexError, KeyError):
        raise ImageError("is damaged (the segments of a look-up table)") from None
    if len(entries) != descriptor.entries:
        raise ImageError(f"is damaged (a look-up table of {len(entries)} entries, not {descriptor.entries})")
    return np.array(entries, np.uint16)


def _discrete(source: list[int], index: int, entries: list[int], narrow: bool) -> int:
    """Entries as they are."""
    count = source[index + 1]
    entries += source[index + 2 : index + 2 + count]
    return index + 2 + count


def _linear(source: list[int], index: int, entries: list[int], narrow: bool) -> int:
    """Entries in even steps from the last one to a given one."""
    count, end = source[index + 1], source[index + 2]
    steps = np.linspace(entries[-1], end, count + 1)[1:]
    entries += np.rint(steps).astype(int).tolist()
    return index + 3


def _indirect(source: list[int], index: int, entries: list[int], narrow: bool) -> int:
    """Some segments again, from an offset in bytes; they are never indirect themselves."""
    count, width = source[index + 1], 4 if narrow else 2
    words = source[index + 2 : index + 2 + width]
    offset = sum(word << (8 if narrow else 16) * number for number, word in enumerate(words))
    again = offset if narrow else offset // 2
    for _ in range(count):
        if len(entries) <= MOST:  # a damaged table may say to go on for billions
            again = _DIRECT[source[again]](source, again, entries, narrow)
    return index + 2 + width


_Segment = Callable[[list[int], int, list[int], bool], int]
_DIRECT: dict[int, _Segment] = {0: _discrete, 1: _linear}
_SEGMENTS: dict[int, _Segment] = {**_DIRECT, 2: _indirect}
