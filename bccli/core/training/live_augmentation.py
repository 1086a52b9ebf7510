"""Fresh augmented copies of prepared images while a network trains, made in other processes."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from bccli.core.augmentation import Policy, augmented_copy
from bccli.core.data.image_batches import Images, ImageSource
from bccli.core.data.manifest import Sample
from bccli.core.data.split_codes import TRAIN, VAL
from bccli.core.training.design import Design
from bccli.core.workers import Team

Rows = TypeVar("Rows")

MOST_WORKERS = 8
"""So many processes keep one GPU busy; each takes some 150 MB."""


@dataclass(frozen=True)
class _Originals(Images):
    """The prepared images that a batch is made of, and what is wrong with their pack."""

    faults: list[str] = field(default_factory=list, compare=False)

    def warn(self, what: str) -> None:
        """Keep it for the process that has the watcher."""
        self.faults.append(what)


@dataclass(frozen=True)
class _Job:
    """A batch to make: the number of the copy of each original, 0 for the image itself. Whether originals are
    `packed`, the pack says that was opened first."""

    originals: _Originals
    numbers: tuple[int, ...]
    packed: bool
    policy: Policy
    seed: int


@dataclass(frozen=True)
class LiveImages:
    """Prepared images of which training takes a fresh augmented copy in every turn."""

    images: Images
    policy: Policy
    seed: int
    team: Team

    def signature(self) -> Any:
        """The TensorSpec of a batch."""
        return self.images.signature()

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield uint8 tensors (batch, height, width, 3) of the images as they are."""
        return self.images.batches(order, batch_size)

    def training_batches(self, order: np.ndarray, turns: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield uint8 arrays (batch, height, width, 3): in turn t, copy t + 1 of each image."""
        samples = self.images.samples
        items = ((samples[p], int(turn) + 1) for p, turn in zip(order.tolist(), turns, strict=True))
        return self.made(list(items), batch_size)

    def steps_per_call(self, batch_size: int) -> int:
        """One."""
        return 1

    def made(self, items: Sequence[tuple[Sample, int]], batch_size: int) -> Iterator[np.ndarray]:
        """Yield uint8 arrays (batch, height, width, 3) of copies by their numbers, 0 for the image."""
        parts = (items[start : start + batch_size] for start in range(0, len(items), batch_size))
        for batch, faults in self.team.in_order(map(self._job, parts)):
            for fault in faults:
                self.images.warn(fault)
            yield batch

    def _job(self, items: Sequence[tuple[Sample, int]]) -> _Job:
        samples, numbers = zip(*items, strict=True)
        originals = _Originals(self.images.root, samples, self.images.size)
        return _Job(originals, numbers, self.images.pack is not None, self.policy, self.seed)


@contextmanager
def live_images(images: Images, policy: Policy, *, seed: int, workers: int) -> Iterator[LiveImages]:
    """Inputs whose worker processes end with the block."""
    with Team(_augmented, min(workers, MOST_WORKERS)) as team:
        yield LiveImages(images, policy, seed, team)


@dataclass(frozen=True)
class AugmentedCopies:
    """Prepared images and, behind them, augmented copies of some of them: features are computed of all.

    `samples` has a row for each, with a hash of its own for each copy, and `origins` (images,) the position
    of its original; the class has the methods of `Images`.
    """

    live: LiveImages
    numbers: tuple[int, ...]
    samples: tuple[Sample, ...]
    origins: np.ndarray

    def signature(self) -> Any:
        """The TensorSpec of a batch."""
        return self.live.signature()

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield uint8 arrays (batch, height, width, 3)."""
        return self.arrays(order, batch_size)

    def arrays(self, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield uint8 arrays (batch, height, width, 3)."""
        originals = self.live.images.samples
        items = [(originals[self.origins[position]], self.numbers[position]) for position in order.tolist()]
        return self.live.made(items, batch_size)


def add_augmented_copies(
    live: LiveImages, positions: np.ndarray, copies: int
) -> tuple[AugmentedCopies, np.ndarray]:
    """All images, and then copies 1 … `copies` of those at `positions`, one image after the other.

    Also returns the row of each image's first copy, -1 where it has none.
    """
    samples, numbers = list(live.images.samples), [0] * len(live.images.samples)
    first, origins = np.full(len(samples), -1), list(range(len(samples)))
    for position in positions.tolist():
        first[position] = len(samples)
        original = samples[position]
        for number in range(1, copies + 1):
            samples.append(replace(original, sha256=_copy_hash(original, live, number)))
            numbers.append(number)
            origins.append(position)
    return AugmentedCopies(live, tuple(numbers), tuple(samples), np.array(origins)), first


def with_augmented_copies(
    design: Design,
    images: Images,
    split_codes: np.ndarray,
    workers: int,
    compute: Callable[[ImageSource], Rows],
) -> tuple[Rows, np.ndarray | None]:
    """The vectors that `compute` makes of images, then those of a design's augmented copies of train.

    `split_codes` (images,) are those of the images. Also returns the row of each image's first copy, -1
    where it has none; None where there is no augmentation.
    """
    if design.augment is None:
        return compute(images), None
    with live_images(images, design.augment, seed=design.schedule.seed, workers=workers) as live:
        augmented = (split_codes == TRAIN) | ((split_codes == VAL) & design.augment_val)
        copies, first = add_augmented_copies(live, np.flatnonzero(augmented), design.views or 1)
        return compute(copies), first


def _copy_hash(sample: Sample, live: LiveImages, number: int) -> str:
    """The hash of all that determines a copy's pixels: 64 hexadecimal digits, like a hash of the pixels."""
    facts = [sample.sha256, live.policy.to_json(), live.seed, raw_image(sample), number]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def raw_image(sample: Sample) -> str:
    """The name by which copies are drawn; the patches of one raw image share it."""
    return sample.source or sample.path


def _augmented(job: _Job) -> tuple[np.ndarray, list[str]]:
    """The batch (n, height, width, 3) as bytes, and what is wrong with the pack of its originals."""
    originals, (width, height) = job.originals, job.originals.size
    read = originals.decoded if job.packed else originals.decoded_png
    batch = np.empty((len(job.numbers), height, width, 3), np.uint8)
    for index, (sample, number) in enumerate(zip(originals.samples, job.numbers, strict=True)):
        pixels, image = read(index), raw_image(sample)
        batch[index] = (
            augmented_copy(job.policy, pixels, seed=job.seed, image=image, number=number)
            if number
            else pixels
        )
    return batch, originals.faults
