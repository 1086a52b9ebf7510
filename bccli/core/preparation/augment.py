"""`augment`: it makes a larger dataset of the originals of a prepared one and their augmented copies."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli import __version__
from bccli.core.augmentation.policy_sheet import draw_sheet
from bccli.core.data.audit_pairs import split_or_fold
from bccli.core.data.dataset import JOURNALS_FOLDER, Dataset, DatasetInfo, load_dataset
from bccli.core.data.manifest import Sample
from bccli.core.errors import BccliError
from bccli.core.preparation.augment_chunk import (
    IMAGES,
    AugmentedOriginal,
    Chunk,
    augment_chunk,
    make_copies,
    read_pixels,
)
from bccli.core.preparation.augment_request import Outcome, Request, plan_outcome
from bccli.core.preparation.estimate import Estimate, estimate
from bccli.core.preparation.merge import merge
from bccli.core.preparation.resumable import Making, finished, keep_apart, make
from bccli.core.preparation.survey import survey
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.shard import WHOLE, Shard
from bccli.core.workers import in_order

# Below this many images, starting worker processes takes longer than the work.
_WORTH_WORKERS = 400

# A sheet of more classes would be endless.
_MOST_CLASSES = 4


_OF_RAW_IMAGES = ("sources", "quarantined", "excluded", "unstained", "blank", "remarks", "conflicts")
"""Facts about raw images, which an augmented dataset takes over from the dataset that it was made of."""


@dataclass(frozen=True)
class Augmentation(Making):
    """The larger dataset in the making: the request, the dataset to augment, and the plan of all images."""

    request: Request
    dataset: Dataset
    outcome: Outcome

    @property
    def images(self) -> int:
        return len(self.outcome.parents)

    @property
    def size(self) -> int:
        return IMAGES

    def learn(self) -> dict[str, Any]:
        return self.dataset.info.preparation

    def work_on(self, preparation: dict[str, Any]) -> Generator[tuple[int, int], None, None]:
        numbers = (number for number in range(self.chunks) if self.shard.has(number))
        return in_order(augment_chunk, map(self._chunk, numbers), self.sensible_workers)

    def complete(self, preparation: dict[str, Any]) -> DatasetInfo:
        before, samples = self.dataset.info, self.dataset.samples
        rows = survey(lambda tally: iter(samples), self.dataset.classes, lambda sample: 0)
        found = merge(self.out, rows, self.watcher, positive=before.positive)
        copies = {(row["part"], row["label"]): row["children"] for row in self.counts()}
        found["counts"] = [row | {"children": copies[row["part"], row["label"]]} for row in found["counts"]]
        found |= {key: value for key, value in before.facts().items() if key in _OF_RAW_IMAGES}
        return before.with_facts(**found).with_facts(
            version=__version__,
            protocol=self.request.protocol_of(self.dataset),
            settings=self.settings,
            prepared=before.settings,
            augmentation=self.request.description(),
            notes=[*before.notes, *self.plan.notes],
        )

    @property
    def sensible_workers(self) -> int:
        """One where the others would take longer to start than to work."""
        return self.workers if self.images >= _WORTH_WORKERS else 1

    def counts(self) -> list[dict[str, Any]]:
        """Images, and how many of them are augmented copies, per split or fold and class."""
        by_fold = (self.plan.folds >= 0).any()
        codes = self.plan.folds if by_fold else self.plan.splits
        labels = np.array([self.dataset.classes.index(sample.label) for sample in self.dataset.samples])
        labels, is_copy = labels[self.outcome.parents], self.outcome.numbers > 0
        rows = []
        for code in sorted(set(codes.tolist())):
            for number, label in enumerate(self.dataset.classes):
                here = (codes == code) & (labels == number)
                if here.any():
                    split, fold = self.outcome.split_and_fold(int(np.flatnonzero(here)[0]))
                    name = split_or_fold(Sample(split=split, fold=fold))
                    images, copies = int(here.sum()), int((here & is_copy).sum())
                    rows.append({"part": name, "label": label, "images": images, "children": copies})
        return rows

    def foresee(self) -> Estimate:
        """Estimate the space and the time that the work takes, from a handful of copies made in memory."""

        def produce(sample: Sample) -> Iterator[np.ndarray]:
            augmented = AugmentedOriginal(replace(sample, variant=0), (sample.variant,), (("", None),))
            data, policy = self.request.data, self.request.policy
            for _, pixels, mask in make_copies(data, augmented, policy, self.request.seed):
                yield from (pixels,) if mask is None else (pixels, mask)

        samples, outcome = self.dataset.samples, self.outcome
        return estimate(
            (
                replace(samples[parent], variant=number)
                for parent, number in zip(outcome.parents.tolist(), outcome.numbers.tolist(), strict=True)
            ),
            produce,
            total=self.images,
            out=self.out,
            workers=self.sensible_workers,
            chunk=self.size,
        )

    def check_space(self) -> None:
        """Raises BccliError where the disk has too little room for what is still to be written."""
        ready = sum(path.stem.isdecimal() for path in (self.out / JOURNALS_FOLDER).glob("*.json"))
        if ready >= self.chunks:
            return
        whole = self.foresee()
        missing = replace(whole, space=round(whole.space * (1 - ready / self.chunks)))
        if warning := missing.warning():
            raise BccliError(warning)

    def _chunk(self, number: int) -> Chunk:
        """The images of a chunk, those of one original together."""
        outcome, samples = self.outcome, self.dataset.samples
        rows = range(number * self.size, min((number + 1) * self.size, self.images))
        augmented_originals: dict[int, list[int]] = {}
        for row in rows:
            augmented_originals.setdefault(int(outcome.parents[row]), []).append(row)
        return Chunk(
            number,
            tuple(
                AugmentedOriginal(
                    samples[parent],
                    tuple(int(outcome.numbers[row]) for row in images),
                    tuple(map(outcome.split_and_fold, images)),
                )
                for parent, images in augmented_originals.items()
            ),
            self.request.data,
            self.out,
            self.request.policy,
            self.request.seed,
        )


def plan_augmentation(
    request: Request, out: Path, *, workers: int = 1, shard: Shard = WHOLE, watcher: Watcher = SILENT
) -> Augmentation:
    """Plan the larger dataset without writing anything.

    Raises DataError for a dataset that cannot be augmented, UsageError for an amount that is not possible.
    """
    keep_apart(request.data, out)
    dataset = load_dataset(request.data)
    dataset.require_images()
    outcome = plan_outcome(request, dataset)
    for note in outcome.plan.notes:
        watcher.warn(note)
    settings = request.to_json(dataset)
    return Augmentation(out, settings, outcome.plan, shard, workers, watcher, request, dataset, outcome)


def preview(work: Augmentation) -> bytes:
    """A PNG with the augmented copies of one image per class, of at most four classes."""
    images: dict[str, tuple[str, np.ndarray]] = {}
    for parent in work.outcome.parents[work.outcome.numbers > 0].tolist():
        original = work.dataset.samples[parent]
        if original.label not in images and len(images) < _MOST_CLASSES:
            images[original.label] = original.source, read_pixels(work.request.data, original)
    return draw_sheet(work.request.policy, list(images.values()), seed=work.request.seed)


def augment(work: Augmentation, *, overwrite: bool = False) -> DatasetInfo | None:
    """Make, continue or recognise the larger dataset; returns what dataset.json holds.

    With a shard, it does that share of the work, and returns None where other shards are unfinished. Raises
    as `resumable.make`, and BccliError where the disk is too small.
    """
    if not finished(work.out, work.settings, overwrite):
        work.check_space()
    return make(work, overwrite=overwrite)
