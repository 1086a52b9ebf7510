"""Distances are Mahalanobis's, and limits leave nearly all images of new patients inside."""

import numpy as np
import pytest

from bccli.core.metrics.decisions.likeness import (
    BRIGHTNESS,
    FEATURES,
    STAIN,
    Likeness,
    learn_likeness,
    likeness_from_arrays,
    traits_of,
)

WIDTH = 24


def points(rng: np.random.Generator, patients: int, each: int, moved: float = 0.0) -> dict[str, np.ndarray]:
    """Points of images that are alike within a patient."""
    own = rng.normal(0, 1, (patients, WIDTH)) * np.linspace(0.2, 3, WIDTH)
    features = np.repeat(own, each, axis=0) + rng.normal(0, 0.5, (patients * each, WIDTH)) + moved
    traits = {name: rng.normal(100, 10, (patients * each, 2)) for name in (BRIGHTNESS, STAIN)}
    return {FEATURES: features, **traits}


def learned(rng: np.random.Generator, *, val: int = 8) -> Likeness:
    return learn_likeness(points(rng, 60, 5), points(rng, val, 5), [f"p{i // 5}" for i in range(val * 5)])


def test_new_patients_are_inside_and_others_are_not() -> None:
    inside, outside = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        likeness = learned(rng)
        inside.append(np.mean([bool(name) for name in likeness.unlike(points(rng, 50, 4))]))
        far = likeness.unlike(points(rng, 50, 4, moved=8.0))
        outside.append(np.mean([FEATURES in name for name in far]))
    assert np.mean(inside) < 0.05
    assert np.mean(outside) > 0.95


def test_two_numbers_have_mahalanobis_distance() -> None:
    rng = np.random.default_rng(0)
    train = points(rng, 60, 5)
    cloud = learn_likeness(train, points(rng, 8, 5), [f"p{i // 5}" for i in range(40)]).clouds[STAIN]
    cov = np.cov(train[STAIN].T)
    moved = train[STAIN] - train[STAIN].mean(axis=0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", moved, np.linalg.inv(cov), moved) / 2)
    assert cloud.distances(train[STAIN]) == pytest.approx(expected)


def test_it_is_stored_and_read_again() -> None:
    rng = np.random.default_rng(0)
    likeness, new = learned(rng), points(rng, 20, 3, moved=2.0)
    assert likeness_from_arrays(likeness.to_arrays()).unlike(new) == likeness.unlike(new)


def test_traits_of_pixels() -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1] = (200, 100, 50)
    traits = traits_of(images)
    assert traits[BRIGHTNESS].tolist() == pytest.approx(np.array([[0, 0], [350 / 3, 0]]), abs=1e-3)
    assert traits[STAIN].tolist() == [[0, 0], [100, -50]]


def test_images_that_are_all_alike_do_not_make_all_others_unlike() -> None:
    same = {FEATURES: np.ones((20, 4)), BRIGHTNESS: np.full((20, 2), 50.0), STAIN: np.zeros((20, 2))}
    likeness = learn_likeness(same, same, [f"p{i % 5}" for i in range(20)])
    assert likeness.unlike(same) == [""] * 20


def greys(rng: np.random.Generator, count: int) -> np.ndarray:
    """Grey images uint8 (count, 8, 8, 3), such as films."""
    return np.repeat(rng.integers(0, 256, (count, 8, 8, 1)).astype(np.uint8), 3, axis=3)


def test_grey_films_with_rounded_colours_are_like_grey_films() -> None:
    rng = np.random.default_rng(0)
    features = {FEATURES: rng.normal(size=(40, 6))}
    films = features | traits_of(greys(rng, 40))
    likeness = learn_likeness(films, films, [f"p{i // 4}" for i in range(40)])
    noisy = np.minimum(greys(rng, 40) + rng.integers(0, 2, (40, 8, 8, 3)), 255).astype(np.uint8)
    assert not any(STAIN in found for found in likeness.unlike(features | traits_of(noisy)))
    dyed = greys(rng, 40)
    dyed[..., 1] //= 2
    assert all(STAIN in found for found in likeness.unlike(features | traits_of(dyed)))


@pytest.mark.parametrize("direction", range(6))
def test_features_that_never_change_are_left_in_any_direction(direction: int) -> None:
    rng = np.random.default_rng(0)
    traits = {name: rng.normal(100, 10, (40, 2)) for name in (BRIGHTNESS, STAIN)}
    points = {FEATURES: np.ones((40, 6)), **traits}
    likeness = learn_likeness(points, points, [f"p{i // 4}" for i in range(40)])
    rounded, far = points[FEATURES] + 1e-7, points[FEATURES].copy()
    far[:, direction] = 2
    assert not any(FEATURES in found for found in likeness.unlike(points | {FEATURES: rounded}))
    assert all(FEATURES in found for found in likeness.unlike(points | {FEATURES: far}))


def test_rounding_beside_the_axes_does_not_count() -> None:
    rng = np.random.default_rng(0)
    line = rng.normal(size=(1, 6))
    traits = {name: rng.normal(100, 10, (40, 2)) for name in (BRIGHTNESS, STAIN)}
    points = {FEATURES: rng.normal(size=(40, 1)) @ line, **traits}
    likeness = learn_likeness(points, points, [f"p{i // 4}" for i in range(40)])
    rounded = points[FEATURES] + rng.normal(size=(40, 6)) * 1e-6
    assert not any(FEATURES in found for found in likeness.unlike(points | {FEATURES: rounded}))
