"""Devices that share what a network is asked answer as one does, to the bit where each has as many images.

TensorFlow divides its CPU only before it computes, so that several devices need a process of their own.
"""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bccli.core.models.devices.sharing import devices_here, parts_of

PROGRAM = """
import sys
import numpy as np
from bccli.core.models import backend
tf = backend.start("cpu")
count, file = int(sys.argv[1]), sys.argv[2]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)

import keras
from bccli.core.models.devices.sharing import SharedModel, devices_here, placed
from bccli.core.models.extracting import Extracting
from tests.core.models.networks import Pixels, disturb

keras.utils.set_random_seed(0)
inputs = keras.Input((24, 20, 3))
x = keras.layers.Conv2D(8, 3, strides=2)(keras.layers.Rescaling(1 / 255)(inputs))
inner = keras.Sequential([keras.Input((11, 9, 8)), keras.layers.Conv2D(6, 3), keras.layers.Dropout(0.5)])
x = keras.layers.ReLU()(keras.layers.BatchNormalization()(inner(x)))
model = disturb(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x)))
images = np.random.default_rng(0).integers(0, 256, (21, 24, 20, 3), np.uint8)

maker, shared = Extracting(model, batch_size=4), SharedModel(model)
answers = {
    "features": np.concatenate([*maker.vectors(Pixels(images), np.arange(21))]),
    "batch": maker.batch_size,
    "devices": np.array(devices_here()),
    "lie on": np.array([part.device for part in placed(images, devices_here())]),
}
for number in (1, 2, 5, 6, 21):
    answers[f"of {number}"] = shared(images[:number])
answers["in bytes"] = SharedModel(model, "uint8")(images)
for variable in model.trainable_variables:
    variable.assign(variable * 2)
answers["of new weights"] = SharedModel(model)(images)
np.savez(file, **answers)
"""


def answers(count: int, folder: Path) -> dict[str, np.ndarray]:
    """What so many logical CPU devices make of a small network's images."""
    file = folder / f"{count}.npz"
    subprocess.run([sys.executable, "-c", PROGRAM, str(count), str(file)], check=True)
    with np.load(file) as found:
        return dict(found)


@pytest.fixture(scope="module")
def by_count(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("sharing")
    return {count: answers(count, folder) for count in (1, 3)}


def test_features_are_those_of_one_device_to_the_bit(by_count: dict[int, dict[str, np.ndarray]]) -> None:
    """Each device has a whole batch at a time: 21 images are one of 12, and one of 9 that is filled."""
    one, three = by_count[1], by_count[3]
    assert (one["batch"], three["batch"]) == (4, 12)
    assert one["features"].shape == (21, 6)
    assert one["features"].std(axis=0).min() > 1e-4
    np.testing.assert_array_equal(three["features"], one["features"])


@pytest.mark.parametrize("what", ["of 1", "of 2", "of 5", "of 6", "of 21", "in bytes", "of new weights"])
def test_answers_are_those_of_one_device_in_their_order(
    what: str, by_count: dict[int, dict[str, np.ndarray]]
) -> None:
    """Of fewer images than devices, and of such as do not divide."""
    assert len(by_count[3][what])
    np.testing.assert_allclose(by_count[3][what], by_count[1][what], rtol=1e-6, atol=1e-6)


def test_parts_lie_on_their_devices(by_count: dict[int, dict[str, np.ndarray]]) -> None:
    for count, found in by_count.items():
        assert [name[-5:] for name in found["lie on"]] == [f"CPU:{number}" for number in range(count)]
        assert len(found["devices"]) == count


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, [0]), (1, [1]), (2, [1, 1]), (4, [2, 2]), (5, [2, 2, 1]), (6, [2] * 3), (7, [3, 3, 1])],
)
def test_parts_are_of_one_size_but_for_the_last(count: int, expected: list[int]) -> None:
    parts = parts_of(np.arange(count), 3)
    assert [len(part) for part in parts] == expected
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(count))


def test_a_share_is_filled_before_the_next_device_has_any() -> None:
    shares = {count: [len(part) for part in parts_of(np.arange(count), 3, 4)] for count in (3, 5, 12, 14)}
    assert shares == {3: [3], 5: [4, 1], 12: [4, 4, 4], 14: [5, 5, 4]}


def test_devices_of_other_workers_are_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cluster TensorFlow lists the devices of all workers."""
    import tensorflow as tf

    names = {"CPU": [f"/job:localhost/replica:0/task:{task}/device:CPU:0" for task in (1, 0)], "GPU": []}
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: [SimpleNamespace(name=name) for name in names[kind]]
    )
    assert devices_here() == [names["CPU"][1]]
