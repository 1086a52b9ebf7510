"""The predictor of one run, by its kind: it prepares raw images and gives class probabilities."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.preparation import Preparation
from bccli.core.kinds import KINDS, imported
from bccli.core.models.runtimes import Engine, Network
from bccli.core.prediction.flips import Flip
from bccli.core.runs.run_folder import Run, folds_of
from bccli.core.runs.temperature import temper, temperature_of

if TYPE_CHECKING:
    from bccli.core.detection.boxes import ScoredBox
    from bccli.core.metrics.material import Floats
    from bccli.core.models.class_maps import ClassMaps
    from bccli.core.prediction.maps.heat import Heat, PatchHeat

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
    probable ones, and numbers (n,) for further columns by their names.

    Of a detector, `found` are the boxes in each image, which depend on where its patches lie.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    found: "tuple[Placed, ...]" = ()


class Placed(Protocol):
    """The maps of an image, in which boxes are once it is known how large the raw image is."""

    def boxes(self, shape: tuple[int, int]) -> "list[ScoredBox]":
        """The boxes in pixels of a raw image of this shape (height, width), the surest first."""


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


@runtime_checkable
class ExplainingPredictor(RunPredictor, Protocol):
    """A predictor that shows where it looks."""

    def heats(
        self,
        images: Sequence[Sequence[ImagePatches]],
        numbers: Sequence[int],
        flips: Sequence[Flip],
        step: int,
    ) -> "list[list[Heat]]":
        """For each of n images the maps of what in it speaks for its class of `numbers` (n,).

        `images`, `flips` and `step` are those of a call.
        """


Loader = Callable[[Run, Engine, bool], RunPredictor]
"""Makes what answers for a run, tempered by what `evaluate --calibrate` stored with it or not."""


@dataclass(frozen=True)
class Averaging:
    """Networks of one spec, whose answers are averaged over networks, flips and the patches of an image.

    Each answer is tempered before any are averaged. `class_maps` load the maps of each network, where it has
    some.
    """

    classes: tuple[str, ...]
    spec: InputSpec
    networks: tuple[Network, ...]
    temperature: float | None = None
    class_maps: "tuple[Callable[[], ClassMaps | None], ...]" = ()

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

    def heats(
        self,
        images: Sequence[Sequence[ImagePatches]],
        numbers: Sequence[int],
        flips: Sequence[Flip],
        step: int,
    ) -> "list[list[Heat]]":
        """Of each image the class-activation maps of all networks; the votes of patches, where there are
        some, and what covering parts does, where a network has no maps."""
        from bccli.core.prediction.maps.class_activation import activation_maps
        from bccli.core.prediction.maps.heat import WholeHeat

        (entries,), preparation = images, self.spec[0]
        if preparation.patches:
            return votes(self.of_patches, entries, preparation, numbers, flips, step)
        several = [
            activation_maps(maps, np.stack([entry.images[0] for entry in entries]), numbers, flips, step)
            for maps in self._loaded_maps
        ] or [self._occluded(entries, numbers, flips, step)]
        return [
            [WholeHeat(values, *self.spec, entry.box) for values in of_image]
            for entry, of_image in zip(entries, zip(*several, strict=True), strict=True)
        ]

    @cached_property
    def _loaded_maps(self) -> "tuple[ClassMaps, ...]":
        """Those of all networks; none where one has none."""
        loaded = [load() for load in self.class_maps]
        return tuple(maps for maps in loaded if maps) if all(loaded) else ()

    def _occluded(
        self, entries: Sequence[ImagePatches], numbers: Sequence[int], flips: Sequence[Flip], step: int
    ) -> "list[Floats]":
        from bccli.core.prediction.maps.occlusion import occlusion_map

        def answer(images: np.ndarray) -> np.ndarray:
            return self.of_patches(images, flips, step)

        pairs = zip(entries, numbers, strict=True)
        return [occlusion_map(answer, entry.images[0], number) for entry, number in pairs]


@dataclass(frozen=True)
class MeanOfFolds:
    """The predictors of the runs of all folds, `members`, whose probabilities are averaged.

    Each answer is tempered before.
    """

    classes: tuple[str, ...]
    members: tuple[RunPredictor, ...]
    temperature: float | None = None

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """Those of all members."""
        return tuple(dict.fromkeys(spec for member in self.members for spec in member.specs))

    def __call__(
        self, images: Sequence[Sequence[ImagePatches]], flips: Sequence[Flip], step: int
    ) -> np.ndarray:
        """Probabilities (n, classes) of n images."""
        by_spec = dict(zip(self.specs, images, strict=True))
        answers = (member([by_spec[spec] for spec in member.specs], flips, step) for member in self.members)
        return self.mean(map(probabilities_of, answers))

    def heats(
        self,
        images: Sequence[Sequence[ImagePatches]],
        numbers: Sequence[int],
        flips: Sequence[Flip],
        step: int,
    ) -> "list[list[Heat]]":
        """Of each image the maps of all members."""
        by_spec = dict(zip(self.specs, images, strict=True))
        return heats_of(self.members, lambda member: member.heats(
            [by_spec[spec] for spec in member.specs], numbers, flips, step
        ))  # fmt: skip

    def mean(self, answers: Iterable[np.ndarray]) -> np.ndarray:
        """The mean (n, classes) of the members' probabilities, each (n, classes)."""
        return np.mean([temper(answer, self.temperature) for answer in answers], axis=0)


