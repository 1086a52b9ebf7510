"""95 % intervals by a bootstrap over patients.

Images of one patient are alike, so that it is patients who are drawn again, with all their images (Field
and Welsh 2007, DOI 10.1111/j.1467-9868.2007.00593.x), all classes together: how many patients a class has
is as much a matter of chance as who they are. Rounds in which a measure is not defined, as they lack a
class, are left out; where they are many, there is no interval. The limits are quantiles of the measure over
the rounds, corrected for bias and skewness (BCa: Efron 1987, DOI 10.1080/01621459.1987.10478410) and taken
a little further out where patients are few: as far as Student's t, corrected for the number of patients,
goes beyond the normal distribution (Hesterberg 2015, DOI 10.1080/00031305.2015.1089789).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import numpy as np

from bccli.core.metrics.support import FEWEST, Support, supports
from bccli.core.metrics.weighted import CELLS, Floats, Material, chunks, measures

LEVEL = 0.95
LEFT_OUT = 400
"""So many patients at most are left out in turn, to see how skewed their influence is."""
UNDEFINED = 0.30
"""A measure that is not defined in a larger share of the rounds has no interval (contract, section 2)."""
FEWEST_ROUNDS, MOST_ROUNDS = 1000, 20_000
"""Between these are the rounds, unless their number is given."""
HALF_DIGIT = 0.0005
"""Rounds are added until chance moves no limit by more than half of its third decimal, as far as possible."""
MOST_CELLS = 10_000_000
"""So many images, times rounds, times classes, at most are looked at for that: about half a second."""

NORMAL = NormalDist()
_NOTHING = 1e-12


@dataclass(frozen=True)
class Limits:
    """An interval; `error` is by how much other rounds would move its limits (a standard deviation).

    `left_out` is the share of the rounds in which the measure is not defined.
    """

    low: float
    high: float
    error: float = 0.0
    left_out: float = 0.0


@dataclass(frozen=True)
class Intervals:
    """The limits of each measure or None, why there are none, and after how many rounds."""

    limits: Mapping[str, Limits | None] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    rounds: int | None = None


def intervals(
    material: Material, *, rounds: int | None = None, seed: int = 0, unit: str = "patient"
) -> Intervals:
    """Limits for every measure; `unit` is what a cluster is, for the reasons.

    Without a number of `rounds` there are as many as the digits need.
    """
    if material.clusters < FEWEST:
        shown = f"{material.clusters} {unit}{'s' * (material.clusters != 1)}"
        return Intervals(None, {"ci": f"only {shown}; intervals need {FEWEST}"})
    limits: dict[str, Limits | None] = {}
    reasons: dict[str, str] = {}
    if material.sums.surplus is not None:
        limits["ece"], reasons["ece"] = None, _LEFT_OUT["ece"]
    found, behind = spreads([material], rounds=rounds, seed=seed)[0], supports(material)
    for name, spread in found.items():
        limits[name], why = None, ""
        if name in _LEFT_OUT:
            why = _LEFT_OUT[name]
        elif not math.isnan(spread.point):
            limits[name], why = _of_measure(name, spread, behind[name], unit)
        if why:
            reasons[name] = why
    return Intervals(limits, reasons, len(found["accuracy"].values))


def _of_measure(name: str, spread: "Spread", support: Support, unit: str) -> tuple[Limits | None, str]:
    """The limits of a measure, or None and the reason."""
    limits, why = spread.limits(support, unit)
    if limits:
        return _as_wide_as_wilson(limits, spread, support), ""
    certain = name.partition(".")[0] in _SHARES and spread.point in (0, 1)
    if certain and support.clusters >= FEWEST:
        return _beyond(spread.point, support.clusters), ""
    return None, why


@dataclass(frozen=True)
class Spread:
    """A measure, its values (rounds,) over the rounds, and those without one cluster each (left out,)."""

    point: float
    values: Floats
    without: Floats
    clusters: int

    def limits(self, support: Support, unit: str = "patient") -> tuple[Limits | None, str]:
        """The limits, or None and the reason, of a measure that rests on `support`."""
        known = self.values[~np.isnan(self.values)]
        left_out, behind = 1 - len(known) / max(len(self.values), 1), support.clusters
        if behind < support.needed:
            return None, f"rests on {behind} {unit}{'s' * (behind != 1)}; its interval needs {support.needed}"
        if not len(known) or left_out > UNDEFINED:
            return None, (
                f"{behind} {unit}s are too few: it is not defined in {left_out:.0%} of the rounds, "
                f"and {UNDEFINED:.0%} may be left out"
            )
        if np.ptp(known) <= _NOTHING:
            return None, "is the same in every round"
        below = float((known < self.point - _NOTHING).mean() + (known <= self.point + _NOTHING).mean()) / 2
        below = min(max(below, 1 / len(known)), 1 - 1 / len(known))
        bias, standard = NORMAL.inv_cdf(below), expanded_reach(support.equal)
        ordered = np.sort(known)
        low, high = (self._quantile(ordered, self._corrected(bias, sign * standard)) for sign in (-1, 1))
        error = max(self._error(ordered, below, sign * standard) for sign in (-1, 1))
        return Limits(min(low, self.point), max(high, self.point), error, left_out), ""

    def _corrected(self, bias: float, reach: float) -> float:
        """The share of rounds below a limit that would be so many standard deviations from the middle."""
        z = bias + reach
        slowed = 1 - self.acceleration * z
        return NORMAL.cdf(bias + z / slowed) if slowed > 0 else float(z > 0)

    @staticmethod
    def _quantile(ordered: Floats, share: float) -> float:
        """As `np.quantile` has it, of values in order."""
        place = min(max(share, 0.0), 1.0) * (len(ordered) - 1)
        first = int(place)
        last = min(first + 1, len(ordered) - 1)
        return float(ordered[first] + (ordered[last] - ordered[first]) * (place - first))

    def _error(self, ordered: Floats, below: float, reach: float) -> float:
        """By how much chance moves a limit: its place among the rounds, and the bias that corrects it."""
        bias, rounds = NORMAL.inv_cdf(below), len(ordered)
        share = self._corrected(bias, reach)
        unsure = math.sqrt(below * (1 - below) / rounds) / NORMAL.pdf(bias)
        moved = (self._corrected(bias + unsure, reach) - self._corrected(bias - unsure, reach)) / 2
        reach_of_share = math.hypot(moved, math.sqrt(share * (1 - share) / rounds))
        ends = (self._quantile(ordered, share + sign * reach_of_share) for sign in (1, -1))
        return (next(ends) - next(ends)) / 2

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


def digits_of(error: float | None) -> int:
    """To how many decimals limits are known that other rounds would move by `error`: two or three.

    >>> digits_of(0.002), digits_of(0.0004)
    (2, 3)
    """
    return 3 if error is not None and error <= HALF_DIGIT else 2


def spreads(
    materials: Sequence[Material], *, rounds: int | None = None, seed: int = 0
) -> list[dict[str, Spread]]:
    """Every measure of each material; all are of the same clusters, and drawn alike."""
    clusters = materials[0].clusters
    source = np.random.default_rng(seed)
    point = _measured(materials, [np.ones((1, clusters))])
    values = _measured(materials, draws(source, clusters, rounds=rounds or FEWEST_ROUNDS))
    without = _measured(materials, _leaving_out(clusters))

    def found() -> list[dict[str, Spread]]:
        return [
            {name: Spread(float(here[name][0]), over[name], left[name], clusters) for name in here}
            for here, over, left in zip(point, values, without, strict=True)
        ]

    if rounds is None and (more := _further_rounds(materials, found())):
        added = _measured(materials, draws(source, clusters, rounds=more))
        values = [
            {name: np.concatenate([before[name], after[name]]) for name in before}
            for before, after in zip(values, added, strict=True)
        ]
    return found()


def _further_rounds(materials: Sequence[Material], first: Sequence[Mapping[str, Spread]]) -> int:
    """How many rounds the digits need beyond the first ones, within what may be spent on them."""
    if materials[0].clusters < FEWEST:
        return 0
    errors = [
        limits.error
        for behind, spread_of in zip(map(supports, materials), first, strict=True)
        for name in _DIGITS
        if name in spread_of and not math.isnan(spread_of[name].point)
        if (limits := spread_of[name].limits(behind[name])[0])
    ]
    wanted = FEWEST_ROUNDS * (max(errors, default=0.0) / HALF_DIGIT) ** 2
    cells = sum(material.images * max(material.classes - 1, 1) for material in materials)
    return max(int(min(wanted, MOST_ROUNDS, MOST_CELLS / max(cells, 1))) - FEWEST_ROUNDS, 0)


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


def draws(source: np.random.Generator, clusters: int, *, rounds: int) -> Iterator[Floats]:
    """Yield weightings (r, C), `rounds` in all: how often each cluster is drawn.

    They are the same however many come at once.
    """
    step = max(1, CELLS // max(clusters, 1))
    for start in range(0, rounds, step):
        yield _drawn(source, clusters, min(step, rounds - start))


def _drawn(source: np.random.Generator, clusters: int, rounds: int) -> Floats:
    drawn = source.integers(0, clusters, (rounds, clusters))
    drawn += np.arange(rounds)[:, None] * clusters
    weights = np.bincount(drawn.reshape(-1), minlength=rounds * clusters)
    del drawn
    return weights.reshape(rounds, clusters).astype(np.float64)


_DIGITS = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "tpr", "tnr", "patient_accuracy")
"""The measures whose limits say how many rounds are needed."""
_SHARES = frozenset({"accuracy", "tpr", "tnr", "fpr", "patient_accuracy", "sensitivity", "specificity"})
"""Shares of images, which have a limit also where nothing varies."""
_LEFT_OUT = {
    "ece": "resampling itself makes it larger",
    "majority_accuracy": "describes the images, not the classifier",
}
"""Measures without an interval, and why."""


def _as_wide_as_wilson(limits: Limits, spread: Spread, support: Support) -> Limits:
    """Limits that hold at least Wilson's interval of a share, for as many images as its variance is worth.

    Wilson 1927, DOI 10.1080/01621459.1927.10502953; the number of images as in Korn and Graubard 1998,
    "Confidence intervals for proportions with small expected number of positive counts", Survey Methodology
    24:193. Of few patients almost all classified right, rounds alone vary too little, and the truth lies
    below their lower limit. How much of the widening for few patients counts here (`hull`) was chosen in
    simulated studies of 13 to 100 patients with equally and unequally many images.
    """
    share, variance = spread.point, float(np.nanvar(spread.values))
    if support.hull is None or not 0 < share < 1 or variance <= _NOTHING:
        return limits
    normal = expanded_reach(math.inf)
    worth, z = (
        share * (1 - share) / variance,
        normal + support.hull * (expanded_reach(support.equal) - normal),
    )
    middle = (share + z * z / 2 / worth) / (1 + z * z / worth)
    reach = z / (1 + z * z / worth) * math.sqrt(share * (1 - share) / worth + (z / 2 / worth) ** 2)
    return replace(limits, low=min(limits.low, middle - reach), high=max(limits.high, middle + reach))


def _beyond(share: float, clusters: int) -> Limits:
    """The exact limits of a share of 0 or 1 (Clopper and Pearson 1934), a patient being one observation."""
    room = 1 - ((1 - LEVEL) / 2) ** (1 / clusters)
    return Limits(1 - room, 1.0) if share == 1 else Limits(0.0, room)


def expanded_reach(clusters: float) -> float:
    """How many standard deviations the limits are from the middle: 1.96, and more where clusters are few.

    Fewer than two, as unequal ones may count, are taken as two.
    """
    if math.isinf(clusters):
        return NORMAL.inv_cdf((1 + LEVEL) / 2)
    clusters = max(clusters, 2)
    return math.sqrt(clusters / (clusters - 1)) * student((1 + LEVEL) / 2, clusters - 1)


def student(share: float, freedom: float) -> float:
    """The quantile of Student's t: exact for one and two degrees of freedom, interpolated between them.

    More of them by Abramowitz and Stegun's series 26.7.5, for 95 % intervals within 0.02 of the exact one.
    """
    if freedom < 2:
        one, two = math.tan(math.pi * (share - 0.5)), student(share, 2)
        return two + (one - two) * (2 / freedom - 1)
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
