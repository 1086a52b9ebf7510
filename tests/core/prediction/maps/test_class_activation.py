"""Class-activation maps against derivatives taken by hand, and the boxes in them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.imaging.equalising import Box
from bccli.core.models.class_maps import DenseHead, head_from_arrays
from bccli.core.prediction.maps.class_activation import (
    activation_map,
    box_in,
    overlap,
    peak_of,
)

boxes = st.builds(
    lambda left, top, width, height: Box(left, top, left + width, top + height),
    *(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20)),
)


def random_head(seed: int, *widths: int) -> DenseHead:
    """Layers from the first width to the last."""
    rng = np.random.default_rng(seed)
    return DenseHead(
        tuple((rng.normal(size=pair), rng.normal(size=pair[1])) for pair in itertools.pairwise(widths))
    )


def margin(head: DenseHead, features: np.ndarray, number: int) -> float:
    """The score of a class minus the mean of the others'."""
    x = features
    for place, (kernel, bias) in enumerate(head.layers):
        x = x @ kernel + bias
        x = np.maximum(x, 0) if place < len(head.layers) - 1 else x
    if len(x) == 1:
        return float(x[0] if number else -x[0])
    return float(x[number] - np.delete(x, number).mean())


@given(st.integers(0, 2**32 - 1), st.sampled_from([(5, 3), (5, 1), (5, 4, 2), (6, 7, 5, 3)]))
def test_the_gradient_is_that_of_the_score_against_the_others(seed: int, widths: tuple[int, ...]) -> None:
    head, features = random_head(seed, *widths), np.random.default_rng(seed).normal(size=widths[0])
    for number in range(max(widths[-1], 2)):
        slopes = [
            (margin(head, features + step, number) - margin(head, features - step, number)) / 2e-6
            for step in np.eye(widths[0]) * 1e-6
        ]
        assert head.gradient(features, number) == pytest.approx(slopes, rel=1e-4, abs=1e-6)
    again = head_from_arrays(head.to_arrays())
    assert (again.gradient(features, 0) == head.gradient(features, 0)).all()


def test_the_map_adds_up_to_what_speaks_for_the_class() -> None:
    """Zhou et al.: the mean over a map's places is the score without its bias, where none is negative."""
    rng = np.random.default_rng(0)
    maps = [np.abs(rng.normal(size=shape)) for shape in ((6, 8, 5), (3, 4, 2))]
    kernel = np.abs(rng.normal(size=(7, 1)))
    head = DenseHead(((kernel, np.zeros(1)),))
    features = np.concatenate([each.mean(axis=(0, 1)) for each in maps])
    outputs = np.concatenate([features, *(each.ravel() for each in maps)])
    shapes = [each.shape for each in maps]
    found = activation_map(outputs, head, shapes, 1, (8, 6))
    assert found.shape == (6, 8)
    assert found.mean() == pytest.approx(float(features @ kernel[:, 0]), rel=1e-5)
    assert (activation_map(outputs, head, shapes, 0, (8, 6)) == 0).all()


def test_the_map_of_a_middle_part_lies_there_and_adds_up_with_that_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    maps = np.abs(rng.normal(size=(2, 2, 3, 4)))
    kernel = np.abs(rng.normal(size=(8, 1)))
    head = DenseHead(((kernel, np.zeros(1)),))
    features = maps.mean(axis=(1, 2)).ravel()
    outputs = np.concatenate([features, maps.ravel()])
    found = activation_map(outputs, head, [(2, 3, 4)] * 2, 1, (36, 24), context=0.5)
    assert found.mean() == pytest.approx(float(features @ kernel[:, 0]), rel=1e-5)
    inner = DenseHead(((np.where(np.arange(8)[:, None] < 4, 0, kernel), np.zeros(1)),))
    found = activation_map(outputs, inner, [(2, 3, 4)] * 2, 1, (36, 24), context=0.5)
    assert found.mean() == pytest.approx(float(features[4:] @ kernel[4:, 0]), rel=1e-5)
    inside = Box(6, 4, 30, 20)
    assert (inside.of(found) > 0).all()
    inside.of(found)[:] = 0
    assert not found.any()


def test_a_head_that_sees_each_place_weighs_each() -> None:
    rng = np.random.default_rng(0)
    maps, places = rng.normal(size=(3, 4, 5)), rng.normal(size=(60, 1))
    head = DenseHead(((places, np.zeros(1)),))
    found = activation_map(np.tile(maps.ravel(), 2), head, [maps.shape], 1, (4, 3))
    expected = np.maximum((maps * places.reshape(maps.shape)).sum(axis=2), 0)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_maps_are_enlarged_around_the_middles_of_their_places() -> None:
    """Of a map of 2×3 places, the last one is the lower right corner of the image."""
    outputs, head = np.eye(7)[6], DenseHead(((np.ones((1, 1)), np.zeros(1)),))
    box = box_in(activation_map(outputs, head, [(2, 3, 1)], 1, (30, 20)), 0.99)
    assert (box.right, box.bottom) == (30, 20)
    assert box.left >= 24
    assert box.top >= 14


def test_a_box_is_around_the_largest_part_that_is_bright_enough() -> None:
    found = np.zeros((20, 30))
    found[4:9, 10:16] = 0.6
    found[15, 2] = 1.0
    assert box_in(found, 0.5) == Box(10, 4, 16, 9)
    assert box_in(found, 0.7) == Box(2, 15, 3, 16)
    assert peak_of(found) == (2, 15)
    assert box_in(np.zeros((20, 30)), 0.5) == Box(0, 0, 30, 20)


@given(boxes, boxes)
def test_overlap_counts_pixels(one: Box, other: Box) -> None:
    masks = [np.zeros((40, 40), bool) for _ in range(2)]
    for mask, box in zip(masks, (one, other), strict=True):
        mask[box.top : box.bottom, box.left : box.right] = True
    assert overlap(one, other) == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


def test_the_edge_of_a_fine_map_sees_padding_and_is_left_out() -> None:
    cells = np.zeros((10, 12, 1))
    cells[0, 0] = 9  # what zeros around an image make of a corner, whatever the image shows
    cells[4, 7] = 1
    outputs = np.concatenate([[cells.mean()], cells.ravel()])
    head = DenseHead(((np.array([[-1.0, 1.0]]), np.zeros(2)),))
    found = activation_map(outputs, head, [(10, 12, 1)], 1, (120, 100))
    column, row = peak_of(found)
    assert (column // 10, row // 10) == (7, 4)
    coarse = np.zeros((4, 4, 1))
    coarse[0, 0] = 9  # of so few cells none can be spared
    outputs = np.concatenate([[coarse.mean()], coarse.ravel()])
    column, row = peak_of(activation_map(outputs, head, [(4, 4, 1)], 1, (40, 40)))
    assert (column // 10, row // 10) == (0, 0)
