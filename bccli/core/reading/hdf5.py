"""HDF5 files that others made: nothing in one is read from another file, whatever its links say."""

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np


class Hdf5Error(Exception):
    """What is wrong with an HDF5 file, in words that follow "it"."""


def arrays_in(content: Any) -> int:
    """The bytes that all arrays of an open HDF5 file would unpack to.

    Links and arrays of an HDF5 file may lead to any file that the reader may read. Raises Hdf5Error for such,
    and for links that lead elsewhere in the file.
    """
    import h5py  # type: ignore[import-untyped]

    total, known, waiting = 0, set(), [content]
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Hdf5Error(f"names {name[:60]}, which is not in it")
            item = group[name]
            if (address := h5py.h5o.get_info(item.id).addr) in known:
                continue
            known.add(address)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise Hdf5Error(f"has {name[:60]} in another file")
                total += item.nbytes
    return total


_RECORD = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])
"""How an array of texts of any length has each of them: where it lies in a heap of the file."""
_HEAP = struct.Struct("<4sB3xQ")
_ENTRY = struct.Struct("<HH4xQ")
_EACH = 8
"""So many times the file's size is read in heaps at most: others are named again and again to no end."""


def variable_texts(stream: BinaryIO, stored: Any) -> Iterator[bytes]:
    """Yield the texts in an HDF5 array (n,) of texts of any length; the file is open as a `stream`, too.

    HDF5's own reading of such crashes, or never ends, where a file is damaged. Raises Hdf5Error where they
    are packed, or damaged.
    """
    size = stream.seek(0, 2)
    known: tuple[int, dict[int, bytes]] = (-1, {})
    read = 0
    for record in _records(stream, stored):
        length, heap, index = record.tolist()
        if not length:
            yield b""
            continue
        if heap != known[0]:
            known = heap, _texts_of_heap(stream, heap, size)
            read += sum(map(len, known[1].values()))
            if read > _EACH * size:
                raise Hdf5Error("has texts that are damaged")
        text = known[1].get(index)
        if text is None or len(text) < length:
            raise Hdf5Error("has texts that are damaged")
        yield text[:length]


def _records(stream: BinaryIO, stored: Any) -> np.ndarray:
    """Where the texts of an array lie (n,)."""
    sizes = stored.file.id.get_create_plist().get_sizes()
    offset = stored.id.get_offset()
    if offset is None or sizes != (8, 8) or stored.file.userblock_size:
        raise Hdf5Error("has texts of any length that are packed; write them unpacked, or of a fixed length")
    stream.seek(offset)
    data = stream.read(len(stored) * _RECORD.itemsize)
    if len(data) < len(stored) * _RECORD.itemsize:
        raise Hdf5Error("is cut short")
    return np.frombuffer(data, _RECORD)


def _texts_of_heap(stream: BinaryIO, heap: int, size: int) -> dict[int, bytes]:
    """All texts in the heap at a place of the file, by their numbers."""
    if heap > size - _HEAP.size:
        raise Hdf5Error("has texts that are damaged")
    stream.seek(heap)
    sign, _, length = _HEAP.unpack(stream.read(_HEAP.size))
    if sign != b"GCOL" or not _HEAP.size <= length <= size - heap:
        raise Hdf5Error("has texts that are damaged")
    body, place, found = stream.read(length - _HEAP.size), 0, {}
    while place + _ENTRY.size <= len(body):
        index, _, count = _ENTRY.unpack_from(body, place)
        if not index:
            break
        place += _ENTRY.size
        found[index] = body[place : place + count]
        place += -(-count // 8) * 8
    return found
