"""From a raw dataset to a prepared one: what `prepare` does of its own in the making of it."""

import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli import __version__
from bccli.core.chunks import Chunk, chunk_size, prepare_chunk
from bccli.core.errors import DataError
from bccli.core.imaging.preparation import MEAN, Preparation, preparation_from_json
from bccli.core.learning import ENOUGH, Examples, learn_size, learn_stain, spread
from bccli.core.making import Making, keep_apart, make
from bccli.core.merging import merge
from bccli.core.prepared import FORMAT, MARKER
from bccli.core.records import SPLITS, Sample
from bccli.core.requests import (
    Request,
    drawn_samples,
    look,
    positive_in,
    sensible_workers,
    verification_of,
)
from bccli.core.sharding import WHOLE, Shard
from bccli.core.splits import TRAIN
from bccli.core.surveying import Survey
from bccli.core.watching import SILENT, Watcher
from bccli.core.workers import in_order


@dataclass(frozen=True)
class _Work(Making):
    """What is asked and what was found."""

    request: Request
    found: Survey

    @property
    def images(self) -> int:
        return len(self.found.labels)

    @property
    def size(self) -> int:
        return chunk_size(self.request.preparation)

    def learn(self) -> dict[str, Any]:
        return _learn(self).to_json()

    def work_on(self, preparation: dict[str, Any]) -> Generator[tuple[int, int], None, None]:
        steps = preparation_from_json(preparation)
        jobs = (chunk for chunk in _chunks(self, steps) if self.shard.has(chunk.number))
        return in_order(prepare_chunk, jobs, sensible_workers(steps, self.images, self.workers))

    def complete(self, preparation: dict[str, Any]) -> dict[str, Any]:
        request = self.request
        positive = positive_in(request, self.found)
        info = {
            "format": FORMAT,
            "tool": MARKER,
            "version": __version__,
            "dataset": request.dataset,
            "protocol": request.division.protocol,
            "settings": self.settings,
            "preparation": preparation,
            "classes": list(self.found.classes),
            "positive": positive.name,
            "positive_origin": positive.origin,
            "patients": len(self.found.names) or None,
            "notes": list(self.parts.notes),
        }
        info |= merge(self.out, self.found, self.watcher)
        if verification := verification_of(request, self.found):
            info["verification"] = verification.to_json() | {"unreadable": info["quarantined"]}
        return info


def prepare(
    request: Request,
    out: Path,
    *,
    workers: int = 1,
    shard: Shard = WHOLE,
    overwrite: bool = False,
    watcher: Watcher = SILENT,
) -> dict[str, Any] | None:
    """Make, continue or recognise the prepared dataset `out`; returns what dataset.json holds.

    With a shard, its part of the work: None where others are still to be done. Raises as `making.make`.
    """
    keep_apart(request.source, out)
    found, parts = look(request, watcher)
    settings = {**request.to_json(), "listing": found.listing}
    work = _Work(out, settings, parts, shard, workers, watcher, request, found)
    return make(work, overwrite=overwrite)


def _learn(work: _Work) -> Preparation:
    """The preparation with what it learns: under honest from train only."""
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


# What may be lacking, how it is learned, and from how many images at most.
_LESSONS: tuple[
    tuple[Callable[[Preparation], bool], Callable[[Preparation, Examples], Preparation], int], ...
] = (
    (_lacks_stain, learn_stain, ENOUGH),
    (_lacks_size, learn_size, sys.maxsize),
)


def _to_learn_from(work: _Work, most: int) -> Iterator[Sample]:
    """The samples of train, or under the paper's protocol all; of many the `most`, evenly spread."""
    honest = work.request.division.protocol == "honest"
    everyone = np.arange(len(work.found.labels))
    candidates = np.flatnonzero(work.parts.splits == TRAIN) if honest else everyone
    chosen = set(spread(candidates, most).tolist())
    drawn = enumerate(drawn_samples(work.request, work.parts.drawn))
    return (sample for place, sample in drawn if place in chosen)


def _chunks(work: _Work, preparation: Preparation) -> Iterator[Chunk]:
    """The raw dataset in chunks, each sample with its split or fold."""
    request, parts = work.request, work.parts
    samples: list[Sample] = []
    number = 0

    def chunk() -> Chunk:
        first = number - len(samples)
        return Chunk(first, tuple(samples), request.source, work.out, preparation, request.reading)

    for number, sample in enumerate(drawn_samples(request, parts.drawn), 1):
        if number > len(parts.splits):
            break
        split, fold = int(parts.splits[number - 1]), int(parts.folds[number - 1])
        samples.append(
            replace(sample, split=SPLITS[split] if split >= 0 else "", fold=fold if fold >= 0 else None)
        )
        if len(samples) == chunk_size(preparation):
            yield chunk()
            samples.clear()
    if samples:
        yield chunk()
    if number != len(parts.splits):
        raise DataError(
            f"{request.source}: files came or went while it was being read; run the command again"
        )
