"""The predictor of a tree of classifiers: all its nodes, and the decision among their answers.

Nodes on the same frozen backbone are one model, `joint`: it makes the features once and the scores of all
these nodes of them. Each other node is a model of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from bccli.core.data.label_tree import Tree, parse_tree
from bccli.core.evaluation.tree_decisions import DECISIONS, answers_behind, leaf_probabilities, to_columns
from bccli.core.models.runtimes import OUTPUTS, Engine, Network
from bccli.core.prediction.detectors.locator import common_locators, load_detector_locators
from bccli.core.prediction.flips import Flip
from bccli.core.prediction.region_finder import Locator, load_map_locators
from bccli.core.prediction.run_predictor import (
    Averaging,
    ExplainingPredictor,
    ImagePatches,
    InputSpec,
    MeanOfFolds,
    Prediction,
    RunPredictor,
    input_spec_of,
    load_mean_of_folds,
    load_run_predictor,
    votes,
)
from bccli.core.runs.run_folder import Run, part_of
from bccli.core.runs.temperature import temper, temperature_of

if TYPE_CHECKING:
    from bccli.core.prediction.maps.heat import Heat

JOINT = "joint"


@dataclass(frozen=True)
class NodePredictor:
    """The predictor of one node or several, and the columns of the children of each."""

    predictor: RunPredictor
    nodes: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class TreePredictor:
    """A tree of classifiers. `spec` is that of its data; of an image in patches, each descends the tree.

    `locators` find the regions of images without a mask, by the specs of the nodes that classify them;
    `node_alone` loads the predictor of one node.
    """

    tree: Tree
    classes: tuple[str, ...]
    decide: str
    spec: InputSpec
    node_predictors: tuple[NodePredictor, ...]
    temperature: float | None = None
    locators: Mapping[InputSpec, Locator] = field(default_factory=dict)
    node_alone: Callable[[str], RunPredictor] | None = None

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """Those of all nodes."""
        of_nodes = (spec for several in self.node_predictors for spec in several.predictor.specs)
        return tuple(dict.fromkeys([self.spec, *of_nodes]))

    def __call__(
        self, images: Sequence[Sequence[ImagePatches]], flips: Sequence[Flip], step: int
    ) -> Prediction:
        """The leaves' probabilities, the labels among them, and the answers of each node."""
        counts = [len(entry.images) for entry in images[0]]
        in_patches = max(counts) > 1 and len(self.specs) == 1
        answers = self._of_nodes([_single_patches(images[0])] if in_patches else images, flips, step)
        probabilities = leaf_probabilities(self.tree, answers, self.classes)
        if in_patches:
            sums = np.add.reduceat(probabilities, np.cumsum([0, *counts[:-1]]))
            probabilities = sums / np.array(counts)[:, None]
            answers = answers_behind(self.tree, probabilities, self.classes)
        labels = DECISIONS[self.decide](self.tree, answers, self.classes)
        return Prediction(temper(probabilities, self.temperature), labels, to_columns(self.tree, answers))

    def heats(
        self,
        images: Sequence[Sequence[ImagePatches]],
        numbers: Sequence[int],
        flips: Sequence[Flip],
        step: int,
    ) -> "list[list[Heat]]":
        """Of each image the maps of the node that tells its class from the next of kin, for that class; where
        patches descend the tree, what each of them says."""
        if self.spec[0].patches and len(self.specs) == 1:
            return votes(self._of_patches, images[0], self.spec[0], numbers, flips, step)
        by_spec = dict(zip(self.specs, images, strict=True))
        return [
            self._heats_of(self.classes[number], index, by_spec, flips, step)
            for index, number in enumerate(numbers)
        ]

    def _heats_of(
        self,
        label: str,
        index: int,
        by_spec: Mapping[InputSpec, Sequence[ImagePatches]],
        flips: Sequence[Flip],
        step: int,
    ) -> "list[Heat]":
        node = next(node for node in self.tree.inner if label in node.names)
        alone = self._alone(node.name)
        if not isinstance(alone, ExplainingPredictor):
            return []
        entries = [by_spec[spec][index : index + 1] for spec in alone.specs]
        (heats,) = alone.heats(entries, [alone.classes.index(label)], flips, step)
        return heats

    @cached_property
    def _alone(self) -> Callable[[str], RunPredictor]:
        assert self.node_alone
        return cache(self.node_alone)

    def _of_patches(self, patches: np.ndarray, flips: Sequence[Flip], step: int) -> np.ndarray:
        """The leaves' probabilities (n, leaves) of n patches, each for itself."""
        entries = [ImagePatches(patch[None], (None,)) for patch in patches]
        return leaf_probabilities(self.tree, self._of_nodes([entries], flips, step), self.classes)

    def _of_nodes(
        self, images: Sequence[Sequence[ImagePatches]], flips: Sequence[Flip], step: int
    ) -> dict[str, np.ndarray]:
        """The probabilities (n, children) of each node."""
        by_spec = dict(zip(self.specs, images, strict=True))
        answers: dict[str, np.ndarray] = {}
        for several in self.node_predictors:
            found = several.predictor([by_spec[spec] for spec in several.predictor.specs], flips, step)
            shares = found.probabilities if isinstance(found, Prediction) else found
            answers |= {name: shares[:, list(columns)] for name, columns in several.nodes}
        return answers


