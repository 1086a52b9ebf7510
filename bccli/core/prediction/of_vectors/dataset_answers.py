"""Answers to the images of a prepared dataset by their vectors."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError
from bccli.core.prediction.of_vectors.entries import (
    Wanted,
    answers,
    entry_of_slide,
    entry_of_vector,
)
from bccli.core.prediction.predictor import Predictor
from bccli.core.prediction.run_predictor import ImagePatches, Prediction
from bccli.core.runs.aggregation import image_key
from bccli.core.vectors.given import GivenVectors

_AT_ONCE = 1024


def answers_by_vectors(
    predictor: Predictor, given: GivenVectors, wanted: Wanted
) -> tuple[Prediction, list[Sample]]:
    """Answers and their rows: images with vectors, or those that patches form where a run fuses them.

    Raises DataError where a run fuses patches and has one vector for an image.
    """
    match = given.found
    rows = np.flatnonzero(match.there).tolist()
    if match.of_slides:
        entries = (entry_of_slide(match.slide(row), wanted) for row in rows)
        return answers(predictor, entries), [match.samples[row] for row in rows]
    if not wanted.fuse:
        return answers(predictor, _single(given, rows)), [match.samples[row] for row in rows]
    images: dict[str, list[int]] = {}
    for row in rows:
        sample = match.samples[row]
        if sample.row is None:
            raise DataError(
                f"{given.path}: has one vector for an image, and the run fuses patches; give a file for each "
                "slide"
            )
        images.setdefault(image_key(sample.source, str(sample.variant), sample.path), []).append(row)
    return answers(predictor, (_image(given, rows) for rows in images.values())), [
        replace(match.samples[members[0]], path=key, row=None, col=None) for key, members in images.items()
    ]


def _single(given: GivenVectors, rows: list[int]) -> Iterator[ImagePatches]:
    values = given.values(np.array(rows))
    for start in range(0, len(rows), _AT_ONCE):
        for vector in values[np.arange(start, min(start + _AT_ONCE, len(rows)))]:
            yield entry_of_vector(vector)


def _image(given: GivenVectors, rows: list[int]) -> ImagePatches:
    samples = [given.found.samples[row] for row in rows]
    places = tuple((sample.row or 0, sample.col or 0) for sample in samples)
    return ImagePatches(given.values(np.array(rows))[np.arange(len(rows))], places)
