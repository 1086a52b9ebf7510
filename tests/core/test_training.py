"""The training loop on its own: a signal at any safe point changes nothing in the result."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core import interruption
from bccli.core.errors import Stopped
from bccli.core.models.heads import Head, build_head
from bccli.core.training import Examples, Features, Fit, Progress, Schedule

TRAIN, VAL = np.arange(40), np.arange(40, 60)


class Interrupted(Features):
    """Features that send a signal before the batch of this number, counted over training and validation."""

    def __init__(self, values: np.ndarray, at: int) -> None:
        super().__init__(values)
        object.__setattr__(self, "left", [at])

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        for batch in super().batches(order, batch_size):
            self.left[0] -= 1  # type: ignore[attr-defined]
            if self.left[0] == 0:  # type: ignore[attr-defined]
                interruption.request(signal.SIGTERM)
            yield batch


def fit_to(state: Path, inputs: Any) -> Fit:
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    labels = np.arange(60) % 2
    examples = Examples(inputs, labels, 2, TRAIN, VAL)
    return Fit(build_head(Head((8,), 0.5), 5, 2), examples, Schedule(batch_size=8, epochs=3), state)


def outcome(fit: Fit, progress: Progress) -> tuple[list[dict[str, float]], list[Any]]:
    return progress.history, [weights.tolist() for weights in fit.network.get_weights()]


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(60, 5)) + (np.arange(60) % 2)[:, None]).astype(np.float32)


# Five steps of training and three of validation make an epoch.
@pytest.mark.parametrize("at", [1, 5, 6, 8, 9, 15, 24])
def test_a_signal_before_any_batch_changes_nothing(tmp_path: Path, values: np.ndarray, at: int) -> None:
    undisturbed = fit_to(tmp_path / "a.npz", Features(values))
    expected = outcome(undisturbed, undisturbed.run())
    with pytest.raises(Stopped):
        fit_to(tmp_path / "b.npz", Interrupted(values, at)).run()
    interruption.forget()
    continued = fit_to(tmp_path / "b.npz", Features(values))
    assert outcome(continued, continued.run()) == expected
