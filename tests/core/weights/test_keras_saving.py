"""Keras models as files."""

import time
from pathlib import Path

import numpy as np
import pytest

from bccli.core.weights.keras_saving import save_model
from tests.core.models.networks import start


def test_equal_models_are_equal_files_whenever_they_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = start()
    inputs = keras.Input((4,), name="inputs")
    model = keras.Model(inputs, keras.layers.Dense(2, name="scores")(inputs), name="small")
    save_model(model, tmp_path / "one.keras")
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(10**9))  # what zip members take
    save_model(model, tmp_path / "other.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "other.keras").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.keras", "other.keras"]
    again = keras.saving.load_model(tmp_path / "one.keras")
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
