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
