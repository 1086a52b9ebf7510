"""The inputs of the fusing networks: the features of an image's patches, row by row and padded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.fusion.bags import Grouping
from bccli.core.vectors.contents import Rows


@dataclass(frozen=True)
class BagInputs:
    """Images by their number in `grouping`, each float32 (patches, width + 1): features, and 1 where there
    is a patch.

    `values` has a row per patch. Where augmented copies are trained on, their rows stand behind, `copies` for
    each patch from `first` (patches,) on; the patches of an image are of the same copy in each turn. Batches
    are as long as the longest image among all or, where images are `uneven`, as the longest in them.
    """

    values: Rows
    grouping: Grouping
    first: np.ndarray | None = None
    copies: int = 1
    seed: int = 0
    uneven: bool = False

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield float32 arrays (batch, patches, width + 1)."""
        for start in range(0, len(order), batch_size):
            yield self._padded(self.grouping.members[order[start : start + batch_size]])

    def training_batches(self, order: np.ndarray, turns: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield the same, of augmented copies where there are some."""
        if self.first is None:
            yield from self.batches(order, batch_size)
            return
        for start in range(0, len(order), batch_size):
            here = slice(start, start + batch_size)
            yield self._padded(self._rows_of_copies(order[here], self._drawn(order[here], turns[here])))

    def signature(self) -> Any:
        """The TensorSpec of a batch."""
        import tensorflow as tf

        return tf.TensorSpec((None, None, self.values.shape[1] + 1), tf.float32)

    def steps_per_call(self, batch_size: int) -> int:
        """One."""
        return 1

    def rows(self, image: int, copy: int = 0) -> np.ndarray:
        """The rows of an image's patches, or from 1 on of an augmented copy of it."""
        members = self.grouping.of(image)
        return members if not copy or self.first is None else self.first[members] + copy - 1

    def _drawn(self, order: np.ndarray, turns: np.ndarray) -> np.ndarray:
        """Which copy of each image is taken in its turn."""
        drawn = np.empty(len(order), np.int64)
        for turn in np.unique(turns):
            rng = np.random.default_rng([self.seed, int(turn)])
            chosen = rng.integers(self.copies, size=len(self.grouping.keys))
            drawn[turns == turn] = chosen[order[turns == turn]]
        return drawn

    def _rows_of_copies(self, order: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        assert self.first is not None
        members = self.grouping.members[order]
        return np.where(members >= 0, self.first[members] + drawn[:, None], -1)

    def _padded(self, members: np.ndarray) -> np.ndarray:
        if self.uneven:
            members = members[:, : int((members >= 0).sum(axis=1).max(initial=1))]
        batch = np.zeros((*members.shape, self.values.shape[1] + 1), np.float32)
        there = members >= 0
        batch[there, :-1] = self.values[members[there]]
        batch[there, -1] = 1
        return batch
