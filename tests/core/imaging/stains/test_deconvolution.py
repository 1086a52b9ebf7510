"""Stains taken apart and put together again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core.imaging.stains.deconvolution import RUIFROK, combine, scale_stains, separate
from tests.core.imaging.slides import PINK, draw_amounts, stain

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (30, 40, 3), np.uint8)


def test_the_matrix_has_unit_columns_in_the_paper_s_order() -> None:
    assert np.linalg.norm(RUIFROK, axis=0) == pytest.approx(np.ones(3))
    assert RUIFROK[:, 0] == pytest.approx([0.6511, 0.7012, 0.2905], abs=1e-4)
    assert RUIFROK[:, 1].argmax() == 1


def test_what_is_taken_apart_goes_together_again() -> None:
    assert (combine(separate(NOISE)) == NOISE).all()


def test_amounts_are_what_was_put_in() -> None:
    concentrations = draw_amounts(0)
    found = separate(stain(concentrations, PINK), PINK.matrix)
    assert found.shape == concentrations.shape
    assert found.dtype == np.float32
    assert found == pytest.approx(concentrations * PINK.maxima, abs=0.03)


def test_two_stains_without_the_rest() -> None:
    image = stain(draw_amounts(0), PINK)
    assert abs(combine(separate(image, PINK.matrix), PINK.matrix).astype(int) - image).max() <= 1


@pytest.mark.parametrize("matrix", [RUIFROK, PINK.matrix])
def test_factors_of_one_change_nothing(matrix: np.ndarray) -> None:
    assert (scale_stains(NOISE, (1, 1), matrix) == NOISE).all()


@given(st.tuples(st.floats(0.7, 1.3), st.floats(0.7, 1.3)))
@settings(deadline=None, max_examples=20)
def test_scaling_is_taking_apart_multiplying_and_joining(factors: tuple[float, float]) -> None:
    by_hand = combine(separate(NOISE) * np.array([*factors, 1], np.float32))
    assert abs(scale_stains(NOISE, factors).astype(int) - by_hand).max() <= 1


def test_more_haematoxylin_darkens_nuclei_only() -> None:
    concentrations = draw_amounts(0)
    image = stain(concentrations, PINK)
    darker = image.astype(int) - scale_stains(image, (1.3, 1.0), PINK.matrix)
    nuclei, rest = concentrations[..., 0] > 0, concentrations[..., 0] == 0
    assert darker[nuclei].mean() > 10
    assert abs(darker[rest]).max() <= 2


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_give_no_warning(level: int) -> None:
    image = np.full((3, 4, 3), level, np.uint8)
    assert np.isfinite(separate(image)).all()
    assert abs(scale_stains(image, (1.3, 0.7)).astype(int) - level).max() <= 40
    assert combine(np.full((2, 2, 3), -1e4)).min() == 255
