"""Stains taken apart and put together again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core.imaging.stains.deconvolution import RUIFROK, scale_stains
from tests.core.imaging.slides import PINK, amounts_in, draw_amounts, stain

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (30, 40, 3), np.uint8)


def test_the_matrix_has_unit_columns_in_the_paper_s_order() -> None:
    assert np.linalg.norm(RUIFROK, axis=0) == pytest.approx(np.ones(3))
    assert RUIFROK[:, 0] == pytest.approx([0.6511, 0.7012, 0.2905], abs=1e-4)
    assert RUIFROK[:, 1].argmax() == 1


def test_amounts_are_what_was_put_in() -> None:
    concentrations = draw_amounts(0)
    found = amounts_in(stain(concentrations, PINK), PINK.matrix)
    assert found == pytest.approx(concentrations * PINK.maxima, abs=0.03)


@pytest.mark.parametrize("matrix", [RUIFROK, PINK.matrix])
def test_factors_of_one_change_nothing(matrix: np.ndarray) -> None:
    assert (scale_stains(NOISE, (1, 1), matrix) == NOISE).all()


@given(st.tuples(st.floats(0.7, 1.3), st.floats(0.7, 1.3)))
@settings(deadline=None, max_examples=20)
def test_scaling_is_taking_apart_multiplying_and_joining(factors: tuple[float, float]) -> None:
    """On noise as well, whose amounts may be negative: scikit-image cuts such amounts off."""
    amounts = -np.log((NOISE + 1.0) / 240) @ np.linalg.inv(RUIFROK).T
    assert abs(scale_stains(NOISE, factors) - joined(amounts * [*factors, 1], RUIFROK)).max() <= 1
    image = stain(draw_amounts(0), PINK)
    amounts = amounts_in(image, PINK.matrix)
    stained = (amounts > 0).all(axis=2)
    difference = abs(scale_stains(image, factors, PINK.matrix) - joined(amounts * factors, PINK.matrix))
    assert stained.mean() > 0.1
    assert difference[stained].max() <= 1


def joined(amounts: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The grey levels that amounts of stain come to."""
    return np.clip(np.rint(240 * np.exp(-amounts @ matrix.T) - 1), 0, 255)


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
    assert abs(scale_stains(image, (1.3, 0.7)).astype(int) - level).max() <= 40
