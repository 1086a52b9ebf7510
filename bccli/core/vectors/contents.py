"""What a file of vectors holds: vectors of images that it names, or those of the patches of one slide."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bccli.core.errors import DataError
from bccli.core.reading.limits import VECTOR_NAME, VECTOR_WIDTH


class Rows(Protocol):
    """Vectors (n, width), in memory or on the disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, width)."""

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """Those at some positions, float32 (positions, width)."""


@dataclass(frozen=True)
class NamedVectors:
    """The vectors of a file that names each of them: `names` (n,) for `values` (n, width).

    `facts` are what the file says about itself, and `pixels` (n,) the hashes of the pixels that each was
    computed of, as manifests have them; both are only in files that bccli wrote.
    """

    path: Path
    names: tuple[str, ...]
    values: Rows
    facts: Mapping[str, Any] = field(default_factory=dict)
    pixels: tuple[str, ...] = ()


@dataclass(frozen=True)
class SlideVectors:
    """The vectors of the patches of one slide, which has the name of its file.

    `places` reads where they lie (n, 2), in pixels from the left and from the top; None where the file does
    not say so.
    """

    path: Path
    values: Rows
    places: Callable[[], np.ndarray] | None = None

    @property
    def name(self) -> str:
        """The name of the slide."""
        return self.path.stem


Contents = NamedVectors | SlideVectors


def contents(
    path: Path,
    values: Rows,
    *,
    names: Sequence[str] | None,
    places: Callable[[], np.ndarray] | None = None,
    facts: Mapping[str, Any] | None = None,
    pixels: Sequence[str] = (),
) -> Contents:
    """What a file holds, its shape and its names checked; without names they are patches of one slide.

    Raises DataError for an impossible shape, and for names that are empty, too long, too few or there twice.
    """
    check_shape(path, values.shape)
    if names is None:
        return SlideVectors(path, values, places)
    if len(names) != values.shape[0]:
        raise DataError(
            f"{path}: has {len(names):,} names and {values.shape[0]:,} vectors; write one for each"
        )
    check_names(path, names)
    return NamedVectors(path, tuple(names), values, facts or {}, tuple(pixels))


def check_shape(path: Path, shape: Sequence[int]) -> None:
    """Raises DataError where an array cannot be vectors (n, width)."""
    if len(shape) != 2 or shape[1] < 1:
        shown = "×".join(map(str, shape)) or "one number"
        raise DataError(f"{path}: its features are {shown}, not vectors in rows; write them as n×width")
    if shape[1] > VECTOR_WIDTH:
        raise DataError(
            f"{path}: its vectors have {shape[1]:,} numbers, more than {VECTOR_WIDTH:,}; are these features?"
        )


def check_names(path: Path, names: Sequence[str]) -> None:
    """Raises DataError naming the first name that is empty, too long, or there twice."""
    first: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name.strip() or len(name) > VECTOR_NAME or "\0" in name:
            what = "empty" if not name.strip() else "no name of a file"
            raise DataError(f"{path}: the path of its vector {number:,} is {what}; correct it")
        if first.setdefault(name, number) != number:
            raise DataError(
                f"{path}: {name!r} is there twice, as its vectors {first[name]:,} and {number:,}; remove one"
            )


def as_numbers(path: Path, array: np.ndarray) -> np.ndarray:
    """An array of any kind of real numbers as float32. Raises DataError for another kind."""
    if array.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: its features are of type {array.dtype}, which are no numbers; write them as float32"
        )
    with np.errstate(over="ignore"):  # too large a number is infinite, and named as such
        return np.asarray(array, np.float32)


def as_places(path: Path, array: np.ndarray, count: int) -> np.ndarray:
    """Where patches lie, int64 (n, 2). Raises DataError where that is not a pair of numbers for each."""
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.shape != (count, 2) or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise DataError(
            f"{path}: its coords are not a pair of numbers for each of {count:,} vectors; write them as n×2"
        )
    return np.rint(array).astype(np.int64)
