"""95 % intervals by a bootstrap over patients.

Images of one patient are alike, so that it is patients who are drawn again, with all their images (Field
and Welsh 2007, DOI 10.1111/j.1467-9868.2007.00593.x). The limits are quantiles of the measure over the
rounds, corrected for bias and skewness (BCa: Efron 1987, DOI 10.1080/01621459.1987.10478410) and taken a
little further out where patients are few: as far as Student's t, corrected for the number of patients, goes
beyond the normal distribution (Hesterberg 2015, DOI 10.1080/00031305.2015.1089789). Where each class has
enough patients, all are drawn together; else class by class, so that no round is without one.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from bccli.core.weighting import CELLS, Floats, Integers, Material, chunks, measures

LEVEL = 0.95
FEWEST = 5
"""With fewer patients there are no intervals (contract, section 2)."""
FEW = 10
"""Where a class has fewer patients, its patients are drawn among themselves."""
LEFT_OUT = 400
"""So many patients at most are left out in turn, to see how skewed their influence is."""
UNDEFINED = 0.05
"""A measure that is not defined in a larger share of the rounds has no interval."""

NORMAL = NormalDist()
Limits = list[float] | None
_NOTHING = 1e-12


@dataclass(frozen=True)
class Intervals:
    """The limits of each measure, [low, high] or None, and why there are none where there are none."""

    limits: Mapping[str, Limits] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


def intervals(material: Material, *, rounds: int, seed: int = 0, unit: str = "patient") -> Intervals:
    """Limits for every measure; `unit` is what a cluster is, for the reasons."""
    if material.clusters < FEWEST:
        shown = f"{material.clusters} {unit}{'s' * (material.clusters != 1)}"
        return Intervals(None, {"ci": f"only {shown}; intervals need {FEWEST}"})
    limits: dict[str, Limits] = {}
    reasons: dict[str, str] = {}
    for name, spread in spreads([material], rounds=rounds, seed=seed)[0].items():
        clusters = clusters_behind(name, material)
        if math.isnan(spread.point):
            limits[name], why = None, ""
        elif name in _LEFT_OUT:
            limits[name], why = None, _LEFT_OUT[name]
        else:
            limits[name], why = spread.limits(clusters, unit)
        if limits[name] is None and name.partition(".")[0] in _SHARES and spread.point in (0, 1):
            limits[name], why = _beyond(spread.point, clusters), ""
        if why:
            reasons[name] = why
    return Intervals(limits, reasons)


@dataclass(frozen=True)
class Spread:
    """A measure, its values (rounds,) over the rounds, and those without one cluster each (left out,)."""

    point: float
    values: Floats
    without: Floats
    clusters: int

    def limits(self, behind: int, unit: str = "patient") -> tuple[Limits, str]:
        """Low and high, or None and the reason; the measure rests on so many clusters."""
        known = self.values[~np.isnan(self.values)]
        if len(known) < (1 - UNDEFINED) * len(self.values):
            return None, f"not defined in {len(self.values) - len(known)} of {len(self.values)} rounds"
        if behind < 2:
            return None, f"rests on a single {unit}"
        if np.ptp(known) <= _NOTHING:
            return None, "is the same in every round"
        below = float((known < self.point - _NOTHING).mean() + (known <= self.point + _NOTHING).mean()) / 2
        bias = NORMAL.inv_cdf(min(max(below, 1 / len(known)), 1 - 1 / len(known)))
        reach = expanded_reach(behind)
        shares = [self._corrected(bias, z) for z in (bias - reach, bias + reach)]
        low, high = np.quantile(known, shares)
        return [min(float(low), self.point), max(float(high), self.point)], ""

    def _corrected(self, bias: float, z: float) -> float:
        """The share of rounds below a limit that would be `z` standard deviations from the middle."""
        slowed = 1 - self.acceleration * z
        return NORMAL.cdf(bias + z / slowed) if slowed > 0 else float(z > 0)

    @property
    def acceleration(self) -> float:
        """How fast the spread grows with the measure: a sixth of the skewness of the clusters' influence."""
        known = self.without[~np.isnan(self.without)]
        influence = known.mean() - known if len(known) else known
        square = (influence**2).mean() if len(known) else 0.0
        if square <= _NOTHING**2:
            return 0.0
        skewness = (influence**3).mean() / square**1.5
        return float(np.clip(skewness / (6 * math.sqrt(self.clusters)), -0.25, 0.25))

    def minus(self, other: "Spread") -> "Spread":
        """The difference between two runs that were measured on the same clusters, drawn alike."""
        return Spread(
            self.point - other.point, self.values - other.values, self.without - other.without, self.clusters
        )


def spreads(materials: Sequence[Material], *, rounds: int, seed: int = 0) -> list[dict[str, Spread]]:
    """Every measure of each material; all are of the same clusters, and drawn alike."""
    clusters = materials[0].clusters
    once = [np.ones((1, clusters))]
    drawn = draws(strata(materials[0]), rounds=rounds, seed=seed)
    point, values, without = (
        _measured(materials, weights) for weights in (once, drawn, _leaving_out(clusters))
    )
    return [
        {name: Spread(float(here[name][0]), over[name], left[name], clusters) for name in here}
        for here, over, left in zip(point, values, without, strict=True)
    ]


