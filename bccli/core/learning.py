"""What a preparation learns from the images before any pixel is written: the stain target."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bccli.core import interruption
from bccli.core.datasets import Reading
from bccli.core.datasets.loading import load_raw
from bccli.core.errors import DataError, ImageError
from bccli.core.imaging.preparation import Preparation
from bccli.core.imaging.stain import STAINS
from bccli.core.imaging.stain_fits import Fit, median_fit
from bccli.core.records import Sample
from bccli.core.watching import Watcher
from bccli.core.workers import in_order

ENOUGH = 256
"""The median stain of so many images, spread over the split, stands for that of all."""

_PER_JOB = 4


@dataclass(frozen=True)
class _Job:
    samples: tuple[Sample, ...]
    source: Path
    reading: Reading
    method: str


def spread(candidates: np.ndarray, count: int = ENOUGH) -> np.ndarray:
    """At most `count` of the positions, evenly spread."""
    if len(candidates) <= count:
        return candidates
    return candidates[np.linspace(0, len(candidates) - 1, count).astype(int)]


def learn_stain(
    preparation: Preparation,
    samples: Iterable[Sample],
    source: Path,
    reading: Reading,
    *,
    workers: int,
    watcher: Watcher,
) -> Preparation:
    """The preparation with the median stain of these samples as its target.

    Images that cannot be read or have too little tissue do not count. Raises DataError where none is left.
    """
    stain = preparation.stain
    assert stain is not None
    chosen = list(samples)
    jobs = (
        _Job(tuple(chosen[start : start + _PER_JOB]), source, reading, stain.method)
        for start in range(0, len(chosen), _PER_JOB)
    )
    fits: list[Fit] = []
    with (
        interruption.deferred(),
        watcher.track(len(chosen), "stain target from images") as advance,
        closing(in_order(_measure, jobs, workers if len(chosen) > _PER_JOB else 1)) as results,
    ):
        for count, found in results:
            fits += found
            advance(count)
            interruption.stop_if_requested()
    try:
        target = median_fit(fits)  # type: ignore[type-var]
    except DataError:
        raise DataError(
            f"{source}: no image has enough stained tissue to learn a stain target from; "
            "name one with --stain-target"
        ) from None
    return replace(preparation, stain=replace(stain, target=target))


def _measure(job: _Job) -> tuple[int, list[Fit]]:
    fits = []
    for sample in job.samples:
        interruption.stop_if_requested()
        try:
            fit = STAINS[job.method].measure(load_raw(sample, job.source, job.reading)[0])
        except ImageError:
            continue
        fits += [fit] if fit is not None else []
    return len(job.samples), fits
