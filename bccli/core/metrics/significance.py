"""Two classifiers on the same images: is one better, or only luckier?

Three answers: each difference with its interval over patients; its p-value by swapping the two within whole
patients; and, for two areas under ROC curves, DeLong's test as Obuchowski extended it to images of one
patient. McNemar's test takes every image as independent: where patients have several it is too sure, and is
given as such.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bccli.core.metrics.bootstrap import spreads
from bccli.core.metrics.cases import material_of
from bccli.core.metrics.material import Floats, Integers, Material, Sums
from bccli.core.metrics.support import FEWEST, supports
from bccli.core.metrics.weighted import CELLS, measures
from bccli.core.runs.aggregation import drawn_again, joined, with_owners
from bccli.core.runs.predictions import Predictions

EXACT = 1000
"""McNemar's test is exact up to so many disagreements, and by χ² with continuity correction beyond."""

SWAPS = 10_000
"""So often the two are swapped in a random half of the patients."""
FEWEST_SWAPS, MOST_CELLS = 1000, 100_000_000
"""Of very many patients less often, so that no more patients, times swaps, are looked at."""
EVERY_SWAP = 13
"""Of so few patients each way to swap is looked at instead."""

COMPARED = (
    "accuracy", "balanced_accuracy", "f1", "roc_auc", "pr_auc", "tpr", "tnr", "mcc", "kappa", "log_loss",
    "brier", "patient_accuracy",
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One of the two: its name, and its predictions with a row per unit and unique paths."""

    name: str
    predictions: Predictions


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


def compare(first: Side, second: Side, *, positive: str | None, rounds: int | None) -> dict[str, Any]:
    """What the two say about the images that both have, as JSON; a `reason` where there are none."""
    names = {"first": first.name, "second": second.name}
    a, b, reason = _common(first.predictions, second.predictions)
    if reason or a is None or b is None:
        return {**names, "n": 0, "reason": reason}
    assert a.owners is not None
    clusters = len(np.unique(a.owners))
    clustered = clusters < len(a)
    found: dict[str, Any] = {
        **names,
        "n": len(a),
        "patients": len(set(a.patients) - {""}) or None,
        "resampled": drawn_again(a),
        "differences": _differences(a, b, positive, rounds),
    }
    found["mcnemar"] = {**mcnemar(a.predicted == a.labels, b.predicted == b.labels), "naive": clustered}
    found["delong"] = None
    if len(a.classes) == 2 and a.probabilities is not None and b.probabilities is not None:
        number = a.classes.index(positive or a.classes[-1])
        scores = [a.probabilities[:, number], b.probabilities[:, number]]
        tested = delong(a.labels == number, scores, a.owners)
        found["delong"] = tested and {**tested, "method": "Obuchowski 1997" if clustered else "DeLong 1988"}
        if tested and "roc_auc" in found["differences"]:
            found["differences"]["roc_auc"]["p"] = tested["p"]
    return found


def _differences(
    a: Predictions, b: Predictions, positive: str | None, rounds: int | None
) -> dict[str, dict[str, Any]]:
    """First less second for each measure, with limits and a p-value where there are patients enough."""
    materials = [
        material_of(
            side.labels, side.probabilities, side.classes,
            positive=positive, patients=a.patients, owners=a.owners, predicted=side.predicted,
        )
        for side in (a, b)
    ]  # fmt: skip
    enough = materials[0].clusters >= FEWEST
    left, right = spreads(materials, rounds=1 if rounds == 0 or not enough else rounds)
    chances, behind = swapped(*materials) if enough else {}, supports(materials[0])
    differences = {}
    for name in COMPARED:
        if name not in left or name not in right:
            continue
        spread = left[name].minus(right[name])
        if math.isnan(spread.point):
            continue
        limits = None
        if enough and rounds != 0:
            limits, _ = spread.limits(behind[name])
        differences[name] = {
            "difference": spread.point,
            "ci": limits and [limits.low, limits.high],
            "ci_error": limits and limits.error,
            "p": chances.get(name),
        }
    return differences


def _common(first: Predictions, second: Predictions) -> tuple[Predictions | None, Predictions | None, str]:
    """Both restricted to the images that they share, in the same order, the second in the first's classes."""
    if set(first.classes) != set(second.classes):
        return None, None, f"their classes differ ({', '.join(first.classes)}; {', '.join(second.classes)})"
    names = [_names(first), _names(second)]
    if len(set(names[0]) & set(names[1])) < len(set(first.paths) & set(second.paths)):
        names = [first.paths, second.paths]
    indices = {name: index for index, name in enumerate(names[1])}
    named = sorted((name, index) for index, name in enumerate(names[0]) if name in indices)
    if not named:
        return None, None, "they have no image in common"
    if len(names[0]) > len(set(names[0])) or len(names[1]) > len(indices):
        return None, None, "an image is there several times; --level image averages what is said of it"
    ours, theirs = (
        np.array(column) for column in zip(*((at, indices[name]) for name, at in named), strict=True)
    )
    a, b = _of_one_patient(_taken(first, ours, first.classes), _taken(second, theirs, first.classes))
    if (a.labels != b.labels).any():
        index = int((a.labels != b.labels).argmax())
        truths = [first.classes[int(side.labels[index])] for side in (a, b)]
        return None, None, f"{a.paths[index]} is {truths[0]} in one and {truths[1]} in the other"
    return a, b, ""


def images_apart(sides: Sequence[Predictions]) -> list[list[int]]:
    """For each, the indices of those that have no image in common with it, by source or by path."""
    named = [(set(_names(side)), set(side.paths)) for side in sides]
    return [
        [
            index
            for index, other in enumerate(named)
            if all(mine.isdisjoint(theirs) for mine, theirs in zip(own, other, strict=True))
        ]
        for own in named
    ]


def _of_one_patient(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """Both with the patients that either knows, and what neither may separate."""
    owners = [
        with_owners(side, several_per_image=False).owners if side.owners is None else side.owners
        for side in (a, b)
    ]
    owners_of_both = joined([numbers for numbers in owners if numbers is not None])
    who = [
        theirs if theirs and not ours else ours for ours, theirs in zip(a.patients, b.patients, strict=True)
    ]
    group = tuple(x or y for x, y in zip(*(side.further["group"] for side in (a, b)), strict=True))
    return (
        replace(a, owners=owners_of_both, patients=tuple(who), further={"group": group}),
        replace(b, owners=owners_of_both, patients=tuple(who), further={"group": group}),
    )


def _names(predictions: Predictions) -> tuple[str, ...]:
    """What images are called in every preparation: by their sources where each has its own, else paths."""
    sources = predictions.sources
    return sources if sources and all(sources) and len(set(sources)) == len(sources) else predictions.paths


def _taken(predictions: Predictions, indices: np.ndarray, classes: Sequence[str]) -> Predictions:
    """Some rows in a given order, with the classes in a given order."""
    numbers = np.array([classes.index(name) for name in predictions.classes])
    columns = [predictions.classes.index(name) for name in classes]
    groups = predictions.further.get("group") or ("",) * len(predictions)
    return Predictions(
        classes=tuple(classes),
        splits=(),
        patients=tuple(predictions.patients[index] for index in indices.tolist()),
        labels=numbers[predictions.labels[indices]],
        predicted=numbers[predictions.predicted[indices]],
        probabilities=None
        if predictions.probabilities is None
        else predictions.probabilities[indices][:, columns],
        paths=tuple(predictions.paths[index] for index in indices.tolist()),
        owners=None if predictions.owners is None else predictions.owners[indices],
        further={"group": tuple(groups[index] for index in indices.tolist())},
    )
