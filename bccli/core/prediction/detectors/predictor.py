"""The predictor of a detector: raw images in, heat maps, boxes and the probability of a lesion out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bccli.core.detection.boxes import ScoredBox
from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from bccli.core.models.runtimes import Engine, Network
from bccli.core.prediction.detectors.heat_maps import DETECTOR_MODEL, HeatGrid, scores_of
from bccli.core.prediction.flips import Flip
from bccli.core.prediction.run_predictor import ImagePatches, InputSpec, Prediction, input_spec_of
from bccli.core.runs.run_folder import Run, folds_of

if TYPE_CHECKING:
    from bccli.core.prediction.maps.heat import Heat


@dataclass(frozen=True)
class PlacedMap:
    """The map (rows, columns) of an image that was prepared by a spec, of a region at `box`, if any."""

    grid: HeatGrid
    heat: np.ndarray
    spec: InputSpec
    box: Box | None

    def boxes(self, shape: tuple[int, int]) -> list[ScoredBox]:
        """The boxes in pixels of a raw image of this shape (height, width), the surest first."""
        return self.grid.raw_boxes(self.heat, self.spec, shape, self.box)


@dataclass(frozen=True)
class DetectorPredictor:
    """Networks from prepared images to scores (n, cells), whose probabilities are averaged."""

    classes: tuple[str, ...]
    spec: InputSpec
    grid: HeatGrid
    networks: tuple[Network, ...]

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """The one spec."""
        return (self.spec,)

    def __call__(
        self, images: Sequence[Sequence[ImagePatches]], flips: Sequence[Flip], step: int
    ) -> Prediction:
        """Probabilities (n, 2) of n images: that of a lesion is the largest of its map; and what is found."""
        maps = self.maps(images[0], flips, step)
        probabilities = scores_of(maps)
        found = tuple(
            PlacedMap(self.grid, heat, self.spec, entry.box)
            for heat, entry in zip(maps, images[0], strict=True)
        )
        return Prediction(probabilities, probabilities.argmax(axis=1), found=found)

    def maps(self, entries: Sequence[ImagePatches], flips: Sequence[Flip], step: int) -> np.ndarray:
        """The maps (n, rows, columns) of n images, each the mean over its flips."""
        images = np.concatenate([entry.images[:1] for entry in entries])
        parts = [self._maps(images[start : start + step], flips) for start in range(0, len(images), step)]
        return np.concatenate(parts)

    def _maps(self, images: np.ndarray, flips: Sequence[Flip]) -> np.ndarray:
        rows, columns = self.grid.cells
        places = np.arange(rows * columns).reshape(1, rows, columns, 1)
        total = np.zeros((len(images), rows * columns))
        for flip in flips:
            source = flip(places).ravel()  # where each cell of the flipped map comes from
            for network in self.networks:
                scores = network(np.ascontiguousarray(flip(images)))
                if scores.shape != total.shape:
                    raise DataError(
                        f"a detector's network has {scores[0].size:,} cells, and its run.json says "
                        f"{rows}×{columns}; copy the whole folder again"
                    )
                total[:, source] += 1 / (1 + np.exp(-np.clip(scores.astype(np.float64), -60, 60)))
        return self.grid.maps(total / (len(flips) * len(self.networks)))

    def heats(
        self,
        images: Sequence[Sequence[ImagePatches]],
        numbers: Sequence[int],
        flips: Sequence[Flip],
        step: int,
    ) -> "list[list[Heat]]":
        """Of each image its map, whatever its class."""
        from bccli.core.prediction.maps.heat import WholeHeat

        (entries,) = images
        return [
            [WholeHeat(values, *self.spec, entry.box, largest=1.0)]
            for values, entry in zip(self.maps(entries, flips, step), entries, strict=True)
        ]


def load_detector(run: Run, engine: Engine, tempered: bool) -> DetectorPredictor:
    """The predictor of a detector, or of those of all folds. Raises DataError for facts that it lacks."""
    folds = folds_of(run)
    facts = folds[0].info.detector
    if facts is None:
        raise DataError(f"{run.root}: does not say how its cells lie; copy the whole folder again")
    rows, columns = facts["cells"]
    width, height = run.info.size
    if rows > height or columns > width:
        raise DataError(
            f"{run.root}: has {rows}×{columns} cells in images of {width}×{height}; "
            "copy the whole folder again"
        )
    networks = tuple(engine.outputs(fold, DETECTOR_MODEL) for fold in folds)
    return DetectorPredictor(
        run.classes, input_spec_of(run), HeatGrid(run.info.size, (rows, columns)), networks
    )
