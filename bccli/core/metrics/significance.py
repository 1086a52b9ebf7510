"""Tests of whether one of two classifiers on the same images is better, or only luckier.

A measure's p-value comes of swapping the two within whole patients, that of two areas under ROC curves of
DeLong's test as Obuchowski extended it to images of one patient. McNemar's test takes every image as
independent: where patients have several images it is too sure.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bccli.core.metrics.material import Floats, Integers, Material, Sums
from bccli.core.metrics.weighted import CELLS, measures

EXACT = 1000
"""McNemar's test is exact up to so many disagreements, and by χ² with continuity correction beyond."""

SWAPS = 10_000
"""So often the two are swapped in a random half of the patients."""
FEWEST_SWAPS, MOST_CELLS = 1000, 100_000_000
"""Of very many patients less often, so that no more patients, times swaps, are looked at."""
EVERY_SWAP = 13
"""Of so few patients each way to swap is looked at instead."""


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> dict[str, Any]:
    """The p-value of "both are right equally often", from arrays bool (n,).

    McNemar 1947, DOI 10.1007/BF02295996; only images on which one is right and the other wrong count.
    """
    first = int((first_right & ~second_right).sum())
    second = int((second_right & ~first_right).sum())
    return {"first_only": first, "second_only": second, "p": _mcnemar_p(first, second)}


def _mcnemar_p(first: int, second: int) -> float:
    count = first + second
    if count > EXACT:
        return math.erfc(math.sqrt((abs(first - second) - 1) ** 2 / count / 2))
    ways = sum(math.comb(count, k) for k in range(min(first, second) + 1))
    return min(1.0, 2 * ways / 2**count)


def delong(
    is_positive: np.ndarray, scores: Sequence[np.ndarray], owners: Integers | None = None
) -> dict[str, Any] | None:
    """The areas under two ROC curves of the same images, their standard errors, the p-value of "equal".

    Obuchowski 1997, DOI 10.2307/2533958, for images whose `owners` (n,), numbers of patients, may have
    several, of either class. With one each, as by default, it is the test of DeLong, DeLong and
    Clarke-Pearson 1988, DOI 10.2307/2531595. Both by midranks (Sun and Xu 2014, DOI
    10.1109/LSP.2014.2337313). None where a class has fewer than two patients.
    """
    owners = np.arange(len(is_positive)) if owners is None else np.unique(owners, return_inverse=True)[1]
    patients = int(owners.max(initial=-1)) + 1
    counts = [np.bincount(owners[chosen], minlength=patients) for chosen in (is_positive, ~is_positive)]
    having = [int((count > 0).sum()) for count in counts]
    if min(having) < 2:
        return None
    found = [_placements(is_positive, values) for values in scores]
    areas = [float(above.mean()) for above, _ in found]
    # Each patient's placements, less what they would be if all patients were alike: (2 scores, patients).
    above, below = (
        np.stack(
            [
                np.bincount(owners[chosen], pair[side], patients) - counts[side] * area
                for pair, area in zip(found, areas, strict=True)
            ]
        )
        / counts[side].sum()
        for side, chosen in enumerate((is_positive, ~is_positive))
    )
    crossed = above @ below.T
    covariance = (
        having[0] / (having[0] - 1) * above @ above.T
        + having[1] / (having[1] - 1) * below @ below.T
        + patients / (patients - 1) * (crossed + crossed.T)
    )
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = areas[0] - areas[1]
    if variance <= 1e-18:
        return {**_areas(areas, covariance), "z": None, "p": 1.0 if abs(difference) < 1e-12 else None}
    z = difference / math.sqrt(variance)
    return {**_areas(areas, covariance), "z": z, "p": math.erfc(abs(z) / math.sqrt(2))}


def _areas(areas: Sequence[float], covariance: Floats) -> dict[str, Any]:
    return {"roc_auc": list(areas), "standard_error": np.sqrt(np.diag(covariance)).tolist()}


def _placements(is_positive: np.ndarray, scores: np.ndarray) -> tuple[Floats, Floats]:
    """For each positive the share of negatives below it, for each negative that of positives above it."""
    above, below = scores[is_positive], scores[~is_positive]
    everywhere = _midranks(scores)
    return (
        (everywhere[is_positive] - _midranks(above)) / len(below),
        1 - (everywhere[~is_positive] - _midranks(below)) / len(above),
    )


def _midranks(values: np.ndarray) -> Floats:
    """Ranks from 1, ties sharing the mean of theirs."""
    _, indices, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[indices]


def swapped(first: Material, second: Material, *, seed: int = 0) -> dict[str, float]:
    """The p-value of "equal" for each measure that both have, areas excepted.

    If the two are equally good, it does not matter which of them said what of a patient: the difference is
    compared with those after swapping them in random patients, or in each set of few. Whole patients are
    swapped, with all their images (Dwass 1957, DOI 10.1214/aoms/1177707045: a permutation test by sampling).
    """
    both = _side_by_side(first, second)
    ones = np.ones((1, first.clusters))
    observed = _difference(both, np.concatenate([ones, 0 * ones], axis=1))
    larger, known = (dict.fromkeys(observed, 0) for _ in range(2))
    for ways in _swaps(first.clusters, seed):
        for name, values in _difference(both, np.concatenate([1 - ways, ways], axis=1)).items():
            known[name] += int((~np.isnan(values)).sum())
            larger[name] += int((np.abs(values) >= abs(observed[name][0]) - 1e-12).sum())
    sampled = first.clusters > EVERY_SWAP  # the two as they are count as one of the ways
    return {
        name: (larger[name] + sampled) / (known[name] + sampled)
        for name, values in observed.items()
        if known[name] and not np.isnan(values[0])
    }


def _swaps(clusters: int, seed: int) -> Iterator[Floats]:
    """In whom the two are swapped, (r, C): every way, the one that swaps nobody included, or random ones."""
    if clusters <= EVERY_SWAP:
        yield (np.arange(2**clusters)[:, None] >> np.arange(clusters) & 1).astype(np.float64)
        return
    source = np.random.default_rng(seed)
    step = max(1, CELLS // (16 * clusters))
    swaps = min(SWAPS, max(FEWEST_SWAPS, MOST_CELLS // clusters))
    for start in range(0, swaps, step):
        yield source.integers(0, 2, (min(step, swaps - start), clusters)).astype(np.float64)


def _side_by_side(first: Material, second: Material) -> Material:
    """Both as one, the clusters of the second behind those of the first; without scores."""

    def both(name: str) -> Floats:
        return np.concatenate([getattr(first.sums, name), getattr(second.sums, name)])

    shared = [name for name in first.sums.means if name in second.sums.means]
    means = {name: np.concatenate([first.sums.means[name], second.sums.means[name]]) for name in shared}
    right = None if first.sums.right is None else both("right")
    return replace(first, sums=Sums(both("counts"), both("distance"), means, None, right), rankings={})


def _difference(both: Material, weights: Floats) -> dict[str, Floats]:
    """What weightings (R, 2 C) say more than those that take the other one of the two of each cluster."""
    other = np.roll(weights, weights.shape[1] // 2, axis=1)
    one, rest = (measures(both, weighting, every_class=False) for weighting in (weights, other))
    return {name: one[name] - rest[name] for name in one}
