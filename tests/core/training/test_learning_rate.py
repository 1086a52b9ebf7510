"""Learning rates against Keras's schedules, the warm-up by hand, and what contradicts itself."""

import keras
import numpy as np
import pytest

from bccli.core.errors import UsageError
from bccli.core.training.learning_rate import SCHEDULES, Rates, check_rates, cuts_so_far, learning_rate

STEPS, EPOCHS = 7, 6


def course(rates: Rates) -> list[float]:
    """The rate of every step."""
    return [learning_rate(rates, step, STEPS) for step in range(STEPS * EPOCHS)]


def of_keras(schedule: keras.optimizers.schedules.LearningRateSchedule) -> list[float]:
    return [float(schedule(step)) for step in range(STEPS * EPOCHS)]


def test_schedules_are_kerass() -> None:
    kinds = keras.optimizers.schedules
    cosine = of_keras(kinds.CosineDecay(0.1, STEPS * EPOCHS))
    np.testing.assert_allclose(course(Rates(0.1, EPOCHS, "cosine")), cosine, rtol=1e-4)
    for name, staircase in (("exponential", False), ("step", True)):
        expected = of_keras(kinds.ExponentialDecay(0.1, 2 * STEPS, 0.5, staircase))
        rates = Rates(0.1, EPOCHS, name, decay=0.5, decay_epochs=2)
        np.testing.assert_allclose(course(rates), expected, rtol=1e-5)
    assert set(course(Rates(0.1, EPOCHS))) == {0.1}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_begins_after_the_warm_up(name: str) -> None:
    rates = course(Rates(0.1, EPOCHS, name, warmup=2, decay=0.5, decay_epochs=1))
    np.testing.assert_allclose(rates[: 2 * STEPS], 0.1 * np.arange(1, 15) / 14)
    assert rates[2 * STEPS] == 0.1
    shorter = [learning_rate(Rates(0.1, 4, name, decay=0.5, decay_epochs=1), s, STEPS) for s in range(28)]
    np.testing.assert_allclose(rates[2 * STEPS :], shorter)


LOSSES = (
    (0.9, 0.8, 0.81, 0.82, 0.83, 0.79, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8),
    (0.5, 0.49995, 0.4999, 0.49985, 0.49, 0.49, 0.3),
    tuple(np.random.default_rng(5).random(60).tolist()),
)


@pytest.mark.parametrize("values", LOSSES)
@pytest.mark.parametrize(("monitor", "rising"), [("val_loss", False), ("val_accuracy", True)])
@pytest.mark.parametrize("wait", [1, 3])
def test_a_plateau_is_kerass(values: tuple[float, ...], monitor: str, rising: bool, wait: int) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1))
    callback = keras.callbacks.ReduceLROnPlateau(
        monitor=monitor, factor=0.5, patience=wait, mode="max" if rising else "min"
    )
    callback.set_model(model)
    callback.on_train_begin()
    rates = Rates(0.1, len(values), "plateau", decay=0.5, decay_epochs=wait)
    for epoch, value in enumerate(values, 1):
        callback.on_epoch_end(epoch, {monitor: value})
        cuts = cuts_so_far(rates, values[:epoch], rising=rising)
        ours = learning_rate(rates, epoch * STEPS, STEPS, cuts=cuts)
        assert ours == pytest.approx(float(model.optimizer.learning_rate), rel=1e-6)
    assert cuts_so_far(Rates(0.1, 9, "step", decay=0.5, decay_epochs=1), values, rising=rising) == 0


def test_contradictions_are_refused() -> None:
    with pytest.raises(UsageError, match="--warmup 6 leaves nothing of --epochs 6"):
        check_rates(Rates(0.1, 6, warmup=6))
    with pytest.raises(UsageError, match="--decay does not go with --schedule cosine; say --schedule exp"):
        check_rates(Rates(0.1, 6, "cosine", decay=0.5))
    with pytest.raises(UsageError, match="--decay-epochs does not go with --schedule constant"):
        check_rates(Rates(0.1, 6, decay_epochs=2))
    check_rates(Rates(0.1, 6, "step", decay=0.5, decay_epochs=2, warmup=5.5))
