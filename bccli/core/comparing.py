"""Two classifiers on the same images: is one better, or only luckier?

Three answers: the difference with its interval over patients; McNemar's test of who is right where; DeLong's
test of two areas under ROC curves. The tests take every image as independent; where patients have several,
they are too sure, and the interval is the one to believe.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.intervals import FEWEST, clusters_behind, spreads
from bccli.core.metrics import material_of
from bccli.core.predictions import Predictions
from bccli.core.weighting import Floats

EXACT = 1000
"""McNemar's test is exact up to so many disagreements, and by χ² with continuity correction beyond."""

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


def delong(is_positive: np.ndarray, scores: Sequence[np.ndarray]) -> dict[str, Any] | None:
    """The areas under two ROC curves of the same images, their standard errors, the p-value of "equal".

    DeLong, DeLong and Clarke-Pearson 1988, DOI 10.2307/2531595, by midranks (Sun and Xu 2014, DOI
    10.1109/LSP.2014.2337313). None where a class has fewer than two images.
    """
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if min(positives, negatives) < 2:
        return None
    found = [_placements(is_positive, values) for values in scores]
    areas = [float(found_area.mean()) for found_area, _ in found]
    covariance = (
        np.cov([above for above, _ in found]) / positives + np.cov([below for _, below in found]) / negatives
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
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def compare(first: Side, second: Side, *, positive: str | None, rounds: int) -> dict[str, Any]:
    """What the two say about the images that both have, as JSON; a `reason` where there are none."""
    names = {"first": first.name, "second": second.name}
    a, b, reason = _common(first.predictions, second.predictions)
    if reason or a is None or b is None:
        return {**names, "n": 0, "reason": reason}
    found: dict[str, Any] = {**names, "n": len(a), "differences": _differences(a, b, positive, rounds)}
    found["mcnemar"] = mcnemar(a.predicted == a.labels, b.predicted == b.labels)
    found["delong"] = None
    if len(a.classes) == 2 and a.probabilities is not None and b.probabilities is not None:
        number = a.classes.index(positive or a.classes[-1])
        found["delong"] = delong(a.labels == number, [a.probabilities[:, number], b.probabilities[:, number]])
    return found


def _differences(
    a: Predictions, b: Predictions, positive: str | None, rounds: int
) -> dict[str, dict[str, Any]]:
    """First less second for each measure, with limits where there are patients enough."""
    materials = [
        material_of(
            side.labels, side.probabilities, side.classes,
            positive=positive, patients=a.patients, predicted=side.predicted,
        )
        for side in (a, b)
    ]  # fmt: skip
    left, right = spreads(materials, rounds=max(rounds, 1))
    differences = {}
    for name in COMPARED:
        if name not in left or name not in right:
            continue
        spread = left[name].minus(right[name])
        if math.isnan(spread.point):
            continue
        enough = rounds and materials[0].clusters >= FEWEST
        limits = spread.limits(clusters_behind(name, materials[0]))[0] if enough else None
        differences[name] = {"difference": spread.point, "ci": limits}
    return differences


def _common(first: Predictions, second: Predictions) -> tuple[Predictions | None, Predictions | None, str]:
    """Both restricted to the images that they share, in the same order, the second in the first's classes."""
    if set(first.classes) != set(second.classes):
        return None, None, f"their classes differ ({', '.join(first.classes)}; {', '.join(second.classes)})"
    names = [_names(first), _names(second)]
    if len(set(names[0]) & set(names[1])) < len(set(first.paths) & set(second.paths)):
        names = [first.paths, second.paths]
    places = {name: place for place, name in enumerate(names[1])}
    pairs = [(place, places[name]) for place, name in enumerate(names[0]) if name in places]
    if not pairs:
        return None, None, "they have no image in common"
    ours, theirs = (np.array(column) for column in zip(*pairs, strict=True))
    a, b = _taken(first, ours, first.classes), _taken(second, theirs, first.classes)
    if (a.labels != b.labels).any():
        place = int((a.labels != b.labels).argmax())
        truths = [first.classes[int(side.labels[place])] for side in (a, b)]
        return None, None, f"{a.paths[place]} is {truths[0]} in one and {truths[1]} in the other"
    return a, b, ""


def _names(predictions: Predictions) -> tuple[str, ...]:
    """What images are called in every preparation: by their sources where each has its own, else paths."""
    sources = predictions.sources
    return sources if sources and all(sources) and len(set(sources)) == len(sources) else predictions.paths


def _taken(predictions: Predictions, places: np.ndarray, classes: Sequence[str]) -> Predictions:
    """Some rows in a given order, with the classes in a given order."""
    numbers = np.array([classes.index(name) for name in predictions.classes])
    columns = [predictions.classes.index(name) for name in classes]
    return Predictions(
        classes=tuple(classes),
        splits=(),
        patients=tuple(predictions.patients[place] for place in places.tolist()),
        labels=numbers[predictions.labels[places]],
        predicted=numbers[predictions.predicted[places]],
        probabilities=None
        if predictions.probabilities is None
        else predictions.probabilities[places][:, columns],
        paths=tuple(predictions.paths[place] for place in places.tolist()),
    )
