"""Decisions of a tree from the answers of its nodes, and how good each node is.

Everywhere: n images, `answers` has for each node with children its probabilities (n, children) in the
order of these, `classes` are the labels of the whole in the order of its probabilities (n, classes).

An image in the tree of the Mini-DDSM thesis: the root says tumour with 0.55, and the node below it says
cancer with 0.6. Greedy decisions end at cancer, and yet normal is the most probable label:

>>> tree = parse_tree("normal, tumor(benign, cancer)", "an example")
>>> answers = {"root": np.array([[0.45, 0.55]]), "tumor": np.array([[0.4, 0.6]])}
>>> classes = ["normal", "benign", "cancer"]
>>> leaf_probabilities(tree, answers, classes).round(2).tolist()
[[0.45, 0.22, 0.33]]
>>> [classes[number] for number in greedy(tree, answers, classes)]
['cancer']
>>> [classes[number] for number in path(tree, answers, classes)]
['normal']
>>> columns_of(tree)
('root:normal', 'root:tumor', 'tumor:benign', 'tumor:cancer')

Taking cancer for benign is half right, as both are tumours:

>>> hierarchical(tree, np.array([2]), np.array([1]), classes)
{'precision': 0.5, 'recall': 0.5, 'f1': 0.5}
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bccli.core.data.foreign_tables import real
from bccli.core.data.label_tree import Tree
from bccli.core.metrics.material import Floats, Integers

Answers = Mapping[str, Floats]


def leaf_probabilities(tree: Tree, answers: Answers, classes: Sequence[str]) -> Floats:
    """Probabilities (n, classes) that sum to 1: of each leaf the product along the way to it."""
    found = np.zeros((len(answers[tree.name]), len(classes)))

    def descend(node: Tree, reaching: Floats) -> None:
        if not node.children:
            found[:, classes.index(node.name)] = reaching
            return
        shares = np.asarray(answers[node.name], np.float64)
        shares = shares / shares.sum(axis=1, keepdims=True)
        for number, child in enumerate(node.children):
            descend(child, reaching * shares[:, number])

    descend(tree, np.ones(len(found)))
    return found


def greedy(tree: Tree, answers: Answers, classes: Sequence[str]) -> Integers:
    """Class numbers (n,): from the root on, each node chooses its most probable child, of equal ones the
    first (Mini-DDSM thesis, listing 1)."""
    chosen = np.zeros(len(answers[tree.name]), np.int64)

    def descend(node: Tree, here: np.ndarray) -> None:
        if not node.children:
            chosen[here] = classes.index(node.name)
            return
        choices = np.asarray(answers[node.name])[here].argmax(axis=1)
        for number, child in enumerate(node.children):
            descend(child, here[choices == number])

    descend(tree, np.arange(len(chosen)))
    return chosen


def path(tree: Tree, answers: Answers, classes: Sequence[str]) -> Integers:
    """Class numbers (n,): the leaf with the largest product along the way to it, of equal ones the first."""
    return leaf_probabilities(tree, answers, classes).argmax(axis=1)


DECISIONS: dict[str, Callable[[Tree, Answers, Sequence[str]], Integers]] = {"greedy": greedy, "path": path}
"""How a label is chosen, by the name that --decide has for it."""


def answers_behind(tree: Tree, probabilities: Floats, classes: Sequence[str]) -> dict[str, Floats]:
    """The answers that leaf probabilities (n, classes) come from, evenly spread where none reaches a node.

    Of means of leaf probabilities, as of the patches of an image, they are the answers of the whole image.
    """

    def reaching(node: Tree) -> Floats:
        numbers = [classes.index(leaf) for leaf in node.leaves]
        return np.asarray(probabilities[:, numbers].sum(axis=1), np.float64)

    found = {}
    for node in tree.inner:
        below = np.stack([reaching(child) for child in node.children], axis=1)
        sums = below.sum(axis=1, keepdims=True)
        even = np.full_like(below, 1 / below.shape[1])
        found[node.name] = np.divide(below, sums, out=even, where=sums > 0)
    return found


def columns_of(tree: Tree) -> tuple[str, ...]:
    """The columns in which tables have the answers of all nodes: NODE:CHILD."""
    return tuple(f"{node.name}:{child}" for node in tree.inner for child in node.names)


def to_columns(tree: Tree, answers: Answers) -> dict[str, Floats]:
    """The answers by column, (n,) each."""
    joined = np.concatenate([np.asarray(answers[node.name], np.float64) for node in tree.inner], axis=1)
    return dict(zip(columns_of(tree), joined.T, strict=True))


def from_columns(tree: Tree, columns: Mapping[str, Sequence[str]]) -> dict[str, Floats] | None:
    """The answers in the columns of a table; None where it lacks one, or has something else in it."""
    try:
        return {
            node.name: np.array(
                [[real(value) for value in columns[f"{node.name}:{child}"]] for child in node.names]
            ).T.reshape(-1, len(node.children))
            for node in tree.inner
        }
    except (KeyError, ValueError):
        return None


def truth_at(node: Tree, labels: Integers, classes: Sequence[str]) -> Integers:
    """The child (n,) under which each image truly belongs, -1 for images that belong elsewhere."""
    children = [node.child_of(name) for name in classes]
    numbers = [-1 if child is None else node.names.index(child) for child in children]
    return np.array(numbers, np.int64)[labels]


def hierarchical(
    tree: Tree, labels: Integers, predicted: Integers, classes: Sequence[str]
) -> dict[str, float | None]:
    """Precision, recall and F1 of labels together with the nodes above them, the root left out.

    A confusion inside of a node is half right. Kiritchenko, Matwin, Nock and Famili 2006, "Learning and
    Evaluation in the Presence of Class Hierarchies", DOI 10.1007/11766247_34; counted over all images.
    """
    ancestry = _ancestry(tree, classes)
    shared = float((ancestry[labels] & ancestry[predicted]).sum())
    given, true = float(ancestry[predicted].sum()), float(ancestry[labels].sum())
    if not len(labels):
        return dict.fromkeys(("precision", "recall", "f1"))
    return {"precision": shared / given, "recall": shared / true, "f1": 2 * shared / (given + true)}


def _ancestry(tree: Tree, classes: Sequence[str]) -> np.ndarray:
    """Which nodes (classes, nodes) are a class or above it, the root left out."""
    below: list[tuple[str, ...]] = []

    def visit(node: Tree) -> None:
        for child in node.children:
            below.append(child.leaves)
            visit(child)

    visit(tree)
    return np.array([[name in leaves for leaves in below] for name in classes])
