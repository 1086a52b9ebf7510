"""Figures of a tree of classifiers: of each node for itself, and confusions weighed by where they happen."""

from dataclasses import replace
from typing import Any

from bccli.core.data.foreign_tables import real
from bccli.core.data.label_tree import Tree
from bccli.core.evaluation.tree_decisions import (
    DECISIONS,
    answers_behind,
    from_columns,
    hierarchical,
    truth_at,
)
from bccli.core.metrics.figures import measure
from bccli.core.metrics.material import Floats
from bccli.core.runs.predictions import Predictions

_OF_A_NODE = (
    "n", "patients", "classes", "accuracy", "balanced_accuracy", "majority_accuracy", "roc_auc",
    "confusion_matrix",
)  # fmt: skip


def labelled_by_tree(tree: Tree, decide: str, units: Predictions) -> Predictions:
    """Units whose probabilities are means, labelled as the tree labels these; others are as they were."""
    if units.probabilities is None or decide == "path":
        return units
    answers = answers_behind(tree, units.probabilities, units.classes)
    return replace(units, predicted=DECISIONS[decide](tree, answers, units.classes))


def answers_in(tree: Tree, units: Predictions, *, merged: bool) -> dict[str, Floats] | None:
    """The nodes' answers (units, children): as stored, or those behind the probabilities of the labels.

    The latter are also those of a flat run, whose nodes are sums. None without either.
    """
    stored = None if merged else from_columns(tree, units.further)
    if stored is not None or units.probabilities is None:
        return stored
    return answers_behind(tree, units.probabilities, units.classes)


def _located(node: str, units: Predictions) -> dict[str, float | int] | None:
    """How well a node's regions are found where masks show them: how often the map's peak lies in the true
    box, and the mean overlap of the boxes. None where that is not known."""
    try:
        values = [
            [real(text) for text in units.further.get(column, ()) if text]
            for column in columns_of_regions(node)
        ]
    except ValueError:  # another tool's columns of these names
        return None
    if not all(values):
        return None
    hits, overlaps = values
    return {"n": len(hits), "hit_rate": sum(hits) / len(hits), "iou": sum(overlaps) / len(overlaps)}


def columns_of_regions(node: str) -> tuple[str, str]:
    """The columns of a table that say how well a node's regions are found."""
    return f"{node}_hit", f"{node}_iou"


def measure_tree(
    tree: Tree, units: Predictions, *, decide: str | None, merged: bool, rounds: int | None
) -> dict[str, Any]:
    """Hierarchical precision, recall and F1; each node's figures on all images that truly belong under it;
    the accuracy that each way to decide would have. `decide` is None for a flat run."""
    answers = answers_in(tree, units, merged=merged)
    nodes = {}
    for node in tree.inner if answers else ():
        assert answers is not None
        truth = truth_at(node, units.labels, units.classes)
        here = truth >= 0
        figures = measure(
            truth[here],
            answers[node.name][here],
            node.names,
            patients=units.where(here).patients,
            owners=None if units.owners is None else units.owners[here],
            rounds=rounds,
        ).to_json()
        limits, error = ((figures[key] or {}).get("accuracy") for key in ("ci", "ci_error"))
        nodes[node.name] = {
            **{key: figures[key] for key in _OF_A_NODE},
            "ci": {"accuracy": limits},
            "ci_error": {} if error is None else {"accuracy": error},
            "located": _located(node.name, units),
        }
    accuracies = {
        name: float((choose(tree, answers, units.classes) == units.labels).mean())
        for name, choose in DECISIONS.items()
        if answers and len(units)
    }
    return {
        "labels": str(tree),
        "decide": decide,
        "hierarchical": hierarchical(tree, units.labels, units.predicted, units.classes),
        "nodes": nodes,
        "decisions": accuracies,
    }
