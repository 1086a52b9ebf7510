"""Heads: what they see of a backbone, and the losses behind them, against Keras's and by hand."""

from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import find_backbone
from bccli.core.errors import DataError
from bccli.core.metrics.losses import mean_loss
from bccli.core.models.backbones import build_backbone
from bccli.core.models.extractors import EXTRACTORS, block_outputs, build_features
from bccli.core.models.graph import operation_of
from bccli.core.models.heads import HEADS, LOSSES, OUTPUTS, Head, build_head, find_loss
from bccli.core.weights.pretrained import Weights


def network_of(name: str, side: int) -> Any:
    return build_backbone(find_backbone(name), (side, side), Weights("none"))


# What heads see


@pytest.mark.parametrize(
    ("backbone", "side", "ends"),
    [
        ("vgg16", 64, [f"block{number}_pool" for number in range(1, 6)]),
        ("mobilenet-0.25", 96, [f"conv_pw_{number}_relu" for number in (1, 3, 5, 11, 13)]),
        (
            "resnet50",
            64,
            ["pool1_pool", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"],
        ),
    ],
)
def test_blocks_end_where_the_trunk_gets_smaller(backbone: str, side: int, ends: list[str]) -> None:
    network = network_of(backbone, side)
    outputs = block_outputs(network)
    assert [operation_of(tensor).name for tensor in outputs] == ends
    assert outputs[-1] is network.output


def test_only_the_trunk_and_real_steps_down_make_blocks() -> None:
    """A convolution without padding is none, nor is the layer of a branch that is listed last."""
    import keras

    layers = keras.layers
    inputs = keras.Input((33, 33, 3))
    x = layers.Rescaling(2.0)(inputs)
    x = layers.Conv2D(4, 3, name="edges")(x)
    trunk = layers.Conv2D(4, 3, name="trunk")(x)
    branch = layers.ReLU(name="branch")(layers.Conv2D(2, 1)(trunk))
    branch = layers.Conv2D(4, 3, strides=2, padding="same")(layers.ZeroPadding2D(1)(branch))
    branch = layers.Cropping2D(((1, 0), (1, 0)))(branch)
    x = layers.Add(name="sum")([layers.AveragePooling2D(2, padding="same")(trunk), branch])
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.ReLU(name="last")(x)
    ends = [operation_of(tensor).name for tensor in block_outputs(keras.Model(inputs, x))]
    assert ends == ["trunk", "pool", "last"]


def test_features_of_blocks_are_their_averages() -> None:
    import keras

    backbone, network = find_backbone("cnn-15"), network_of("cnn-15", 32)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    extractor = build_features(backbone, network, "blocks")
    pools = [layer for layer in network.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    maps = keras.Model(network.input, [*(layer.output for layer in pools), network.output])(
        images / 127.5 - 1
    )
    expected = np.concatenate([np.mean(each, axis=(1, 2)) for each in maps], axis=1)
    assert expected.shape == (2, 16 + 32 + 48 + 64 + 96)
    np.testing.assert_allclose(extractor(images), expected, rtol=1e-4, atol=1e-6)
    average = build_features(backbone, network, "average")(images)
    np.testing.assert_allclose(extractor(images)[:, -96:], average, rtol=1e-4, atol=1e-6)


def test_pooled_features_are_the_maxima_of_squares() -> None:
    backbone, network = find_backbone("cnn-15"), network_of("cnn-15", 64)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    maps = np.asarray(network(images / 127.5 - 1))
    assert maps.shape == (2, 4, 4, 96)
    expected = maps.reshape(2, 2, 2, 2, 2, 96).max(axis=(2, 4)).reshape(2, -1)
    np.testing.assert_allclose(
        build_features(backbone, network, "pooled")(images), expected, rtol=1e-4, atol=1e-6
    )


def test_maps_too_small_to_be_pooled_are_refused() -> None:
    with pytest.raises(DataError, match=r"--head thesis .* maps of 1×1 from images of 24×24.* --size"):
        build_features(find_backbone("cnn-15"), network_of("cnn-15", 24), "pooled")


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("kind", [name for name, kind in HEADS.items() if not kind.locates])
def test_heads_have_their_layers(kind: str, standardised: bool) -> None:
    row = HEADS[kind]
    assert row.features in EXTRACTORS
    head = build_head(Head(row.dense, row.dropout, kind=kind, standardised=standardised), 12, 3)
    kinds = [type(layer).__name__ for layer in head.layers[1:]]
    thesis = ["BatchNormalization", "Dense", "Dropout", "Dense"]
    first = ["BatchNormalization"] if standardised else []
    assert kinds == first + (thesis if kind == "thesis" else ["Dense"])
    assert (head.layers[1].name == "norm") == standardised
    assert head.output_shape == (None, 3)


# Losses


@pytest.fixture
def truth_and_scores() -> tuple[np.ndarray, np.ndarray]:
    """Labels of three classes, one-hot, and scores, some of them certain and wrong."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, (50, 3)).astype(np.float32)
    return np.eye(3, dtype=np.float32)[rng.integers(0, 3, 50)], scores


def test_focal_loss_is_kerass(truth_and_scores: tuple[np.ndarray, np.ndarray]) -> None:
    import keras

    truth, scores = truth_and_scores
    expected = keras.losses.categorical_focal_crossentropy(truth, scores, from_logits=True)
    np.testing.assert_allclose(find_loss("focal", "softmax")(truth, scores), expected, rtol=1e-3, atol=1e-6)
    binary, one = np.stack([1 - truth[:, 0], truth[:, 0]], axis=1), scores[:, :1]
    expected = 0.25 * np.asarray(keras.losses.binary_focal_crossentropy(binary[:, 1:], one, from_logits=True))
    np.testing.assert_allclose(find_loss("focal", "sigmoid")(binary, one), expected, rtol=1e-3, atol=1e-6)


def test_focal_loss_of_a_hopeless_image_still_has_a_gradient() -> None:
    import tensorflow as tf

    scores = tf.constant([[60.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = find_loss("focal", "softmax")(tf.constant([[0.0, 1.0]]), scores)
    assert float(loss[0]) == pytest.approx(0.25 * 60)
    np.testing.assert_allclose(tape.gradient(loss, scores), [[0.25, -0.25]], rtol=1e-5)


def test_smoothed_losses_are_kerass(truth_and_scores: tuple[np.ndarray, np.ndarray]) -> None:
    import keras

    truth, scores = truth_and_scores
    ours = find_loss("categorical_crossentropy", "softmax", label_smoothing=0.1)(truth, scores)
    expected = keras.losses.categorical_crossentropy(truth, scores, from_logits=True, label_smoothing=0.1)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    binary, one = np.stack([1 - truth[:, 0], truth[:, 0]], axis=1), scores[:, :1]
    ours = find_loss("binary_crossentropy", "sigmoid", label_smoothing=0.1)(binary, one)
    expected = keras.losses.binary_crossentropy(binary[:, 1:], one, from_logits=True, label_smoothing=0.1)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("loss", "output"), LOSSES)
def test_what_is_minimised_is_what_is_measured(loss: str, output: str, smoothing: float) -> None:
    rng = np.random.default_rng(1)
    classes = 3 if output == "softmax" else 2
    labels = rng.integers(0, classes, 40)
    scores = rng.normal(0, 2, (40, classes if output == "softmax" else 1)).astype(np.float32)
    truth = np.eye(classes, dtype=np.float32)[labels]
    minimised = np.mean(find_loss(loss, output, label_smoothing=smoothing)(truth, scores))
    probabilities = np.asarray(OUTPUTS[output](scores), np.float64)
    measured = mean_loss(labels, probabilities, loss, label_smoothing=smoothing)
    assert measured == pytest.approx(minimised, rel=1e-5)
