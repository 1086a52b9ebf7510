"""Occlusion finds what a classifier looks at, and nothing where it looks at nothing."""

import numpy as np
import pytest

from bccli.core.prediction.maps.occlusion import CELLS, occlusion_map


def bright_corner(images: np.ndarray) -> np.ndarray:
    """Probabilities (n, 2) by how bright the upper right quarter is."""
    height, width = images.shape[1:3]
    bright = images[:, : height // 2, width // 2 :].mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - bright, bright], axis=1)


@pytest.mark.parametrize("size", [(64, 64), (50, 31), (8, 8), (3, 5)])
def test_it_finds_what_counts(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    image[: size[0] // 2, size[1] // 2 :] = 255
    found = occlusion_map(bright_corner, image, 1)
    assert found.shape == (CELLS, CELLS)
    assert (found >= 0).all()
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert row < CELLS // 2 + 1
    assert column >= CELLS // 2 - 1
    assert found[CELLS - 1, 0] == 0


def test_what_counts_for_nothing_is_empty() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert not occlusion_map(lambda images: np.full((len(images), 3), 1 / 3), image, 2).any()


def test_certainty_is_no_obstacle() -> None:
    def certain(images: np.ndarray) -> np.ndarray:
        return np.stack([images.min(axis=(1, 2, 3)) < 5] * 2, axis=1) * 1.0

    image = np.full((32, 32, 3), 200, np.uint8)
    image[:8, :8] = 0
    sure = occlusion_map(certain, image, 0)
    assert np.isfinite(sure).all()
    assert sure.max() > 0
