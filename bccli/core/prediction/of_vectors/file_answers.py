"""The rows of `predict` for files of vectors: one for each vector that has a name, or for a slide."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bccli.core import interruption
from bccli.core.errors import DataError
from bccli.core.prediction.file_predictions import FilePrediction, to_rows
from bccli.core.prediction.image_rows import ImageRows
from bccli.core.prediction.of_vectors.entries import (
    BATCH,
    Wanted,
    answer,
    entry_of_slide,
    entry_of_vector,
)
from bccli.core.prediction.predictor import Predictor
from bccli.core.prediction.run_predictor import Prediction
from bccli.core.vectors.contents import NamedVectors, SlideVectors
from bccli.core.vectors.sources import READERS, files_of, read_file

_NO_FINITE = "has values that are no finite numbers"


def find_vector_files(inputs: Iterable[str], run: Path) -> Iterator[str]:
    """Yield the files that inputs name, of folders those of vectors in them.

    Raises DataError for a folder without any, and for a file of another kind, such as an image.
    """
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            yield from map(str, files_of(path))
        elif path.exists() and path.suffix.lower() not in READERS:
            raise DataError(
                f"{name}: is no file of vectors, and {run} knows no images; compute their vectors by the "
                f"same network, and give them as {', '.join(READERS)}"
            )
        else:
            yield name


def rows_of_vectors(
    predictor: Predictor, paths: Iterable[str], wanted: Wanted, *, top: int | None = None
) -> Iterator[ImageRows]:
    """Yield the rows of each file, in order: of a file that cannot be read one with its error."""
    with interruption.deferred():
        for path in paths:
            found = _answers(predictor, path, wanted)
            rows = to_rows(found, predictor.classes, top, columns=predictor.shown)
            yield ImageRows(path, tuple(rows), size=_size_of(path))
            interruption.stop_if_requested()


def _size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return -1


def _answers(predictor: Predictor, path: str, wanted: Wanted) -> Iterator[FilePrediction]:
    try:
        content = read_file(Path(path))
        if wrong := wanted.check_width(content.values.shape[1]):
            raise DataError(f"{path}: {wrong}; give vectors of the same network")
        if isinstance(content, SlideVectors):
            yield _of_slide(predictor, path, content, wanted)
            return
        if wanted.fuse:
            raise DataError(
                f"{path}: names its vectors, and the run fuses slides; give a file for each slide"
            )
        yield from _of_names(predictor, content)
    except DataError as error:
        yield FilePrediction(path, None, str(error).removeprefix(f"{path}: "))


def _of_slide(predictor: Predictor, path: str, slide: SlideVectors, wanted: Wanted) -> FilePrediction:
    if not slide.values.shape[0]:
        return FilePrediction(path, None, "has no vectors in it")
    entry = entry_of_slide(slide, wanted)
    if not np.isfinite(entry.images).all():
        return FilePrediction(path, None, _NO_FINITE)
    return _prediction(predictor, path, answer(predictor, [entry]), 0)


def _of_names(predictor: Predictor, content: NamedVectors) -> Iterator[FilePrediction]:
    for start in range(0, len(content.names), BATCH):
        names = content.names[start : start + BATCH]
        values = content.values[np.arange(start, start + len(names))]
        finite = np.isfinite(values).all(axis=1)
        entries = [entry_of_vector(vector) for vector in values[finite]]
        found = answer(predictor, entries) if entries else None
        numbers = iter(range(len(entries)))
        for name, good in zip(names, finite.tolist(), strict=True):
            if good and found:
                yield _prediction(predictor, name, found, next(numbers))
            else:
                yield FilePrediction(name, None, _NO_FINITE)


def _prediction(predictor: Predictor, name: str, found: Prediction, number: int) -> FilePrediction:
    probabilities = found.probabilities[number]
    decided = predictor.decisions.of(probabilities, predictor.classes)
    return FilePrediction(name, probabilities, label=int(found.labels[number]), columns=decided)
