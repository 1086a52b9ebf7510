"""From the answers of a tree's nodes to those of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.data.label_tree import Tree, parse_tree
from bccli.core.evaluation.tree_decisions import (
    answers_behind,
    columns_of,
    from_columns,
    greedy,
    hierarchical,
    leaf_probabilities,
    path,
    to_columns,
    truth_at,
)
from tests.core.data.test_label_tree import trees

THESIS = parse_tree("normal, tumor(benign, cancer)")
CLASSES = "normal", "benign", "cancer"


def answers_of(tree: Tree, seed: int, images: int = 7) -> dict[str, np.ndarray]:
    """Random answers of all nodes, with ties now and then."""
    rng = np.random.default_rng(seed)
    found = {}
    for node in tree.inner:
        shares = rng.integers(1, 4, (images, len(node.children))).astype(float)
        found[node.name] = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def by_nested_ifs(tree: Tree, answers: dict[str, np.ndarray], image: int) -> str:
    """The thesis's listing 1 for any tree: another child than the first only where it is more probable."""
    if not tree.children:
        return tree.name
    best = 0
    for number in range(1, len(tree.children)):
        if answers[tree.name][image][number] > answers[tree.name][image][best]:
            best = number
    return by_nested_ifs(tree.children[best], answers, image)


@given(trees(), st.integers(0, 2**32 - 1), st.randoms())
def test_leaf_probabilities_sum_to_one_and_greedy_is_nested_ifs(
    tree: Tree, seed: int, shuffler: object
) -> None:
    answers = answers_of(tree, seed)
    classes = list(tree.leaves)
    shuffler.shuffle(classes)  # type: ignore[attr-defined]
    probabilities = leaf_probabilities(tree, answers, classes)
    assert np.allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-12)
    chosen = greedy(tree, answers, classes)
    assert [classes[number] for number in chosen] == [by_nested_ifs(tree, answers, k) for k in range(7)]
    assert (path(tree, answers, classes) == probabilities.argmax(axis=1)).all()
    behind = answers_behind(tree, probabilities, classes)
    assert all(np.allclose(behind[name], answers[name], atol=1e-6) for name in answers)
    texts = {
        name: [repr(float(value)) for value in column] for name, column in to_columns(tree, answers).items()
    }
    assert tuple(texts) == columns_of(tree)
    read = from_columns(tree, texts)
    assert read is not None
    assert all((read[name] == answers[name]).all() for name in answers)


@given(trees(), st.integers(0, 2**32 - 1))
def test_a_node_judges_what_truly_belongs_under_it(tree: Tree, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(len(tree.leaves), size=9)
    for node in tree.inner:
        truth = truth_at(node, labels, tree.leaves)
        wanted = [node.child_of(tree.leaves[label]) for label in labels]
        assert [None if number < 0 else node.names[number] for number in truth] == wanted


def test_greedy_and_path_may_differ() -> None:
    answers = {"root": np.array([[0.4, 0.6]]), "tumor": np.array([[0.5, 0.5]])}
    assert leaf_probabilities(THESIS, answers, CLASSES) == pytest.approx(np.array([[0.4, 0.3, 0.3]]))
    assert greedy(THESIS, answers, CLASSES).tolist() == [1]  # the tie goes to the first child
    assert path(THESIS, answers, CLASSES).tolist() == [0]


def test_nodes_that_nothing_reaches_are_even() -> None:
    behind = answers_behind(THESIS, np.array([[1.0, 0.0, 0.0]]), CLASSES)
    assert behind["tumor"].tolist() == [[0.5, 0.5]]


def test_columns_that_are_no_answers_are_none() -> None:
    assert from_columns(THESIS, {"root:normal": ["1"]}) is None
    assert from_columns(THESIS, {name: [""] for name in columns_of(THESIS)}) is None


def test_hierarchical_measures_are_those_of_augmented_sets() -> None:
    """{tumor, benign} against {tumor, cancer} shares one of two; against {normal}, none."""
    labels, predicted = np.array([1, 2, 0, 1]), np.array([2, 2, 0, 0])
    found = hierarchical(THESIS, labels, predicted, CLASSES)
    shared, given_, true = 1 + 2 + 1 + 0, 2 + 2 + 1 + 1, 2 + 2 + 1 + 2
    assert found["precision"] == pytest.approx(shared / given_)
    assert found["recall"] == pytest.approx(shared / true)
    assert found["f1"] == pytest.approx(2 * shared / (given_ + true))
    assert hierarchical(THESIS, np.zeros(0, int), np.zeros(0, int), CLASSES)["f1"] is None


def test_a_flat_tree_has_the_accuracy_as_its_hierarchical_measures() -> None:
    tree = parse_tree("a, b, c")
    labels, predicted = np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])
    assert set(hierarchical(tree, labels, predicted, "abc").values()) == {0.75}
