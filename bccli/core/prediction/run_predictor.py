"""What answers for one run, by its kind: raw images in the forms that it wants, class probabilities out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.preparation import Preparation
from bccli.core.kinds import KINDS, imported
from bccli.core.models.runtimes import Engine, Network
from bccli.core.runs.run_folder import Run, networks_of
from bccli.core.runs.temperature import temper, temperature_of

InputSpec = tuple[Preparation, tuple[int, int]]
"""How a raw image becomes pieces, and the size of these, width and height."""

View = Callable[[np.ndarray], np.ndarray]
"""A flip or turn of images (n, height, width, 3)."""


@dataclass(frozen=True)
class ImagePatches:
    """A raw image in one form: itself, or its patches.

    `images` is uint8 (pieces, height, width, 3), `places` has the row and column in pixels of each patch;
    `box` is where a region was in the raw image.
    """

    images: np.ndarray
    places: tuple[tuple[int, int] | None, ...]
    box: Box | None = None


@dataclass(frozen=True)
class Decided:
    """More than probabilities (n, classes) of n images: their labels as class numbers (n,), which need not be
    the most probable ones, and numbers (n,) for further columns by their names."""

    probabilities: np.ndarray
    chosen: np.ndarray
    columns: Mapping[str, np.ndarray]


class RunPredictor(Protocol):
    """What answers for one run."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities."""

    @property
    def forms(self) -> tuple[InputSpec, ...]:
        """The forms in which it wants images."""

    def __call__(
        self, images: Sequence[Sequence[ImagePatches]], views: Sequence[View], step: int
    ) -> np.ndarray | Decided:
        """Probabilities (n, classes) of n images, each the mean over the views of it.

        For each of `forms`, `images` has the pieces of each image. At most `step` pieces go through a
        network at a time.
        """


@runtime_checkable
class PatchPredictor(RunPredictor, Protocol):
    """What answers for patches, too."""

    def of_patches(self, pieces: np.ndarray, views: Sequence[View], step: int) -> np.ndarray:
        """Probabilities (n, classes) of n pieces uint8 (n, height, width, 3), each for itself."""


Loader = Callable[[Run, Engine, bool], RunPredictor]
"""Makes what answers for a run, tempered by what `evaluate --calibrate` stored with it or not."""


@dataclass(frozen=True)
class Averaging:
    """Networks of one form, whose answers are averaged over networks, views and the pieces of an image.

    Each answer is tempered before any are averaged.
    """

    classes: tuple[str, ...]
    form: InputSpec
    networks: tuple[Network, ...]
    temperature: float | None = None

    @property
    def forms(self) -> tuple[InputSpec, ...]:
        """The one form."""
        return (self.form,)

    def __call__(
        self, images: Sequence[Sequence[ImagePatches]], views: Sequence[View], step: int
    ) -> np.ndarray:
        """Probabilities (n, classes) of n images."""
        (entries,) = images
        answers = self.of_patches(np.concatenate([entry.images for entry in entries]), views, step)
        counts = np.array([len(entry.images) for entry in entries])
        return np.add.reduceat(answers, np.cumsum([0, *counts[:-1]])) / counts[:, None]

    def of_patches(self, pieces: np.ndarray, views: Sequence[View], step: int) -> np.ndarray:
        """Probabilities (n, classes) of n pieces uint8 (n, height, width, 3), each for itself."""
        steps = np.split(pieces, range(step, len(pieces), step))
        return np.concatenate([self._answer(images, views) for images in steps])

    def _answer(self, images: np.ndarray, views: Sequence[View]) -> np.ndarray:
        answers = (network(view(images)) for view in views for network in self.networks)
        return np.mean([temper(answer, self.temperature) for answer in answers], axis=0)


def input_spec_of(run: Run) -> InputSpec:
    """How a raw image reaches a run's network."""
    return run.preparation, run.info.size


def load_network(run: Run, engine: Engine) -> Network:
    """What makes class probabilities for a run of kind network."""
    return engine.network(run)


def load_networks(run: Run, engine: Engine, tempered: bool) -> RunPredictor:
    """What answers for a run that is one network or classifier, or one for each fold."""
    networks = tuple(imported(KINDS[part.info.kind].network)(part, engine) for part in networks_of(run))
    return Averaging(run.classes, input_spec_of(run), networks, temperature_of(run) if tempered else None)


def load_run_predictor(run: Run, engine: Engine, *, tempered: bool = True) -> RunPredictor:
    """What answers for a run. Raises DataError where nothing can."""
    if run.info.kind not in KINDS:
        raise DataError(
            f"{run.root}: is a {run.info.kind}, which this bccli cannot predict with; name another run"
        )
    load: Loader = imported(KINDS[run.info.kind].predictor)
    return load(run, engine, tempered)
