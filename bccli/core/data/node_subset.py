"""What a node of a tree sees of a prepared dataset."""

from dataclasses import replace
from typing import Any

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.label_tree import Tree, find_node, parse_tree
from bccli.core.data.manifest import content_hash
from bccli.core.data.positive_class import GIVEN, find_positive

SUBSET = "view"
"""Where a view, and the `data` of a run that was trained on one, say which tree and node it is of."""


def subset_of(dataset: Dataset, tree: Tree, node: Tree) -> tuple[Dataset, np.ndarray]:
    """The images that truly belong under a tree's node, labelled with its children, and their positions."""
    pairs = [(place, node.child_of(sample.label)) for place, sample in enumerate(dataset.samples)]
    places = np.array([place for place, child in pairs if child is not None], np.int64)
    samples = tuple(
        replace(dataset.samples[place], label=child) for place, child in pairs if child is not None
    )
    given = dataset.positive.name if dataset.positive.origin == GIVEN else None
    positive = find_positive(node.names, given if given in node.names else None)
    info = {
        **dataset.info,
        "classes": list(node.names),
        "positive": positive.name,
        "positive_origin": positive.origin,
        SUBSET: {"tree": str(tree), "node": node.name},
    }
    return Dataset(dataset.root, info, samples, content_hash(samples)), places


def dataset_of_node(dataset: Dataset, view: dict[str, Any] | None) -> Dataset:
    """The dataset as a run's `view` has it; itself where there is none, or where it has other labels than the
    tree's."""
    if view is None:
        return dataset
    tree = parse_tree(view["tree"])
    if not set(dataset.classes) <= set(tree.leaves):
        return dataset
    return subset_of(dataset, tree, find_node(tree, view["node"], "the node"))[0]
