"""What a network is fed, and in which order: stored features, those of several augmented copies of each
image, or the images themselves.

Inputs know examples by their position. In training each example also has a turn: how often it has been
shown before, from 0 on. Where images are augmented, the turn decides what is drawn, so that a continued
training sees what an undisturbed one sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bccli.core.training.settings import Schedule
from bccli.core.vectors.contents import Rows

_MOST_STEPS = 32
_BYTES_PER_CALL = 1 << 23


class Inputs(Protocol):
    """The source of a network's inputs."""

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield the inputs of the examples in `order`, `batch_size` at a time, as they are."""

    def training_batches(self, order: np.ndarray, turns: np.ndarray, batch_size: int) -> Iterator[Any]:
        """The same as training sees them; `turns` (examples,) has the turn of each example in `order`."""

    def signature(self) -> Any:
        """The TensorSpec of a batch."""

    def steps_per_call(self, batch_size: int) -> int:
        """How many batches training may take at once, and without a chance to stop between them."""


@dataclass(frozen=True)
class Features:
    """Features (examples, width), in memory or read from the disk where they are asked for."""

    values: Rows

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield float32 arrays (batch, width)."""
        for start in range(0, len(order), batch_size):
            yield self.values[order[start : start + batch_size]]

    def training_batches(self, order: np.ndarray, turns: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield the same: stored features never change."""
        return self.batches(order, batch_size)

    def signature(self) -> Any:
        """The TensorSpec of a batch."""
        import tensorflow as tf

        return tf.TensorSpec((None, self.values.shape[1]), tf.float32)

    def steps_per_call(self, batch_size: int) -> int:
        """Several where they are small: a head's step takes less time than to call TensorFlow for it."""
        size = batch_size * self.values.shape[1] * np.dtype(np.float32).itemsize
        return max(1, min(_MOST_STEPS, _BYTES_PER_CALL // size))


@dataclass(frozen=True)
class CopyFeatures(Features):
    """Features of images and, behind them, of so many augmented `copies` of some of them.

    `first` (images,) is the row of an image's first copy, -1 where it has none. Each turn takes one of an
    image's copies at random.
    """

    first: np.ndarray
    copies: int
    seed: int

    def training_batches(self, order: np.ndarray, turns: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield float32 arrays (batch, width) of copies."""
        return self.batches(self._rows(order, turns), batch_size)

    def _rows(self, order: np.ndarray, turns: np.ndarray) -> np.ndarray:
        rows = np.empty(len(order), np.int64)
        for turn in np.unique(turns):
            now = turns == turn
            drawn = np.random.default_rng([self.seed, int(turn)]).integers(self.copies, size=len(self.first))
            rows[now] = self.first[order[now]] + drawn[order[now]]
        return rows


def order_of(schedule: Schedule, epoch: int, examples: int) -> np.ndarray:
    """The training examples of an epoch, one after the other, as numbers from 0 on.

    With `steps_per_epoch`, an epoch is a section of an endless sequence of passes, each shuffled anew.
    """
    if schedule.steps_per_epoch is None:
        return _shuffled(schedule.seed, epoch, examples)
    size = schedule.steps_per_epoch * schedule.batch_size
    first, past = epoch * size // examples, -(-(epoch + 1) * size // examples)
    passes = np.concatenate([_shuffled(schedule.seed, number, examples) for number in range(first, past)])
    start = epoch * size - first * examples
    return passes[start : start + size]


def turns_of(schedule: Schedule, epoch: int, examples: int) -> np.ndarray:
    """For each entry of the order, how many passes over the training examples lie before it."""
    if schedule.steps_per_epoch is None:
        return np.full(examples, epoch)
    size = schedule.steps_per_epoch * schedule.batch_size
    return (epoch * size + np.arange(size)) // examples


def _shuffled(seed: int, number: int, examples: int) -> np.ndarray:
    return np.random.default_rng([seed, number]).permutation(examples)
