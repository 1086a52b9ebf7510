"""The figures of a detector's films, at a threshold that is chosen on val."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.detection.figures import ROUNDS, DetectionFigures, detection_figures, detection_from_json
from bccli.core.detection.froc import threshold_at
from bccli.core.detection.matching import RULES, Encounters, Film
from bccli.core.detection.ranking import match_all
from bccli.core.detection.study import POINT_RATE, SIZED, SIZES
from bccli.core.errors import DataError


@dataclass(frozen=True)
class FilmTerms:
    """How films are measured: from which `threshold` on boxes are looked at, None for the one that suits the
    films themselves; up to which share of its film a lesion is small and medium, None for thirds; and how
    many `rounds` intervals take, None for as many as by default."""

    threshold: float | None = None
    size_limits: tuple[float, float] | None = None
    rounds: int | None = None

    def measure(self, films: Sequence[Film]) -> DetectionFigures:
        """The figures of films. Raises DataError for boxes beyond theirs."""
        rounds = ROUNDS if self.rounds is None else self.rounds
        return detection_figures(films, threshold=self.threshold, size_limits=self.size_limits, rounds=rounds)


FITTING = FilmTerms()
"""Everything as it suits the films at hand."""


def threshold_on(films: Sequence[Film]) -> float:
    """The lowest score with one false box a film at most, on films of val, by the rule `either`.

    Infinite where the surest boxes are more already; 0 where val has no box, so that all others count.
    """
    if not any(film.boxes for film in films):
        return 0.0
    matched = match_all([Encounters(film) for film in films], RULES[SIZED])
    found = threshold_at(matched, np.ones(len(films), bool), POINT_RATE)
    return math.inf if found is None else found


def size_limits_of(figures: DetectionFigures) -> tuple[float, float] | None:
    """Up to which share of its film a lesion is small and medium in these figures; None without lesions."""
    small, medium = (figures.sizes[name].up_to for name in SIZES[:2])
    return None if small is None or medium is None else (small, medium)


def check_stored(froc: Any, where: str) -> None:
    """Raises DataError for what are no figures of boxes as they are stored, naming the place."""
    figures = detection_from_json(froc, where)
    if SIZED not in figures.rules or set(SIZES) != set(figures.sizes):
        raise DataError(f"{where}: is not what bccli writes there; copy the whole folder again")
