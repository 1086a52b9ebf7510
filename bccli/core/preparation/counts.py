"""What a dataset consists of, counted while its rows stream by: a number per patient and per size."""

from collections import Counter
from dataclasses import dataclass, field

from bccli.core.data.manifest import SPLITS, Sample

MOST_SIZES = 2048
"""So many different image sizes are counted apart; with more of them they are rounded."""


@dataclass
class Sizes:
    """How many images have each (width, height), rounded down to multiples of `step` pixels.

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
    """What is known of a dataset beside its images.

    `ages` are the patients' in years, one per patient whose age is known, and `class_ages` those of the
    patients with images of a class; `before` is how many images of a class were in train before some were
    left out.
    """

    ages: tuple[int, ...] = ()
    class_ages: dict[str, tuple[int, ...]] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)


@dataclass
class Census:
    """Images per `split` (or `fold K`) and class, per patient, and per size.

    `unknown` counts the images whose patient nobody knows; they are not in `patients`.
    """

    images: Counter[tuple[str, str]] = field(default_factory=Counter)
    patients: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    sizes: Sizes = field(default_factory=Sizes)

    def add(self, sample: Sample, split: str) -> None:
        """Count one more image."""
        self.images[split, sample.label] += 1
        if sample.patient:
            self.patients[sample.patient] += 1
        else:
            self.unknown += 1
        if sample.width and sample.height:
            self.sizes.add(sample.width, sample.height)

    @property
    def splits(self) -> list[str]:
        """The splits or folds that have images, in their order."""
        order = {split: number for number, split in enumerate(SPLITS)}
        names = {split for split, _ in self.images}
        return sorted(names, key=lambda split: (order.get(split, len(split)), split))
