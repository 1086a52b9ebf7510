"""What answers for a run of kind fusion: patches to features, features to images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.fusion.bags import Bag
from bccli.core.fusion.fusion_file import PatchHead, load_fuser
from bccli.core.fusion.methods import Fuser
from bccli.core.models.runtimes import Engine, Network
from bccli.core.prediction.run_predictor import ImagePatches, InputSpec, RunPredictor, View, input_spec_of
from bccli.core.runs.run_folder import Run
from bccli.core.runs.temperature import temper, temperature_of


@dataclass(frozen=True)
class Fusion:
    """An extractor of features, the patch run's head, and a way from patches to images."""

    classes: tuple[str, ...]
    form: InputSpec
    extract: Network
    head: PatchHead
    fuser: Fuser
    temperature: float | None = None

    @property
    def forms(self) -> tuple[InputSpec, ...]:
        """The one form."""
        return (self.form,)

    def __call__(
        self, images: Sequence[Sequence[ImagePatches]], views: Sequence[View], step: int
    ) -> np.ndarray:
        """Probabilities (n, classes) of n images, each the mean over the views of it.

        In a view of an image its patches are turned and change places.
        """
        (entries,) = images
        answers = [self.fuser(self.bags(entries, view, step)) for view in views]
        return np.mean([temper(answer, self.temperature) for answer in answers], axis=0)

    def of_patches(self, pieces: np.ndarray, views: Sequence[View], step: int) -> np.ndarray:
        """Probabilities (n, classes) of n patches uint8 (n, height, width, 3), each for itself."""
        return np.mean([self.head(self._features(pieces, view, step)) for view in views], axis=0)

    def _features(self, pieces: np.ndarray, view: View, step: int) -> np.ndarray:
        steps = np.split(pieces, range(step, len(pieces), step))
        # LiteRT may give out memory that it writes to again.
        return np.concatenate([np.array(self.extract(view(images))) for images in steps])

    def bags(self, entries: Sequence[ImagePatches], view: View, step: int) -> list[Bag]:
        """Images in a view of them as their patches, row by row."""
        features = self._features(np.concatenate([entry.images for entry in entries]), view, step)
        probabilities = self.head(features)
        ends = np.cumsum([len(entry.images) for entry in entries])[:-1]
        parts = zip(entries, np.split(features, ends), np.split(probabilities, ends), strict=True)
        return [_bag(entry, mine, answers, view) for entry, mine, answers in parts]


def _bag(entry: ImagePatches, features: np.ndarray, probabilities: np.ndarray, view: View) -> Bag:
    places = [place or (0, number) for number, place in enumerate(entry.places)]
    order, places = _viewed(places, view)
    return Bag(features[order], probabilities[order], np.array(places))


def _viewed(places: Sequence[tuple[int, int]], view: View) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """In which order patches follow each other in a view of their image, and the place of each there.

    The view of a small image whose pixels are the patches' numbers shows where they go.
    """
    at = np.array(places)
    steps = at - at.min(axis=0)
    unit = max(int(np.gcd.reduce(steps, axis=None)), 1)
    cells = steps // unit
    numbers = np.full((1, *(cells.max(axis=0) + 1), 1), -1)
    numbers[0, cells[:, 0], cells[:, 1], 0] = np.arange(len(at))
    turned = view(numbers)[0, :, :, 0]
    found = np.argwhere(turned >= 0)
    return turned[tuple(found.T)], [(int(row), int(col)) for row, col in found * unit]


def load_fusion(run: Run, engine: Engine, tempered: bool) -> RunPredictor:
    """What answers for a run of kind fusion."""
    stored, fuser = load_fuser(run)
    extract = engine.outputs(run, "extractor")
    temperature = temperature_of(run) if tempered else None
    return Fusion(run.classes, input_spec_of(run), extract, stored.head, fuser, temperature)
