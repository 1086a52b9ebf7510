"""The objective of a detector against plain NumPy."""

import numpy as np
import pytest

from bccli.core.training.objectives.cells import BOTH, DICE, FOCAL, HARDEST, INSIDE, of_cells


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def by_hand(truth: np.ndarray, scores: np.ndarray, loss: str) -> float:
    """The loss of one image, cell by cell."""
    inside = [float(score) for value, score in zip(truth, scores, strict=True) if value == 1]
    outside = [float(score) for value, score in zip(truth, scores, strict=True) if value == 0]
    total = 0.0
    if loss in (FOCAL, BOTH):
        found = [INSIDE * (1 - sigmoid(s)) ** 2 * -np.log(sigmoid(s)) for s in map(np.float64, inside)]
        wrong = [(1 - INSIDE) * sigmoid(s) ** 2 * -np.log(1 - sigmoid(s)) for s in map(np.float64, outside)]
        total += sum(found) / max(len(inside), 1)
        total += 4 * sum(sorted(wrong, reverse=True)[:HARDEST]) / HARDEST
    if loss in (DICE, BOTH) and inside:
        shared = sum(sigmoid(np.float64(s)) for s in inside)
        whole = shared + sum(sigmoid(np.float64(s)) for s in outside) + len(inside)
        total += 1 - (2 * shared + 1) / (whole + 1)
    return float(total)


@pytest.mark.parametrize("loss", [FOCAL, DICE, BOTH])
def test_losses_equal_a_loop(loss: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice([-1, 0, 1], (4, 100), p=[0.1, 0.8, 0.1]).astype(np.float32)
    truth[3] = 0  # a film without a lesion
    scores = rng.normal(0, 2, (4, 100)).astype(np.float32)
    objective = of_cells(100, loss=loss)
    expected = [by_hand(*pair, loss) for pair in zip(truth, scores, strict=True)]
    assert objective.losses(truth, scores).numpy() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    mean, accuracy = objective.measured(truth, objective.answers(scores))
    assert mean == pytest.approx(np.mean(expected), rel=1e-3, abs=1e-6)
    hits = objective.hits(truth, scores).numpy()
    assert accuracy == pytest.approx(np.mean(hits))
    assert hits.tolist() == [
        (row.max() >= 0) == (of == 1).any() for row, of in zip(scores, truth, strict=True)
    ]


def test_cells_that_are_ignored_change_nothing() -> None:
    rng = np.random.default_rng(1)
    truth = rng.choice([-1, 0, 1], (3, 50)).astype(np.float32)
    scores = rng.normal(0, 2, (3, 50)).astype(np.float32)
    others = np.where(truth < 0, rng.normal(0, 5, scores.shape), scores).astype(np.float32)
    objective = of_cells(50)
    assert objective.losses(truth, scores).numpy() == pytest.approx(objective.losses(truth, others).numpy())
