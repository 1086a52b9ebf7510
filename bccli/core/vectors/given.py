"""Vectors that a run is trained on, found for a dataset: which belong to which row, what they are like."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.manifest import Sample
from bccli.core.progress import SILENT, Watcher
from bccli.core.vectors.contents import Rows
from bccli.core.vectors.matching import (
    Match,
    extra_sentence,
    match_vectors,
    missing_counts,
    missing_sentence,
)
from bccli.core.vectors.quality import Quality, inspect
from bccli.core.vectors.sources import open_vectors

IN_MEMORY = 1 << 29
"""Vectors of so many bytes are held in memory; more are read where they are needed."""


@dataclass(frozen=True, eq=False)
class GivenVectors:
    """Vectors in a file or a folder; `match` and `quality` are there once they are found for a dataset."""

    path: Path
    match: Match | None = None
    quality: Quality | None = None

    def on(self, dataset: Dataset, watcher: Watcher = SILENT) -> "GivenVectors":
        """The same for a dataset; all vectors are read once, and what is odd about them is said.

        Raises DataError where they cannot be read or are none, or are of other images.
        """
        vectors = open_vectors(self.path)
        match = match_vectors(vectors, dataset)
        quality = inspect(match)
        for sentence in (extra_sentence(match), quality.sentence(vectors.width)):
            if sentence:
                watcher.note(sentence)
        return replace(self, match=match, quality=quality)

    @property
    def found(self) -> Match:
        """Which vector belongs to which row of the dataset."""
        assert self.match is not None, "the vectors are not found yet"
        return self.match

    @property
    def hash(self) -> str:
        """The hash of all vectors of a dataset; empty before they are found."""
        return self.quality.hash if self.quality else ""

    @property
    def width(self) -> int:
        """How many numbers a vector has."""
        return self.found.vectors.width

    def leave_out(self, split_codes: np.ndarray) -> np.ndarray:
        """The codes of splits (images,), -1 for images without a vector."""
        return np.where(self.found.there, split_codes, -1)

    def lacking(self, split_codes: np.ndarray | None = None) -> str:
        """A warning of images without a vector, or of those in a split; empty where each has one."""
        return missing_sentence(self.found, split_codes)

    def values(self, rows: np.ndarray) -> Rows:
        """The vectors of some rows of the dataset (rows, width), in memory where there is room."""
        values = self.found.values()
        if len(rows) * self.width * 4 <= IN_MEMORY:
            return values[rows]
        return TakenRows(values, rows)

    def facts(self, root: Path, split_codes: np.ndarray) -> dict[str, Any]:
        """What run.json of a run at `root` says of them; the codes are those with images that lack any."""
        assert self.quality is not None
        match = self.found
        return {
            "path": os.path.relpath(self.path, root),
            "hash": self.hash,
            "width": self.width,
            "count": self.quality.count,
            "of_slides": match.of_slides,
            "missing": missing_counts(match, split_codes),
            "extra": match.unused,
            "constant": len(self.quality.constant),
        }


@dataclass(frozen=True)
class TakenRows:
    """Some rows of others, in an order of their own, read where they are needed."""

    source: Rows
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(n, width)."""
        return len(self.rows), self.source.shape[1]

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """Those at some positions, float32 (positions, width)."""
        return self.source[self.rows[positions]]


@dataclass(frozen=True)
class RowsOnly:
    """What stands for images that nobody looks at: rows about them, and no size."""

    samples: tuple[Sample, ...]
    size: tuple[int, int] = (0, 0)
