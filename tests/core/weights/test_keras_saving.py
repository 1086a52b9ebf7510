"""Keras models as files."""

import re
import time
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from bccli.core.weights.keras_saving import save_model
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


def test_shared_objects_keep_who_shares_them(tmp_path: Path) -> None:
    keras = start()
    model = small_model(keras)
    model.save(tmp_path / "keras.keras")
    save_model(model, tmp_path / "ours.keras")
    ids = {}
    for name in ("keras", "ours"):
        with ZipFile(tmp_path / f"{name}.keras") as archive:
            ids[name] = re.findall(r'"shared_object_id": (\d+)', archive.read("config.json").decode())
    order = {name: [found.index(one) for one in found] for name, found in ids.items()}
    assert order["keras"] == order["ours"] != []
    assert set(ids["ours"]) == {str(number + 1) for number in range(len(set(ids["ours"])))}
