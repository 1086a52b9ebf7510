"""Feature vectors of images on the disk, which several processes read and add to.

The store is a folder of chunk files, each a table of pixel hash and feature vector. A chunk is written
as a whole, so a killed run leaves only complete ones, and several runs may share a store. Only some files
stay open, however many chunks there are, and where there are many small ones they are put together.
"""

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from bccli.core.files import replacing, sweep, unless_gone
from bccli.core.reading.rows import StoredRows, find_rows

MANY = 64
"""So many small chunks are put together."""
_SMALL, _LARGE = 16 << 20, 64 << 20
"""The bytes below which a chunk is small, and about how many one has that others were put into."""
_MERGING = ".merging"
_PATIENCE = 0, 1, 5, 30, 60
"""Seconds before a folder is looked at again; of another node's, NFS may show an old state for a minute."""
_GONE = errno.ENOENT, errno.ESTALE
_BATCH = 256
"""Up to so many rows are read one by one, from files that stay open for a while."""
_NO_KEYS = np.zeros(0, "S32")


class FeatureStore:
    """Feature vectors on the disk by the SHA-256 of the pixels."""

    def __init__(self, folder: Path, width: int) -> None:
        self.folder = folder
        self.record = np.dtype([("pixels", "u1", (32,)), ("features", "<f4", (width,))])
        self._chunks: dict[str, StoredRows] = {}
        self._keys, self._places = _NO_KEYS, np.zeros((0, 2), np.int64)
        sweep(folder)
        self.look_again()

    def look_again(self) -> None:
        """Take in the chunks that have been stored since the last look, by whomever."""
        names = self._names() - self._chunks.keys()
        self._take_in([chunk for name in sorted(names) if (chunk := self._find(name))])

    def _names(self) -> set[str]:
        with unless_gone():
            return {name for name in os.listdir(self.folder) if name.endswith(".npy")}
        return set()

    def _find(self, name: str) -> StoredRows | None:
        """A chunk; None for one that is damaged, whose features are computed again, or has gone."""
        try:
            return find_rows(self.folder / name, self.record)
        except FileNotFoundError:
            return None

    def _take_in(self, chunks: Sequence[StoredRows]) -> None:
        """Index the rows of chunks; each hash stays known by one place."""
        keys, places = [self._keys], [self._places]
        for chunk in chunks:
            number = len(self._chunks)
            with unless_gone():  # it was put together with others just now
                keys.append(_as_keys(chunk.column("pixels")))
                places.append(np.stack([np.full(chunk.count, number), np.arange(chunk.count)], axis=1))
                self._chunks[chunk.path.name] = chunk
        if len(keys) > 1:
            self._keys, first = np.unique(np.concatenate(keys), return_index=True)
            self._places = np.concatenate(places)[first]

    def missing(self, hashes: Iterable[str]) -> list[str]:
        """The pixel hashes without features, each once."""
        asked = list(dict.fromkeys(hashes))
        return [asked[number] for number in np.flatnonzero(self._positions(asked) < 0)]

    def _positions(self, hashes: Sequence[str]) -> np.ndarray:
        """Where each hash is in the index (hashes,), -1 where it is not."""
        keys = np.array([bytes.fromhex(text) for text in hashes], "S32")
        if not len(self._keys):
            return np.full(len(keys), -1)
        found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[found] == keys, found, -1)

    def add(self, hashes: Sequence[str], features: np.ndarray) -> None:
        """Keep the features (images, width) of the images with these pixel hashes."""
        table = np.empty(len(hashes), self.record)
        table["pixels"] = [np.frombuffer(bytes.fromhex(text), np.uint8) for text in hashes]
        table["features"] = features
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_in([self._write(table)])

    def _write(self, table: np.ndarray) -> StoredRows:
        """Store a chunk, named by its hashes."""
        name = hashlib.sha256(table["pixels"].tobytes().hex().encode()).hexdigest()[:16]
        path = self.folder / f"{name}.npy"
        with replacing(path) as stream:
            np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(table))
            offset = stream.tell()
            stream.write(table.data)  # np.save would not say why it failed, such as for a full disk
        return StoredRows(path, self.record, offset, len(table))

    def rows(self, hashes: Sequence[str]) -> "StoredFeatures":
        """The features of the images with these pixel hashes, left on the disk."""
        return StoredFeatures(self, hashes)

    def places(self, hashes: Sequence[str]) -> tuple[list[StoredRows], np.ndarray]:
        """All chunks, and for each hash the number of its chunk and of its row there (hashes, 2)."""
        positions = self._positions(hashes)
        if (positions < 0).any():
            raise KeyError(hashes[int(np.argmin(positions))])
        return [*self._chunks.values()], self._places[positions]

    def find_again(self) -> None:
        """Index all chunks anew, where some have been put together by another process."""
        self._chunks = {}
        self._keys, self._places = _NO_KEYS, np.zeros((0, 2), np.int64)
        self.look_again()

    def merge(self) -> None:
        """Put small chunks together, where there are many and no other process is doing so."""
        small = [chunk for chunk in self._chunks.values() if chunk.size < _SMALL]
        if len(small) < MANY:
            return
        with self._alone() as alone:
            if alone:
                for part in _parts(small):
                    self._merge(part)
        self.find_again()

    def _merge(self, chunks: Sequence[StoredRows]) -> None:
        with unless_gone():  # another process has put some together before
            merged = self._write(np.concatenate([chunk.read() for chunk in chunks]))
            for chunk in chunks:
                if chunk.path != merged.path:
                    chunk.path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        with (self.folder / _MERGING).open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True
                (self.folder / _MERGING).unlink(missing_ok=True)


def _as_keys(pixels: np.ndarray) -> np.ndarray:
    """SHA-256 hashes uint8 (n, 32) as values that have an order (n,)."""
    return np.ascontiguousarray(pixels).view("S32")[:, 0]


def _parts(chunks: Sequence[StoredRows]) -> Iterator[list[StoredRows]]:
    """Chunks in groups of about `_LARGE` bytes; a last one alone is left out."""
    part: list[StoredRows] = []
    for chunk in chunks:
        part.append(chunk)
        if sum(each.size for each in part) >= _LARGE:
            yield part
            part = []
    if len(part) > 1:
        yield part


class StoredFeatures:
    """Features (images, width) that look like an array and are read from the disk."""

    def __init__(self, store: FeatureStore, hashes: Sequence[str]) -> None:
        self._store, self._hashes = store, hashes
        self._chunks, self._places = store.places(hashes)
        self.shape = (len(hashes), store.record["features"].shape[0])

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """The rows (positions, width) as float32. Raises OSError where they have gone."""
        for patience in (*_PATIENCE, None):
            try:
                return self._read(positions)
            except (OSError, KeyError) as error:  # another process has put chunks together
                if patience is None or getattr(error, "errno", errno.ENOENT) not in _GONE:
                    raise
                time.sleep(patience)
                self._look_again()
        raise AssertionError

    def _look_again(self) -> None:
        self._store.find_again()
        with suppress(KeyError):
            self._chunks, self._places = self._store.places(self._hashes)

    def _read(self, positions: np.ndarray) -> np.ndarray:
        result = np.empty((len(positions), self.shape[1]), np.float32)
        places = self._places[positions]
        if len(positions) <= _BATCH:
            for number, (chunk, row) in enumerate(places.tolist()):
                result[number] = self._chunks[chunk].row(row)["features"]
            return result
        for number in np.unique(places[:, 0]):
            here = np.flatnonzero(places[:, 0] == number)
            result[here] = self._chunks[number].take(places[here, 1])["features"]
        return result
