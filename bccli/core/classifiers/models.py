"""Fitted classifiers as plain arrays, stored in one .npz file without pickle.

Only NumPy is needed here. Features are float32 (n, width) as a backbone makes them; all that is computed
from them is in float64, and equals what scikit-learn computes (trees to the last bit but for exp).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from bccli.core.errors import DataError, first_line
from bccli.core.files import replacing
from bccli.core.models.dense.layers import finite_rows
from bccli.core.reading.archives import read_arrays
from bccli.core.reading.json_types import Count, Side, Text, misfit
from bccli.core.reading.texts import parse_json

FORMAT = 1

Floats = NDArray[np.float64]
Arrays = Mapping[str, np.ndarray]

# So many nodes in trees at most are walked, and so many kernel values computed, at a time.
_CELLS = 1 << 20


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier: its `kind` is a row of `MODELS`, which says what the `arrays` are.

    `width` is that of the features, `settings` what it was fitted with, for people to read.
    """

    kind: str
    classes: int
    width: int
    arrays: Arrays
    settings: Mapping[str, Any]

    def probabilities(self, features: np.ndarray) -> Floats:
        """Class probabilities (n, classes) of features (n, width), NaN where a feature is no number."""
        rows, lacking = finite_rows(np.asarray(features, np.float32))
        answers = MODELS[self.kind].answer(self.arrays, rows, self.classes)
        answers[lacking] = np.nan
        return answers


@dataclass(frozen=True)
class Model:
    """How arrays become probabilities (n, classes): a function of them, features float32, and classes.

    `shapes` are the arrays by name, each with its dimensions and the kind of its numbers (f or i).
    """

    answer: Callable[[Arrays, np.ndarray, int], Floats]
    shapes: Mapping[str, tuple[int, str]]


def standardise(arrays: Arrays, features: np.ndarray) -> Floats:
    """Features with train's mean taken out of them and divided by its deviation, in float64."""
    return (features.astype(np.float64) - arrays["mean"]) / arrays["scale"]


def sigmoid(scores: Floats) -> Floats:
    """1 / (1 + exp(-scores)), without overflow."""
    powers = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1 / (1 + powers), powers / (1 + powers))


def softmax(scores: Floats) -> Floats:
    """Probabilities (n, classes) of scores (n, classes)."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _linked(scores: Floats) -> Floats:
    """Scores (n, 1) of the second of two classes, or (n, classes), as probabilities."""
    if scores.shape[1] > 1:
        return softmax(scores)
    return sigmoid(np.concatenate([-scores, scores], axis=1))


def _logistic(arrays: Arrays, features: np.ndarray, classes: int) -> Floats:
    return _linked(standardise(arrays, features) @ arrays["weights"] + arrays["bias"])


def _svm(arrays: Arrays, features: np.ndarray, classes: int) -> Floats:
    """Gaussian kernels, a decision per pair of classes, votes, and Platt's sigmoid for each class."""
    vectors = standardise(arrays, arrays["vectors"])
    decisions = [
        _kernels(standardise(arrays, chunk), vectors, float(arrays["gamma"])) @ arrays["weights"]
        for chunk in _chunks(features, len(vectors))
    ]
    pairs = np.concatenate(decisions) + arrays["bias"] if decisions else np.zeros((0, len(arrays["bias"])))
    votes = pairs if classes == 2 else _votes(pairs, classes)
    against = votes * arrays["slopes"] + arrays["offsets"]
    if classes == 2:
        return sigmoid(np.concatenate([against, -against], axis=1))
    chances = sigmoid(-against)
    total = chances.sum(axis=1, keepdims=True)
    return np.divide(chances, total, out=np.full_like(chances, 1 / classes), where=total != 0)


def _kernels(rows: Floats, vectors: Floats, gamma: float) -> Floats:
    """exp(-γ·|x - y|²) of all rows and vectors, (n, vectors)."""
    squares = (rows**2).sum(axis=1)[:, None] + (vectors**2).sum(axis=1) - 2 * rows @ vectors.T
    return np.exp(-gamma * squares)


def _votes(pairs: Floats, classes: int) -> Floats:
    """Votes (n, classes) by decisions (n, pairs), positive for the first of a pair; their sums end ties."""
    votes, sums = np.zeros((2, len(pairs), classes))
    first, second = np.triu_indices(classes, 1)
    for column, (one, other) in enumerate(zip(first, second, strict=True)):
        decision = pairs[:, column]
        votes[:, one] += decision >= 0
        votes[:, other] += decision < 0
        sums[:, one] += decision
        sums[:, other] -= decision
    return votes + sums / (3 * (np.abs(sums) + 1))


def _forest(arrays: Arrays, features: np.ndarray, classes: int) -> Floats:
    """The mean of the trees' class shares."""
    sums = [np.zeros((0, classes))]
    for leaves in _leaves(arrays, features):
        values = np.zeros((leaves.shape[1], classes))
        for tree in leaves:
            values += arrays["values"][tree]
        sums.append(values)
    return np.concatenate(sums) / len(arrays["roots"])


