"""A look at the numbers of vectors before anything is learned from them."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bccli.core.errors import DataError
from bccli.core.vectors.matching import BLOCK, Match, blocks_of

_NAMED = 3


@dataclass(frozen=True)
class Quality:
    """The `hash` of all vectors that are used, in the order of the dataset, whatever files they are in, their
    number `count`, and the numbers of the columns that are the same in all, from 0 on."""

    hash: str
    count: int
    constant: tuple[int, ...]

    def sentence(self, width: int) -> str:
        """A note on constant columns; empty where there are none."""
        if not self.constant:
            return ""
        shown = ", ".join(map(str, self.constant[:_NAMED]))
        more = ", …" if len(self.constant) > _NAMED else ""
        return (
            f"{len(self.constant):,} of {width:,} numbers are the same in all vectors, and say nothing: "
            f"{shown}{more} (counted from 0)"
        )


@dataclass
class _Looking:
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    count: int = 0
    least: np.ndarray | None = None
    most: np.ndarray | None = None
    faulty: Counter[str] = field(default_factory=Counter)

    def add(self, names: Sequence[str], block: np.ndarray) -> None:
        """Look at some vectors, each with the name of its image or slide."""
        self.digest.update(np.ascontiguousarray(block, "<f4").tobytes())
        self.count += len(block)
        least, most = block.min(axis=0), block.max(axis=0)
        self.least = least if self.least is None else np.minimum(self.least, least)
        self.most = most if self.most is None else np.maximum(self.most, most)
        if not (np.isfinite(least).all() and np.isfinite(most).all()):
            faulty = np.flatnonzero(~np.isfinite(block).all(axis=1)).tolist()
            self.faulty.update(names[index] for index in faulty)


def inspect(match: Match) -> Quality:
    """Read all vectors that belong to rows of a dataset once, some at a time.

    Raises DataError naming images or slides with values that are no numbers, and where all are the same.
    """
    looking = _Looking()
    look = _look_at_slides if match.of_slides else _look_at_rows
    look(match, looking)
    path = match.vectors.path
    if looking.faulty:
        shown = ", ".join(list(looking.faulty)[:_NAMED]) + (", …" if len(looking.faulty) > _NAMED else "")
        raise DataError(
            f"{path}: {looking.faulty.total():,} of {looking.count:,} vectors have values that are no finite "
            f"numbers ({shown}); compute them again, or leave them out"
        )
    assert looking.least is not None
    assert looking.most is not None
    same = looking.least == looking.most if looking.count > 1 else np.zeros(match.vectors.width, bool)
    if same.all():
        raise DataError(f"{path}: all of its vectors are the same; compute them again")
    return Quality(looking.digest.hexdigest(), looking.count, tuple(np.flatnonzero(same).tolist()))


def _look_at_rows(match: Match, looking: _Looking) -> None:
    values, there = match.values(), np.flatnonzero(match.there)
    looking.digest.update(there.tobytes())
    for start in range(0, len(there), BLOCK):
        rows = there[start : start + BLOCK]
        looking.add([match.samples[row].path for row in rows.tolist()], values[rows])


def _look_at_slides(match: Match, looking: _Looking) -> None:
    """The same of slides, of which it matters where their patches lie, too."""
    for row in np.flatnonzero(match.there).tolist():
        slide = match.slide(row)
        places = slide.places().tobytes() if slide.places else b""
        looking.digest.update(f"{row} {slide.values.shape[0]}".encode() + places)
        for block in blocks_of(slide.values):
            looking.add([slide.name] * len(block), block)
