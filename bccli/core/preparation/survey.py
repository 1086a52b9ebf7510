"""The first look at a raw dataset: who and what is in it, and which split each image goes to.

Everything is kept as one number per image and property, so that a million images cost some 20 MB.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from bccli.core.data.manifest import SPLITS, Sample
from bccli.core.data.positive_class import class_order
from bccli.core.data.split_table import Subtypes
from bccli.core.datasets.layout.film_tags import may_be_dicom
from bccli.core.datasets.verification import Tally
from bccli.core.errors import SourceError
from bccli.core.preparation.counts import Background

_NUMBERS = ("labels", "patients", "splits", "folds", "zooms", "ages", "subtypes", "sizes")
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Survey:
    """One number per image, in the reader's order.

    `labels` index `classes`; `patients` index `names`, -1 where unknown; `splits` and `folds` are what
    the dataset itself says, -1 where it does not; `zooms` index `magnifications`; `ages` are the patients'
    in years, -1 where unknown. `listing` is a hash of all that the reader said, `tally` what it counted,
    with the dataset's own classes. `masked` are the classes of which some images have masks, as far as
    the reader knows. `before` is how many images of each class were in train before some
    were left out, empty where none were. `joined` are the groups that may not be separated, None where they
    are the patients. `subtypes` index `kinds`, the classes' subtypes, -1 where none is known; `sizes` are
    the files' in bytes, -1 where there is none. `metadata` has how often each text stands in each further
    column, before any images are left out; `films` is how many images may be DICOM,
    with headers that are read when images are prepared.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    splits: np.ndarray
    folds: np.ndarray
    zooms: np.ndarray
    ages: np.ndarray
    subtypes: np.ndarray
    sizes: np.ndarray
    magnifications: tuple[str, ...]
    kinds: tuple[str, ...]
    listing: str
    tally: Tally = field(default_factory=Tally)
    masked: frozenset[str] = frozenset()
    before: tuple[tuple[str, int], ...] = ()
    joined: np.ndarray | None = None
    metadata: Mapping[str, Counter[str]] = field(default_factory=dict)
    films: int = 0

    @property
    def groups(self) -> np.ndarray:
        """The group of each image, which has to stay together: a patient, and all with the same picture.

        An image of an unknown patient is a group of its own, unless it looks like another.
        """
        if self.joined is not None:
            return self.joined
        unknown = self.patients < 0
        groups = self.patients.copy()
        groups[unknown] = len(self.names) + np.arange(int(unknown.sum()))
        return groups

    @property
    def known_subtypes(self) -> Subtypes | None:
        """The subtypes of the images, None where none is known."""
        return Subtypes(self.subtypes, self.kinds) if self.kinds else None

    def background(self, positive: str) -> Background:
        """The patients' ages by class, the images of train before some were left out, the positive class."""
        known = (self.ages >= 0) & (self.patients >= 0)
        ages = dict(zip(self.patients[known].tolist(), self.ages[known].tolist(), strict=True))
        by_class = {}
        for label, name in enumerate(self.classes):
            theirs = set(self.patients[known & (self.labels == label)].tolist())
            if theirs:
                by_class[name] = tuple(ages[patient] for patient in sorted(theirs))
        return Background(tuple(ages.values()), by_class, dict(self.before), positive)

    def take(self, rows: np.ndarray) -> "Survey":
        """The survey of some images, which keeps its classes and its listing."""
        patients = self.patients[rows]
        remaining = np.unique(patients[patients >= 0])
        indexes = np.full(len(self.names) + 1, -1, np.int32)  # the last is where -1, unknown, leads
        indexes[remaining] = np.arange(len(remaining))
        return replace(
            self,
            names=tuple(self.names[number] for number in remaining.tolist()),
            labels=self.labels[rows],
            patients=indexes[patients],
            splits=self.splits[rows],
            folds=self.folds[rows],
            zooms=self.zooms[rows],
            ages=self.ages[rows],
            subtypes=self.subtypes[rows],
            sizes=self.sizes[rows],
            joined=None if self.joined is None else self.joined[rows],
        )


