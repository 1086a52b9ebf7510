"""A preparation learns its stain target and its mean size from images before any pixel is written."""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bccli.core import interruption
from bccli.core.catalog import DATASETS
from bccli.core.data.manifest import Sample
from bccli.core.datasets import Reading
from bccli.core.datasets.loading import load_raw, root_of
from bccli.core.errors import DataError, ImageError
from bccli.core.imaging.formats.colours import to_rgb
from bccli.core.imaging.formats.decoding import read_size
from bccli.core.imaging.preparation import Preparation, region_size
from bccli.core.imaging.stains.fits import Fit, median_fit
from bccli.core.imaging.stains.normalisation import STAINS
from bccli.core.progress import Watcher
from bccli.core.workers import in_order

ENOUGH = 256
"""The median stain of so many images, spread over the split, stands for that of all."""

_PER_JOB = 4


@dataclass(frozen=True)
class _Job:
    samples: tuple[Sample, ...]
    source: Path
    reading: Reading
    preparation: Preparation


@dataclass(frozen=True)
class Examples:
    """Samples of a raw dataset to learn from, by so many workers."""

    samples: tuple[Sample, ...]
    source: Path
    reading: Reading
    workers: int
    watcher: Watcher


def learn_stain(preparation: Preparation, examples: Examples) -> Preparation:
    """The preparation with the median stain of the examples as its target.

    Images that cannot be read or have too little tissue do not count. Raises DataError where none is left.
    """
    stain = preparation.stain
    assert stain is not None
    fits: list[Fit] = []
    for found in _each(_measure_stain, preparation, examples, "stain target from images"):
        fits += found
    try:
        target = median_fit(fits)  # type: ignore[type-var]
    except DataError:
        raise DataError(
            f"{examples.source}: no image has enough stained tissue to learn a stain target from; "
            "name one with --stain-target"
        ) from None
    return replace(preparation, stain=replace(stain, target=target))


def learn_size(preparation: Preparation, examples: Examples) -> Preparation:
    """The preparation with the examples' mean width and height as its size (Mini-DDSM thesis, 3.3.2).

    Images that cannot be read or are excluded do not count. Raises DataError where none is left.
    """
    sides: list[tuple[int, int]] = []
    for found in _each(_measure_size, preparation, examples, "mean size from images"):
        sides += found
    if not sides:
        raise DataError(
            f"{examples.source}: no image can be read to learn the mean size from; name one with --size"
        )
    width, height = (round(sum(side) / len(side)) for side in zip(*sides, strict=True))
    return replace(preparation, size=(width, height))


def _each(
    work: Callable[[_Job], tuple[int, list[Any]]], preparation: Preparation, examples: Examples, name: str
) -> Iterator[list[Any]]:
    """Yield what a measurement finds in the examples, a few at a time, with progress under `name`."""
    chosen = examples.samples
    jobs = (
        _Job(chosen[start : start + _PER_JOB], examples.source, examples.reading, preparation)
        for start in range(0, len(chosen), _PER_JOB)
    )
    workers = examples.workers if len(chosen) > _PER_JOB else 1
    with (
        interruption.deferred(),
        examples.watcher.track(len(chosen), name) as advance,
        closing(in_order(work, jobs, workers)) as results,
    ):
        for count, found in results:
            yield found
            advance(count)
            interruption.stop_if_requested()


def _measure_size(job: _Job) -> tuple[int, list[tuple[int, int]]]:
    sizes = []
    whole = job.preparation.region is None and job.preparation.aspect is None
    for sample in job.samples:
        interruption.stop_if_requested()
        with suppress(ImageError):
            if whole and not DATASETS[sample.dataset].draws_masks:
                sizes.append(read_size(root_of(job.source) / sample.source))
            else:
                raw = load_raw(sample, job.source, job.reading)
                sizes.append(region_size(raw.image, job.preparation, raw.mask))
    return len(job.samples), sizes


def _measure_stain(job: _Job) -> tuple[int, list[Fit]]:
    fits = []
    stain = job.preparation.stain
    assert stain is not None
    for sample in job.samples:
        interruption.stop_if_requested()
        try:
            fit = STAINS[stain.method].measure(to_rgb(load_raw(sample, job.source, job.reading).image))
        except ImageError:
            continue
        fits += [fit] if fit is not None else []
    return len(job.samples), fits
