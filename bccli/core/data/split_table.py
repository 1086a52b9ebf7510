"""Images counted by patient and class, which is what splits are decided on.

Images come as arrays (n,): `groups`, the number of each image's patient, and `labels`, the number of its
class. A negative group is unknown: its image counts as a patient of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.errors import DataError


@dataclass(frozen=True)
class Subtypes:
    """What is known of the images beside their classes: `numbers` (n,) index `names`, -1 where nothing is."""

    numbers: np.ndarray
    names: tuple[str, ...]

    def take(self, rows: np.ndarray) -> "Subtypes":
        """Those of some images."""
        return Subtypes(self.numbers[rows], self.names)


@dataclass(frozen=True)
class SplitTable:
    """Images counted per group and class.

    `counts` (G, C) for the G groups and C classes that occur; `groups` (G,) their numbers; `rows` (n,)
    and `columns` (n,) say where every image is counted in `counts`. `kinds` (G, K) are the images of each
    subtype that is no class by another name, called `kind_names`, and `kind_columns` (n,) each image's, -1
    for none.
    """

    counts: np.ndarray
    groups: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    names: tuple[str, ...]
    kinds: np.ndarray
    kind_columns: np.ndarray
    kind_names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        groups: np.ndarray,
        labels: np.ndarray,
        names: Sequence[str],
        subtypes: Subtypes | None = None,
    ) -> "SplitTable":
        """Count. Raises DataError where there are no images."""
        if len(groups) != len(labels):
            raise ValueError(f"{len(groups)} groups for {len(labels)} labels")
        if not len(labels):
            raise DataError("there are no images to split; check the source folder and --sample")
        numbers, rows = np.unique(separate_unknown(groups), return_inverse=True)
        classes, columns = np.unique(labels, return_inverse=True)
        counts = _counted(rows, columns, (len(numbers), len(classes)))
        called = tuple(names[number] if names else str(number) for number in classes)
        of_kinds, kind_names = _kinds(columns, subtypes)
        kinds = _counted(rows, of_kinds, (len(numbers), len(kind_names)))
        return cls(counts, numbers, rows, columns, called, kinds, of_kinds, kind_names)

    def patients(self) -> np.ndarray:
        """The number of groups that have each class, (C,)."""
        return (self.counts > 0).sum(axis=0)


def _counted(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """How often each row meets each column; negative columns do not count."""
    there = columns >= 0
    cells = rows[there] * shape[1] + columns[there]
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)


def _kinds(columns: np.ndarray, subtypes: Subtypes | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The subtype of each image, numbered anew, and their names; not those that are all of a class."""
    found = np.full(len(columns), -1, np.int64)
    if subtypes is None:
        return found, ()
    names: list[str] = []
    for number in np.unique(subtypes.numbers[subtypes.numbers >= 0]).tolist():
        here = subtypes.numbers == number
        if (columns == columns[here][0])[~here].any() or len(np.unique(columns[here])) > 1:
            found[here] = len(names)
            names.append(subtypes.names[number])
    return found, tuple(names)


def separate_unknown(groups: np.ndarray) -> np.ndarray:
    """The groups, with a number of its own for every image whose group is negative (unknown).

    >>> separate_unknown(np.array([4, -1, 4, -1])).tolist()
    [4, 6, 4, 8]
    """
    fresh = max(int(groups.max()), -1) + 1 + np.arange(len(groups), dtype=np.int64)
    return np.where(groups < 0, fresh, groups)


def generator(seed: int, purpose: int) -> np.random.Generator:
    """Randomness for one purpose: 0 assigns splits, 1 draws val images, 2 assigns folds, 3 draws samples."""
    return np.random.default_rng([seed, purpose])