def survey(
    read: Callable[[Tally], Iterator[Sample]],
    classes: tuple[str, ...],
    size_of: Callable[[Sample], int],
    pose: Callable[[Sample], Sample] = lambda sample: sample,
) -> Survey:
    """Go through a reader once; `classes` is the known order, or empty for what their names say.

    `size_of` gives the bytes of a sample's file, so that the listing notices most changed files; `pose`
    turns the dataset's own class into that of the task.

    Raises SourceError where there is no image or only one class.
    """
    tally = Tally()
    numbers = {name: array("i") for name in _NUMBERS}
    met: dict[str, int] = {}
    patients: dict[str, int] = {}
    magnifications: dict[str, int] = {}
    kinds: dict[str, int] = {}
    masked: set[str] = set()
    films = 0
    metadata: dict[str, Counter[str]] = {}
    digest = hashlib.sha256()
    for own in read(tally):
        size = size_of(own)
        tally.add(own, size)
        films += may_be_dicom(own.source)
        sample = pose(own)
        numbers["labels"].append(met.setdefault(sample.label, len(met)))
        numbers["patients"].append(
            patients.setdefault(sample.patient, len(patients)) if sample.patient else -1
        )
        numbers["splits"].append(SPLITS.index(sample.split) if sample.split else -1)
        numbers["folds"].append(-1 if sample.fold is None else sample.fold)
        numbers["zooms"].append(magnifications.setdefault(sample.magnification, len(magnifications)))
        numbers["sizes"].append(min(size, _LARGEST))
        numbers["ages"].append(-1 if sample.age is None else sample.age)
        numbers["subtypes"].append(kinds.setdefault(sample.subtype, len(kinds)) if sample.subtype else -1)
        if sample.mask or sample.box:
            masked.add(sample.label)
        for name, text in sample.metadata:
            metadata.setdefault(name, Counter())[text] += 1
        line = "\x1f".join([*sample.to_row(), str(size), *chain(*sample.metadata)]) + "\x1e"
        digest.update(line.encode("utf-8", "surrogateescape"))
    columns = {name: np.array(values, np.int32) for name, values in numbers.items()}
    order = _class_order(tuple(met), classes, tally)
    ranks = np.array([order.index(label) for label in met], np.int32)
    return Survey(
        classes=order,
        names=tuple(patients),
        labels=ranks[columns["labels"]],
        patients=columns["patients"],
        splits=columns["splits"],
        folds=columns["folds"],
        zooms=columns["zooms"],
        ages=columns["ages"],
        subtypes=columns["subtypes"],
        sizes=columns["sizes"],
        magnifications=tuple(magnifications),
        kinds=tuple(kinds),
        listing=digest.hexdigest(),
        tally=tally,
        masked=frozenset(masked),
        metadata=metadata,
        films=films,
    )


MOST_VALUES = 40
"""Of a column with more different texts, only their number is told."""


def metadata_counts(metadata: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """How many images have each text in each column, as dataset.json has it; of a column with very many
    texts, such as a number that each image has to itself, only how many there are."""
    return {
        name: dict(sorted(values.items()))
        if len(values) <= MOST_VALUES
        else {"": values.total(), "different": len(values)}
        for name, values in metadata.items()
    }


def _class_order(met: tuple[str, ...], known: tuple[str, ...], tally: Tally) -> tuple[str, ...]:
    if not met:
        found = {remark.kind: remark for remark in tally.remarked()}
        passed = [found[kind] for kind in ("unknown", "renamed") if kind in found]
        others = (
            f" among {sum(remark.count for remark in passed)} ({passed[0].first[0]}, …)" if passed else ""
        )
        missing = found.get("missing")
        listed = (
            f"; {missing.count} that a list names are not there ({missing.first[0]}, …)" if missing else ""
        )
        named = f"; {tally.others.sentence()}" if tally.others else ""
        raise SourceError(
            f"no images of this dataset were found{others}{listed}{named}; check the folder and the options"
        )
    order = tuple(label for label in known if label in met) or class_order(met)
    if len(order) < 2:
        raise SourceError(f"all images are of one class ({order[0]}); add images of another class")
    return order
