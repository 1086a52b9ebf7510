"""The limits of an interval, from the values of a measure over the rounds of a bootstrap.

They are quantiles, corrected for bias and skewness (BCa: Efron 1987, DOI 10.1080/01621459.1987.10478410)
and taken a little further out where patients are few: as far as Student's t, corrected for the number of
patients, goes beyond the normal distribution (Hesterberg 2015, DOI 10.1080/00031305.2015.1089789).
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from bccli.core.metrics.material import Floats
from bccli.core.metrics.support import Support

LEVEL = 0.95
UNDEFINED = 0.30
"""A measure that is not defined in a larger share of the rounds has no interval (contract, section 2)."""
HALF_DIGIT = 0.0005
"""Rounds are added until chance moves no limit by more than half of its third decimal, as far as possible."""
NORMAL = NormalDist()
NOTHING = 1e-12


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
        if np.ptp(known) <= NOTHING:
            return None, "is the same in every round"
        below = float((known < self.point - NOTHING).mean() + (known <= self.point + NOTHING).mean()) / 2
        below = min(max(below, 1 / len(known)), 1 - 1 / len(known))
        bias = NORMAL.inv_cdf(below)
        standard = expanded_reach(support.equal if support.widened else math.inf)
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
        position = min(max(share, 0.0), 1.0) * (len(ordered) - 1)
        first = int(position)
        last = min(first + 1, len(ordered) - 1)
        return float(ordered[first] + (ordered[last] - ordered[first]) * (position - first))

    def _error(self, ordered: Floats, below: float, reach: float) -> float:
        """By how much chance moves a limit: its position among the rounds, and the bias that corrects it."""
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
        if square <= NOTHING**2:
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


def as_wide_as_wilson(limits: Limits, spread: Spread, support: Support) -> Limits:
    """Limits that hold at least Wilson's interval of a share, for as many images as its variance is worth.

    Wilson 1927, DOI 10.1080/01621459.1927.10502953; the number of images as in Korn and Graubard 1998,
    "Confidence intervals for proportions with small expected number of positive counts", Survey Methodology
    24:193. Of few patients almost all classified right, rounds alone vary too little, and the truth lies
    below their lower limit. How much of the widening for few patients counts here (`hull`) was chosen in
    simulated studies of 13 to 100 patients with equally and unequally many images.
    """
    share, variance = spread.point, float(np.nanvar(spread.values))
    if support.hull is None or not 0 < share < 1 or variance <= NOTHING:
        return limits
    normal = expanded_reach(math.inf)
    worth = share * (1 - share) / variance
    z = normal + support.hull * (expanded_reach(support.equal) - normal)
    low, high = wilson(share, worth, z)
    return replace(limits, low=min(limits.low, low), high=max(limits.high, high))


def wilson(share: float, count: float, z: float = NORMAL.inv_cdf((1 + LEVEL) / 2)) -> tuple[float, float]:
    """Wilson's interval of a share of `count` independent observations, for so many standard deviations.

    >>> [round(limit, 3) for limit in wilson(0.9, 10)]
    [0.596, 0.982]
    """
    middle = (share + z * z / 2 / count) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / 2 / count) ** 2)
    return middle - reach, middle + reach


def beyond(share: float, clusters: int) -> Limits:
    """The exact limits of a share of 0 or 1 (Clopper and Pearson 1934), a patient being one observation."""
    room = 1 - ((1 - LEVEL) / 2) ** (1 / clusters)
    return Limits(1 - room, 1.0) if share == 1 else Limits(0.0, room)


def expanded_reach(clusters: float) -> float:
    """How many standard deviations the limits are from the middle: 1.96, and more where clusters are few.

    Fewer than two, as unequal ones may count, are taken as two.

    >>> round(expanded_reach(math.inf), 2), round(expanded_reach(10), 2)
    (1.96, 2.38)
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
