"""Two classifiers on the images that both have.

Each difference of a measure has its interval over patients and its p-value; McNemar's test, which takes every
image as independent, is marked as naive where patients have several images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bccli.core.metrics.bootstrap import spreads
from bccli.core.metrics.cases import material_of
from bccli.core.metrics.significance import delong, mcnemar, swapped
from bccli.core.metrics.support import FEWEST, supports
from bccli.core.runs.aggregation import drawn_again, joined, with_owners
from bccli.core.runs.predictions import Predictions

COMPARED = (
    "accuracy", "balanced_accuracy", "f1", "roc_auc", "pr_auc", "tpr", "tnr", "mcc", "kappa", "log_loss",
    "brier", "patient_accuracy",
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One of the two: its name, and its predictions with a row per unit and unique paths."""

    name: str
    predictions: Predictions


def compare(first: Side, second: Side, *, positive: str | None, rounds: int | None) -> dict[str, Any]:
    """Compare the two on the images that both have, as JSON; a `reason` where there are none."""
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
