"""The first look at a raw dataset: who and what is in it, and which split each image goes to.

Everything is kept as one number per image and property, so that a million images cost some 20 MB.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bccli.core.errors import DataError
from bccli.core.records import SPLITS, Sample


@dataclass(frozen=True)
class Survey:
    """One number per image, in the reader's order.

    `labels` index `classes`; `patients` index `names`, -1 where unknown; `splits` and `folds` are what
    the dataset itself says, -1 where it does not. `listing` is a hash of all that the reader said.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    splits: np.ndarray
    folds: np.ndarray
    listing: str
    skipped: tuple[str, ...] = ()
    skipped_count: int = 0

    @property
    def groups(self) -> np.ndarray:
        """The patient of each image; an image of an unknown patient is a group of its own."""
        unknown = self.patients < 0
        groups = self.patients.copy()
        groups[unknown] = len(self.names) + np.arange(int(unknown.sum()))
        return groups


@dataclass
class _Skipped:
    count: int = 0
    first: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> None:
        self.count += 1
        if len(self.first) < 3:
            self.first.append(name)


def survey(
    read: Callable[[Callable[[str], None]], Iterator[Sample]],
    classes: tuple[str, ...],
    size_of: Callable[[Sample], int],
) -> Survey:
    """Go through a reader once; `classes` is the known order, or empty for the alphabetical one.

    `size_of` gives the bytes of a sample's file, so that the listing notices most changed files.

    Raises DataError where there is no image or only one class.
    """
    skipped = _Skipped()
    numbers = {name: array("i") for name in ("labels", "patients", "splits", "folds")}
    seen: dict[str, int] = {}
    patients: dict[str, int] = {}
    digest = hashlib.sha256()
    for sample in read(skipped):
        numbers["labels"].append(seen.setdefault(sample.label, len(seen)))
        numbers["patients"].append(
            patients.setdefault(sample.patient, len(patients)) if sample.patient else -1
        )
        numbers["splits"].append(SPLITS.index(sample.split) if sample.split else -1)
        numbers["folds"].append(-1 if sample.fold is None else sample.fold)
        line = "\x1f".join([*sample.to_row(), str(size_of(sample))]) + "\x1e"
        digest.update(line.encode("utf-8", "surrogateescape"))
    columns = {name: np.array(values, np.int32) for name, values in numbers.items()}
    order = _class_order(tuple(seen), classes)
    ranks = np.array([order.index(label) for label in seen], np.int32)
    return Survey(
        classes=order,
        names=tuple(patients),
        labels=ranks[columns["labels"]],
        patients=columns["patients"],
        splits=columns["splits"],
        folds=columns["folds"],
        listing=digest.hexdigest(),
        skipped=tuple(skipped.first),
        skipped_count=skipped.count,
    )


def _class_order(seen: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    if not seen:
        raise DataError("no images of this dataset were found; check the folder and the options")
    order = tuple(label for label in known if label in seen) or tuple(sorted(seen))
    if len(order) < 2:
        raise DataError(f"all images are of one class ({order[0]}); add images of another class")
    return order
