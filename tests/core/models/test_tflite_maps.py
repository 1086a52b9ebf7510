"""The maps and heads that a .tflite shows are those of the Keras network that it was made of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.models.class_maps import DenseHead, dense_head, with_maps
from bccli.core.models.heads import Head, build_head
from bccli.core.models.runtimes import LiteRT
from bccli.core.models.tflite_export import Parts, convert, converted, export
from bccli.core.models.tflite_maps import NoMapsError, with_map_outputs
from bccli.core.models.views.two_views import in_two_views

SIZE = (32, 24, 3)
TOLERANCE = 1e-4
HEADS = {
    "one layer": Head(),
    "hidden layers": Head(dense=(7, 5), dropout=0.3),
    "one score": Head(output="sigmoid"),
    "hidden layer, one score": Head(dense=(6,), output="sigmoid"),
    "standardised": Head(standardised=True),
    "standardised, hidden layer": Head(dense=(6,), standardised=True),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, *SIZE)).astype(np.uint8)


def extractor(kind: str) -> Any:
    """Two convolutions, and features of a kind."""
    import keras

    inputs = keras.Input(SIZE)
    first = keras.layers.Conv2D(6, 3, strides=2, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    last = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(first)
    average = keras.layers.GlobalAveragePooling2D
    features = {
        "average": lambda: average()(last),
        "blocks": lambda: keras.layers.Concatenate()([average()(first), average()(last)]),
        "pooled": lambda: keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(last)),
        "views": lambda: in_two_views(lambda x: average()(keras.Model(inputs, last)(x)), 0.5)(inputs),
    }[kind]()
    return keras.Model(inputs, features)


def head_of(head: Head, width: int, classes: int) -> Any:
    """A head whose every weight is random, biases and statistics included."""
    model = build_head(head, width, classes)
    rng = np.random.default_rng(1)
    model.set_weights([np.abs(rng.normal(size=weight.shape)) + 0.1 for weight in model.weights])
    return model


def assert_same(found: DenseHead, expected: DenseHead, features: np.ndarray, classes: int) -> None:
    for row in features:
        for number in range(classes):
            slope = expected.gradient(row, number)
            assert np.abs(found.gradient(row, number) - slope).max() <= TOLERANCE * np.abs(slope).max()


@pytest.mark.exports
@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", ["average", "blocks", "pooled", "views"])
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("in_parts", [True, False])
def test_they_are_those_of_keras(
    tmp_path: Path, images: np.ndarray, kind: str, name: str, in_parts: bool
) -> None:
    import keras

    below, classes = extractor(kind), 2 if HEADS[name].output == "sigmoid" else 3
    head = head_of(HEADS[name], below.output_shape[-1], classes)
    whole = keras.Model(below.input, head(below.output))
    features = below(images.astype(np.float32)).numpy()
    parts = Parts(below, head, features) if in_parts else None
    assert not export(whole, images, tmp_path, parts=parts).error
    tflite, shapes, found = with_map_outputs((tmp_path / "model.tflite").read_bytes())
    model, expected_shapes = with_maps(below)
    scores, *outputs = LiteRT(tflite, 1, several=True).outputs(images)
    rows = np.concatenate([output.reshape(len(images), -1) for output in outputs], axis=1)
    expected = model(images.astype(np.float32)).numpy()
    assert list(map(tuple, shapes)) == list(map(tuple, expected_shapes))
    assert np.abs(rows - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert np.allclose(scores, LiteRT(tmp_path / "model.tflite", 1).scores(images), atol=1e-5)
    assert_same(found, dense_head(head), features, classes)


@pytest.mark.exports
@pytest.mark.tensorflow
def test_a_normalised_head_is_folded(images: np.ndarray) -> None:
    import keras

    below = extractor("pooled")
    head = head_of(Head(kind="thesis", dense=(10,)), below.output_shape[-1], 3)
    whole = keras.Model(below.input, head(below.output))
    _, _, found = with_map_outputs(converted(whole, images))
    features = below(images.astype(np.float32)).numpy()
    assert_same(found, dense_head(head), features, 3)


@pytest.mark.exports
@pytest.mark.tensorflow
def test_of_joined_heads_the_one_that_is_asked_for(images: np.ndarray) -> None:
    import keras

    below = extractor("average")
    heads = [head_of(Head(), 8, 3), head_of(Head(dense=(4,)), 8, 2)]
    heads[0].name = "first"
    scores = keras.layers.Concatenate()([head(below.output) for head in heads])
    tflite = converted(keras.Model(below.input, scores), images)
    features = below(images.astype(np.float32)).numpy()
    for head, columns in zip(heads, ([0, 1, 2], [3, 4]), strict=True):
        _, _, found = with_map_outputs(tflite, columns)
        assert_same(found, dense_head(head), features, len(columns))
    with pytest.raises(NoMapsError, match="several heads"):
        with_map_outputs(tflite, [2, 3])


@pytest.mark.exports
@pytest.mark.tensorflow
@pytest.mark.parametrize("ending", ["maximum", "activation", "no dense layer"])
def test_a_network_of_another_form_has_none(images: np.ndarray, ending: str) -> None:
    import keras
    import tensorflow as tf

    inputs = keras.Input(SIZE)
    maps = keras.layers.Conv2D(4, 3)(inputs)
    average = keras.layers.GlobalAveragePooling2D()(maps)
    outputs = {
        "maximum": lambda: keras.layers.Dense(2)(keras.layers.GlobalMaxPooling2D()(maps)),
        "activation": lambda: keras.layers.Dense(2)(keras.layers.Dense(3, activation="tanh")(average)),
        "no dense layer": lambda: average,
    }[ending]()
    model = keras.Model(inputs, outputs)
    step = tf.function(model, input_signature=[tf.TensorSpec((None, *SIZE), tf.float32)], autograph=False)
    with pytest.raises(NoMapsError):
        with_map_outputs(convert(step.get_concrete_function()))
