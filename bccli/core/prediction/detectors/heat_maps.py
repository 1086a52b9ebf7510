"""Heat maps of prepared images, and the boxes in them: in pixels of the prepared image or of the raw one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.detection.boxes import ScoredBox
from bccli.core.detection.heat_boxes import Grid, heat_boxes
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.preparation import Preparation, raw_rectangle
from bccli.core.prediction.run_predictor import InputSpec

DETECTOR_MODEL = "detector"
"""The stem of the file that has a detector's network, from RGB 0–255 to scores (n, cells)."""


@dataclass(frozen=True)
class HeatGrid:
    """Prepared images of a `size` (width, height) that `cells` (rows, columns) cover."""

    size: tuple[int, int]
    cells: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """What run.json has under `detector`."""
        return {"cells": list(self.cells)}

    def maps(self, chances: np.ndarray) -> np.ndarray:
        """Probabilities (n, cells) as maps (n, rows, columns)."""
        return chances.reshape(len(chances), *self.cells)

    def boxes(self, heat: np.ndarray) -> list[ScoredBox]:
        """The boxes in a map (rows, columns), in pixels of the prepared image, the surest first."""
        (width, height), (rows, columns) = self.size, self.cells
        return heat_boxes(heat, Grid(width / columns, height / rows), (height, width))

    def raw_boxes(
        self, heat: np.ndarray, spec: InputSpec, shape: tuple[int, int], box: Box | None = None
    ) -> list[ScoredBox]:
        """The same in pixels of the raw image of a `shape` (height, width), of which the prepared one shows a
        region at `box`, if any; none where the image was padded."""
        left, top, right, bottom = raw_rectangle(spec[0], spec[1], shape, box)
        rows, columns = self.cells
        return heat_boxes(heat, Grid((right - left) / columns, (bottom - top) / rows, left, top), shape)


def without_padding(maps: np.ndarray, images: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Maps (n, rows, columns) of prepared images (n, height, width, 3) that are 0 in cells beyond what the
    raw images show, where `preparation` pads.

    That is what lies wholly in a black band along an edge, whether it was added or is the film's own: so it
    is known of stored images as of new ones. Of an image that is all black, every cell is kept.
    """
    if not preparation.pads:
        return maps
    shown = [_shown(image, heat.shape) for image, heat in zip(images, maps, strict=True)]
    return np.where(shown, maps, 0)


def _shown(image: np.ndarray, cells: tuple[int, ...]) -> np.ndarray:
    """Which cells bool (rows, columns) reach out of the black bands of an image (height, width, 3)."""
    lit: np.ndarray = image.max(axis=2) > 0
    if not lit.any():
        return np.ones(cells, bool)
    return np.outer(_reached(lit.max(axis=1), cells[0]), _reached(lit.max(axis=0), cells[1]))


def _reached(lit: np.ndarray, count: int) -> np.ndarray:
    """Which of so many equal parts of a side bool (length,) reach between its first and last lit pixel."""
    first, last = np.flatnonzero(lit)[[0, -1]]
    edges = np.arange(count + 1) * len(lit) / count
    return (edges[1:] > first) & (edges[:-1] < last + 1)


def chances_of(scores: np.ndarray) -> np.ndarray:
    """The probabilities of scores, in their precision."""
    chances: np.ndarray = 1 / (1 + np.exp(-np.clip(scores, -60, 60)))
    return chances


def scores_of(maps: np.ndarray) -> np.ndarray:
    """The probabilities (n, 2) of images without and with a lesion, by the largest value of their maps
    (n, …)."""
    top = maps.reshape(len(maps), -1).max(axis=1).astype(np.float64)
    return np.stack([1 - top, top], axis=1)
