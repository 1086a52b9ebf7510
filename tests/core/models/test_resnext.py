"""ResNeXt against its definition and the files that keras-applications published."""

import numpy as np
import pytest

from bccli.core.catalog import BACKBONES
from tests.core.models.networks import build, difference, start


@pytest.mark.parametrize("stride", [1, 2])
def test_a_grouped_convolution_is_what_loops_compute(stride: int) -> None:
    """Each of 32 groups is a convolution of its own; the layer trains."""
    keras = start()
    import tensorflow as tf

    from bccli.core.models.resnext import GROUPS, grouped_convolution

    inputs = keras.Input((9, 7, 2 * GROUPS))
    network = keras.Model(inputs, grouped_convolution(inputs, stride=stride, name="conv"))
    images = np.random.default_rng(1).normal(size=(2, 9, 7, 2 * GROUPS)).astype(np.float32)
    kernel = network.get_layer("conv").get_weights()[0]
    rows, columns = (9 - 3) // stride + 1, (7 - 3) // stride + 1
    expected = np.zeros((2, rows, columns, 2 * GROUPS))
    for group in range(GROUPS):
        for output in range(2):
            for row in range(rows):
                for column in range(columns):
                    top, left = row * stride, column * stride
                    seen = images[:, top : top + 3, left : left + 3, 2 * group : 2 * group + 2]
                    weights = kernel[:, :, 2 * group : 2 * group + 2, output]
                    expected[:, row, column, 2 * group + output] = (seen * weights).sum((1, 2, 3))
    assert difference(network(images), expected) < 1e-6
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((network(images) - expected.astype(np.float32) * 0.9) ** 2)
    (gradient,) = tape.gradient(loss, network.trainable_variables)
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize(
    ("name", "with_top"),
    [("resnext50", 25_097_128), pytest.param("resnext101", 44_315_560, marks=pytest.mark.full)],
)
def test_layers_are_those_of_the_published_files(name: str, with_top: int) -> None:
    """Parameters as keras-applications' documentation lists them, with a top of 1,000 classes."""
    network = build(BACKBONES[name], (32, 32))
    assert network.count_params() + 2048 * 1000 + 1000 == with_top
    blocks = {"resnext50": 16, "resnext101": 33}[name]
    weighted = [layer.name for layer in network.layers if layer.weights]
    assert len(weighted) == 2 + 6 * blocks + 2 * 4
    assert weighted[:6] == [
        "conv1_conv", "conv1_bn", "conv2_block1_1_conv", "conv2_block1_1_bn", "conv2_block1_2_conv",
        "conv2_block1_2_bn",
    ]  # fmt: skip
    assert network.get_layer("conv2_block1_2_conv").weights[0].shape == (3, 3, 128, 4)
    assert network.get_layer("conv5_block3_2_conv").weights[0].shape == (3, 3, 1024, 32)
    assert network.get_layer("conv5_block1_0_conv").weights[0].shape == (1, 1, 1024, 2048)
