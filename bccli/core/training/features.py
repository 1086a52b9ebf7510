"""The features that a frozen backbone computes, once per image and network, and that are stored.

The store is a folder of chunk files, each a table of pixel hash and feature vector. A chunk is written
as a whole, so a killed run leaves only complete ones, and several runs may share a store.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bccli.core import interruption
from bccli.core.catalog import Backbone, find_backbone
from bccli.core.data.image_batches import ImageSource
from bccli.core.errors import DataError
from bccli.core.files import replacing, sweep
from bccli.core.models.heads import HEADS
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.run_folder import Run
from bccli.core.runs.starts import progressed
from bccli.core.training.input_norm import Norm

# A chunk is stored after so many images, or after so many seconds where a network is slow.
CHUNK, CHUNK_SECONDS = 512, 60

# So many images go through a network at a time.
_BATCH = 32

# Features of so many bytes stay on the disk and are read batch by batch.
_IN_MEMORY = 1 << 29


@dataclass(frozen=True)
class FeatureKey:
    """What features depend on besides the pixels."""

    backbone: str
    weights: str
    preprocessing: str
    size: tuple[int, int]
    kind: str = "average"

    @property
    def name(self) -> str:
        """A folder name for the store of these features."""
        facts = [self.backbone, self.weights, self.preprocessing, self.size]
        text = json.dumps(facts if self.kind == "average" else [*facts, self.kind])
        return f"{self.backbone}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def key_of(
    backbone: Backbone,
    weights: str,
    size: tuple[int, int],
    *,
    head: str,
    norm: Norm | None = None,
    before_layer: int | None = None,
) -> FeatureKey:
    """The key of what a backbone makes of images for a kind of `head`, or what its layers before one make.

    `weights` tells its weights from others: their hash, or the seed of random ones.
    """
    kind = HEADS[head].features
    return FeatureKey(
        backbone.name,
        weights,
        f"{norm}" if norm else backbone.preprocessing,
        size,
        kind if before_layer is None else f"{kind} before layer {before_layer}",
    )


def frozen_key_of(run: Run) -> FeatureKey | None:
    """The key of the features that the head of a network's run was trained on.

    None where its backbone learned, too, or has its input normalised by the run's own images.
    """
    info, settings = run.info, run.info.settings
    if info.kind != "network" or settings["trainable"] != "none" or info.norm:
        return None
    if settings["from_layer"] is not None:
        return None
    weights = settings["weights_hash"] or f"random {settings['seed']}"
    size = info.size
    return key_of(find_backbone(info.backbone), weights, size, head=settings["head"])


class FeatureStore:
    """Feature vectors on the disk by the SHA-256 of the pixels."""

    def __init__(self, folder: Path, width: int) -> None:
        self.folder = folder
        self.record = np.dtype([("pixels", "u1", (32,)), ("features", "<f4", (width,))])
        self._rows: dict[bytes, tuple[np.ndarray, int]] = {}
        sweep(folder)
        for path in sorted(folder.glob("*.npy")):
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            chunk = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError):
            return  # damaged: its features are computed again
        if chunk.dtype == self.record:
            for row, pixels in enumerate(chunk["pixels"]):
                self._rows[pixels.tobytes()] = (chunk, row)

    def missing(self, hashes: Sequence[str]) -> list[int]:
        """The positions of images without features, each pixel content once."""
        found: dict[str, int] = {}
        for position, text in enumerate(hashes):
            if bytes.fromhex(text) not in self._rows:
                found.setdefault(text, position)
        return list(found.values())

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


def compute_features(
    images: ImageSource,
    extractor: Any,
    key: FeatureKey,
    cache: Path,
    *,
    watcher: Watcher = SILENT,
) -> np.ndarray | StoredFeatures:
    """The features (images, width) that a Keras model makes of prepared images, see `compute_vectors`."""
    return compute_vectors(images, _Extracting(extractor), key, cache, watcher=watcher)


class Maker(Protocol):
    """Computes vectors of a `width` from images, a batch at a time."""

    @property
    def width(self) -> int:
        """How many numbers a vector has."""

    def vectors(self, images: ImageSource, order: np.ndarray) -> Iterator[np.ndarray]:
        """Yield vectors (batch, width) of the images at these positions."""


@dataclass(frozen=True)
class _Extracting:
    """A Keras model of images."""

    extractor: Any

    @property
    def width(self) -> int:
        """How many features there are."""
        return int(self.extractor.output_shape[-1])

    def vectors(self, images: ImageSource, order: np.ndarray) -> Iterator[np.ndarray]:
        """Yield features (batch, width)."""
        import tensorflow as tf

        run = tf.function(
            lambda x: self.extractor(tf.cast(x, tf.float32), training=False),
            input_signature=[images.signature()],
            autograph=False,
        )
        for batch in images.batches(order, _BATCH):
            yield run(batch).numpy()


def compute_vectors(
    images: ImageSource, maker: Maker, key: FeatureKey, cache: Path, *, watcher: Watcher = SILENT
) -> np.ndarray | StoredFeatures:
    """The vectors (images, width) of prepared images, float32; only those not in the cache are computed.

    What is too large for memory is read from the cache where it is needed.

    Raises DataError naming an image that cannot be read, Stopped after a signal (what is done is stored).
    """
    store = FeatureStore(cache / "features" / key.name, maker.width)
    hashes = [sample.sha256 for sample in images.samples]
    missing = store.missing(hashes)
    if missing:
        _extend(store, images, missing, maker, watcher)
    if len(missing) < len(hashes):
        watcher.note(f"features: {len(hashes) - len(missing)} of {len(hashes)} images were in the cache")
    rows = store.rows(hashes)
    for start in range(0, len(hashes), CHUNK):
        positions = np.arange(start, min(start + CHUNK, len(hashes)))
        finite = np.isfinite(rows[positions]).all(axis=1)
        if not finite.all():
            bad = images.samples[positions[np.argmin(finite)]].path
            raise DataError(
                f"{bad}: {key.backbone} gives values that are no numbers; are its weights damaged?"
            )
    return store.gather(hashes) if rows.shape[0] * rows.shape[1] * 4 <= _IN_MEMORY else rows


def _extend(
    store: FeatureStore, images: ImageSource, missing: list[int], maker: Maker, watcher: Watcher
) -> None:
    waiting: list[np.ndarray] = []
    done, stored_at = 0, time.monotonic()

    def store_waiting() -> None:
        nonlocal done, waiting, stored_at
        features = np.concatenate(waiting)
        chunk = missing[done : done + len(features)]
        store.add([images.samples[position].sha256 for position in chunk], features)
        done, waiting, stored_at = done + len(features), [], time.monotonic()
        progressed()

    with interruption.deferred(), watcher.track(len(missing), "features") as advance:
        for vectors in maker.vectors(images, np.array(missing)):
            waiting.append(vectors)
            advance(len(waiting[-1]))
            late = time.monotonic() - stored_at > CHUNK_SECONDS
            if late or interruption.stop_requested() or sum(map(len, waiting)) >= CHUNK:
                store_waiting()
                interruption.stop_if_requested()
        if waiting:
            store_waiting()
