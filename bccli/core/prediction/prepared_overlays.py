"""Overlays of images that are prepared already, such as those of a dataset."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bccli.core.errors import DataError
from bccli.core.imaging.preparation import Preparation
from bccli.core.models.runtimes import NoTfliteError, start_engine
from bccli.core.prediction.flips import as_is
from bccli.core.prediction.maps.class_activation import peak_of
from bccli.core.prediction.maps.heat import Heat, WholeHeat, canvas_of, mean_heat
from bccli.core.prediction.maps.overlay import overlay, picture_of
from bccli.core.prediction.run_predictor import ExplainingPredictor, ImagePatches, load_run_predictor
from bccli.core.runs.run_folder import Run

Overlay = Callable[[np.ndarray, int], np.ndarray | None]
"""From a prepared image uint8 (height, width, 3) and a class number to its overlay."""


def overlays_of(run: Run) -> Overlay | None:
    """What draws where a run looks; None for runs on patches or on several forms of an image, and for those
    whose network is not there, is damaged, or needs TensorFlow."""
    try:
        predictor = load_run_predictor(run, start_engine("cpu", tflite=True), tempered=False)
    except (NoTfliteError, DataError):
        return None
    if not isinstance(predictor, ExplainingPredictor) or len(predictor.specs) != 1:
        return None
    ((preparation, size),) = predictor.specs
    if preparation.patches:
        return None
    explaining = predictor

    def draw(pixels: np.ndarray, number: int) -> np.ndarray | None:
        if (pixels.shape[1], pixels.shape[0]) != size:
            return None
        entry = ImagePatches(pixels[None], (None,))
        (heats,) = explaining.heats([[entry]], [number], (as_is,), 1)
        return _drawn(pixels, heats)

    return draw


def _drawn(pixels: np.ndarray, heats: Sequence[Heat]) -> np.ndarray | None:
    canvas = canvas_of((pixels.shape[0], pixels.shape[1]))
    whole = (heat for heat in heats if isinstance(heat, WholeHeat))
    found = mean_heat([replace(heat, preparation=Preparation(), box=None) for heat in whole], canvas)
    if found.max() <= 0:
        return None
    largest = 1.0 if all(heat.largest for heat in heats) else None
    return overlay(picture_of(pixels, canvas), found, peak_of(found), largest=largest)
