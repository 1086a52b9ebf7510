"""ResNeXt (Xie et al. 2017, 32×4d), which keras.applications lacks: a ResNet with grouped convolutions.

Layers are named as in keras-applications, whose published weights fit. As there, a grouped convolution is
a depthwise one whose outputs are added up: Keras's own, `Conv2D(groups=32)`, goes through XLA on a CPU,
where a training step takes fifty times as long as a ResNet's. The adding up is no layer, so that γ counts
as in a ResNet, but for the padding in front of each such convolution.
"""

from typing import Any

GROUPS = 32
_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def resnext(*, depth: int, input_shape: tuple[int, int, int]) -> Any:
    """ResNeXt-50 or -101 without its top, as a Keras model."""
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = keras.layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = _normalised(x, "conv1")
    x = keras.layers.Activation("relu", name="conv1_relu")(x)
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, blocks in enumerate(_BLOCKS[depth]):
        for number in range(1, blocks + 1):
            stride = 2 if stage and number == 1 else 1
            x = _block(x, 128 << stage, stride, f"conv{stage + 2}_block{number}")
    return keras.Model(inputs, x, name=f"resnext{depth}")


def _block(x: Any, width: int, stride: int, name: str) -> Any:
    """1×1, grouped 3×3 and 1×1 convolutions to twice the width, beside the shortcut."""
    import keras

    shortcut = x
    if x.shape[-1] != 2 * width:
        shortcut = keras.layers.Conv2D(2 * width, 1, strides=stride, use_bias=False, name=f"{name}_0_conv")(x)
        shortcut = _normalised(shortcut, f"{name}_0")
    x = keras.layers.Conv2D(width, 1, use_bias=False, name=f"{name}_1_conv")(x)
    x = _normalised(x, f"{name}_1")
    x = keras.layers.Activation("relu", name=f"{name}_1_relu")(x)
    x = keras.layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = grouped_convolution(x, stride=stride, name=f"{name}_2_conv")
    x = _normalised(x, f"{name}_2")
    x = keras.layers.Activation("relu", name=f"{name}_2_relu")(x)
    x = keras.layers.Conv2D(2 * width, 1, use_bias=False, name=f"{name}_3_conv")(x)
    x = _normalised(x, f"{name}_3")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.Activation("relu", name=f"{name}_out")(x)


def _normalised(x: Any, name: str) -> Any:
    import keras

    return keras.layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_bn")(x)


def grouped_convolution(x: Any, *, stride: int, name: str) -> Any:
    """A 3×3 convolution without padding in which each of 32 groups of channels takes itself only.

    Output m of a group is the sum of the outputs m of a depthwise convolution over the group's channels;
    the kernel is (3, 3, channels, channels of a group).
    """
    import keras

    width = x.shape[-1] // GROUPS
    x = keras.layers.DepthwiseConv2D(3, stride, depth_multiplier=width, use_bias=False, name=name)(x)
    _, rows, columns, _ = x.shape
    x = keras.ops.reshape(x, (-1, rows * columns * GROUPS, width, width))
    return keras.ops.reshape(keras.ops.sum(x, axis=2), (-1, rows, columns, GROUPS * width))
