"""The sums and rankings of images that measures for any weighting are made of.

n images belong to C clusters (patients) and have one of K classes. Counts and sums are added up per cluster
once; images are sorted by their scores once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
CALIBRATION_BINS = 15
"""Guo et al. 2017, "On Calibration of Modern Neural Networks", table 1."""


@dataclass(frozen=True)
class Sums:
    """What one or more measures need: a column of sums per cluster (C,) or (C, …) under each name.

    `counts` (C, 3, K) has the images that are of each class, those that are predicted to be, and those of
    which both is true; `distance` (C,) sums how far the two are apart (see `collect`); `means` has the sum of
    each quantity that is averaged over images; `surplus` (C, bins) that of confidence less correctness, None
    without probabilities; `right` (C, 2) sums the shares of right images over a cluster's patients and counts
    these, None where no patient is known.
    """

    counts: Floats
    distance: Floats
    means: Mapping[str, Floats]
    surplus: Floats | None
    right: Floats | None


@dataclass(frozen=True)
class Steps:
    """Where areas grow: at each positive, or, with ties, at each of the S scores that positives have.

    Owners of the positives and of the negatives, by falling score; how many negatives are `above` a step
    (S,) and how many above or `level` with it (S,); its `last` positive (S,), None where there are no ties.
    """

    positives: Integers
    negatives: Integers
    above: Integers
    level: Integers
    last: Integers | None


@dataclass(frozen=True)
class Ranking:
    """One class against the rest, images sorted by falling score: owners (n,), positives (n,), ties' ends."""

    owners: Integers
    positives: Bools
    ends: Integers | None

    @cached_property
    def steps(self) -> Steps:
        """Where the areas under the curves grow."""
        owners = self.owners[self.positives], self.owners[~self.positives]
        if self.ends is None:
            above = np.flatnonzero(self.positives) - np.arange(len(owners[0]))
            return Steps(*owners, above, above, None)
        ends = self.ends + 1
        found = np.append(0, np.cumsum(self.positives))[np.append(0, ends)]
        passed = np.append(0, ends) - found
        there = found[1:] > found[:-1]
        return Steps(*owners, passed[:-1][there], passed[1:][there], found[1:][there] - 1)


@dataclass(frozen=True)
class Material:
    """Images as the measures want them; `positive` is a class number, or None with more than two classes.

    `confusion` (K, K) counts images by true and predicted class; `quadratic` is how far classes are apart.
    """

    classes: int
    positive: int | None
    sums: Sums
    rankings: Mapping[int, Ranking]
    confusion: Integers
    quadratic: bool = False

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return len(self.sums.counts)

    @property
    def images(self) -> int:
        """How many images there are."""
        return int(self.confusion.sum())


@dataclass(frozen=True)
class Cases:
    """n images: true and predicted class numbers (n,), probabilities (n, K), and whose they are.

    `owners` (n,) are clusters 0…C-1; `patients` (n,) are numbers from 0, each within one cluster, None where
    none is known.
    """

    labels: Integers
    predicted: Integers
    probabilities: Floats | None
    owners: Integers
    patients: Integers | None = None


def collect(
    cases: Cases,
    *,
    classes: int,
    positive: int | None,
    per_image: Mapping[str, Floats],
    quadratic: bool = False,
) -> Material:
    """Add up and sort once; `per_image` are quantities (n,) to be averaged.

    `quadratic` weighs disagreement for Cohen's κ by the square of the distance between classes.
    """
    labels, predicted, owners = cases.labels, cases.predicted, cases.owners
    probabilities, patients = cases.probabilities, cases.patients
    count = int(owners.max(initial=-1)) + 1
    hits = labels == predicted
    right = None if patients is None else _shares_right(hits, patients, owners, count)
    surplus = None
    if probabilities is not None:
        confidence = np.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0]
        surplus = _per_cluster(
            owners, bins_of(confidence), count, CALIBRATION_BINS, weights=confidence - hits
        )
    means = {name: _summed(owners, values, count) for name, values in per_image.items()}
    counts = np.zeros((count, 3, classes))
    for row, (among, numbers) in enumerate(
        [(owners, labels), (owners, predicted), (owners[hits], labels[hits])]
    ):
        counts[:, row] = _per_cluster(among, numbers, count, classes)
    apart = _summed(owners, (labels - predicted) ** 2 if quadratic else ~hits, count)
    return Material(
        classes,
        positive,
        Sums(counts, apart, means, surplus, right),
        {}
        if probabilities is None
        else {k: rank(labels == k, probabilities[:, k], owners) for k in range(classes)},
        np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes),
        quadratic,
    )


def _shares_right(hits: Bools, patients: Integers, owners: Integers, count: int) -> Floats:
    """The sum of the shares of right images over each cluster's patients, and their number, (count, 2)."""
    shares = np.bincount(patients, weights=hits) / np.bincount(patients)
    cluster = np.zeros(len(shares), np.int64)
    cluster[patients] = owners
    return np.stack([np.bincount(cluster, shares, count), np.bincount(cluster, minlength=count)], axis=1)


def bins_of(confidence: Floats) -> Integers:
    """The bin ((m-1)/15, m/15] of each confidence, from 0 (Guo et al. 2017, equation 3).

    >>> bins_of(np.array([0.0, 1 / 15, 0.07, 1.0])).tolist()
    [0, 0, 1, 14]
    """
    return np.digitize(confidence, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1], right=True)


def _summed(owners: Integers, values: Floats | Integers | Bools, count: int) -> Floats:
    """Sums by cluster, (count,)."""
    return np.bincount(owners, values, count).astype(np.float64, copy=False)


def _per_cluster(
    owners: Integers, columns: Integers, count: int, width: int, weights: Floats | None = None
) -> Floats:
    """Sums by cluster and column, (count, width)."""
    table = np.bincount(owners * width + columns, weights=weights, minlength=count * width)
    return table.astype(np.float64, copy=False).reshape(count, width)


def rank(positives: Bools, scores: Floats, owners: Integers) -> Ranking:
    """Sort images by falling score."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_ties = np.append(ranked[1:] != ranked[:-1], True) if len(ranked) else np.zeros(0, bool)
    return Ranking(
        owners[order], positives[order], None if last_of_ties.all() else np.flatnonzero(last_of_ties)
    )
