"""Feature vectors of images on the disk, which several processes read and add to.

The store is a folder of chunk files, each a table of pixel hash and feature vector. A chunk is written
as a whole, so a killed run leaves only complete ones, and several runs may share a store.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bccli.core.files import replacing, sweep, unless_gone


class FeatureStore:
    """Feature vectors on the disk by the SHA-256 of the pixels."""

    def __init__(self, folder: Path, width: int) -> None:
        self.folder = folder
        self.record = np.dtype([("pixels", "u1", (32,)), ("features", "<f4", (width,))])
        self._rows: dict[bytes, tuple[np.ndarray, int]] = {}
        self._known: set[str] = set()
        sweep(folder)
        self.look_again()

    def look_again(self) -> None:
        """Take in the chunks that have been stored since the last look, by whomever."""
        with unless_gone():
            names = {name for name in os.listdir(self.folder) if name.endswith(".npy")}
            for name in sorted(names - self._known):
                self._open(self.folder / name)

    def _open(self, path: Path) -> None:
        try:
            chunk = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError):
            return  # damaged: its features are computed again
        if chunk.dtype == self.record:
            self._known.add(path.name)
            for row, pixels in enumerate(chunk["pixels"]):
                self._rows[pixels.tobytes()] = (chunk, row)

    def missing(self, hashes: Iterable[str]) -> list[str]:
        """The pixel hashes without features, each once."""
        return [text for text in dict.fromkeys(hashes) if bytes.fromhex(text) not in self._rows]

    def add(self, hashes: Sequence[str], features: np.ndarray) -> None:
        """Keep the features (images, width) of the images with these pixel hashes."""
        chunk = np.empty(len(hashes), self.record)
        chunk["pixels"] = [np.frombuffer(bytes.fromhex(text), np.uint8) for text in hashes]
        chunk["features"] = features
        name = hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]
        path = self.folder / f"{name}.npy"
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(chunk))
            stream.write(chunk.data)  # np.save would not say why it failed, such as for a full disk
        self._open(path)

    def rows(self, hashes: Sequence[str]) -> "StoredFeatures":
        """The features of the images with these pixel hashes, left on the disk."""
        return StoredFeatures([self._rows[bytes.fromhex(text)] for text in hashes], self.record)

    def gather(self, hashes: Sequence[str]) -> np.ndarray:
        """The features (images, width) as float32."""
        return self.rows(hashes)[np.arange(len(hashes))]


class StoredFeatures:
    """Features (images, width) that look like an array and are read from the disk row by row."""

    def __init__(self, rows: Sequence[tuple[np.ndarray, int]], record: np.dtype) -> None:
        self._rows = rows
        self.shape = (len(rows), record["features"].shape[0])

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """The rows (positions, width) as float32."""
        result = np.empty((len(positions), self.shape[1]), np.float32)
        for number, position in enumerate(positions):
            chunk, row = self._rows[position]
            result[number] = chunk["features"][row]
        return result