def heats_of(
    members: Iterable[RunPredictor], ask: "Callable[[ExplainingPredictor], list[list[Heat]]]"
) -> "list[list[Heat]]":
    """Of each image the maps of all members that show where they look, one member after the other."""
    several = [ask(member) for member in members if isinstance(member, ExplainingPredictor)]
    return [[heat for heats in of_image for heat in heats] for of_image in zip(*several, strict=True)]


def votes(
    of_patches: Callable[[np.ndarray, Sequence[Flip], int], np.ndarray],
    entries: Sequence[ImagePatches],
    preparation: Preparation,
    numbers: Sequence[int],
    flips: Sequence[Flip],
    step: int,
) -> "list[list[Heat]]":
    """Of each image the probabilities of its patches for its class of `numbers`, where they lie."""
    return [
        [patch_heat(entry, preparation, of_patches(entry.images, flips, step)[:, number])]
        for entry, number in zip(entries, numbers, strict=True)
    ]


def patch_heat(entry: ImagePatches, preparation: Preparation, values: np.ndarray) -> "PatchHeat":
    """Values (n,) of the patches of an image, where they lie in the raw image."""
    from bccli.core.prediction.maps.heat import PatchHeat

    assert preparation.patches
    corner = (entry.box.top, entry.box.left) if entry.box else (0, 0)
    positions = np.array([position or (0, 0) for position in entry.positions]) + corner
    return PatchHeat(values, positions, preparation.patches.size)


def probabilities_of(answer: np.ndarray | Prediction) -> np.ndarray:
    """The probabilities (n, classes) of an answer, which may be nothing else."""
    return answer.probabilities if isinstance(answer, Prediction) else answer


def input_spec_of(run: Run) -> InputSpec:
    """How a raw image reaches a run's network."""
    return run.preparation, run.info.size


def load_network(run: Run, engine: Engine) -> Network:
    """The function that computes class probabilities for a run of kind network."""
    return engine.network(run)


def load_networks(run: Run, engine: Engine, tempered: bool) -> RunPredictor:
    """The predictor of a run that is one network or classifier, or one for each fold."""
    folds = folds_of(run)
    networks = tuple(imported(KINDS[fold.info.kind].network)(fold, engine) for fold in folds)
    class_maps = tuple(partial(_class_maps_of, fold, engine) for fold in folds)
    temperature = temperature_of(run) if tempered else None
    return Averaging(run.classes, input_spec_of(run), networks, temperature, class_maps)


def _class_maps_of(run: Run, engine: Engine) -> "ClassMaps | None":
    """The maps of a run's network; None where it is none, or has none."""
    return engine.class_maps(run) if KINDS[run.info.kind].has_maps else None


def load_folds(run: Run, engine: Engine, tempered: bool) -> RunPredictor:
    """The predictor of a run of kind folds, by the kind of the runs of its folds."""
    load: Loader = imported(KINDS[run.info.kind_within].folds)
    return load(run, engine, tempered)


def load_mean_of_folds(run: Run, engine: Engine, tempered: bool) -> MeanOfFolds:
    """The predictors of the runs of all folds, whose probabilities are averaged."""
    members = tuple(load_run_predictor(fold, engine, tempered=False) for fold in folds_of(run))
    return MeanOfFolds(run.classes, members, temperature_of(run) if tempered else None)


def load_run_predictor(run: Run, engine: Engine, *, tempered: bool = True) -> RunPredictor:
    """The predictor of a run. Raises DataError where there is none."""
    if run.info.kind not in KINDS:
        raise DataError(
            f"{run.root}: is a {run.info.kind}, which this bccli cannot predict with; name another run"
        )
    load: Loader = imported(KINDS[run.info.kind].predictor)
    return load(run, engine, tempered)
