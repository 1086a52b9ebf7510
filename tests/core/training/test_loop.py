"""The training loop on its own: a signal at any safe point changes nothing in the result."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core import interruption
from bccli.core.errors import Stopped
from bccli.core.models.heads import Head, build_head
from bccli.core.runs.feature_store import FeatureStore
from bccli.core.training.checkpoint import Progress
from bccli.core.training.inputs import Features, order_of
from bccli.core.training.loop import Examples, Fit
from bccli.core.training.settings import OPTIMIZERS, Schedule
from bccli.core.training.trainee import CompiledBefore

TRAIN, VAL = np.arange(40), np.arange(40, 60)


class ImagePatches(Features):
    """Features of which so many batches are taken at once."""

    def __init__(self, values: np.ndarray, steps_per_call: int) -> None:
        super().__init__(values)
        object.__setattr__(self, "steps", steps_per_call)

    def steps_per_call(self, batch_size: int) -> int:
        return int(self.steps)  # type: ignore[attr-defined]


class Interrupted(ImagePatches):
    """Features that send a signal before the piece of this number, counted over training and validation."""

    def __init__(self, values: np.ndarray, at: int, steps_per_call: int = 1) -> None:
        super().__init__(values, steps_per_call)
        object.__setattr__(self, "left", [at])

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        for batch in super().batches(order, batch_size):
            self.left[0] -= 1  # type: ignore[attr-defined]
            if self.left[0] == 0:  # type: ignore[attr-defined]
                interruption.request(signal.SIGTERM)
            yield batch


def fit_to(state: Path, inputs: Any, **settings: Any) -> Fit:
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    labels = np.arange(60) % 2
    examples = Examples(inputs, labels, 2, TRAIN, VAL)
    schedule = Schedule(batch_size=8, epochs=3, **settings)
    if schedule.mixed_precision:
        keras.mixed_precision.set_dtype_policy(f"mixed_{schedule.mixed_type}")
    try:
        head = build_head(Head((8,), 0.5, kind="thesis"), 5, 2)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    return Fit(head, examples, schedule, state)


def outcome(fit: Fit, progress: Progress) -> tuple[list[dict[str, float]], list[Any]]:
    return progress.history, [weights.tolist() for weights in fit.network.get_weights()]


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(60, 5)) + (np.arange(60) % 2)[:, None]).astype(np.float32)


# Five steps of training and three of validation make an epoch; two at once, three pieces and two.
@pytest.mark.parametrize(
    ("at", "steps_per_call"),
    [
        *((at, 1) for at in (1, 6, 9, 24)),
        (4, 2),
        *(pytest.param(at, 1, marks=pytest.mark.full) for at in (5, 8, 15)),
        *(pytest.param(at, 2, marks=pytest.mark.full) for at in (2, 3, 8)),
    ],
)
def test_a_signal_before_any_batch_changes_nothing(
    tmp_path: Path, values: np.ndarray, at: int, steps_per_call: int
) -> None:
    """Nor does it matter how many steps are taken at once, before or after."""
    undisturbed = fit_to(tmp_path / "a.npz", Features(values))
    assert undisturbed.steps_per_call > 5
    expected = outcome(undisturbed, undisturbed.run())
    with pytest.raises(Stopped):
        fit_to(tmp_path / "b.npz", Interrupted(values, at, steps_per_call)).run()
    interruption.forget()
    continued = fit_to(tmp_path / "b.npz", ImagePatches(values, 3 - steps_per_call))
    assert outcome(continued, continued.run()) == expected


@pytest.mark.parametrize("at", [3, 7])
def test_batches_that_are_put_to_a_device_ahead_change_nothing(
    tmp_path: Path, values: np.ndarray, at: int
) -> None:
    """As a GPU has them: here the device is the CPU, also where a signal comes."""
    undisturbed = fit_to(tmp_path / "a.npz", ImagePatches(values, 1))
    expected = outcome(undisturbed, undisturbed.run())
    stopped = fit_to(tmp_path / "b.npz", Interrupted(values, at))
    stopped.place = "CPU:0"
    with pytest.raises(Stopped):
        stopped.run()
    interruption.forget()
    continued = fit_to(tmp_path / "b.npz", ImagePatches(values, 1))
    continued.place = "CPU:0"
    assert outcome(continued, continued.run()) == expected


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_seed_that_uses_the_compiled_steps_of_another_has_the_result_of_one_alone(
    tmp_path: Path, values: np.ndarray, optimizer: str
) -> None:
    """So has one that goes on with them after a signal: in a fit of another member all is begun anew."""
    alone = fit_to(tmp_path / "alone.npz", Features(values), optimizer=optimizer, seed=1)
    first_weights = alone.network.get_weights()
    expected = outcome(alone, alone.run())
    compiled: CompiledBefore = {}
    other = fit_to(tmp_path / "other.npz", Features(values), optimizer=optimizer)
    examples, network = other.examples, other.network

    def again(state: str, seed: int, inputs: Any) -> Fit:
        network.set_weights(first_weights)
        schedule = replace(other.schedule, seed=seed)
        return Fit(network, replace(examples, inputs=inputs), schedule, tmp_path / state, compiled=compiled)

    again("zero.npz", 0, Features(values)).run()
    with pytest.raises(Stopped):
        again("one.npz", 1, Interrupted(values, 2, other.steps_per_call)).run()
    interruption.forget()
    again("two.npz", 2, Features(values)).run()
    continued = again("one.npz", 1, Features(values))
    assert outcome(continued, continued.run()) == expected
    assert len(compiled) == 1
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "alone.npz").read_bytes()


def test_a_weight_decay_is_that_of_keras_and_no_part_of_compiled_steps(
    tmp_path: Path, values: np.ndarray
) -> None:
    """Those of one decay serve another one, and history.csv has losses without it."""
    import keras

    def decayed(state: str, weight_decay: float, compiled: CompiledBefore) -> Fit:
        fit = fit_to(tmp_path / f"{state}.npz", Features(values), optimizer="sgd", lr=0.1)
        network.set_weights(first)
        schedule = replace(fit.schedule, weight_decay=weight_decay, epochs=1)
        return Fit(network, fit.examples, schedule, tmp_path / f"{state}.npz", compiled=compiled)

    keras.utils.set_random_seed(0)
    network = build_head(Head(), 5, 2)
    first, compiled = network.get_weights(), CompiledBefore()
    decayed("one", 0.5, compiled).run()
    history = decayed("two", 0.25, compiled).run().history
    found = network.get_weights()
    assert len(compiled) == 1
    penalty = keras.regularizers.L2(0.125)
    twin = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, kernel_regularizer=penalty)])
    twin.set_weights(first)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    twin.compile(keras.optimizers.SGD(0.1), loss)
    order = TRAIN[order_of(Schedule(batch_size=8), 0, len(TRAIN))]
    twin.fit(values[order], np.eye(2)[order % 2], batch_size=8, epochs=1, shuffle=False, verbose=0)
    for one, other in zip(found, twin.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    plain = decayed("three", 0.0, compiled).run().history
    assert history[0]["loss"] == pytest.approx(plain[0]["loss"], abs=0.05)


SCHEDULED = {"schedule": "cosine", "warmup": 0.5, "clip_norm": 0.3, "steps_per_epoch": 7, "optimizer": "sgd"}


# Seven steps of training and three of validation make an epoch, and 56 of 40 examples.
@pytest.mark.parametrize("at", [7, 11])
def test_a_signal_changes_nothing_in_schedule_and_order(tmp_path: Path, values: np.ndarray, at: int) -> None:
    undisturbed = fit_to(tmp_path / "a.npz", Features(values), **SCHEDULED)
    expected = outcome(undisturbed, undisturbed.run())
    with pytest.raises(Stopped):
        fit_to(tmp_path / "b.npz", Interrupted(values, at), **SCHEDULED).run()
    interruption.forget()
    continued = fit_to(tmp_path / "b.npz", Features(values), **SCHEDULED)
    assert outcome(continued, continued.run()) == expected
    rates = [row["lr"] for row in expected[0]]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 1e-4


WAITING = {"schedule": "plateau", "decay": 0.5, "decay_epochs": 1, "monitor": "val_accuracy", "lr": 1e-8}


@pytest.mark.parametrize("at", [4, 9, 20])
def test_a_signal_changes_nothing_in_a_rate_that_waits_for_a_plateau(
    tmp_path: Path, values: np.ndarray, at: int
) -> None:
    """The rate is cut after each epoch whose accuracy is no gain."""
    undisturbed = fit_to(tmp_path / "a.npz", Features(values), **WAITING)
    expected = outcome(undisturbed, undisturbed.run())
    with pytest.raises(Stopped):
        fit_to(tmp_path / "b.npz", Interrupted(values, at), **WAITING).run()
    interruption.forget()
    continued = fit_to(tmp_path / "b.npz", Features(values), **WAITING)
    assert outcome(continued, continued.run()) == expected
    best, rate = 0.0, 1e-8
    for row in expected[0]:
        assert row["lr"] == pytest.approx(rate)
        rate *= 1.0 if row["val_accuracy"] > best else 0.5
        best = max(best, row["val_accuracy"])
    assert rate < 1e-8


@pytest.mark.parametrize(("kind", "is_scaled"), [("float16", True), ("bfloat16", False)])
def test_a_signal_changes_nothing_in_mixed_precision(
    tmp_path: Path, values: np.ndarray, kind: str, is_scaled: bool
) -> None:
    """The scale of the loss, if there is one, is part of the state."""
    mixed: dict[str, Any] = {"mixed_precision": True, "mixed_type": kind}
    undisturbed = fit_to(tmp_path / "a.npz", Features(values), **mixed)
    assert hasattr(undisturbed.trainee.optimizer, "dynamic_scale") == is_scaled
    assert str(undisturbed.network.compute_dtype) == kind
    expected = outcome(undisturbed, undisturbed.run())
    with pytest.raises(Stopped):
        fit_to(tmp_path / "b.npz", Interrupted(values, 9), **mixed).run()
    interruption.forget()
    continued = fit_to(tmp_path / "b.npz", Features(values), **mixed)
    assert outcome(continued, continued.run()) == expected
    assert "lr" not in expected[0][0]


def test_clipped_gradients_are_short(tmp_path: Path, values: np.ndarray) -> None:
    """A step of gradient descent is as long as the rate times the gradient."""
    fits = [
        fit_to(
            tmp_path / f"{norm}.npz", Features(values * 100), optimizer="sgd", lr=1.0, clip_norm=norm,
            steps_per_epoch=1,
        )
        for norm in (None, 0.1)
    ]  # fmt: skip
    lengths = []
    for fit in fits:
        before = [variable.numpy() for variable in fit.network.trainable_variables]
        fit._train_epoch()
        after = [variable.numpy() for variable in fit.network.trainable_variables]
        squares = [((a - b) ** 2).sum() for a, b in zip(after, before, strict=True)]
        lengths.append(float(np.sqrt(np.sum(squares))))
    assert lengths[0] > 0.2
    assert lengths[1] == pytest.approx(0.1, rel=1e-4)


def test_epochs_of_some_steps_follow_each_other_in_shuffled_passes() -> None:
    """Ten examples in epochs of 3 steps of 4: after five epochs each of them has had six turns."""
    schedule = Schedule(batch_size=4, steps_per_epoch=3, seed=5)
    epochs = [order_of(schedule, epoch, 10) for epoch in range(5)]
    assert [len(order) for order in epochs] == [12] * 5
    passes = np.concatenate(epochs).reshape(6, 10)
    assert all(sorted(turn) == list(range(10)) for turn in passes.tolist())
    assert len({tuple(turn) for turn in passes.tolist()}) == 6
    whole = Schedule(batch_size=4, seed=5)
    assert [order_of(whole, epoch, 10).tolist() for epoch in range(6)] == passes.tolist()
    assert (whole.steps(10), schedule.steps(10)) == (3, 3)
    assert len(order_of(Schedule(batch_size=4, steps_per_epoch=50), 1, 10)) == 200


def test_features_on_the_disk_train_like_those_in_memory(tmp_path: Path, values: np.ndarray) -> None:
    store = FeatureStore(tmp_path / "store", 5)
    hashes = [f"{number:064x}" for number in range(60)]
    store.add(hashes[:30], values[:30])
    store.add(hashes[30:], values[30:])
    outcomes = []
    for name, inputs in (("a", values), ("b", store.rows(hashes))):
        fit = fit_to(tmp_path / f"{name}.npz", Features(inputs))
        outcomes.append(outcome(fit, fit.run()))
    assert outcomes[0] == outcomes[1]
