"""A detector's head: from the maps of a backbone at several scales to one number for each cell of an image.

Coarse maps, which know what is around a cell, are enlarged to the finest of them and joined to it, as in
feature pyramids (Lin et al. 2017, DOI 10.1109/CVPR.2017.106, section 3). Two convolutions follow.
"""

import math
from collections.abc import Sequence
from typing import Any

from bccli.core.models.class_maps import Shapes

FILTERS = 48
"""Maps of the hidden layers (our choice)."""
_PRIOR = 0.01
"""The share of cells that a head without training takes for a lesion (Lin et al. 2017, "Focal Loss for Dense
Object Detection", DOI 10.1109/ICCV.2017.324, section 4.1)."""


def grid_of(shapes: Shapes) -> tuple[int, int]:
    """The rows and columns of the cells: those of the finest maps."""
    rows, columns, _ = max(shapes, key=lambda shape: shape[0] * shape[1])
    return rows, columns


def build_heat_head(shapes: Shapes, *, filters: Sequence[int] = (), dropout: float = 0.0) -> Any:
    """A Keras model from maps of these `shapes`, flat and joined (batch, width), to scores (batch, cells).

    `filters` are the numbers of maps of its hidden layers.
    """
    import keras

    grid = grid_of(shapes)
    inputs = keras.Input((sum(math.prod(shape) for shape in shapes),), name="maps")
    joined, start = [], 0
    for number, shape in enumerate(shapes):
        length = math.prod(shape)
        maps = keras.layers.Reshape(shape, name=f"scale_{number}")(inputs[:, start : start + length])
        maps = keras.layers.BatchNormalization(momentum=0.9, name=f"normal_{number}")(maps)
        if shape[:2] != grid:
            maps = keras.layers.Resizing(*grid, interpolation="bilinear", name=f"enlarged_{number}")(maps)
        joined.append(maps)
        start += length
    x = joined[0] if len(joined) == 1 else keras.layers.Concatenate(name="scales")(joined)
    hidden = tuple(filters) or (FILTERS, FILTERS)
    for number, count in enumerate(hidden):
        side = 1 if number == 0 else 3  # the first weighs what the scales say of a cell
        x = keras.layers.Conv2D(count, side, padding="same", activation="relu", name=f"hidden_{number}")(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    scores = keras.layers.Conv2D(
        1, 3, padding="same", dtype="float32", name="heat",
        bias_initializer=keras.initializers.Constant(-math.log((1 - _PRIOR) / _PRIOR)),
    )(x)  # fmt: skip
    return keras.Model(inputs, keras.layers.Flatten(name="cells")(scores), name="head")
