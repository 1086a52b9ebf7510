"""Which box hits which lesion of a film.

A box hits a lesion where its middle lies in it (as Ribli et al. 2018, DOI 10.1038/s41598-018-22437-z, have
it), or where the IoU with the lesion's box is at least 0.2, or by either. Boxes come by falling score. Each
hits one lesion at most: of those not hit yet the one that it overlaps with most. A lesion counts once, by
the surest box on it. A further box on a lesion that is hit is neither a hit nor false, as in CAMELYON16
(Ehteshami Bejnordi et al. 2017, DOI 10.1001/jama.2017.14585): it does not lead anybody astray. Only average
precision counts it as false, as its rule demands.

What a box is does not depend on any less sure box, so that dropping all below a threshold leaves exactly
the matching of the others; the curve is that of the detectors that one could run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bccli.core.detection.boxes import Floats, ScoredBox, area, clipped, iou_matrix
from bccli.core.detection.lesions import Lesion
from bccli.core.errors import DataError

LEAST_IOU = 0.2
"""From this IoU with its box on, a lesion is hit."""


@dataclass(frozen=True)
class HitRule:
    """What a hit is: the `centre` of the box in the lesion, or an IoU of `iou` or more; with both, either."""

    centre: bool = False
    iou: float | None = None


RULES = {"centre": HitRule(True), "iou": HitRule(False, LEAST_IOU), "either": HitRule(True, LEAST_IOU)}


@dataclass(frozen=True)
class Film:
    """A film of `shape` (height, width): the boxes that a detector has for it, and the lesions that it has.

    `patient` is "" where unknown; `name` is for messages. A film without lesions is a normal one.
    """

    boxes: Sequence[ScoredBox]
    lesions: Sequence[Lesion]
    shape: tuple[int, int]
    patient: str = ""
    name: str = ""


@dataclass(frozen=True)
class Hits:
    """What n boxes and m lesions of a film are to each other.

    `by` (m,) is the number of the box that hits each lesion, -1 where none does; `false` are the numbers of
    the boxes on no lesion, `spare` of those on lesions that surer boxes hit; both ascend.
    """

    by: list[int]
    false: list[int]
    spare: list[int]


class Encounters:
    """How the boxes of a film lie to its lesions, seen once for all rules.

    Raises DataError for a box whose score is no number, and for a box or lesion without a pixel or beyond
    the film.
    """

    def __init__(self, film: Film) -> None:
        check_film(film)
        self.film = film
        self.scores = [one.score for one in film.boxes]

    @cached_property
    def overlaps(self) -> Floats:
        """The IoU of n boxes with the boxes of m lesions, (n, m)."""
        return iou_matrix([one.box for one in self.film.boxes], [one.box for one in self.film.lesions])

    @cached_property
    def _centred(self) -> np.ndarray:
        held = [[lesion.holds_centre(one.box) for lesion in self.film.lesions] for one in self.film.boxes]
        return np.array(held, bool).reshape(self.overlaps.shape)

    @cached_property
    def _order(self) -> list[int]:
        """Boxes by falling score; equally sure ones by their best overlap, then by their edges."""
        best = self.overlaps.max(axis=1, initial=0.0).tolist()
        boxes = self.film.boxes
        return sorted(range(len(boxes)), key=lambda n: (-boxes[n].score, -best[n], boxes[n].box))

    @cached_property
    def _preferred(self) -> list[list[int]]:
        """Of each box the lesions by falling overlap; of equal ones the smaller first, then by edges."""
        lesions, overlaps = self.film.lesions, self.overlaps.tolist()
        return [
            sorted(range(len(lesions)), key=lambda m: (-row[m], lesions[m].area, lesions[m].box))
            for row in overlaps
        ]

    def hits(self, rule: HitRule) -> Hits:
        """Which box hits which lesion by a rule."""
        by = [-1] * len(self.film.lesions)
        if not by:
            return Hits(by, list(range(len(self.scores))), [])
        reached = self._reached(rule).tolist()
        false: list[int] = []
        spare: list[int] = []
        for number in self._order:
            targets = [m for m in self._preferred[number] if reached[number][m]]
            free = next((m for m in targets if by[m] < 0), None)
            if free is not None:
                by[free] = number
            else:
                (spare if targets else false).append(number)
        return Hits(by, sorted(false), sorted(spare))

    def _reached(self, rule: HitRule) -> np.ndarray:
        """Whether each of n boxes is on each of m lesions, (n, m)."""
        reached = np.zeros(self.overlaps.shape, bool)
        if rule.centre:
            reached |= self._centred
        if rule.iou is not None:
            reached |= self.overlaps >= rule.iou
        return reached


def match(film: Film, rule: HitRule) -> Hits:
    """Which box of a film hits which of its lesions.

    Raises DataError for a box whose score is no number, and for a box or lesion without a pixel or beyond
    the film.
    """
    return Encounters(film).hits(rule)


def check_film(film: Film) -> None:
    """Raise DataError for what cannot be a box or a lesion of the film."""
    where = film.name or "film"
    for number, one in enumerate(film.boxes):
        if not np.isfinite(one.score):
            raise DataError(f"{where}: box {number} has the score {one.score}; give a number")
    for what, boxes in (
        ("box", [one.box for one in film.boxes]),
        ("lesion", [lesion.box for lesion in film.lesions]),
    ):
        for number, box in enumerate(boxes):
            if not area(box) or clipped(box, film.shape) != box:
                height, width = film.shape
                raise DataError(
                    f"{where}: {what} {number} is {tuple(box)}, not left, top, right and bottom within "
                    f"{width}×{height} pixels; clip it, or give pixels of this film"
                )