@dataclass(frozen=True)
class FoldsOfTrees:
    """The trees of all folds: the mean of their leaves' probabilities, and the most probable one as label.

    The answers of nodes are those that such means come from, `locators` those of all trees.
    """

    tree: Tree
    folds: MeanOfFolds
    locators: Mapping[InputSpec, Locator] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The leaves, in the order of the probabilities."""
        return self.folds.classes

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """Those of all nodes of all trees."""
        return self.folds.specs

    def heats(
        self,
        images: Sequence[Sequence[ImagePatches]],
        numbers: Sequence[int],
        flips: Sequence[Flip],
        step: int,
    ) -> "list[list[Heat]]":
        """Of each image the maps of all trees."""
        return self.folds.heats(images, numbers, flips, step)

    def __call__(
        self, images: Sequence[Sequence[ImagePatches]], flips: Sequence[Flip], step: int
    ) -> Prediction:
        """The leaves' probabilities, the labels among them, and the answers of each node."""
        probabilities = self.folds(images, flips, step)
        answers = answers_behind(self.tree, probabilities, self.classes)
        return Prediction(probabilities, probabilities.argmax(axis=1), to_columns(self.tree, answers))


def load_folds_of_trees(run: Run, engine: Engine, tempered: bool) -> FoldsOfTrees:
    """The predictor of a run of all folds, each of kind tree."""
    tree = parse_tree(run.info.tree, f"{run.root}")
    folds = load_mean_of_folds(run, engine, tempered)
    return FoldsOfTrees(tree, folds, common_locators(folds.members))


def _single_patches(images: Sequence[ImagePatches]) -> list[ImagePatches]:
    return [
        ImagePatches(entry.images[index : index + 1], entry.positions[index : index + 1])
        for entry in images
        for index in range(len(entry.images))
    ]


def load_tree(run: Run, engine: Engine, tempered: bool) -> TreePredictor:
    """A run of kind tree; its nodes are never tempered for themselves."""
    tree = parse_tree(run.info.tree, f"{run.root}")
    node_predictors = []
    if joint := run.info.joint:
        node_predictors.append(_load_joint(run, engine, tree, joint))
    for node in tree.inner:
        if node.name not in joint:
            predictor = load_run_predictor(part_of(run, node.name), engine, tempered=False)
            order = tuple(predictor.classes.index(name) for name in node.names)
            node_predictors.append(NodePredictor(predictor, ((node.name, order),)))
    temperature = temperature_of(run) if tempered else None
    locators = {**load_map_locators(run, engine), **load_detector_locators(run, engine)}
    return TreePredictor(
        tree, run.classes, run.info.decide, input_spec_of(run), tuple(node_predictors), temperature,
        locators, partial(_load_node, run, engine),
    )  # fmt: skip


def _load_node(run: Run, engine: Engine, name: str) -> RunPredictor:
    return load_run_predictor(part_of(run, name), engine, tempered=False)


def _load_joint(run: Run, engine: Engine, tree: Tree, names: Sequence[str]) -> NodePredictor:
    """The nodes on one backbone, in the order of their scores."""
    outputs, nodes, first = [], [], 0
    by_name = {node.name: node for node in tree.inner}
    for name in names:
        node = part_of(run, name)
        output = node.info.settings["output"]
        outputs.append((OUTPUTS[output], 1 if output == "sigmoid" else len(node.classes)))
        nodes.append((name, tuple(first + node.classes.index(child) for child in by_name[name].names)))
        first += len(node.classes)
    scores = engine.outputs(run, JOINT)

    def network(images: np.ndarray) -> np.ndarray:
        found, shares, start = scores(images), [], 0
        for activate, width in outputs:
            shares.append(activate(found[:, start : start + width]))
            start += width
        return np.concatenate(shares, axis=1)

    joined: Network = network
    return NodePredictor(Averaging((), input_spec_of(run), (joined,)), tuple(nodes))
