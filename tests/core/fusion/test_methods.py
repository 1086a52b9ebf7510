"""Rules and vectors: votes and their ties, neighbours, images with fewer or more patches than others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bccli.core.fusion.bags import Bag
from bccli.core.fusion.methods import FUSIONS, Classified, Geometry, blocks, joined, mean, vote
from bccli.core.fusion.predictor import _flipped
from bccli.core.prediction.flips import flips_of

GRID = [(row, col) for row in range(3) for col in range(4)]


def bag(positions: list[tuple[int, int]]) -> Bag:
    """Patches 10 pixels apart whose only feature is 10 · row + column."""
    at = np.array(positions)
    features = (10 * at[:, :1] + at[:, 1:]).astype(np.float32)
    return Bag(features, np.full((len(at), 2), 0.5), 10 * at)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(0.01, 1)).map(
        lambda rows: rows / rows.sum(axis=1, keepdims=True)
    )
)
def test_the_majority_decides_and_the_mean_between_equals(rows: np.ndarray) -> None:
    counts = np.bincount(rows.argmax(axis=1), minlength=3)
    leading = counts == counts.max()
    found = vote(rows)
    assert found.sum() == pytest.approx(1)
    best = np.where(leading, rows.mean(axis=0), -1)
    assert leading[found.argmax()]
    assert best[found.argmax()] == pytest.approx(best.max())


def test_the_mean_is_the_mean() -> None:
    assert mean(np.array([[0.9, 0.1], [0.2, 0.8]])) == pytest.approx([0.55, 0.45])


def test_twelve_patches_are_one_vector_and_six_blocks() -> None:
    whole = bag(GRID)
    geometry = Geometry(12, 10)
    assert joined(whole, geometry).tolist() == [[0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]]
    found = blocks(whole, geometry)
    assert found.shape == (6, 4)
    assert found[0].tolist() == [0, 1, 10, 11]
    assert found[-1].tolist() == [12, 13, 22, 23]


def test_missing_patches_are_made_up_for() -> None:
    few, geometry = bag([(0, 0), (0, 1), (1, 0)]), Geometry(5, 10)
    middle = 11 / 3
    assert joined(few, geometry)[0].tolist() == pytest.approx([0, 1, 10, middle, middle])
    assert blocks(few, geometry).tolist() == [pytest.approx([0, 1, 10, middle])]
    assert joined(bag(GRID), geometry).tolist() == [[0, 3, 12, 20, 23]]


def test_blocks_lie_side_by_side_in_the_image_not_in_the_list() -> None:
    """With a row of patches missing, those above and below are no neighbours."""
    parted = bag([(0, 0), (0, 1), (2, 0), (2, 1)])
    found = blocks(parted, Geometry(4, 10))
    assert len(found) == 4  # above and below each pair
    assert all(set(row) <= {0, 1, 0.5} or set(row) <= {20, 21, 20.5} for row in found.tolist())
    assert blocks(bag([(0, 5)]), Geometry(4, 10)).shape == (4, 4)


def test_what_votes_has_several_vectors() -> None:
    class Asked:
        def probabilities(self, features: np.ndarray) -> np.ndarray:
            right = (features[:, 0] > 5).astype(float)
            return np.stack([1 - right, right], axis=1)

    way = FUSIONS["blocks-2x2"]
    assert isinstance(way, Classified)
    answers = way.fuser(Asked(), Geometry(12, 10))([bag(GRID), bag([(0, 0), (0, 1), (1, 0), (1, 1)])])
    assert answers[0].tolist() == pytest.approx([0.5, 0.5])
    assert answers[1].tolist() == pytest.approx([1, 0])


def test_in_a_flipped_image_patches_change_their_positions() -> None:
    positions = [(10 * row, 10 * col) for row, col in GRID]
    orders = {}
    for number, flip in enumerate(flips_of((8, 8))):
        order, seen = _flipped(positions, flip)
        assert sorted(order.tolist()) == list(range(12))
        assert seen == sorted(seen)
        orders[number] = order.tolist(), max(seen)
    assert orders[0] == (list(range(12)), (20, 30))
    assert orders[1] == ([3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8], (20, 30))  # mirrored
    assert orders[2][0][:3] == [3, 7, 11]  # turned by a quarter
    assert orders[2][1] == (30, 20)
