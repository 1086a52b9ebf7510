"""HDF5 files that others made: nothing in one is read from another file, whatever its links say."""

from typing import Any


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