def _measured(materials: Sequence[Material], weightings: Iterable[Floats]) -> list[dict[str, Floats]]:
    found: list[list[dict[str, Floats]]] = [[] for _ in materials]
    for weights in weightings:
        for place, material in enumerate(materials):
            found[place].append(measures(material, weights, every_class=False))
    return [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in found]


def _leaving_out(clusters: int) -> Iterator[Floats]:
    """Weightings (r, C) without one cluster each: of all, or of LEFT_OUT spread over them."""
    places = np.unique(np.linspace(0, clusters - 1, LEFT_OUT).astype(int))
    for part in chunks(len(places), clusters):
        weights = np.ones((len(places[part]), clusters))
        weights[np.arange(len(weights)), places[part]] = 0
        yield weights


def strata(material: Material) -> Integers:
    """The stratum of each cluster, from 0: one for all, or one per set of classes where a class has few.

    A stratum of one cluster would never vary; it joins the largest.
    """
    having = material.sums.cells.sum(axis=2) > 0
    present = having.any(axis=0)
    if having[:, present].sum(axis=0).min(initial=FEW) >= FEW:
        return np.zeros(material.clusters, dtype=np.int64)
    _, found, sizes = np.unique(having, axis=0, return_inverse=True, return_counts=True)
    found = found.reshape(-1)
    found[sizes[found] == 1] = sizes.argmax()
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def draws(strata: Integers, *, rounds: int, seed: int = 0) -> Iterator[Floats]:
    """Yield weightings (r, C), `rounds` in all: how often each cluster is drawn, in each stratum by itself.

    They are the same however many come at once.
    """
    members = [np.flatnonzero(strata == number) for number in range(int(strata.max(initial=-1)) + 1)]
    sources = [np.random.default_rng([seed, number]) for number in range(len(members))]
    step = max(1, CELLS // max(len(strata), 1))
    for start in range(0, rounds, step):
        count = min(step, rounds - start)
        weights = np.zeros((count, len(strata)))
        for group, source in zip(members, sources, strict=True):
            size = len(group)
            drawn = source.integers(0, size, (count, size)) + np.arange(count)[:, None] * size
            weights[:, group] = np.bincount(drawn.reshape(-1), minlength=count * size).reshape(count, size)
        yield weights


_SHARES = frozenset({"accuracy", "tpr", "tnr", "fpr", "patient_accuracy", "sensitivity", "specificity"})
"""Shares of images, which have a limit also where nothing varies."""
_LEFT_OUT = {
    "ece": "resampling itself makes it larger",
    "majority_accuracy": "describes the images, not the classifier",
}
"""Measures without an interval, and why."""


def _beyond(share: float, clusters: int) -> Limits:
    """The exact limits of a share of 0 or 1 (Clopper and Pearson 1934), a patient being one observation."""
    room = 1 - ((1 - LEVEL) / 2) ** (1 / clusters)
    return [1 - room, 1.0] if share == 1 else [0.0, room]


def clusters_behind(name: str, material: Material) -> int:
    """How many clusters a measure rests on: those of the class that it is about, or of its rarest class."""
    having = material.sums.cells.sum(axis=2) > 0
    own = having.sum(axis=0).tolist()
    measure, _, number = name.partition(".")
    if measure in _OF_ALL:
        return material.clusters
    if not number and measure in _OF_POSITIVE and material.positive is not None:
        measure, number = _OF_POSITIVE[measure], str(material.positive)
    if not number:
        return min((count for count in own if count), default=material.clusters)
    others = int(np.delete(having, int(number), axis=1).any(axis=1).sum())
    return {"specificity": others, **dict.fromkeys(_OF_CLASS, own[int(number)])}.get(
        measure, min(own[int(number)], others)
    )


_OF_ALL = frozenset({"accuracy", "majority_accuracy", "patient_accuracy", "loss", "log_loss", "brier", "ece"})
_OF_CLASS = ("sensitivity", "precision", "f1")
_OF_POSITIVE = {"tpr": "sensitivity", "tnr": "specificity", "fpr": "specificity", "f1": "f1"}


def expanded_reach(clusters: int) -> float:
    """How many standard deviations the limits are from the middle: 1.96, and more where clusters are few."""
    return math.sqrt(clusters / (clusters - 1)) * student((1 + LEVEL) / 2, clusters - 1)


def student(share: float, freedom: int) -> float:
    """The quantile of Student's t: exact for one and two degrees of freedom.

    More of them by Abramowitz and Stegun's series 26.7.5, for 95 % intervals within 0.02 of the exact one.
    """
    if freedom == 1:
        return math.tan(math.pi * (share - 0.5))
    if freedom == 2:
        spread = 2 * share - 1
        return spread * math.sqrt(2 / (1 - spread**2))
    z = NORMAL.inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
