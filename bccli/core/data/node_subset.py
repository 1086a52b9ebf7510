"""What a node of a tree sees of a prepared dataset."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.label_tree import Tree, find_node, parse_tree
from bccli.core.data.manifest import content_hash
from bccli.core.data.positive_class import GIVEN, find_positive


def subset_of(dataset: Dataset, tree: Tree, node: Tree) -> tuple[Dataset, np.ndarray]:
    """The images that truly belong under a tree's node, labelled with its children, and their positions."""
    pairs = [(index, node.child_of(sample.label)) for index, sample in enumerate(dataset.samples)]
    indexes = np.array([index for index, child in pairs if child is not None], np.int64)
    samples = tuple(
        replace(dataset.samples[index], label=child) for index, child in pairs if child is not None
    )
    given = dataset.positive.name if dataset.positive.origin == GIVEN else None
    positive = find_positive(node.names, given if given in node.names else None)
    info = dataset.info.with_facts(
        classes=list(node.names),
        positive=positive.name,
        positive_origin=positive.origin,
        subset={"tree": str(tree), "node": node.name},
    )
    return Dataset(dataset.root, info, samples, content_hash(samples)), indexes


def dataset_of_node(dataset: Dataset, subset: Mapping[str, Any] | None) -> Dataset:
    """The images under the node that `subset` names; all where there is none or labels are not the tree's."""
    if subset is None:
        return dataset
    tree = parse_tree(subset["tree"])
    if not set(dataset.classes) <= set(tree.leaves):
        return dataset
    return subset_of(dataset, tree, find_node(tree, subset["node"], "the node"))[0]
