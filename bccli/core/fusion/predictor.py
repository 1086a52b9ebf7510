"""The predictor of a run of kind fusion: patches to features, features to images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bccli.core.fusion.bags import Bag
from bccli.core.fusion.fusion_file import load_fuser
from bccli.core.fusion.methods import FUSIONS, Fuser
from bccli.core.models.dense.dense_head import DenseHead
from bccli.core.models.runtimes import Engine, Network
from bccli.core.prediction.flips import Flip, as_is
from bccli.core.prediction.run_predictor import (
    ImagePatches,
    InputSpec,
    MeanOfFolds,
    RunPredictor,
    input_spec_of,
    load_mean_of_folds,
    patch_heat,
    votes,
)
from bccli.core.runs.run_folder import EXTRACTOR, Run
from bccli.core.runs.temperature import temper, temperature_of

if TYPE_CHECKING:
    from bccli.core.prediction.maps.heat import Heat


@dataclass(frozen=True)
class Fusion:
    """An extractor of features, the patch run's head, and a way from patches to images.

    A way that weighs patches says by `shares` how much, (1, patches, 1) of features (1, patches, width).
    """

    classes: tuple[str, ...]
    spec: InputSpec
    extract: Network
    head: DenseHead | None
    fuser: Fuser
    temperature: float | None = None
    shares: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """The one spec."""
        return (self.spec,)

    def __call__(
        self, images: Sequence[Sequence[ImagePatches]], flips: Sequence[Flip], step: int
    ) -> np.ndarray:
        """Probabilities (n, classes) of n images, each the mean over its flips.

        Where an image is flipped, its patches are flipped and change their positions.
        """
        (entries,) = images
        answers = [answers_of(self.fuser, self.bags(entries, flip, step)) for flip in flips]
        return np.mean([temper(answer, self.temperature) for answer in answers], axis=0)

    def of_patches(self, patches: np.ndarray, flips: Sequence[Flip], step: int) -> np.ndarray:
        """Probabilities (n, classes) of n patches uint8 (n, height, width, 3), each for itself."""
        return np.mean([self._answers(self._features(patches, flip, step)) for flip in flips], axis=0)

    def heats(
        self,
        images: Sequence[Sequence[ImagePatches]],
        numbers: Sequence[int],
        flips: Sequence[Flip],
        step: int,
    ) -> "list[list[Heat]]":
        """Of each image how much its patches weigh, whatever the class; else what each says for the class."""
        (entries,), preparation = images, self.spec[0]
        if not self.shares:
            return votes(self.of_patches, entries, preparation, numbers, flips, step)
        several = [[self._weights(entry, flip, step) for flip in flips] for entry in entries]
        return [
            [patch_heat(entry, preparation, np.mean(weights, axis=0))]
            for entry, weights in zip(entries, several, strict=True)
        ]

    def _weights(self, entry: ImagePatches, flip: Flip, step: int) -> np.ndarray:
        assert self.shares
        weights: np.ndarray = self.shares(self._features(entry.images, flip, step)[None])[0, :, 0]
        return weights

    def _features(self, patches: np.ndarray, flip: Flip, step: int) -> np.ndarray:
        steps = np.split(patches, range(step, len(patches), step))
        # LiteRT may give out memory that it writes to again.
        return np.concatenate([np.array(self.extract(flip(images))) for images in steps])

    def _answers(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes) of single patches; none where nobody answers for them."""
        return np.empty((len(features), 0)) if self.head is None else self.head(features)

    def bags(self, entries: Sequence[ImagePatches], flip: Flip, step: int) -> list[Bag]:
        """Images, flipped, as their patches, row by row."""
        features = self._features(np.concatenate([entry.images for entry in entries]), flip, step)
        probabilities = self._answers(features)
        ends = np.cumsum([len(entry.images) for entry in entries])[:-1]
        images = zip(entries, np.split(features, ends), np.split(probabilities, ends), strict=True)
        return [_bag(entry, mine, answers, flip) for entry, mine, answers in images]


def answers_of(fuser: Fuser, bags: Sequence[Bag]) -> np.ndarray:
    """Probabilities (n, classes) of n images, NaN for one with a feature that is no number."""
    lacking = np.array([not np.isfinite(bag.features).all() for bag in bags])
    whole = [
        replace(bag, features=np.zeros_like(bag.features), probabilities=np.zeros_like(bag.probabilities))
        if unfit
        else bag
        for bag, unfit in zip(bags, lacking, strict=True)
    ]
    answers = fuser(whole)
    answers[lacking] = np.nan
    return answers


@dataclass(frozen=True)
class FoldsOfFusions(MeanOfFolds):
    """The fusions of all folds, whose probabilities are averaged, those of images and those of patches."""

    @property
    def fusions(self) -> tuple[Fusion, ...]:
        """The members."""
        return tuple(member for member in self.members if isinstance(member, Fusion))

    def of_patches(self, patches: np.ndarray, flips: Sequence[Flip], step: int) -> np.ndarray:
        """Probabilities (n, classes) of n patches uint8 (n, height, width, 3), each for itself."""
        return np.mean([fusion.of_patches(patches, flips, step) for fusion in self.fusions], axis=0)


def fusions_of(predictor: RunPredictor) -> tuple[Fusion, ...]:
    """The fusions of a predictor: one, or one for each fold."""
    if isinstance(predictor, FoldsOfFusions):
        return predictor.fusions
    assert isinstance(predictor, Fusion)
    return (predictor,)


def _bag(entry: ImagePatches, features: np.ndarray, probabilities: np.ndarray, flip: Flip) -> Bag:
    positions = [position or (0, number) for number, position in enumerate(entry.positions)]
    order, positions = _flipped(positions, flip)
    return Bag(features[order], probabilities[order], np.array(positions))


def _flipped(positions: Sequence[tuple[int, int]], flip: Flip) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """In which order patches follow each other in their flipped image, and the position of each there.

    A small image whose pixels are the patches' numbers, flipped, shows where they go.
    """
    at = np.array(positions)
    steps = at - at.min(axis=0)
    if flip is as_is:  # a slide would need a large picture
        order = np.lexsort((steps[:, 1], steps[:, 0]))
        return order, [(int(row), int(col)) for row, col in steps[order]]
    unit = max(int(np.gcd.reduce(steps, axis=None)), 1)
    cells = steps // unit
    numbers = np.full((1, *(cells.max(axis=0) + 1), 1), -1)
    numbers[0, cells[:, 0], cells[:, 1], 0] = np.arange(len(at))
    turned = flip(numbers)[0, :, :, 0]
    found = np.argwhere(turned >= 0)
    return turned[tuple(found.T)], [(int(row), int(col)) for row, col in found * unit]


def load_fusion(run: Run, engine: Engine, tempered: bool) -> RunPredictor:
    """The predictor of a run of kind fusion."""
    stored, fuser = load_fuser(run)
    extract = engine.outputs(run, EXTRACTOR)
    temperature = temperature_of(run) if tempered else None
    shares = getattr(FUSIONS[stored.kind], "shares", None)
    return Fusion(
        run.classes, input_spec_of(run), extract, stored.head, fuser, temperature,
        partial(shares, arrays=stored.arrays) if shares else None,
    )  # fmt: skip


def load_folds_of_fusions(run: Run, engine: Engine, tempered: bool) -> RunPredictor:
    """The predictor of a run of all folds, each of kind fusion."""
    folds = load_mean_of_folds(run, engine, tempered)
    return FoldsOfFusions(folds.classes, folds.members, folds.temperature)
