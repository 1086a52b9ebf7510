"""What is frozen answers as in inference mode, also inside of a model that is trained."""

from typing import Any

import numpy as np
import pytest

from tests.core.models.networks import start

X = np.ones((64, 6), np.float32)


def restless(keras: Any) -> Any:
    """Layers that do otherwise while a model is trained, one of them in a model inside."""
    inputs = keras.Input((6,))
    x = keras.layers.Dropout(0.5)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    x = keras.Sequential([keras.layers.GaussianNoise(1.0), keras.layers.Dense(4)])(x)
    return keras.Model(inputs, [x, keras.layers.Dropout(0.5, noise_shape=(None, 1))(x)])


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_training_the_whole_does_not_train_what_is_in_it(policy: str) -> None:
    from bccli.core.models.inference_mode import drawing_layers, in_inference_mode

    keras = start()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        inner = restless(keras)
        inputs = keras.Input((6,))
        joined = keras.layers.Concatenate()(in_inference_mode(inner, inputs))
        outer = keras.Model(inputs, [joined, keras.layers.Dropout(0.5, name="own")(joined)])
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    before = inner.get_weights()
    expected = np.concatenate([np.asarray(part) for part in inner(X, training=False)], axis=1)
    np.testing.assert_array_equal(outer(X, training=True)[0], expected)
    for old, new in zip(before, inner.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.ptp(np.asarray(inner(X, training=True)[1]), axis=0).max() > 0  # which would show
    assert {id(weight) for weight in outer.weights} == {id(weight) for weight in inner.weights}
    assert [layer.name for layer in drawing_layers(outer)] == ["own"]
    assert len(list(drawing_layers(inner))) == 3
