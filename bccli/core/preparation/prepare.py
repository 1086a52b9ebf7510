"""`prepare`: it makes a prepared dataset of a raw one."""

import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.audit_pairs import Pair
from bccli.core.data.dataset import JOURNALS_FOLDER, MANIFEST_FILE, DatasetInfo, load_dataset
from bccli.core.data.lookalikes import Lookalikes, join_groups
from bccli.core.data.manifest import Sample, read_rows
from bccli.core.data.sampling import spread
from bccli.core.data.splits import TRAIN
from bccli.core.datasets.layout.film_tags import COLUMNS as TAG_COLUMNS
from bccli.core.datasets.packing import packs_of, remove_packs, write_packs
from bccli.core.errors import DataError
from bccli.core.imaging.preparation import MEAN, Preparation, preparation_from_json
from bccli.core.preparation.chunks import Chunk, chunk_size, image_path, prepare_chunk
from bccli.core.preparation.copy_search import look_for_copies, should_divide_again
from bccli.core.preparation.division import Plan
from bccli.core.preparation.learned import ENOUGH, Examples, learn_size, learn_stain
from bccli.core.preparation.merge import merge
from bccli.core.preparation.request import (
    Request,
    divide,
    drawn_samples,
    examine,
    facts_of_request,
    planned_samples,
    sensible_workers,
    verification_of,
)
from bccli.core.preparation.resumable import Making, keep_apart, make, recognised
from bccli.core.preparation.shards import held
from bccli.core.preparation.survey import Survey
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.shard import WHOLE, Shard
from bccli.core.workers import in_order


@dataclass(frozen=True)
class _Work(Making):
    """The dataset in the making: the request, the survey of its images, and that of all raw images."""

    request: Request
    found: Survey
    surveyed: Survey
    lookalikes: Lookalikes | None = None
    pack: bool = False

    @property
    def images(self) -> int:
        return len(self.found.labels)

    @property
    def contradicting(self) -> dict[str, int]:
        """The number of images of each class that show a picture which has another label, too."""
        if self.lookalikes is None:
            return {}
        labels = self.surveyed.labels
        numbers = np.bincount(
            labels[self.lookalikes.contradictions(labels)], minlength=len(self.surveyed.classes)
        )
        return dict(zip(self.surveyed.classes, numbers.tolist(), strict=True))

    @property
    def size(self) -> int:
        return chunk_size(self.request.preparation)

    def learn(self) -> dict[str, Any]:
        return _learn(self).to_json()

    def work_on(self, preparation: dict[str, Any]) -> Generator[tuple[int, int], None, None]:
        steps = preparation_from_json(preparation)
        jobs = (chunk for chunk in _chunks(self, steps) if self.shard.has(chunk.number))
        return in_order(prepare_chunk, jobs, sensible_workers(steps, self.images, self.workers))

    def complete(self, preparation: dict[str, Any]) -> DatasetInfo:
        request = self.request
        facts = facts_of_request(request, self.found, self.plan, self.settings, preparation)
        found = merge(self.out, self.found, self.watcher, tuple(_pairs(self)), positive=facts["positive"])
        if request.division.conflicts == "drop":
            found["conflicts"] = {**found["conflicts"], "left_out": self.contradicting}
        if verification := verification_of(request, self.found):
            found["verification"] = verification.to_json() | {"unreadable": found["quarantined"]}
        if self.pack:
            samples = read_rows(self.out / MANIFEST_FILE)
            write_packs(packs_of(self.out, samples), self.workers, self.watcher)
        else:
            remove_packs(self.out)  # of a process that was killed before dataset.json was there
        return DatasetInfo.of(**facts, **found)


def prepare(
    request: Request,
    out: Path,
    *,
    workers: int = 1,
    shard: Shard = WHOLE,
    overwrite: bool = False,
    pack: bool = False,
    watcher: Watcher = SILENT,
) -> DatasetInfo | None:
    """Make, continue or recognise the prepared dataset `out`; returns the content of dataset.json.

    With a shard, it does that share of the work, and returns None where other shards are unfinished. To a
    complete dataset `pack` adds its pixels packed, which are no part of what two datasets are the same by.
    Raises as `resumable.make` and `write_packs`.
    """
    keep_apart(request.source, out)
    found = examine(request, watcher)
    settings = {**request.to_json(), "listing": found.listing}
    if done := recognised(out, settings, overwrite, SILENT if pack else watcher):
        if pack:
            _pack(out, workers, shard, watcher)
        return done

    def work_on(lookalikes: Lookalikes | None, shard: Shard) -> _Work:
        images, plan = _plan(request, found, lookalikes, watcher)
        return _Work(out, settings, plan, shard, workers, watcher, request, images, found, lookalikes, pack)

    try:
        lookalikes = look_for_copies(request, found, out, shard, workers, watcher)
    except FileNotFoundError:  # where others complete the dataset, what tasks share goes
        if not (done := recognised(out, settings, False, watcher)):
            raise
        return done
    done = make(work_on(lookalikes, shard), overwrite=overwrite)
    if done is None or not should_divide_again(request, found, done):
        return done
    watcher.note(
        "two patients share a picture whose files differ; all images are compared, and divided again"
    )
    lookalikes = look_for_copies(request, found, out, WHOLE, workers, watcher, whole=True)
    try:
        second = work_on(lookalikes, WHOLE)
    except DataError as error:
        watcher.warn(f"{error}; so the pictures that patients share stay in several splits")
        return done
    return make(second, overwrite=True)


