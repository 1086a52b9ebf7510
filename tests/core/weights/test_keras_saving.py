"""Keras models as files."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.weights import keras_saving
from bccli.core.weights.keras_saving import HeadSaver, _renumbered, save_model
from tests.core.models.networks import start


def small_model(keras: Any) -> Any:
    """A model whose layers share an object."""
    policy = keras.DTypePolicy("float32")
    inputs = keras.Input((4,), name="inputs")
    hidden = keras.layers.Dense(3, name="hidden", dtype=policy, kernel_initializer="ones")(inputs)
    hidden = keras.layers.Dense(3, name="second", dtype=policy, kernel_initializer="ones")(hidden)
    outputs = keras.layers.Dense(2, name="scores", dtype=policy, kernel_initializer="ones")(hidden)
    return keras.Model(inputs, outputs, name="small")


def test_equal_models_are_equal_files_whenever_they_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = start()
    first, second = small_model(keras), small_model(keras)
    save_model(first, tmp_path / "one.keras")
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(10**9))  # what zip members take
    save_model(second, tmp_path / "other.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "other.keras").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.keras", "other.keras"]
    again = keras.saving.load_model(tmp_path / "one.keras")
    np.testing.assert_array_equal(again.get_weights()[0], first.get_weights()[0])
    assert again.layers[1].dtype_policy == first.layers[1].dtype_policy


def test_a_model_that_was_on_a_disk_is_the_same_file_as_one_that_was_not(tmp_path: Path) -> None:
    keras = start()
    save_model(small_model(keras), tmp_path / "one.keras")
    save_model(keras.saving.load_model(tmp_path / "one.keras"), tmp_path / "other.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "other.keras").read_bytes()


@pytest.mark.parametrize("what", ["found", "zeros", "large"])
def test_a_head_with_other_weights_is_saved_as_keras_saves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Zeros are all over a file: where those of the head lie is not clear."""
    keras = start()
    by_keras: list[Path] = []

    def counted(model: Any, path: Path) -> None:
        by_keras.append(path)
        save_model(model, path)

    monkeypatch.setattr(keras_saving, "save_model", counted)
    if what == "large":
        monkeypatch.setattr(keras_saving, "_KEPT", 10)
    body = small_model(keras)
    head = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="last")], name="head")
    model, saver, rng = keras.Model(body.input, head(body.output)), HeadSaver(), np.random.default_rng(0)
    for _ in range(3):
        bias = np.zeros(3) if what == "zeros" else rng.normal(size=3)
        head.set_weights([rng.normal(size=(2, 3)), bias])
        saver.save(model, head, tmp_path / "mine.keras")
        save_model(model, tmp_path / "keras.keras")
        assert (tmp_path / "mine.keras").read_bytes() == (tmp_path / "keras.keras").read_bytes()
    assert len(by_keras) == (1 if what == "found" else 3)


def test_shared_objects_are_numbered_in_their_order() -> None:
    def shared(address: int, kind: str = "Dense") -> dict[str, Any]:
        return {"class_name": kind, "shared_object_id": address}

    found = _renumbered(json.dumps([shared(977), shared(12), shared(977), shared(5, "DTypePolicy")]))
    assert json.loads(found) == [shared(1), shared(2), shared(1), {"class_name": "DTypePolicy"}]


def test_a_model_whose_description_holds_arrays_is_loaded(tmp_path: Path) -> None:
    """VGG16's pre-processing is such a layer: means and variances as NumPy's arrays."""
    start()
    import keras

    from bccli.core.weights.keras_files import load_model

    layers = keras.Input((4, 4, 3)), keras.layers.Normalization(mean=np.ones(3), variance=np.full(3, 4.0))
    model = keras.Sequential(layers)
    save_model(model, tmp_path / "model.keras")
    images = np.arange(48.0).reshape(1, 4, 4, 3)
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(images, verbose=0), (images - 1) / 2)