def _boosting(arrays: Arrays, features: np.ndarray, classes: int) -> Floats:
    """The sum of the trees' values, in turn for each class, or for the second of two."""
    columns = len(arrays["start"])
    sums = [np.zeros((0, columns))]
    for leaves in _leaves(arrays, features):
        scores = np.tile(arrays["start"], (leaves.shape[1], 1))
        for number, tree in enumerate(leaves):
            scores[:, number % columns] += arrays["values"][tree, 0]
        sums.append(scores)
    return _linked(np.concatenate(sums))


def _leaves(arrays: Arrays, features: np.ndarray) -> Iterator[np.ndarray]:
    """Yield for some features at a time the leaves (trees, n) where they end up.

    A node sends to `left` what is at most `threshold`, else to `right`; a leaf sends to itself.
    """
    for chunk in _chunks(features, len(arrays["roots"])):
        nodes = np.repeat(arrays["roots"][:, None], len(chunk), axis=1)
        columns = np.arange(len(chunk))
        while True:
            low = chunk[columns, arrays["features"][nodes]] <= arrays["thresholds"][nodes]
            following = np.where(low, arrays["left"][nodes], arrays["right"][nodes])
            if (following == nodes).all():
                break
            nodes = following
        yield nodes


def _chunks(features: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """Yield rows of features, so many that `width` numbers for each stay within bounds."""
    step = max(1, _CELLS // max(1, width))
    for start in range(0, len(features), step):
        yield features[start : start + step]


_STANDARD = {"mean": (1, "f"), "scale": (1, "f")}
_TREES = {
    "roots": (1, "i"), "left": (1, "i"), "right": (1, "i"), "features": (1, "i"), "thresholds": (1, "f"),
    "values": (2, "f"),
}  # fmt: skip

MODELS = {
    "svm": Model(
        _svm,
        {
            **_STANDARD, "vectors": (2, "f"), "weights": (2, "f"), "bias": (1, "f"), "gamma": (0, "f"),
            "slopes": (1, "f"), "offsets": (1, "f"),
        },
    ),
    "forest": Model(_forest, _TREES),
    "logistic": Model(_logistic, {**_STANDARD, "weights": (2, "f"), "bias": (1, "f")}),
    "boosting": Model(_boosting, {**_TREES, "start": (1, "f")}),
}  # fmt: skip


class _Facts(TypedDict):
    """What stands beside the arrays."""

    format: int
    kind: Text
    classes: Side
    width: Count
    settings: Mapping[str, Any]


def save_classifier(path: Path, classifier: Classifier) -> None:
    """Write a classifier as one .npz file of plain arrays."""
    facts = {
        "format": FORMAT,
        "kind": classifier.kind,
        "classes": classifier.classes,
        "width": classifier.width,
        "settings": dict(classifier.settings),
    }
    with replacing(path) as stream:
        arrays: dict[str, Any] = dict(classifier.arrays)
        np.savez_compressed(stream, classifier=np.array(json.dumps(facts)), **arrays)


def load_classifier(path: Path) -> Classifier:
    """Read what `save_classifier` wrote. Raises DataError where it is missing, damaged or too new."""
    try:
        arrays = read_arrays(path)
        facts = parse_json(str(arrays.pop("classifier")).encode())
        if wrong := misfit(facts, _Facts, "classifier"):
            raise ValueError(f"{wrong} is of another kind")
        if facts["format"] > FORMAT:
            raise DataError(f"{path}: was made by a newer bccli; update bccli to read it")
        classifier = Classifier(
            facts["kind"], facts["classes"], facts["width"], arrays, facts["settings"]
        )  # fmt: skip
        _check(classifier)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(
            f"{path}: is no classifier that bccli can read ({first_line(error)}); copy the whole run again"
        ) from None
    return classifier


def _check(classifier: Classifier) -> None:
    """Raises ValueError where the arrays are not those of the kind, KeyError for an unknown kind."""
    arrays, shapes = classifier.arrays, MODELS[classifier.kind].shapes
    for name, (dimensions, numbers) in shapes.items():
        if arrays[name].ndim != dimensions or arrays[name].dtype.kind != numbers:
            raise ValueError(f"{name} has another shape")
    if "roots" in arrays:
        nodes = len(arrays["left"])
        for name, end in (
            ("roots", nodes),
            ("left", nodes),
            ("right", nodes),
            ("features", classifier.width),
        ):
            if not ((arrays[name] >= 0) & (arrays[name] < end)).all():
                raise ValueError(f"{name} points outside")
        own = np.arange(nodes)  # a child comes after its parent, so that every way down ends
        if not all(len(arrays[side]) == nodes and (arrays[side] >= own).all() for side in ("left", "right")):
            raise ValueError("the trees have another shape")
    if "start" in arrays and len(arrays["start"]) != (1 if classifier.classes == 2 else classifier.classes):
        raise ValueError("start has another shape")
    answers = classifier.probabilities(np.zeros((1, classifier.width), np.float32))
    if answers.shape != (1, classifier.classes) or not np.isfinite(answers).all():
        raise ValueError("gives no probabilities")
