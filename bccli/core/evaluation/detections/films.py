"""The films behind the predictions of a detector: what it has found in each, and the lesions there."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bccli.core.detection.matching import Film
from bccli.core.prediction.detectors.boxes_file import Detected, read_detected
from bccli.core.runs.predictions import Predictions
from bccli.core.runs.run_folder import BOXES_FILE, FILMS_FILE, LESIONS_FILE, PREDICTIONS_FILE, Run

DETECTOR = "detector"
"""The kind of run that has boxes."""


@dataclass(frozen=True)
class FilmsFound:
    """Boxes and lesions in prepared images of a `size` (width, height), by the path and split of each; an
    image that is not among them has neither. Of films in tiles, by the source and split of each film.

    `stray` is how many stored boxes are of images that there are no predictions of."""

    size: tuple[int, int]
    by_image: Mapping[tuple[str, str], Detected] = field(repr=False)
    in_tiles: bool = False
    stray: int = 0

    def of(self, rows: Predictions) -> list[Film]:
        """A film for each row of predictions, in their order, or for each film whose tiles they are; its
        patient is what intervals may not separate it from."""
        films: dict[tuple[int, str, str], str] = {}
        names = self._names(rows)
        for number, ((path, split), drawn) in enumerate(zip(names, drawn_together(rows), strict=True)):
            films.setdefault((0 if self.in_tiles else number, path, split), drawn)
        return [self._film(path, split, drawn) for (_, path, split), drawn in films.items()]

    def _names(self, rows: Predictions) -> Iterator[tuple[str, str]]:
        """By what each row's image, or the film whose tile it is, is known here."""
        return zip(rows.sources if self.in_tiles else rows.paths, rows.splits, strict=True)

    def beside(self, rows: Predictions) -> "FilmsFound":
        """The same, with the boxes counted that are of none of these images, all that a run has."""
        known = set(self._names(rows))
        return replace(
            self, stray=sum(len(one.boxes) for name, one in self.by_image.items() if name not in known)
        )

    def remarks(self) -> Iterator[str]:
        """Say how many boxes are of images that nobody knows."""
        if self.stray:
            rows, are, count = ("row", "is", "counts") if self.stray == 1 else ("rows", "are", "count")
            yield (
                f"{self.stray:,} {rows} of {BOXES_FILE} {are} of images that are not in {PREDICTIONS_FILE}, "
                f"and {count} nowhere"
            )

    def _film(self, path: str, split: str, drawn: str) -> Film:
        known = self.by_image.get((path, split), Detected(path, (), ()))
        return Film(known.boxes, known.lesions, known.shape or self.size[::-1], drawn, path)

    def joined(self, found: Iterable[Detected]) -> "FilmsFound":
        """The same with what was found in further images."""
        return replace(self, by_image={**self.by_image, **_by_image(found)})


def drawn_together(rows: Predictions) -> list[str]:
    """Of each row the patient with whom intervals draw it, the first of those who share pictures; "" for an
    image that is drawn by itself."""
    if rows.owners is None:
        return list(rows.patients)
    alone = np.bincount(rows.owners, minlength=1) == 1
    names: dict[int, str] = {}
    for owner, patient, path in zip(rows.owners.tolist(), rows.patients, rows.paths, strict=True):
        names.setdefault(owner, patient or ("" if alone[owner] else path))
    return [names[owner] for owner in rows.owners.tolist()]


def films_of(run: Run, rows: Predictions) -> FilmsFound | None:
    """What a detector, or the detectors of all folds, found in val and test; None for another run.

    `rows` are all of its predictions.

    Raises DataError for damaged files.
    """
    if run.info.kind_within != DETECTOR:
        return None
    in_tiles = run.preparation.patches is not None
    names = (BOXES_FILE, LESIONS_FILE, FILMS_FILE) if in_tiles else (BOXES_FILE, LESIONS_FILE)
    boxes, lesions, *films = (run.file(name) if run.complete else run.root / name for name in names)
    found = read_detected(boxes, lesions, run.info.size, *films)
    return FilmsFound(run.info.size, _by_image(found), in_tiles).beside(rows)


def _by_image(found: Iterable[Detected]) -> dict[tuple[str, str], Detected]:
    return {(one.path, one.split): one for one in found}
