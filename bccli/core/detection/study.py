"""Films that are matched once, and what they come to for many weightings of their patients."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bccli.core.detection.average_precision import average_precision
from bccli.core.detection.boxes import Floats
from bccli.core.detection.froc import admitted, clusters_have, sensitivities, threshold_at
from bccli.core.detection.matching import RULES, Encounters, Film, HitRule
from bccli.core.detection.ranking import Matched, Ranking, match_all, rank
from bccli.core.metrics.cases import clusters_of
from bccli.core.metrics.material import Bools, Integers
from bccli.core.metrics.weighted import chunks

BASES = ("all", "normal")
"""The films that false boxes are counted on: all of them, or those without a lesion."""
POINT_RATE = 1.0
"""Without a threshold, boxes are looked at as far as there is one false box a film."""
SIZES = ("small", "medium", "large")
SIZED = "either"
"""The rule of the figures by size."""


@dataclass(frozen=True)
class Wanted:
    """What is measured: sensitivity at `rates` of false boxes a film, average precision from `ious` on.

    `threshold` is the score from which on boxes are looked at one by one; None for the lowest with
    POINT_RATE false boxes a film. `limits` part small, medium and large lesions by their share of the film;
    None for thirds of the lesions at hand.
    """

    rates: tuple[float, ...]
    ious: tuple[float, ...]
    threshold: float | None = None
    limits: tuple[float, float] | None = None


class Study:
    """n films of C clusters (patients), matched by each rule and for each average precision."""

    def __init__(self, films: Sequence[Film], wanted: Wanted) -> None:
        self.films, self.wanted = films, wanted
        self.owners: Integers = clusters_of([film.patient for film in films], len(films))
        self.normal: Bools = np.array([not film.lesions for film in films], bool)
        seen = [Encounters(film) for film in films]
        self.matched = {name: match_all(seen, rule) for name, rule in RULES.items()}
        self.paired = {
            value: match_all(seen, HitRule(iou=value), spare_is_false=True) for value in wanted.ious
        }

    @cached_property
    def clusters(self) -> int:
        """How many clusters there are."""
        return int(self.owners.max(initial=-1)) + 1

    @cached_property
    def shares(self) -> Floats:
        """The share of its film that each lesion has, (L,)."""
        return np.array(
            [lesion.area / (film.shape[0] * film.shape[1]) for film in self.films for lesion in film.lesions],
            np.float64,
        )

    @cached_property
    def limits(self) -> tuple[float, float] | None:
        """Up to which share of the film a lesion is small, and up to which medium; None without lesions."""
        if self.wanted.limits is not None or not len(self.shares):
            return self.wanted.limits
        first, second = np.quantile(self.shares, (1 / 3, 2 / 3))
        return float(first), float(second)

    @cached_property
    def sizes(self) -> Integers:
        """Whether each lesion is small, medium or large: 0, 1 or 2, (L,)."""
        return np.searchsorted(np.array(self.limits or ()), self.shares, side="left")

    @cached_property
    def lesion_owners(self) -> Integers:
        """The cluster of each lesion, (L,)."""
        return self.owners[self.matched[SIZED].lesion_films]

    @cached_property
    def lesions(self) -> Floats:
        """How many lesions a cluster has, (C,)."""
        return clusters_have(self.lesion_owners, self.clusters)

    def counted(self, base: str) -> Bools:
        """The films that false boxes are counted on, (n,)."""
        return self.normal if base == "normal" else np.ones(len(self.films), bool)

    @cached_property
    def counts(self) -> Mapping[str, Floats]:
        """How many films of each base a cluster has, (C,)."""
        return {base: clusters_have(self.owners[self.counted(base)], self.clusters) for base in BASES}

    @cached_property
    def rankings(self) -> Mapping[tuple[str, str], Ranking]:
        """Of each rule and base."""
        return {
            (rule, base): rank(matched, self.owners, self.counted(base))
            for rule, matched in self.matched.items()
            for base in BASES
        }

    @cached_property
    def pairings(self) -> Mapping[float, Ranking]:
        """Of each IoU for average precision."""
        return {value: rank(matched, self.owners) for value, matched in self.paired.items()}

    @cached_property
    def thresholds(self) -> Mapping[str, float | None]:
        """From which score on boxes are looked at, by rule; None where there is no such score."""
        given, every = self.wanted.threshold, self.counted("all")
        return {
            rule: threshold_at(matched, every, POINT_RATE) if given is None else given
            for rule, matched in self.matched.items()
        }

    def false_from_threshold(self, rule: str, base: str) -> Floats:
        """How many false boxes a cluster has from the threshold on, on the films of a base, (C,)."""
        threshold, matched = self.thresholds[rule], self.matched[rule]
        sure = matched.false >= (np.inf if threshold is None else threshold)
        films = matched.false_films[sure & self.counted(base)[matched.false_films]]
        return clusters_have(self.owners[films], self.clusters)

    def measured(self, weightings: Iterable[Floats]) -> dict[str, Floats]:
        """Every measure (R,) for weightings of clusters, in blocks (r, C); what is not defined is NaN.

        They are `RULE.BASE.RATE` and `RULE.BASE.mean`; at the threshold `RULE.sensitivity`,
        `RULE.iou_of_hits`, `RULE.iou_of_lesions`, `RULE.false.BASE`, and for each size `SIZE.sensitivity`
        and `SIZE.iou_of_hits`; and `ap.IOU`.
        """
        widest = max(ranking.width for ranking in (*self.rankings.values(), *self.pairings.values()))
        blocks = [
            self._measured_block(weights[part])
            for weights in weightings
            for part in chunks(len(weights), widest)
        ]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def _measured_block(self, weights: Floats) -> dict[str, Floats]:
        found = dict(self._rates(weights))
        for rule in RULES:
            found |= self._at_threshold(rule, weights)
        for value, ranking in self.pairings.items():
            found[f"ap.{value:g}"] = average_precision(ranking, self.lesions, weights)
        return found

    def _rates(self, weights: Floats) -> Iterator[tuple[str, Floats]]:
        for (rule, base), ranking in self.rankings.items():
            films = self.counts[base]
            rows = sensitivities(ranking, self.lesions, films, weights, self.wanted.rates)
            yield from zip((f"{rule}.{base}.{rate:g}" for rate in self.wanted.rates), rows, strict=True)
            yield f"{rule}.{base}.mean", rows.mean(axis=0)

    def _at_threshold(self, rule: str, weights: Floats) -> dict[str, Floats]:
        """The share of lesions that are found from the threshold on, and the overlaps with their boxes.

        Where the threshold was not given, each weighting has that of its own films.
        """
        matched, ranking = self.matched[rule], self.rankings[rule, "all"]
        if self.wanted.threshold is None:
            looked_at = admitted(ranking, self.counts["all"], weights, POINT_RATE)
        else:
            looked_at = (ranking.scores >= self.wanted.threshold)[None]
        found = np.take(weights, ranking.owners, axis=1) * looked_at
        hits, overlap = found.sum(axis=1), found @ matched.overlaps[ranking.lesions]
        lesions = weights @ self.lesions
        with np.errstate(divide="ignore", invalid="ignore"):
            measures = {
                f"{rule}.sensitivity": hits / lesions,
                f"{rule}.iou_of_hits": overlap / hits,
                f"{rule}.iou_of_lesions": overlap / lesions,
            }
            for base in BASES:
                false = weights @ self.false_from_threshold(rule, base)
                measures[f"{rule}.false.{base}"] = false / (weights @ self.counts[base])
        return measures | (self._by_size(matched, ranking, found, weights) if rule == SIZED else {})

    def _by_size(
        self, matched: Matched, ranking: Ranking, found: Floats, weights: Floats
    ) -> dict[str, Floats]:
        """Sensitivity and overlap for each size, of lesions that are `found` so often (R, S)."""
        measures = {}
        for number, name in enumerate(SIZES):
            columns = np.flatnonzero(self.sizes[ranking.lesions] == number)
            hits = found[:, columns]
            lesions = weights @ clusters_have(self.lesion_owners[self.sizes == number], self.clusters)
            with np.errstate(divide="ignore", invalid="ignore"):
                measures[f"{name}.sensitivity"] = hits.sum(axis=1) / lesions
                overlaps = matched.overlaps[ranking.lesions[columns]]
                measures[f"{name}.iou_of_hits"] = hits @ overlaps / hits.sum(axis=1)
        return measures
