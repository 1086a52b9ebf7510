"""Images to look at: where a run is most certainly wrong, where it doubts most, where it is surely right."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.report.absent import Absent
from bccli.core.evaluation.report.album import Album, OverlayMaker, Picture
from bccli.core.evaluation.report.run_data import RunData
from bccli.core.metrics.material import Floats
from bccli.core.runs.predictions import Predictions

EACH = 8
"""Images in a gallery."""


@dataclass(frozen=True)
class Exhibit:
    """An image of a gallery; `probability` is that of the predicted class, `of` how many prepared images the
    answer rests on, of which the first is shown."""

    name: str
    label: str
    predicted: str
    probability: float
    patient: str
    of: int = 1
    picture: Picture | None = None
    overlay: Picture | None = None


@dataclass(frozen=True)
class Gallery:
    """Images of one kind, and what to say where there is none."""

    title: str
    nothing: str
    exhibits: tuple[Exhibit, ...]


@dataclass(frozen=True)
class _Kind:
    """A kind of gallery: which rows (n,) it is of, and what they are ordered by (n,), least first."""

    title: str
    nothing: str
    of: Callable[[Predictions], np.ndarray]
    order: Callable[[Floats, Floats], Floats]


_KINDS = (
    _Kind("Surest mistakes", "No image is classified wrong.", lambda u: u.predicted != u.labels,
          lambda sure, doubt: -sure),
    _Kind("Most doubtful", "There is no image.", lambda u: np.ones(len(u), bool),
          lambda sure, doubt: doubt),
    _Kind("Surest hits", "No image is classified right.", lambda u: u.predicted == u.labels,
          lambda sure, doubt: -sure),
)  # fmt: skip


def galleries(
    entry: Evaluation,
    data: RunData | Absent,
    album: Album,
    *,
    overlay: OverlayMaker | None = None,
    each: int = EACH,
) -> tuple[Gallery, ...] | Absent:
    """Galleries of `each` images at most, with pictures where there are `data` and the album has room."""
    units = entry.units
    if units.probabilities is None:
        return Absent("Without probabilities nobody knows how sure the answers are.")
    sure = np.take_along_axis(units.probabilities, units.predicted[:, None], axis=1)[:, 0]
    doubt = _doubt(entry, units.probabilities)
    found = []
    for kind in _KINDS:
        rows = np.flatnonzero(kind.of(units))
        chosen = rows[np.argsort(kind.order(sure, doubt)[rows], kind="stable")[:each]]
        exhibits = [_exhibit(units, int(row), float(sure[row]), data, album, overlay) for row in chosen]
        found.append(Gallery(kind.title, kind.nothing, tuple(exhibits)))
    return tuple(found)


def _doubt(entry: Evaluation, probabilities: Floats) -> Floats:
    """How far (n,) each row is from another answer: from the threshold, or of two classes one from the
    other."""
    figures = entry.whole
    if figures.threshold and figures.positive:
        number = figures.classes.index(figures.positive)
        return np.abs(probabilities[:, number] - figures.threshold["value"])
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    best = np.partition(probabilities, -2, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0]


def _exhibit(
    units: Predictions,
    row: int,
    sure: float,
    data: RunData | Absent,
    album: Album,
    overlay: OverlayMaker | None,
) -> Exhibit:
    name, number = units.paths[row], int(units.predicted[row])
    exhibit = Exhibit(
        name or f"row {row + 1}", units.classes[int(units.labels[row])], units.classes[number], sure,
        units.patients[row],
    )  # fmt: skip
    there = None if isinstance(data, Absent) else data.found(name)
    if isinstance(data, Absent) or there is None:
        return exhibit
    sample, of = there
    pixels = album.pixels(data.dataset.root, sample)
    drawn = overlay(pixels, number) if overlay and pixels is not None else None
    return Exhibit(
        sample.source or exhibit.name, exhibit.label, exhibit.predicted, sure, exhibit.patient, of,
        album.picture(pixels), album.picture(drawn),
    )  # fmt: skip
