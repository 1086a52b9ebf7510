"""What a node of a tree, or a detector, sees of a prepared dataset."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.label_tree import Tree, find_node, parse_tree
from bccli.core.data.manifest import content_hash
from bccli.core.data.positive_class import GIVEN, KNOWN, NORMAL, find_positive, severity
from bccli.core.errors import DataError


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


WITHOUT, LESION = "normal", "lesion"
"""The classes of a detector."""


def lesions_of(dataset: Dataset) -> Dataset:
    """The images as a detector sees them: with a lesion, which a mask marks, or without.

    An image without a mask has no lesion where its class says so, or none of its class has a mask; a patch
    has none where the mask of its film has pixels in other patches. What is left, whose lesion nobody has
    marked, is left out. Raises DataError where there is no mask at all.
    """
    marked = {sample.label for sample in dataset.samples if sample.mask}
    films = {sample.source for sample in dataset.samples if sample.mask and sample.row is not None}
    if not marked:
        raise DataError(
            f"{dataset.root}: has no masks, which show where lesions are; prepare it from a source with "
            "masks, and without --roi"
        )
    samples = tuple(
        replace(sample, label=LESION if sample.mask else WITHOUT)
        for sample in dataset.samples
        if sample.mask
        or sample.label not in marked
        or severity(sample.label) == NORMAL
        or (sample.row is not None and sample.source in films)
    )
    info = dataset.info.with_facts(
        classes=[WITHOUT, LESION], positive=LESION, positive_origin=KNOWN, subset={"lesions": "mask"}
    )
    return Dataset(dataset.root, info, samples, content_hash(samples))


def dataset_of_node(dataset: Dataset, subset: Mapping[str, Any] | None) -> Dataset:
    """The images under the node that `subset` names; all where there is none or labels are not the tree's.

    Those of a detector where it says so.
    """
    if subset is None:
        return dataset
    if "lesions" in subset:
        return lesions_of(dataset)
    tree = parse_tree(subset["tree"])
    if not set(dataset.classes) <= set(tree.leaves):
        return dataset
    return subset_of(dataset, tree, find_node(tree, subset["node"], "the node"))[0]
