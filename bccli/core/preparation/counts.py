"""Counts of a dataset while its rows stream by: images and patients per class, images per patient, sizes."""

import sys
from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from bccli.core.data.audit_pairs import split_or_fold
from bccli.core.data.leakage import ImageFacts
from bccli.core.data.manifest import SPLITS, ContentHash, Sample
from bccli.core.evaluation.breakdown.columns import Strata
from bccli.core.imaging.remarks import Remarks

MOST_SIZES = 2048
"""So many different image sizes are counted apart; with more of them they are rounded."""


@dataclass
class Sizes:
    """The number of images of each (width, height), rounded down to multiples of `step` pixels.

    The step is the smallest power of two that leaves at most MOST_SIZES sizes, in whatever order they come.
    """

    counts: Counter[tuple[int, int]] = field(default_factory=Counter)
    step: int = 1

    def add(self, width: int, height: int) -> None:
        """Count one more image."""
        self.counts[self._round(width, height)] += 1
        while len(self.counts) > MOST_SIZES:
            self.step *= 2
            rounded: Counter[tuple[int, int]] = Counter()
            for size, number in self.counts.items():
                rounded[self._round(*size)] += number
            self.counts = rounded

    def _round(self, width: int, height: int) -> tuple[int, int]:
        return width // self.step * self.step, height // self.step * self.step


@dataclass(frozen=True)
class Background:
    """Facts about a dataset beside its images.

    `ages` are those of the patients in years, one per patient whose age is known, and `class_ages` those of
    the patients with images of a class; `before` is the number of images of each class in train before some
    were left out.
    """

    ages: tuple[int, ...] = ()
    class_ages: dict[str, tuple[int, ...]] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    positive: str = ""


@dataclass
class Census:
    """Images per `split` (or `fold K`) and class, per patient, per size, and by their metadata; patients per
    split and class.

    `unknown` counts the images whose patient nobody knows; they are not in `patients`.
    """

    images: Counter[tuple[str, str]] = field(default_factory=Counter)
    having: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    patients: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    sizes: Sizes = field(default_factory=Sizes)
    strata: Strata = field(default_factory=Strata)

    def add(self, sample: Sample, split: str) -> None:
        """Count one more image."""
        self.images[split, sample.label] += 1
        if sample.patient:
            self.patients[sample.patient] += 1
            patient = sys.intern(sample.patient)  # the sets share one copy of each name
            self.having.setdefault((split, sample.label), set()).add(patient)
        else:
            self.unknown += 1
        if sample.width and sample.height:
            self.sizes.add(sample.width, sample.height)
        self.strata.add(sample.metadata, sample.label)

    def patients_of(self, split: str, *labels: str) -> int:
        """How many known patients have images of any of these classes in a split or fold."""
        return len(set().union(*(self.having.get((split, label), ()) for label in labels)))

    @property
    def splits(self) -> list[str]:
        """The splits or folds that have images, in their order."""
        order = {split: number for number, split in enumerate(SPLITS)}
        names = {split for split, _ in self.images}
        return sorted(names, key=lambda split: (order.get(split, len(split)), split))


@dataclass
class JournalTally:
    """Collects, while the journals are read, a few numbers per image, counters and the content hash."""

    patients: dict[str, int]
    content: ContentHash = field(default_factory=ContentHash)
    folds: bool = False
    census: Census = field(default_factory=Census)
    split_code: array = field(default_factory=lambda: array("i"))
    patient: array = field(default_factory=lambda: array("i"))
    pixels: array = field(default_factory=lambda: array("Q"))
    perceptual: array = field(default_factory=lambda: array("Q"))
    blank: array = field(default_factory=lambda: array("b"))
    parent: array = field(default_factory=lambda: array("i"))
    blank_sources: Remarks = field(default_factory=Remarks)
    original: tuple[str, int] = "", -1  # path and row of the last one, whose copies come next

    def add(self, sample: Sample, perceptual: int, blank: bool) -> None:
        self.content.add(sample)
        split = split_or_fold(sample)
        self.folds |= sample.fold is not None
        number = self.patients[sample.patient] if sample.patient else -1
        self.census.add(sample, split)
        if not sample.parent:
            self.original = sample.path, len(self.parent)
        self.parent.append(self.original[1] if sample.parent == self.original[0] else -1)
        self.split_code.append(SPLITS.index(sample.split) if sample.split else sample.fold or 0)
        self.patient.append(number)
        self.pixels.append(int(sample.sha256[:16], 16))
        self.perceptual.append(perceptual)
        self.blank.append(blank)

    def facts(self) -> ImageFacts:
        return ImageFacts(
            patients=np.array(self.patient, np.int32),
            pixels=np.array(self.pixels, np.uint64),
            perceptual=np.array(self.perceptual, np.uint64),
            blank=np.array(self.blank, bool),
            parents=np.array(self.parent, np.int32),
        )
