"""Planted label errors come first; without any, few are called likely."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bccli.core.metrics.decisions.suspects import find_suspects


def test_confident_joint_by_hand() -> None:
    """Cells of the joint as Northcutt et al. count them, by the thresholds of all classes."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], 300)
    labels = rng.integers(0, 3, 300)
    found = find_suspects(labels, probabilities)
    usual = [probabilities[labels == k, k].mean() for k in range(3)]
    for row, label, likely in zip(probabilities, labels, found.likely, strict=True):
        above = [k for k in range(3) if row[k] >= usual[k]]
        assert likely == bool(above and max(above, key=lambda k: row[k]) != label)


@given(
    arrays(np.float64, (20, 3), elements=st.floats(0.01, 1)),
    st.lists(st.integers(0, 2), min_size=20, max_size=20),
)
def test_the_order_is_that_of_the_margins(weights: np.ndarray, labels: list[int]) -> None:
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    found = find_suspects(np.array(labels), probabilities)
    assert sorted(found.order.tolist()) == list(range(20))
    assert (np.diff(found.margin[found.order]) >= 0).all()
    assert (found.suggested != labels).all()
