"""Whether a share of right answers differs among groups of images more than by chance, patients whole.

The groups are dealt anew: among patients, where each of them is in one group (density, age), else within
each patient (views, sides). Where nothing depends on the groups, a deal is as likely as what was seen, so
that the p-value is exact whatever the images of one patient have in common (Good 2005, "Permutation,
Parametric and Bootstrap Tests of Hypotheses", DOI 10.1007/b138696).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bccli.core.metrics.material import Integers

DEALS = 2000
"""So often the groups are dealt anew."""
FEWEST = 5
"""With fewer patients nothing is said."""


@dataclass(frozen=True)
class Heterogeneity:
    """The p-value of "the groups do not matter" and how many groups and patients it rests on; `within` says
    that groups were dealt within patients."""

    p: float
    groups: int
    patients: int
    within: bool

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def heterogeneity(
    right: np.ndarray, groups: Integers, owners: Integers, *, seed: int = 0
) -> Heterogeneity | None:
    """Test whether answers are right, bool (n,), equally often in all `groups` (n,), whose images belong to
    `owners` (n,), numbers of patients.

    None where there are fewer than two groups, or too few patients to deal them among.

    >>> import numpy as np
    >>> density, patients = np.repeat([1, 2, 3], 40), np.repeat(np.arange(60), 2)
    >>> heterogeneity(density != 3, density, patients).p < 0.001
    True
    """
    groups = np.unique(groups, return_inverse=True)[1]
    owners = np.unique(owners, return_inverse=True)[1]
    count, patients = int(groups.max(initial=-1)) + 1, int(owners.max(initial=-1)) + 1
    first = np.full(patients, -1)
    first[owners] = groups
    within = bool((first[owners] != groups).any())
    dealt = _several(groups, owners) if within else np.arange(len(groups))
    having = len(np.unique(owners[dealt]))
    if count < 2 or having < FEWEST:
        return None
    rng = np.random.default_rng(seed)
    deal = _dealt_within(groups, owners) if within else _dealt_among(first, owners)
    seen = _spread(right, groups, count)
    larger = sum(_spread(right, deal(rng), count) >= seen * (1 - 1e-12) for _ in range(DEALS))
    return Heterogeneity((1 + larger) / (1 + DEALS), count, having, within)


def _spread(right: np.ndarray, groups: Integers, count: int) -> float:
    """How far the shares of the groups lie from that of all, each weighed by its images."""
    sizes = np.bincount(groups, minlength=count)
    hits = np.bincount(groups, right, count)
    shares = hits / np.maximum(sizes, 1)
    return float((sizes * (shares - right.mean()) ** 2).sum())


def _several(groups: Integers, owners: Integers) -> Integers:
    """The images of patients who are in several groups."""
    low, high = np.full(owners.max() + 1, np.iinfo(np.int64).max), np.full(owners.max() + 1, -1)
    np.minimum.at(low, owners, groups)
    np.maximum.at(high, owners, groups)
    return np.flatnonzero(low[owners] != high[owners])


def _dealt_among(first: Integers, owners: Integers) -> Any:
    """Deals the group of each patient to another one."""
    return lambda rng: rng.permutation(first)[owners]


def _dealt_within(groups: Integers, owners: Integers) -> Any:
    """Deals the groups of each patient's images among these."""
    order = np.argsort(owners, kind="stable")

    def deal(rng: np.random.Generator) -> Integers:
        mixed = order[np.lexsort((rng.random(len(owners)), owners[order]))]
        found = np.empty_like(groups)
        found[order] = groups[mixed]
        return found

    return deal
