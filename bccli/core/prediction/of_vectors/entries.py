"""Vectors as what predictors take: each stands for an image, or for a patch of one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from bccli.core.errors import DataError
from bccli.core.prediction.predictor import Predictor
from bccli.core.prediction.run_predictor import ImagePatches, Prediction, most_probable
from bccli.core.runs.run_folder import Run
from bccli.core.vectors.contents import SlideVectors
from bccli.core.vectors.matching import blocks_of

BATCH = 256
"""So many vectors of single images are answered at once."""


@dataclass(frozen=True)
class Wanted:
    """What runs make of the patches of a slide: answers to `each` of them, fused or averaged; else there is
    one answer to the mean of their vectors, which have a `width`. Those that `fuse` know slides only."""

    width: int
    each: bool
    fuse: bool

    @classmethod
    def by(cls, runs: Sequence[Run]) -> "Wanted":
        """The same for all of some runs. Raises DataError where they differ."""
        found = {cls._of(run) for run in runs}
        if len(found) > 1:
            raise DataError(
                f"{runs[0].root} and {runs[1].root} know other vectors, or treat patches otherwise; leave "
                "--ensemble out"
            )
        return found.pop()

    @classmethod
    def _of(cls, run: Run) -> "Wanted":
        assert run.info.vectors is not None
        fuse = run.info.kind_within == "fusion"
        return cls(run.info.vectors["width"], fuse or run.preparation.patches is not None, fuse)

    def check_width(self, width: int) -> str:
        """What is wrong with vectors of a width; empty where nothing is."""
        if width == self.width:
            return ""
        return f"has vectors of {width} numbers, and the run knows those of {self.width}"


def entry_of_slide(slide: SlideVectors, wanted: Wanted) -> ImagePatches:
    """A slide as its patches, or as the mean of their vectors."""
    count = slide.values.shape[0]
    if not wanted.each:
        total = sum(block.sum(axis=0, dtype=np.float64) for block in blocks_of(slide.values))
        return ImagePatches(np.asarray(total / count, np.float32)[None], (None,))
    values = np.concatenate(list(blocks_of(slide.values)))
    if slide.places is None:
        return ImagePatches(values, (None,) * count)
    return ImagePatches(values, tuple((top, left) for left, top in slide.places().tolist()))


def entry_of_vector(vector: np.ndarray) -> ImagePatches:
    """One vector (width,) as an image."""
    return ImagePatches(vector[None], (None,))


def answer(predictor: Predictor, entries: Sequence[ImagePatches]) -> Prediction:
    """The prediction for n images that are vectors."""
    return predictor.answer([entries] * len(predictor.specs))


def answers(predictor: Predictor, entries: Iterable[ImagePatches]) -> Prediction:
    """The prediction for images that come one by one, of which some are in memory at a time."""
    several = [answer(predictor, some).probabilities for some in _some(iter(entries))]
    return most_probable(np.concatenate(several))


def _some(entries: Iterator[ImagePatches]) -> Iterator[list[ImagePatches]]:
    while first := next(entries, None):
        yield [first] if len(first.images) > 1 else [first, *islice(entries, BATCH - 1)]
