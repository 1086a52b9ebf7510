"""The predictor of one run, by its kind: it prepares raw images and gives class probabilities."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.preparation import Preparation
from bccli.core.kinds import KINDS, imported
from bccli.core.models.runtimes import Engine, Network
from bccli.core.prediction.flips import Flip
from bccli.core.runs.run_folder import Run, networks_of
from bccli.core.runs.temperature import temper, temperature_of

InputSpec = tuple[Preparation, tuple[int, int]]
"""How a raw image is prepared, and the size of what comes of it, width and height."""


@dataclass(frozen=True)
class ImagePatches:
    """A raw image, prepared by one spec: itself as a single patch, or its patches.

    `images` is uint8 (patches, height, width, 3), `positions` has the row and column in pixels of each patch,
    None for a whole image; `box` is where a region was in the raw image.
    """

    images: np.ndarray
    positions: tuple[tuple[int, int] | None, ...]
    box: Box | None = None


@dataclass(frozen=True)
class Prediction:
    """Probabilities (n, classes) of n images, their labels as class numbers (n,), which need not be the most
    probable ones, and numbers (n,) for further columns by their names."""

    probabilities: np.ndarray
    labels: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


def most_probable(probabilities: np.ndarray) -> Prediction:
    """Probabilities (n, classes) with the most probable class of each row as its label."""
    return Prediction(probabilities, probabilities.argmax(axis=1))


class RunPredictor(Protocol):
    """The predictor of one run."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities."""

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """The ways in which it wants images prepared."""

    def __call__(
        self, images: Sequence[Sequence[ImagePatches]], flips: Sequence[Flip], step: int
    ) -> np.ndarray | Prediction:
        """Probabilities (n, classes) of n images, each the mean over its flips.

        For each of `specs`, `images` has the patches of each image. At most `step` patches go through a
        network at a time.
        """


@runtime_checkable
class PatchPredictor(RunPredictor, Protocol):
    """A predictor that also classifies patches."""

    def of_patches(self, patches: np.ndarray, flips: Sequence[Flip], step: int) -> np.ndarray:
        """Probabilities (n, classes) of n patches uint8 (n, height, width, 3), each for itself."""


Loader = Callable[[Run, Engine, bool], RunPredictor]
"""Makes what answers for a run, tempered by what `evaluate --calibrate` stored with it or not."""


@dataclass(frozen=True)
class Averaging:
    """Networks of one spec, whose answers are averaged over networks, flips and the patches of an image.

    Each answer is tempered before any are averaged.
    """

    classes: tuple[str, ...]
    spec: InputSpec
    networks: tuple[Network, ...]
    temperature: float | None = None

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """The one spec."""
        return (self.spec,)

    def __call__(
        self, images: Sequence[Sequence[ImagePatches]], flips: Sequence[Flip], step: int
    ) -> np.ndarray:
        """Probabilities (n, classes) of n images."""
        (entries,) = images
        answers = self.of_patches(np.concatenate([entry.images for entry in entries]), flips, step)
        counts = np.array([len(entry.images) for entry in entries])
        return np.add.reduceat(answers, np.cumsum([0, *counts[:-1]])) / counts[:, None]

    def of_patches(self, patches: np.ndarray, flips: Sequence[Flip], step: int) -> np.ndarray:
        """Probabilities (n, classes) of n patches uint8 (n, height, width, 3), each for itself."""
        steps = np.split(patches, range(step, len(patches), step))
        return np.concatenate([self._answer(images, flips) for images in steps])

    def _answer(self, images: np.ndarray, flips: Sequence[Flip]) -> np.ndarray:
        answers = (network(flip(images)) for flip in flips for network in self.networks)
        return np.mean([temper(answer, self.temperature) for answer in answers], axis=0)


def input_spec_of(run: Run) -> InputSpec:
    """How a raw image reaches a run's network."""
    return run.preparation, run.info.size


def load_network(run: Run, engine: Engine) -> Network:
    """The function that computes class probabilities for a run of kind network."""
    return engine.network(run)


def load_networks(run: Run, engine: Engine, tempered: bool) -> RunPredictor:
    """The predictor of a run that is one network or classifier, or one for each fold."""
    networks = tuple(imported(KINDS[fold.info.kind].network)(fold, engine) for fold in networks_of(run))
    return Averaging(run.classes, input_spec_of(run), networks, temperature_of(run) if tempered else None)


def load_run_predictor(run: Run, engine: Engine, *, tempered: bool = True) -> RunPredictor:
    """The predictor of a run. Raises DataError where there is none."""
    if run.info.kind not in KINDS:
        raise DataError(
            f"{run.root}: is a {run.info.kind}, which this bccli cannot predict with; name another run"
        )
    load: Loader = imported(KINDS[run.info.kind].predictor)
    return load(run, engine, tempered)
