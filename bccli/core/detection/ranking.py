"""Lesions that are found and false boxes by falling score, counted for many weightings of patients at once.

Films belong to C clusters (patients). They are matched once; an interval weighs the clusters anew, which
repeats or leaves out their lesions and boxes, and matches nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.detection.boxes import Floats
from bccli.core.detection.matching import Encounters, HitRule
from bccli.core.metrics.material import Bools, Integers


@dataclass(frozen=True)
class Matched:
    """All films matched by one rule: L lesions and F false boxes, in the films' order.

    `scores` (L,) is that of the box that hits a lesion, -inf where none does, and `overlaps` (L,) its IoU, 0
    where none does. `lesion_films` (L,) and `false_films` (F,) number the films, `false` (F,) are scores,
    `spare` (S,) those of boxes that are neither.
    """

    scores: Floats
    overlaps: Floats
    lesion_films: Integers
    false: Floats
    false_films: Integers
    spare: Floats


def match_all(films: Sequence[Encounters], rule: HitRule, *, spare_is_false: bool = False) -> Matched:
    """All films matched by a rule; with `spare_is_false`, a further box on a lesion is false."""
    scores, overlaps = [], []
    false: list[tuple[float, int]] = []
    spare: list[tuple[float, int]] = []
    for number, film in enumerate(films):
        hits = film.hits(rule)
        for lesion, box in enumerate(hits.by):
            scores.append((film.scores[box] if box >= 0 else -np.inf, number))
            overlaps.append(float(film.overlaps[box, lesion]) if box >= 0 else 0.0)
        false += [(film.scores[box], number) for box in hits.false]
        (false if spare_is_false else spare).extend((film.scores[box], number) for box in hits.spare)
    found, misled = (np.array(pairs, np.float64).reshape(-1, 2) for pairs in (scores, false))
    return Matched(
        found[:, 0],
        np.array(overlaps, np.float64),
        found[:, 1].astype(np.int64),
        misled[:, 0],
        misled[:, 1].astype(np.int64),
        np.array([score for score, _ in spare], np.float64),
    )


@dataclass(frozen=True)
class Ranking:
    """The S lesions that are found and the F false boxes, each by falling score.

    `lesions` (S,) are numbers of lesions, `scores` (S,) when they are found, `owners` (S,) their clusters;
    `false` (F,) and `false_owners` (F,) those of the false boxes. With lesion s, so many false boxes as
    `beside` (S,) says are at least as sure, and the last lesion of its score is `level` (S,): whatever has
    one score comes at once, as no threshold can part it.
    """

    lesions: Integers
    scores: Floats
    owners: Integers
    false: Floats
    false_owners: Integers
    beside: Integers
    level: Integers

    def false_beside(self, weights: Floats) -> Floats:
        """How many false boxes come no later than each lesion (R, S), by weightings of clusters (R, C)."""
        most = int(self.beside.max(initial=0))
        sums = np.zeros((len(weights), most + 1))
        np.cumsum(np.take(weights, self.false_owners[:most], axis=1), axis=1, out=sums[:, 1:])
        return np.take(sums, self.beside, axis=1)

    @property
    def width(self) -> int:
        """How many numbers one weighting needs."""
        return max(int(self.beside.max(initial=0)), len(self.lesions)) + 1


def rank(matched: Matched, clusters: Integers, counted: Bools | None = None) -> Ranking:
    """Sort what was matched; `clusters` (n,) of n films, and the films whose false boxes are `counted` (n,),
    by default all."""
    found = np.flatnonzero(matched.scores > -np.inf)
    found = found[np.argsort(-matched.scores[found], kind="stable")]
    false = np.arange(len(matched.false))
    if counted is not None:
        false = false[counted[matched.false_films]]
    false = false[np.argsort(-matched.false[false], kind="stable")]
    scores, misled = matched.scores[found], matched.false[false]
    return Ranking(
        found,
        scores,
        clusters[matched.lesion_films[found]],
        misled,
        clusters[matched.false_films[false]],
        np.searchsorted(-misled, -scores, side="right"),
        np.searchsorted(-scores, -scores, side="right") - 1,
    )
