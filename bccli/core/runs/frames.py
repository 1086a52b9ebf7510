"""Predictions as a frame of pandas, for notebooks."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bccli.core.data.frames import frame_of
from bccli.core.runs.predictions import PREFIX, Predictions

if TYPE_CHECKING:
    from pandas import DataFrame


def frame_of_predictions(predictions: Predictions) -> "DataFrame":
    """A row per image with the columns of predictions.csv; probabilities are numbers, all else is text."""
    names, empty = np.array(predictions.classes, object), ("",) * len(predictions)
    probabilities = () if predictions.probabilities is None else predictions.probabilities.T
    columns: dict[str, Any] = {
        "path": predictions.paths or empty,
        "split": predictions.splits or empty,
        "patient": predictions.patients or empty,
        "source": predictions.sources or empty,
        "label": names[predictions.labels],
        "predicted": names[predictions.predicted],
        **{PREFIX + name: column for name, column in zip(names, probabilities, strict=False)},
        **predictions.further,
    }
    return frame_of(columns)
