"""Several evaluations side by side: their order, their comparison and their JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.terms import Terms
from bccli.core.metrics.comparison import Side, compare, images_apart
from bccli.core.metrics.figures import Figures

FORMAT = 1


def leaderboard(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Best first by accuracy on val, equal ones by log loss on val; those without val last, as they came.

    Nothing of test is looked at.
    """

    def rank(entry: Evaluation) -> tuple[float, float]:
        accuracy = entry.whole.val_accuracy
        return (math.inf, 0.0) if accuracy is None else (-accuracy, entry.val_loss)

    return sorted(evaluations, key=rank)


def with_remarks_on_images(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The same; of more than two, each says with which others it has no image in common."""
    if len(evaluations) < 3:
        return list(evaluations)  # the comparison of two says it
    apart = images_apart([entry.units for entry in evaluations])
    return [
        _remarking(entry, [evaluations[index].whole.name or "" for index in others]) if others else entry
        for entry, others in zip(evaluations, apart, strict=True)
    ]


def _remarking(entry: Evaluation, others: Sequence[str]) -> Evaluation:
    named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    remark = f"has no image in common with {named}: their figures cannot be compared"
    return replace(entry, whole=replace(entry.whole, remarks=[*(entry.whole.remarks or ()), remark]))


def comparison(evaluations: Sequence[Evaluation], terms: Terms) -> dict[str, Any] | None:
    """Two subjects against each other; None where there are not two."""
    if len(evaluations) != 2:
        return None
    sides = [Side(entry.whole.name or "", entry.units) for entry in evaluations]
    return compare(*sides, positive=evaluations[0].whole.positive, rounds=terms.rounds)


def figures_json(figures: Sequence[Figures], comparison: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The contract's JSON; a comparison of two stands behind it."""
    found: dict[str, Any] = {"format": FORMAT, "runs": [entry.to_json() for entry in figures]}
    return {**found, "comparison": dict(comparison)} if comparison else found
