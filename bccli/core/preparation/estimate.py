"""An estimate of the images, the space and the time of `prepare`, from a handful prepared in memory."""

import math
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from bccli.core.data.manifest import Sample
from bccli.core.errors import ImageError
from bccli.core.imaging.formats.encoding import encode_png
from bccli.core.imaging.hashes import hash_and_blankness, pixel_hash

HANDFUL = 12
BUDGET = 3.0
"""Seconds after which no further image is tried."""
WORKER_START = 0.5
"""Seconds until fresh worker processes, which start side by side, have imported what they need."""

_BLOCK = 4096  # bytes: files take whole blocks of the disk
_TIMES = (("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400))
_SPACES = ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True)
class Estimate:
    """The images, the space and the time that a dataset in the folder `out` takes.

    `images` is `exact` where every image `tried` gave the same number. `space`, `packed` and `free` are bytes
    of the files, of the pixels where these are packed, and on the disk of `out`. Of the images tried,
    `unreadable` could not be read; the first one gives the `reason`.
    """

    out: Path
    images: int
    exact: bool
    space: int
    free: int
    seconds: float
    workers: int
    tried: int
    unreadable: int = 0
    reason: str = ""
    packed: int = 0

    @property
    def fits(self) -> bool:
        """Whether there is room for the images."""
        return self.space + self.packed <= self.free

    def sentence(self) -> str:
        """As in "about 12,540 images, 1.9 GB (55 GB free), 14 minutes on 2 workers"."""
        if self.unreadable == self.tried:
            return (
                f"space and time are unknown: none of {self.tried} images tried can be read ({self.reason})"
            )
        images = self.images if self.exact else round(_two_digits(self.images))
        packed = f" and {space_words(self.packed)} of packed pixels" if self.packed else ""
        space = f"{space_words(self.space)}{packed} ({space_words(self.free)} free)"
        took = f"{time_words(self.seconds)} on {_count(self.workers, 'worker')}"
        text = f"about {_count(images, 'image')}, {space}, {took}"
        if self.unreadable:
            text += f"; {self.unreadable} of {self.tried} images tried cannot be read ({self.reason})"
        return text

    def warning(self) -> str:
        """Say that the disk is too small, and what to do about it; empty where the images fit."""
        if self.fits:
            return ""
        wanted = space_words(self.space + self.packed)
        return (
            f"{self.out}: the images take about {wanted}, but the disk has only "
            f"{space_words(self.free)} free; make room or choose another folder"
        )


@dataclass(frozen=True)
class _Trial:
    """The result of one image: the number of prepared ones, the bytes of their files and of their pixels, and
    seconds, or why it is bad."""

    images: int = 0
    space: int = 0
    pixels: int = 0
    seconds: float = 0.0
    reason: str = ""


def estimate(
    samples: Iterable[Sample],
    produce: Callable[[Sample], Iterable[np.ndarray]],
    *,
    total: int,
    out: Path,
    workers: int = 1,
    chunk: int = 1,
    pack: bool = False,
    budget: float = BUDGET,
    clock: Callable[[], float] = time.perf_counter,
) -> Estimate:
    """Try some of the `total` samples and conclude on all; each of `workers` takes a `chunk` at a time.

    `produce` gives the prepared images of a sample, (height, width, 3), and their masks, (height, width),
    or raises ImageError. At least one sample is tried, and no further one after `budget` seconds. With
    `pack`, the pixels are packed beside the files.
    """
    trials = _try_some(spread(samples, total), produce, budget, clock)
    good = [trial for trial in trials if not trial.reason]
    bad = [trial.reason for trial in trials if trial.reason]
    scale = total / max(len(good), 1)
    rounds = math.ceil(math.ceil(total / chunk) / workers)
    busiest = min(rounds * chunk, total) / max(total, 1)  # the share of the work that one worker has at most
    return Estimate(
        out=out,
        images=round(scale * sum(trial.images for trial in good)),
        exact=len({trial.images for trial in good}) == 1 and not bad,
        space=round(scale * sum(trial.space for trial in good)),
        free=free_space(out),
        seconds=scale * sum(trial.seconds for trial in good) * busiest + WORKER_START * (workers > 1),
        workers=workers,
        tried=len(trials),
        unreadable=len(bad),
        reason=bad[0] if bad else "",
        packed=round(scale * sum(trial.pixels for trial in good)) if pack else 0,
    )


def spread(samples: Iterable[Sample], total: int, number: int = HANDFUL) -> list[Sample]:
    """Some of `total` samples from everywhere among them, so ordered that its beginnings are, too."""
    number = min(number, total)
    indexes = {(2 * index + 1) * total // (2 * number) for index in range(number)}
    picks = []
    for index, sample in enumerate(samples):
        if index in indexes:
            picks.append(sample)
        if len(picks) == number:
            break
    return [*picks[::4], *picks[2::4], *picks[1::2]]


def free_space(path: Path) -> int:
    """The bytes that are free on the disk of a path, of which only the beginning need exist."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def _try_some(
    samples: list[Sample],
    produce: Callable[[Sample], Iterable[np.ndarray]],
    budget: float,
    clock: Callable[[], float],
) -> list[_Trial]:
    start = clock()
    trials = [_try(sample, produce, clock) for sample in samples[:1]]
    if clock() - start < budget / 4:  # it also paid for what is done once, such as imports
        trials = []
    for sample in samples[len(trials) :]:
        if trials and clock() - start > budget:
            break
        trials.append(_try(sample, produce, clock))
    return trials


def _try(
    sample: Sample, produce: Callable[[Sample], Iterable[np.ndarray]], clock: Callable[[], float]
) -> _Trial:
    """Do to one sample what `prepare` does, short of writing to the disk."""
    start, images, space, packed = clock(), 0, 0, 0
    try:
        for pixels in map(np.ascontiguousarray, produce(sample)):
            space += math.ceil(len(encode_png(pixels)) / _BLOCK) * _BLOCK
            if pixels.ndim == 3:
                images, packed = images + 1, packed + pixels.nbytes
                pixel_hash(pixels), hash_and_blankness(pixels)
    except ImageError as error:
        return _Trial(reason=str(error) or "unreadable")
    return _Trial(images, space, packed, clock() - start)


def time_words(seconds: float) -> str:
    """A duration in two digits and the largest unit of which there are about two, at least "1 second"."""
    whole = max(round(seconds), 1)
    units = pairwise((*_TIMES, ("", math.inf)))
    numbers = (
        (_two_digits(whole / unit), name, 2 * following / unit) for (name, unit), (_, following) in units
    )
    return next(_count(number, name) for number, name, limit in numbers if number < limit)


def space_words(space: int) -> str:
    """An amount of bytes in two digits and a power of 1,000, such as "1.9 GB"."""
    numbers = ((_two_digits(space / 1000**power), name) for power, name in enumerate(_SPACES))
    return next(f"{number:,.12g} {name}" for number, name in numbers if number < 1000 or name == _SPACES[-1])


def _two_digits(number: float) -> float:
    """A number rounded to two significant digits."""
    return round(number, 1 - math.floor(math.log10(number))) if number > 0 else 0


def _count(number: float, noun: str) -> str:
    return f"{number:,.12g} {noun}" + "s" * (number != 1)
