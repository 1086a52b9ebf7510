"""What a network is fed: stored features, several stored views of each image, or the images themselves.

Inputs know examples by their position. In training each example also has a turn: how often it has been
shown before, from 0 on. Where images are augmented, the turn decides what is drawn, so that a continued
training sees what an undisturbed one sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bccli.core.training.features import StoredFeatures

_MOST_TOGETHER = 32
_BYTES_TOGETHER = 1 << 23


class Inputs(Protocol):
    """Where a network's inputs come from."""

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield the inputs of the examples in `order`, `batch_size` at a time, as they are."""

    def training_batches(self, order: np.ndarray, turns: np.ndarray, batch_size: int) -> Iterator[Any]:
        """The same as training sees them; `turns` (examples,) has the turn of each example in `order`."""

    def signature(self) -> Any:
        """The TensorSpec of a batch."""

    def together(self, batch_size: int) -> int:
        """How many batches training may take at once, and without a chance to stop between them."""


@dataclass(frozen=True)
class Features:
    """Features (examples, width), in memory or read from the disk where they are asked for."""

    values: np.ndarray | StoredFeatures

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

    def together(self, batch_size: int) -> int:
        """Several where they are small: a head's step takes less time than to call TensorFlow for it."""
        size = batch_size * self.values.shape[1] * np.dtype(np.float32).itemsize
        return max(1, min(_MOST_TOGETHER, _BYTES_TOGETHER // size))


@dataclass(frozen=True)
class FeatureViews(Features):
    """Features of images and, behind them, of `views` augmented children of some of them.

    `first` (images,) is the row of an image's first child, -1 where it has none. Each turn takes one of
    an image's children at random.
    """

    first: np.ndarray
    views: int
    seed: int

    def training_batches(self, order: np.ndarray, turns: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield float32 arrays (batch, width) of children."""
        return self.batches(self._rows(order, turns), batch_size)

    def _rows(self, order: np.ndarray, turns: np.ndarray) -> np.ndarray:
        rows = np.empty(len(order), np.int64)
        for turn in np.unique(turns):
            now = turns == turn
            drawn = np.random.default_rng([self.seed, int(turn)]).integers(self.views, size=len(self.first))
            rows[now] = self.first[order[now]] + drawn[order[now]]
        return rows
