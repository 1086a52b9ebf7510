"""The features that a frozen backbone computes, once per image and network, and that are stored.

Processes that share a store, whatever images each of them wants, divide these between them: buckets of
images are claimed, computed and stored a chunk at a time.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bccli.core import interruption
from bccli.core.catalog import Backbone, find_backbone
from bccli.core.data.image_batches import ImageSource
from bccli.core.errors import DataError
from bccli.core.models import backend
from bccli.core.models.engines import TENSORFLOW, UnusableError, engines_of
from bccli.core.models.extracting import Extracting
from bccli.core.models.heads import HEADS
from bccli.core.models.views.two_views import VIEWS
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.claims import Claims
from bccli.core.runs.division import Division
from bccli.core.runs.feature_store import FeatureStore, StoredFeatures
from bccli.core.runs.run_folder import Run
from bccli.core.runs.starts import progressed
from bccli.core.training.input_norm import Norm

# A chunk is stored after so many images, or after so many seconds where a network is slow.
CHUNK, CHUNK_SECONDS = 512, 60

# So many batches are claimed at first, and then as many as take so many seconds, up to a limit.
_FIRST_BATCHES, _CLAIM_SECONDS, _MOST_BATCHES = 4, 20, 16

# Features of so many bytes stay on the disk and are read batch by batch.
_IN_MEMORY = 1 << 29

_CLAIMS = ".claims"


@dataclass(frozen=True)
class FeatureKey:
    """What features depend on besides the pixels.

    On what `device`, in what `precision` and by which `engine` they are computed, `compute_features` finds
    out. Those of two views depend on the `context` that lesions have in their images. Those that are
    `private_to` a run, which is a word of its own, go with it.
    """

    backbone: str
    weights: str
    preprocessing: str
    size: tuple[int, int]
    kind: str = "average"
    private_to: str = ""
    device: str = "cpu"
    precision: str = "float32"
    engine: str = TENSORFLOW
    context: float = 0.0

    @property
    def name(self) -> str:
        """A folder name for the store of these features."""
        facts: list[Any] = [self.backbone, self.weights, self.preprocessing, self.size]
        if (self.device, self.precision) != ("cpu", "float32"):
            facts += [self.kind, self.device, self.precision]
        elif self.kind != "average":
            facts.append(self.kind)
        if self.context:
            facts.append(f"context {self.context!r}")
        if self.engine != TENSORFLOW:
            facts.append(f"by {self.engine}")
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        return f"{self.backbone}-{digest}" + (f"-{self.private_to}" if self.private_to else "")


def key_of(
    backbone: Backbone,
    weights: str,
    size: tuple[int, int],
    *,
    head: str,
    norm: Norm | None = None,
    before_layer: int | None = None,
    private_to: str = "",
    context: float = 0.0,
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
        private_to,
        context=context,
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
    head, context = settings["head"], settings.get("context", 0.0)
    return key_of(find_backbone(info.backbone), weights, info.size, head=head, context=context)


def compute_features(
    images: ImageSource,
    extractor: Any,
    key: FeatureKey,
    cache: Path,
    *,
    watcher: Watcher = SILENT,
) -> np.ndarray | StoredFeatures:
    """The features (images, width) that a Keras model makes of prepared images, see `compute_vectors`."""
    engines = engines_of(key.backbone, backend.device_class(), str(extractor.compute_dtype))
    for engine in engines:
        maker = Extracting(extractor, engine, views=VIEWS if key.context else 1)
        key = replace(key, device=maker.device, precision=maker.precision, engine=engine)
        try:
            return compute_vectors(images, maker, key, cache, watcher=watcher)
        except UnusableError as error:
            watcher.note(f"{error}; {engines[-1]} does")
    raise AssertionError(engines)


def forget_features(key: FeatureKey, cache: Path) -> None:
    """Remove the features of a key that are private to a run, on whatever device they were computed."""
    if key.private_to:
        for folder in (cache / "features").glob(f"{key.backbone}-*-{key.private_to}"):
            shutil.rmtree(folder, ignore_errors=True)


class Maker(Protocol):
    """Computes vectors of a `width` from images, `batch_size` at a time; they are the same to the bit,
    whatever other images are in a batch."""

    @property
    def width(self) -> int:
        """How many numbers a vector has."""

    @property
    def batch_size(self) -> int:
        """So many images are worth to be asked for at once, or a multiple of it."""

    def vectors(self, images: ImageSource, order: np.ndarray) -> Generator[np.ndarray, None, None]:
        """Yield vectors (batch, width) of the images at these positions."""


def compute_vectors(
    images: ImageSource, maker: Maker, key: FeatureKey, cache: Path, *, watcher: Watcher = SILENT
) -> np.ndarray | StoredFeatures:
    """The vectors (images, width) of prepared images, float32; only those not in the cache are computed.

    Of processes that share the cache, each computes some, and nothing is computed twice. What is too large
    for memory is read from the cache where it is needed.

    Raises DataError naming an image that cannot be read, Stopped after a signal (what is done is stored).
    """
    store = FeatureStore(cache / "features" / key.name, maker.width)
    hashes = [sample.sha256 for sample in images.samples]
    missing = set(store.missing(hashes))
    there = sum(text not in missing for text in hashes)
    if missing:
        _extend(store, images, missing, maker, watcher)
        store.merge()
    else:
        _claims_of(store).clear()
    if there:
        watcher.note(f"features: {there} of {len(hashes)} images were in the cache")
    rows: np.ndarray | StoredFeatures = store.rows(hashes)
    if rows.shape[0] * rows.shape[1] * 4 <= _IN_MEMORY:
        rows = rows[np.arange(len(hashes))]
    for start in range(0, len(hashes), CHUNK):
        positions = np.arange(start, min(start + CHUNK, len(hashes)))
        finite = np.isfinite(rows[positions]).all(axis=1)
        if not finite.all():
            bad = images.samples[positions[np.argmin(finite)]].path
            raise DataError(
                f"{bad}: {key.backbone} gives values that are no numbers; are its weights damaged?"
            )
    return rows


def _claims_of(store: FeatureStore) -> Claims:
    return Claims(store.folder / _CLAIMS)


def _extend(
    store: FeatureStore, images: ImageSource, missing: Collection[str], maker: Maker, watcher: Watcher
) -> None:
    """Have the missing vectors made by this process or, where others are at some of them, by these."""
    positions: dict[str, int] = {}
    for position, sample in enumerate(images.samples):
        if sample.sha256 in missing:
            positions.setdefault(sample.sha256, position)
    with (
        interruption.deferred(),
        watcher.track(len(positions), "features") as advance,
        Division(_claims_of(store), [*positions], store, advance) as division,
    ):
        storing, pace = _Storing(store, division), _Pace(maker.batch_size)
        while not division.finished:
            if not (hashes := division.claim(pace.amount)):
                storing.flush()
                division.wait(watcher)
                continue
            storing.expect(hashes)
            order = np.array([positions[text] for text in hashes])
            with pace.measured(), closing(maker.vectors(images, order)) as made:
                for vectors in made:
                    advance(len(vectors))
                    storing.take(vectors)
        storing.flush()


class _Storing:
    """Vectors on their way to a store, for hashes that a division gave."""

    def __init__(self, store: FeatureStore, division: Division) -> None:
        self._store, self._division = store, division
        self._hashes: list[str] = []
        self._vectors: list[np.ndarray] = []
        self._stored_at = time.monotonic()

    def expect(self, hashes: Sequence[str]) -> None:
        """Vectors of these will come, in their order."""
        self._hashes += hashes

    def take(self, vectors: np.ndarray) -> None:
        """The next vectors are made; a signal is obeyed once all of them are stored. Raises Stopped."""
        self._vectors.append(vectors)
        late = time.monotonic() - self._stored_at > CHUNK_SECONDS
        if late or interruption.stop_requested() or sum(map(len, self._vectors)) >= CHUNK:
            self.flush()
            interruption.stop_if_requested()

    def flush(self) -> None:
        """Store what is made, and let go of what was claimed for it."""
        if self._vectors:
            vectors = np.concatenate(self._vectors)
            self._store.add(self._hashes[: len(vectors)], vectors)
            self._division.stored(len(vectors))
            progressed()
            self._hashes, self._vectors = self._hashes[len(vectors) :], []
        self._stored_at = time.monotonic()


class _Pace:
    """How many images to claim at a time: as many as take some seconds, in whole batches."""

    def __init__(self, batch_size: int) -> None:
        self._size, self.amount = batch_size, _FIRST_BATCHES * batch_size

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Compute the images of a claim; the next one is larger or smaller."""
        began = time.monotonic()
        yield
        wanted = self.amount * _CLAIM_SECONDS / max(time.monotonic() - began, 1e-3)
        self.amount = self._size * int(np.clip(wanted // self._size, 1, _MOST_BATCHES))
