"""Vectors in HDF5, read from the disk where they are needed.

CLAM and TRIDENT write a file for each slide, with the arrays `features` (patches, width) and `coords`
(patches, 2), the left and the top of each patch; some versions put a 1 in front of both shapes. What
`train --features-only` writes has `features` and `paths`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.errors import DataError, first_line
from bccli.core.reading.hdf5 import Hdf5Error, arrays_in, variable_texts
from bccli.core.reading.limits import ARRAYS_BYTES, SMALL_VECTORS, VECTOR_CHUNK, VECTORS_RATIO
from bccli.core.reading.regular_files import explained, open_file
from bccli.core.vectors.contents import Contents, as_numbers, as_places, check_shape, contents

FEATURES, COORDS, PATHS, PIXELS = "features", "coords", "paths", "pixels"
_SPARSE = 8
"""Where fewer than one row in so many is wanted, rows are read one by one."""


@dataclass(frozen=True)
class Hdf5Rows:
    """Vectors in an HDF5 file, which is open only where they are read; `leading` is a 1 in front of their
    shape."""

    path: Path
    shape: tuple[int, int]
    leading: bool = False
    flat: bool = False

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """Those at some positions, float32 (positions, width). Raises DataError where they cannot be read."""
        if not len(positions):
            return np.empty((0, self.shape[1]), np.float32)
        with _opened(self.path) as content:
            stored = content[FEATURES]
            if stored.size != self.shape[0] * self.shape[1]:
                raise DataError(f"{self.path}: has changed while it was read; run the same command again")
            wanted, order = np.unique(positions, return_inverse=True)
            return as_numbers(self.path, self._read(stored, wanted))[order]

    def _read(self, stored: Any, wanted: np.ndarray) -> np.ndarray:
        """The rows at ascending positions."""
        if self.flat:
            return np.asarray(stored[()]).reshape(self.shape)[wanted]
        first, last = int(wanted[0]), int(wanted[-1]) + 1
        if last - first <= _SPARSE * len(wanted):
            span = stored[0, first:last] if self.leading else stored[first:last]
            return np.asarray(span)[wanted - first]
        rows = (stored[0, row] if self.leading else stored[row] for row in wanted.tolist())
        return np.stack([*rows])


def read_hdf5(path: Path) -> Contents:
    """What an HDF5 file holds, its vectors left on the disk.

    Raises DataError where it is none, has no features, leads to other files, or would unpack to more than its
    size explains.
    """
    with _opened(path) as content:
        size = path.stat().st_size
        try:
            total = arrays_in(content)
        except Hdf5Error as error:
            raise DataError(f"{path}: {error}; copy what it names into the file") from None
        if total > max(SMALL_VECTORS, VECTORS_RATIO * size):
            raise DataError(f"{path}: would unpack to {total:,} bytes, of a file of {size:,}; is it whole?")
        rows = _rows_of(path, content)
        if PATHS in content:
            facts, names = _facts_of(content), _names_in(path, content[PATHS])
            return contents(path, rows, names=names, facts=facts, pixels=_pixels_in(path, content))
        known = COORDS in content
        if known:
            _places_in(path, content, rows.shape[0])
        return contents(
            path, rows, names=None, places=(lambda: _read_places(path, rows.shape[0])) if known else None
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An HDF5 file. Raises DataError for what is none, and for what goes wrong in the block."""
    import h5py  # type: ignore[import-untyped]

    try:
        open_file(path).close()
        with h5py.File(path, "r", locking=False) as content:
            yield content
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; name vectors that are there") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = explained(error) if isinstance(error, OSError) and error.errno else first_line(error)
        raise DataError(
            f"{path}: cannot be read as HDF5 ({reason}); write it again, or download it again"
        ) from None


def _array(path: Path, content: Any, name: str) -> Any:
    import h5py

    stored = content.get(name)
    if not isinstance(stored, h5py.Dataset):
        found = ", ".join(repr(key[:40]) for key in list(content)[:5]) or "nothing"
        raise DataError(f"{path}: has no array {name!r} but {found}; write the vectors under that name")
    return stored


def _rows_of(path: Path, content: Any) -> Hdf5Rows:
    stored = _array(path, content, FEATURES)
    if stored.dtype.kind not in "fiu":
        as_numbers(path, np.empty(0, stored.dtype))
    if stored.chunks and np.prod(stored.chunks, dtype=float) * stored.dtype.itemsize > VECTOR_CHUNK:
        raise DataError(f"{path}: its features are packed in pieces of {stored.chunks}; write smaller ones")
    shape = tuple(stored.shape)
    leading, flat = len(shape) == 3 and shape[0] == 1, len(shape) == 1
    shape = shape[1:] if leading else (1, *shape) if flat else shape
    check_shape(path, shape)
    return Hdf5Rows(path, (int(shape[0]), int(shape[1])), leading, flat)


def _read_places(path: Path, count: int) -> np.ndarray:
    with _opened(path) as content:
        return _places_in(path, content, count)


def _places_in(path: Path, content: Any, count: int) -> np.ndarray:
    stored = _array(path, content, COORDS)
    if stored.dtype.kind not in "fiu" or stored.size != 2 * count:
        return as_places(path, np.empty(0, np.float32), count)
    return as_places(path, np.asarray(stored[()]), count)


def _names_in(path: Path, stored: Any) -> list[str]:
    """The texts of an array (n,)."""
    import h5py

    kind = h5py.check_string_dtype(stored.dtype) if isinstance(stored, h5py.Dataset) else None
    if kind is None or stored.ndim != 1:
        raise DataError(f"{path}: its paths are no list of texts; write a text for each vector")
    if stored.nbytes > ARRAYS_BYTES:
        raise DataError(f"{path}: its paths take {stored.nbytes:,} bytes; are these names of images?")
    if kind.length is not None:
        return [_decoded(path, text) for text in stored[()].tolist()]
    try:
        with open_file(path) as stream:
            return [_decoded(path, text) for text in variable_texts(stream, stored)]
    except Hdf5Error as error:
        raise DataError(f"{path}: {error}") from None


def _decoded(path: Path, text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path}: its paths are not in UTF-8; write them again as such") from None


def _pixels_in(path: Path, content: Any) -> list[str]:
    """The hashes of pixels beside the vectors, where bccli has written them."""
    if PIXELS not in content:
        return []
    stored = _array(path, content, PIXELS)
    if stored.dtype != np.uint8 or stored.shape != (len(content[PATHS]), 32):
        raise DataError(f"{path}: its hashes of pixels are not 32 bytes for each vector; write it again")
    return [row.tobytes().hex() for row in np.asarray(stored[()])]


def _facts_of(content: Any) -> Mapping[str, Any]:
    """The numbers and texts of a fixed length that the file says about itself.

    Texts of any length are let be: the library that reads them crashes where a file is damaged.
    """
    facts: dict[str, Any] = {}
    for name in list(content.attrs)[:50]:
        kind = content.attrs.get_id(name).dtype.kind
        if kind in "iu":
            facts[name] = int(content.attrs[name])
        elif kind == "S":
            facts[name] = bytes(content.attrs[name]).decode("utf-8", "replace")
    return facts
