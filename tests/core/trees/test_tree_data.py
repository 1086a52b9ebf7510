"""What a node of a tree learns from, and the images of a reused run's own data that match the tree's."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bccli.core.data.label_tree import parse_tree
from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError
from bccli.core.trees.tree_data import TreeData, matching_images, shares_in_train

TREE = parse_tree("normal, tumor(benign, cancer)")
TUMOR = next(node for node in TREE.inner if node.name == "tumor")


def dataset_of(*labels: str, name: str = "DATA", **changes: Any) -> Any:
    """A dataset with a sample for each label, of its own source."""
    samples = tuple(
        Sample(**{"path": f"{n}.png", "source": f"raw/{n}", "label": label, **changes})
        for n, label in enumerate(labels)
    )
    return SimpleNamespace(root=Path(name), samples=samples)


def tree_data_of(*labels: str, codes: list[int]) -> TreeData:
    return TreeData(dataset_of(*labels), np.array(codes), {}, Path("cache"))


@pytest.mark.parametrize(
    ("codes", "shares"),
    [
        ([0, 0, 0, 0, 0], [0.25, 0.75]),
        ([0, 0, 0, 1, 2], [0.5, 0.5]),
        ([0, 1, 0, -1, 0], [0, 1]),
        ([0, 1, 1, 2, 2], [0.5, 0.5]),
    ],
    ids=["all", "some", "one child only", "none"],
)
def test_shares_are_those_of_the_images_under_the_node_in_train(
    codes: list[int], shares: list[float]
) -> None:
    data = tree_data_of("normal", "benign", "cancer", "cancer", "cancer", codes=codes)
    assert shares_in_train(TUMOR, data).tolist() == shares


def test_images_match_by_their_sources_and_others_have_none() -> None:
    data = tree_data_of("normal", "benign", "cancer", codes=[0, 0, 1])
    own = dataset_of("elsewhere", "benign", "cancer", name="CROPS")
    own.samples = own.samples[:0:-1]
    assert matching_images(TUMOR, own, data) == [None, own.samples[1], own.samples[0]]


def test_only_images_in_a_split_are_matched() -> None:
    data = tree_data_of("cancer", "benign", codes=[-1, 0])
    own = dataset_of("benign", "benign", name="CROPS")
    assert matching_images(TUMOR, own, data) == [own.samples[1]]


@pytest.mark.parametrize(
    ("own", "fragment"),
    [
        (dataset_of("cancer", name="CROPS"), "CROPS: has no image of raw/1, which is benign in DATA"),
        (dataset_of("cancer", "cancer", name="CROPS"), "CROPS: raw/1 is cancer there and benign in DATA"),
        (dataset_of("cancer", "benign", name="CROPS", source="raw/0"), "CROPS: has several images of raw/0"),
    ],
    ids=["missing", "another label", "several"],
)
def test_data_that_does_not_match_is_refused(own: Any, fragment: str) -> None:
    data = tree_data_of("cancer", "benign", codes=[0, 0])
    with pytest.raises(DataError, match=fragment):
        matching_images(TUMOR, own, data)
