"""Cells of a heat map that lie where an image was padded have nothing to say."""

import numpy as np
import pytest

from bccli.core.imaging.preparation import Preparation
from bccli.core.prediction.detectors.heat_maps import without_padding

PADDED = Preparation(size=(12, 16), fit="pad")
MAPS = np.ones((1, 4, 3))


def shown(rows: slice, columns: slice) -> np.ndarray:
    """A prepared image (1, 16, 12, 3) that is black but for some rows and columns."""
    image = np.zeros((1, 16, 12, 3), np.uint8)
    image[:, rows, columns, 1] = 9
    return image


@pytest.mark.parametrize(
    ("rows", "columns", "kept"),
    [
        (slice(4, 12), slice(0, 12), [[0] * 3, [1] * 3, [1] * 3, [0] * 3]),
        (slice(3, 12), slice(0, 12), [[1] * 3, [1] * 3, [1] * 3, [0] * 3]),
        (slice(0, 16), slice(5, 8), [[0, 1, 0]] * 4),
        (slice(0, 16), slice(0, 9), [[1, 1, 1]] * 4),
        (slice(0, 0), slice(0, 0), [[1, 1, 1]] * 4),
    ],
)
def test_cells_wholly_in_a_black_band_are_left_out(
    rows: slice, columns: slice, kept: list[list[int]]
) -> None:
    assert without_padding(MAPS, shown(rows, columns), PADDED)[0].tolist() == kept


def test_where_nothing_was_added_nothing_is_left_out() -> None:
    for preparation in (Preparation(size=(12, 16)), Preparation(fit="pad")):
        assert without_padding(MAPS, shown(slice(8, 9), slice(5, 6)), preparation) is MAPS
