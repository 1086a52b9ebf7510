"""Where the breast is on a film, whatever else is bright there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.imaging.tissue import Outline, breast_outline

HEIGHT, WIDTH = 600, 400


def draw_breast(seed: int, *, left: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A film float (height, width) from 0 to 1 of a breast at one side, and where it is."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    across = columns if left else WIDTH - 1 - columns
    far = np.hypot(across / (0.65 * WIDTH), (rows - HEIGHT / 2) / (0.38 * HEIGHT))
    film = 0.03 + np.where(far <= 1, 0.25 + 0.35 * np.clip(1 - far, 0, 1), 0)
    for _ in range(6):
        x, y, wide = rng.uniform(0, 0.4 * WIDTH), rng.uniform(0.3, 0.7) * HEIGHT, rng.uniform(10, 50)
        film = film + np.where(far <= 1, 0.3 * np.exp(-((across - x) ** 2 + (rows - y) ** 2) / wide**2), 0)
    return np.clip(film + rng.normal(0, 0.01, film.shape), 0, 0.95), far <= 1


def inside(outline: Outline) -> np.ndarray:
    """The outline at the film's size, bool (height, width)."""
    rows, columns = (
        np.arange(whole) * small // whole
        for whole, small in zip(outline.shape, outline.inside.shape, strict=True)
    )
    return outline.inside[np.ix_(rows, columns)]


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([np.uint8, np.uint16, np.float32]))
def test_the_breast_is_found_at_any_depth(seed: int, left: bool, kind: type) -> None:
    film, breast = draw_breast(seed, left=left)
    top = np.iinfo(kind).max if issubclass(kind, np.integer) else 1.0
    found = inside(breast_outline((film * top).astype(kind)))
    assert found[breast].mean() > 0.98
    assert found[~breast].mean() < 0.12


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_labels_and_white_edges_are_none(depth: type) -> None:
    film, breast = draw_breast(3)
    film[30:90, 300:380] = 1.0  # a label
    film[:6] = 1.0  # light beside the film
    film[:, -7:] = 1.0
    found = inside(breast_outline((film * np.iinfo(depth).max).astype(depth)))
    assert found[breast].mean() > 0.98
    assert found[25:95, 295:390].mean() < 0.05
    assert found[300:, -7:].mean() < 0.05


def test_colours_of_a_grey_film_make_no_difference() -> None:
    film = (draw_breast(5)[0] * 255).astype(np.uint8)
    one, other = breast_outline(film), breast_outline(np.repeat(film[..., None], 3, axis=2))
    assert (one.inside == other.inside).all()


@pytest.mark.parametrize("grey", [0, 120, 255])
def test_where_nothing_stands_out_all_of_it_counts(grey: int) -> None:
    assert breast_outline(np.full((40, 30), grey, np.uint8)).inside.all()


def test_the_share_of_a_tile() -> None:
    outline = Outline((100, 200), np.repeat([[True, False]], 10, axis=0).repeat(10, axis=1))
    assert outline.share(0, 0, 50) == 1
    assert outline.share(40, 120, 60) == 0
    assert outline.share(20, 75, 50) == pytest.approx(0.5, abs=0.1)
    assert outline.share(99, 199, 1) == 0
