"""The predictor of a detector: raw images in, heat maps, boxes and the probability of a lesion out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bccli.core.detection.boxes import ScoredBox
from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from bccli.core.models.runtimes import Engine, Network
from bccli.core.prediction.detectors.film_tiles import Corner, PlacedTiles, rims_of, side_of, without_rims
from bccli.core.prediction.detectors.heat_maps import (
    DETECTOR_MODEL,
    HeatGrid,
    chances_of,
    scores_of,
    without_padding,
)
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
        """Probabilities (n, 2) of n images: that of a lesion is the largest of its map, or those of its
        tiles; and what is found."""
        maps = self._by_image(images[0], flips, step)
        probabilities = np.concatenate([scores_of(heats[None]) for heats in maps])
        found = tuple(self._placed(heats, entry) for heats, entry in zip(maps, images[0], strict=True))
        return Prediction(probabilities, probabilities.argmax(axis=1), found=found)

    def _placed(self, heats: np.ndarray, entry: ImagePatches) -> PlacedMap | PlacedTiles:
        """The maps (n, rows, columns) of an image, where they lie."""
        if corners := corners_of(entry):
            return PlacedTiles(self.grid, heats, self.spec, corners)
        return PlacedMap(self.grid, heats[0], self.spec, entry.box)

    def _by_image(
        self, entries: Sequence[ImagePatches], flips: Sequence[Flip], step: int
    ) -> list[np.ndarray]:
        """Of each image its maps (n, rows, columns): one, or those of all tiles."""
        counts = [len(entry.images) for entry in entries]
        maps = np.split(self.maps(entries, flips, step), np.cumsum(counts[:-1]))
        return [without_rims(one, self._rims(entry)) for one, entry in zip(maps, entries, strict=True)]

    def _rims(self, entry: ImagePatches) -> np.ndarray:
        """The rims, bool (n, 4), that each map of an image leaves to others."""
        if corners := corners_of(entry):
            return rims_of(corners, side_of(self.spec[0]), self.grid.cells)
        return np.zeros((len(entry.images), 4), bool)

    def maps(self, entries: Sequence[ImagePatches], flips: Sequence[Flip], step: int) -> np.ndarray:
        """The maps (n, rows, columns) of n images or tiles, one image after the other, each the mean over
        its flips, and 0 where an image was padded."""
        images = [image for entry in entries for image in entry.images]
        batches = (np.stack(images[start : start + step]) for start in range(0, len(images), step))
        return np.concatenate(
            [without_padding(self._maps(batch, flips), batch, self.spec[0]) for batch in batches]
        )

    def _weights(self, entry: ImagePatches) -> np.ndarray:
        """What each cell (n, rows, columns) of a film's maps weighs, 0 in rims that are left to others."""
        rims = self._rims(entry)
        return without_rims(np.ones((len(rims), *self.grid.cells)), rims)

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
                total[:, source] += chances_of(scores.astype(np.float64))
        return self.grid.maps(total / (len(flips) * len(self.networks)))

    def heats(
        self,
        images: Sequence[Sequence[ImagePatches]],
        numbers: Sequence[int],
        flips: Sequence[Flip],
        step: int,
    ) -> "list[list[Heat]]":
        """Of each image its map, whatever its class: of a film in tiles those of all tiles, put together."""
        from bccli.core.prediction.maps.heat import TilesHeat, WholeHeat

        (entries,) = images
        return [
            [TilesHeat(values, *self.spec, corners, self._weights(entry), largest=1.0)]
            if (corners := corners_of(entry))
            else [WholeHeat(values[0], *self.spec, entry.box, largest=1.0)]
            for values, entry in zip(self._by_image(entries, flips, step), entries, strict=True)
        ]


def corners_of(entry: ImagePatches) -> tuple[Corner, ...]:
    """Where the tiles of a film lie in it; nothing for a whole image or a single tile."""
    left, top = (entry.box.left, entry.box.top) if entry.box else (0, 0)
    return tuple((row + top, column + left) for row, column in filter(None, entry.positions))


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
