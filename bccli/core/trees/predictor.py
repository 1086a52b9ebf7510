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
    Answerer,
    Averaging,
    Decided,
    Form,
    Pieces,
    View,
    form_of,
    load_answerer,
)
from bccli.core.runs.run_folder import Run, load_run
from bccli.core.runs.temperature import temper, temperature_of

JOINT = "joint"


@dataclass(frozen=True)
class Voice:
    """What answers for one node or several: for each of them, the columns of its children."""

    answerer: Answerer
    nodes: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class TreeAnswerer:
    """A tree at work. `form` is that of its data; with patches, each of them descends the tree for itself.

    `locators` find what nodes see of images without a mask, by the nodes' forms.
    """

    tree: Tree
    classes: tuple[str, ...]
    decide: str
    form: Form
    voices: tuple[Voice, ...]
    temperature: float | None = None
    locators: Mapping[Form, Locator] = field(default_factory=dict)

    @property
    def forms(self) -> tuple[Form, ...]:
        """Those of all nodes."""
        return tuple(dict.fromkeys([self.form, *(f for voice in self.voices for f in voice.answerer.forms)]))

    def __call__(self, images: Sequence[Sequence[Pieces]], views: Sequence[View], step: int) -> Decided:
        """The leaves' probabilities and the chosen ones, and the answers of each node."""
        counts = [len(entry.images) for entry in images[0]]
        in_pieces = max(counts) > 1 and len(self.forms) == 1
        given = [_single_pieces(images[0])] if in_pieces else images
        by_form = dict(zip(self.forms, given, strict=True))
        answers: dict[str, np.ndarray] = {}
        for voice in self.voices:
            found = voice.answerer([by_form[form] for form in voice.answerer.forms], views, step)
            shares = found.probabilities if isinstance(found, Decided) else found
            answers |= {name: shares[:, list(places)] for name, places in voice.nodes}
        probabilities = leaf_probabilities(self.tree, answers, self.classes)
        if in_pieces:
            sums = np.add.reduceat(probabilities, np.cumsum([0, *counts[:-1]]))
            probabilities = sums / np.array(counts)[:, None]
            answers = answers_behind(self.tree, probabilities, self.classes)
        chosen = DECISIONS[self.decide](self.tree, answers, self.classes)
        return Decided(temper(probabilities, self.temperature), chosen, to_columns(self.tree, answers))


def _single_pieces(images: Sequence[Pieces]) -> list[Pieces]:
    return [
        Pieces(entry.images[place : place + 1], entry.places[place : place + 1])
        for entry in images
        for place in range(len(entry.images))
    ]


def load_tree(run: Run, engine: Engine, tempered: bool) -> TreeAnswerer:
    """A run of kind tree; its nodes are never tempered for themselves."""
    tree = parse_tree(run.info["tree"], f"{run.root}")
    voices = []
    if joint := run.info["joint"]:
        voices.append(_load_joint(run, engine, tree, joint))
    for node in tree.inner:
        if node.name not in joint:
            answerer = load_answerer(load_run(run.root / node.name), engine, tempered=False)
            order = tuple(answerer.classes.index(name) for name in node.names)
            voices.append(Voice(answerer, ((node.name, order),)))
    temperature = temperature_of(run) if tempered else None
    return TreeAnswerer(
        tree, run.classes, run.info["decide"], form_of(run), tuple(voices), temperature,
        load_locators(run, engine),
    )  # fmt: skip


def _load_joint(run: Run, engine: Engine, tree: Tree, names: Sequence[str]) -> Voice:
    """The nodes on one backbone, in the order of their scores."""
    parts, nodes, first = [], [], 0
    by_name = {node.name: node for node in tree.inner}
    for name in names:
        part = load_run(run.root / name)
        output = part.info["settings"]["output"]
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
    return Voice(Averaging((), form_of(run), (joined,)), tuple(nodes))
