"""Weights that are copied: the copy computes what its source does, whatever its layers derive from them."""

import re
from pathlib import Path
from typing import Any

import numpy as np

import bccli
from tests.core.models.networks import difference, pixels, start


def normalising(keras: Any, policy: str = "float32") -> Any:
    """A network whose first layer takes a mean out of its input, in the model and in a model inside of it."""
    inside = keras.Sequential([keras.layers.Normalization(dtype=policy), keras.layers.Conv2D(4, 3)])
    return keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Normalization(dtype=policy), inside, keras.layers.Flatten()]
    )


def with_statistics(network: Any) -> Any:
    rng = np.random.default_rng(0)
    for variable in network.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype(variable.dtype))
    return network


def test_a_copy_computes_what_its_source_does() -> None:
    from bccli.core.weights.copying import copy_weights, finalise

    keras = start()
    images = pixels((8, 8)) / 255
    source, target, half = normalising(keras), normalising(keras), normalising(keras, "mixed_float16")
    finalise(with_statistics(source))
    expected = source(images)
    assert difference(target(images), expected) > 0.1
    copy_weights(source, target)
    copy_weights(source, half)
    np.testing.assert_array_equal(target(images), expected)
    assert difference(half(images), expected) < 1e-2


def test_weights_are_given_to_models_in_one_place() -> None:
    """Elsewhere it would be forgotten that some layers compute with more than their weights."""
    found = {
        path.name
        for path in Path(bccli.__file__).parent.rglob("*.py")
        if re.search(r"\.set_weights\(|\bfinalize_state\(", path.read_text(encoding="utf-8"))
    }
    assert found == {"copying.py"}
