"""Global contrast normalisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.imaging.contrast import normalise_contrast

RNG = np.random.default_rng(0)


def test_mean_and_spread_are_the_same_for_all() -> None:
    for middle, spread in ((90, 10), (160, 25)):
        image = np.clip(RNG.normal(middle, spread, (60, 80, 3)), 0, 255).astype(np.uint8)
        result = normalise_contrast(image)
        assert result.mean() == pytest.approx(127.5, abs=1)
        assert result.std() == pytest.approx(42.5, abs=1)


def test_brightness_and_contrast_drop_out() -> None:
    image = RNG.integers(0, 60, (20, 30, 3)).astype(np.uint8)
    brighter = 3 * image + 40
    assert abs(normalise_contrast(image).astype(int) - normalise_contrast(brighter)).max() <= 1


@pytest.mark.parametrize("level", [0, 7, 255])
def test_an_image_of_one_value_is_grey(level: int) -> None:
    assert (normalise_contrast(np.full((4, 5, 3), level, np.uint8)) == 128).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_the_curve_never_falls(seed: int, height: int, width: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    result = normalise_contrast(image)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    order = np.argsort(image, axis=None)
    assert (np.diff(result.ravel()[order].astype(int)) >= 0).all()
