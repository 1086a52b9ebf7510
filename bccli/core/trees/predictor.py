"""What answers for a tree of classifiers: all nodes, and what becomes of their answers.

Nodes on the same frozen backbone are one model, `joint`: it makes the features once and the scores of all
these nodes of them. Other nodes answer for themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bccli.core.data.label_tree import Tree, parse_tree
from bccli.core.evaluation.tree_decisions import DECISIONS, answers_behind, leaf_probabilities, to_columns
from bccli.core.models.runtimes import OUTPUTS, Engine, Network
from bccli.core.prediction.region_finder import Locator, load_locators
from bccli.core.prediction.run_predictor import (
    Averaging,
    Decided,
    ImagePatches,
    InputSpec,
    RunPredictor,
    View,
    input_spec_of,
    load_run_predictor,
)
from bccli.core.runs.run_folder import Run, load_run
from bccli.core.runs.temperature import temper, temperature_of

JOINT = "joint"


@dataclass(frozen=True)
class NodePredictor:
    """What answers for one node or several: for each of them, the columns of its children."""

    predictor: RunPredictor
    nodes: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class TreePredictor:
    """A tree at work. `form` is that of its data; with patches, each of them descends the tree for itself.

    `locators` find what nodes see of images without a mask, by the nodes' forms.
    """

    tree: Tree
    classes: tuple[str, ...]
    decide: str
    form: InputSpec
    node_predictors: tuple[NodePredictor, ...]
    temperature: float | None = None
    locators: Mapping[InputSpec, Locator] = field(default_factory=dict)

    @property
    def forms(self) -> tuple[InputSpec, ...]:
        """Those of all nodes."""
        return tuple(
            dict.fromkeys(
                [
                    self.form,
                    *(f for node_predictor in self.node_predictors for f in node_predictor.predictor.forms),
                ]
            )
        )

    def __call__(self, images: Sequence[Sequence[ImagePatches]], views: Sequence[View], step: int) -> Decided:
        """The leaves' probabilities and the chosen ones, and the answers of each node."""
        counts = [len(entry.images) for entry in images[0]]
        in_patches = max(counts) > 1 and len(self.forms) == 1
        given = [_single_pieces(images[0])] if in_patches else images
        by_spec = dict(zip(self.forms, given, strict=True))
        answers: dict[str, np.ndarray] = {}
        for node_predictor in self.node_predictors:
            found = node_predictor.predictor(
                [by_spec[form] for form in node_predictor.predictor.forms], views, step
            )
            shares = found.probabilities if isinstance(found, Decided) else found
            answers |= {name: shares[:, list(places)] for name, places in node_predictor.nodes}
        probabilities = leaf_probabilities(self.tree, answers, self.classes)
        if in_patches:
            sums = np.add.reduceat(probabilities, np.cumsum([0, *counts[:-1]]))
            probabilities = sums / np.array(counts)[:, None]
            answers = answers_behind(self.tree, probabilities, self.classes)
        chosen = DECISIONS[self.decide](self.tree, answers, self.classes)
        return Decided(temper(probabilities, self.temperature), chosen, to_columns(self.tree, answers))


def _single_pieces(images: Sequence[ImagePatches]) -> list[ImagePatches]:
    return [
        ImagePatches(entry.images[place : place + 1], entry.places[place : place + 1])
        for entry in images
        for place in range(len(entry.images))
    ]


def load_tree(run: Run, engine: Engine, tempered: bool) -> TreePredictor:
    """A run of kind tree; its nodes are never tempered for themselves."""
    tree = parse_tree(run.info.tree, f"{run.root}")
    node_predictors = []
    if joint := run.info.joint:
        node_predictors.append(_load_joint(run, engine, tree, joint))
    for node in tree.inner:
        if node.name not in joint:
            predictor = load_run_predictor(load_run(run.root / node.name), engine, tempered=False)
            order = tuple(predictor.classes.index(name) for name in node.names)
            node_predictors.append(NodePredictor(predictor, ((node.name, order),)))
    temperature = temperature_of(run) if tempered else None
    return TreePredictor(
        tree, run.classes, run.info.decide, input_spec_of(run), tuple(node_predictors), temperature,
        load_locators(run, engine),
    )  # fmt: skip


def _load_joint(run: Run, engine: Engine, tree: Tree, names: Sequence[str]) -> NodePredictor:
    """The nodes on one backbone, in the order of their scores."""
    parts, nodes, first = [], [], 0
    by_name = {node.name: node for node in tree.inner}
    for name in names:
        part = load_run(run.root / name)
        output = part.info.settings["output"]
        parts.append((OUTPUTS[output], 1 if output == "sigmoid" else len(part.classes)))
        nodes.append((name, tuple(first + part.classes.index(child) for child in by_name[name].names)))
        first += len(part.classes)
    scores = engine.outputs(run, JOINT)

    def network(images: np.ndarray) -> np.ndarray:
        found, shares, start = scores(images), [], 0
        for activate, width in parts:
            shares.append(activate(found[:, start : start + width]))
            start += width
        return np.concatenate(shares, axis=1)

    joined: Network = network
    return NodePredictor(Averaging((), input_spec_of(run), (joined,)), tuple(nodes))
