"""The pixels that speak for an image, and percentiles of what is made of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.imaging.stains.densities import SAMPLE, brightest, densities_of, sample_pixels
from bccli.core.imaging.stains.fits import percentiles


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    percents=st.lists(st.floats(0, 100), min_size=1, max_size=3),
)
def test_percentiles_are_those_of_numpy(values: list[float], percents: list[float]) -> None:
    found = percentiles(np.array(values), percents)
    np.testing.assert_array_equal(found, np.percentile(np.array(values), percents))


@pytest.mark.parametrize("side", [50, 224, 362, 363, 400, 448, 511, 512, 700, 1024, 1536])
def test_no_size_needs_much_more_work_than_a_larger_one(side: int) -> None:
    """All columns take their turn, and an image just above the limit is thinned, too."""
    image = np.broadcast_to(np.arange(side, dtype=np.uint16)[:, None], (side, side, 3))
    taken = sample_pixels(image)
    assert min(side * side, SAMPLE / 3) <= len(taken) <= min(side * side, 1.5 * SAMPLE)
    columns = np.broadcast_to(np.arange(side, dtype=np.uint16)[None, :, None], (side, side, 3))
    assert set(sample_pixels(columns)[:, 0].tolist()) == set(range(side))


@given(density=st.floats(0.01, 2))
def test_the_brightest_level_is_the_last_that_is_dense_enough(density: float) -> None:
    level = brightest(density)
    assert densities_of(np.array([level, level + 1], np.uint8)).tolist() == sorted(
        densities_of(np.array([level, level + 1], np.uint8)).tolist(), reverse=True
    )
    assert densities_of(np.array([level], np.uint8))[0] >= density
    assert densities_of(np.array([level + 1], np.uint8))[0] < density