def _pack(out: Path, workers: int, shard: Shard, watcher: Watcher) -> None:
    """Pack the pixels of a complete dataset, unless they are packed. Other shards wait for it."""
    packs = packs_of(out, load_dataset(out).samples)
    if all(pack.is_there for pack in packs):
        watcher.note(f"{out} is complete and packed; nothing to do")
        return
    with held(out, shard, watcher):
        if all(pack.is_there for pack in packs):
            return  # by another shard
        try:
            write_packs(packs, workers, watcher)
        finally:
            shutil.rmtree(out / JOURNALS_FOLDER, ignore_errors=True)


def _plan(
    request: Request, found: Survey, lookalikes: Lookalikes | None, watcher: Watcher
) -> tuple[Survey, Plan]:
    """Plan the splits of the images, those of one picture in the same; leaves out what --conflicts drops."""
    if lookalikes is None:
        return divide(request, found, watcher)
    found = replace(found, joined=join_groups(found.groups, lookalikes))
    if request.division.conflicts == "keep":
        return divide(request, found, watcher)
    consistent = np.flatnonzero(~lookalikes.contradictions(found.labels))
    found, plan = divide(request, found.take(consistent), watcher)
    return found, replace(plan, drawn=consistent if plan.drawn is None else consistent[plan.drawn])


def _pairs(work: _Work) -> Iterator[Pair]:
    """Yield each raw image that shows the picture of another, with that other one."""
    if work.lookalikes is None:
        return
    found, copies = work.lookalikes, work.lookalikes.copies
    drawn = np.arange(work.images) if work.plan.drawn is None else work.plan.drawn
    numbers = {position: number for number, position in enumerate(drawn.tolist())}
    wanted = {*copies.tolist(), *found.of[copies].tolist()}
    cut = work.request.preparation.patches is not None
    samples = {}
    for position, sample in enumerate(drawn_samples(work.request, None)):
        if position in wanted:
            number = numbers.get(position)
            path = "" if number is None else image_path(number, 0 if cut else None)
            samples[position] = replace(sample, path=path, split="", fold=None)
    for row in copies.tolist():
        one, other = samples[row], samples[int(found.of[row])]
        if (one.source, one.label) == (other.source, other.label):
            continue  # a film with several lesions is listed several times
        yield Pair(found.kind(row), one, other, int(found.distance[row]), float(found.similarity[row]))


def _learn(work: _Work) -> Preparation:
    """Learn what the preparation lacks, under the honest protocol from train only."""
    request, preparation = work.request, work.request.preparation
    for lacking, learn, most in _LESSONS:
        if lacking(preparation):
            samples = tuple(_to_learn_from(work, most))
            examples = Examples(samples, request.source, request.reading, work.workers, work.watcher)
            preparation = learn(preparation, examples)
    return preparation


def _lacks_stain(preparation: Preparation) -> bool:
    return preparation.stain is not None and preparation.stain.target is None


def _lacks_size(preparation: Preparation) -> bool:
    return preparation.size == MEAN


# Whether something is lacking, the function that learns it, and the most images that it looks at.
_LESSONS: tuple[
    tuple[Callable[[Preparation], bool], Callable[[Preparation, Examples], Preparation], int], ...
] = (
    (_lacks_stain, learn_stain, ENOUGH),
    (_lacks_size, learn_size, sys.maxsize),
)


def _to_learn_from(work: _Work, most: int) -> Iterator[Sample]:
    """The samples of train, or of all images under the paper's protocol; at most `most`, evenly spread."""
    honest = work.request.division.protocol == "honest"
    everyone = np.arange(len(work.found.labels))
    candidates = np.flatnonzero(work.plan.splits == TRAIN) if honest else everyone
    chosen = set(spread(candidates, most).tolist())
    drawn = enumerate(drawn_samples(work.request, work.plan.drawn))
    return (sample for index, sample in drawn if index in chosen)


def _chunks(work: _Work, preparation: Preparation) -> Iterator[Chunk]:
    """Yield the raw dataset in chunks, each sample with its split or fold."""
    size = chunk_size(preparation)
    source, reading = work.request.source, work.request.reading
    tags = tuple(name for name in TAG_COLUMNS if name not in work.surveyed.metadata)
    planned = planned_samples(work.request, work.found, work.plan)
    for first in count(0, size):
        samples = tuple(islice(planned, size))
        if samples:
            yield Chunk(first, samples, source, work.out, preparation, reading, tags)
        if len(samples) < size:
            return
