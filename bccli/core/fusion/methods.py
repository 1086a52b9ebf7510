"""The ways from the patches of an image to the image: one row each.

A rule combines what the patch run makes of the patches; a classified way asks a support vector machine
about vectors that it makes of their features; a network is trained on the features in their order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bccli.core.fusion import forward_passes, networks
from bccli.core.fusion.bags import Bag
from bccli.core.models.runtimes import OUTPUTS


class Fuser(Protocol):
    """Computes class probabilities (n, classes) of n images."""

    def __call__(self, bags: Sequence[Bag]) -> np.ndarray:
        """Probabilities (n, classes)."""


class Probabilities(Protocol):
    """A classifier of `core.classifiers`."""

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes) of features (n, width)."""


@dataclass(frozen=True)
class Geometry:
    """What the vectors of a classified way depend on: the most patches of an image in train, and how far
    apart neighbours are, in pixels."""

    patches: int
    stride: int


@dataclass(frozen=True)
class Rule:
    """A way that learns nothing: `combine` makes an image's probabilities (classes,) of its patches' (n,
    classes)."""

    combine: Callable[[np.ndarray], np.ndarray]

    def __call__(self, bags: Sequence[Bag]) -> np.ndarray:
        """Probabilities (n, classes) of n images."""
        return np.stack([self.combine(bag.probabilities) for bag in bags])


@dataclass(frozen=True)
class Classified:
    """A way that asks a row of `classifiers` about vectors (m, width) of each image, then votes.

    `numbers` says how many times the width of a feature all vectors of an image with so many patches have.
    """

    kind: str
    vectors: Callable[[Bag, Geometry], np.ndarray]
    numbers: Callable[[int, Geometry], int]

    def fuser(self, classifier: Probabilities, geometry: Geometry) -> Fuser:
        """The fuser that asks a fitted classifier."""

        def fuse(bags: Sequence[Bag]) -> np.ndarray:
            several = [self.vectors(bag, geometry) for bag in bags]
            answers = classifier.probabilities(np.concatenate(several))
            images = np.split(answers, np.cumsum([len(rows) for rows in several])[:-1])
            return np.stack([rows[0] if len(rows) == 1 else vote(rows) for rows in images])

        return fuse


@dataclass(frozen=True)
class Network:
    """A way that is a network.

    `build` makes the Keras model for features of a width, layers of some `sizes`, a dropout and so many
    scores; `arrays` takes its weights out, and `compute` makes scores (n, units) with these, the features
    (n, patches, width) of images with as many patches, and the number of layers. One that weighs patches
    says by `shares` (n, patches, 1) how much.
    """

    sizes: tuple[int, ...]
    build: Callable[[int, Sequence[int], float, int], Any]
    arrays: Callable[[Any], dict[str, np.ndarray]]
    compute: Callable[[np.ndarray, Mapping[str, np.ndarray], int], np.ndarray]
    depth: int | None = None
    shares: Callable[[np.ndarray, Mapping[str, np.ndarray]], np.ndarray] | None = None

    def fuser(self, arrays: Mapping[str, np.ndarray], layers: int, output: str) -> Fuser:
        """The fuser of a network, in NumPy; `output` is its last activation, softmax or sigmoid."""

        def fuse(bags: Sequence[Bag]) -> np.ndarray:
            counts = np.array([len(bag.features) for bag in bags])
            found = [np.empty(0)] * len(bags)
            for count in np.unique(counts):
                alike = np.flatnonzero(counts == count).tolist()
                features = np.stack([bags[index].features for index in alike])
                answers = OUTPUTS[output](self.compute(features, arrays, layers))
                for index, answer in zip(alike, answers, strict=True):
                    found[index] = answer
            return np.stack(found)

        return fuse


def vote(probabilities: np.ndarray) -> np.ndarray:
    """An image's probabilities (classes,) by the majority of its n patches (n, classes), ties by the mean.

    Each patch has one vote, and the mean probability is one vote more, shared among the classes: so shares
    are never all or nothing, and among equal classes the one of larger mean probability leads.
    """
    counts = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return (counts + mean(probabilities)) / (len(probabilities) + 1)


def mean(probabilities: np.ndarray) -> np.ndarray:
    """The mean of the patches' probabilities (n, classes)."""
    result: np.ndarray = probabilities.mean(axis=0)
    return result


def joined(bag: Bag, geometry: Geometry) -> np.ndarray:
    """The features of all patches row by row, one vector (1, patches · width).

    Where an image has fewer patches than others, the mean of its patches stands for those that it lacks;
    of one with more, only as many count, evenly spread.
    """
    features, count = bag.features, geometry.patches
    if len(features) > count:
        features = features[np.linspace(0, len(features) - 1, count).round().astype(int)]
    fill = np.repeat(features.mean(axis=0, keepdims=True), count - len(features), axis=0)
    return np.concatenate([features, fill]).reshape(1, -1)


def blocks(bag: Bag, geometry: Geometry) -> np.ndarray:
    """The features of 2×2 neighbouring patches joined, for every such block (blocks, 4 · width).

    Blocks overlap (Awan et al. 2018, "Context-Aware Learning using Transferable Features", section 2.3).
    Where an image has none that is whole, the fullest ones count, and the mean of their patches stands for
    what they lack.
    """
    at = {(int(row), int(col)): number for number, (row, col) in enumerate(bag.positions)}
    steps = [(down * geometry.stride, right * geometry.stride) for down in (0, 1) for right in (0, 1)]
    corners = {(row - down, col - right) for row, col in at for down, right in steps}
    found = [[at.get((row + down, col + right)) for down, right in steps] for row, col in sorted(corners)]
    fullest = max(4 - block.count(None) for block in found)
    whole = [block for block in found if 4 - block.count(None) == fullest]
    return np.stack([_filled(bag.features, block) for block in whole])


def _filled(features: np.ndarray, block: Sequence[int | None]) -> np.ndarray:
    fill = features[[number for number in block if number is not None]].mean(axis=0)
    return np.concatenate([fill if number is None else features[number] for number in block])


FUSIONS: dict[str, Rule | Classified | Network] = {
    "bilstm": Network((128, 128, 128), networks.build_bilstm, networks.bilstm_arrays, forward_passes.bilstm),
    "attention": Network(
        (128,),
        networks.build_attention,
        networks.attention_arrays,
        forward_passes.attention,
        depth=1,
        shares=forward_passes.attention_shares,
    ),
    "vote": Rule(vote),
    "mean": Rule(mean),
    "svm": Classified("svm", joined, lambda patches, geometry: geometry.patches),
    "blocks-2x2": Classified("svm", blocks, lambda patches, geometry: 4 * patches),
}
"""By what `train --head` calls them."""
