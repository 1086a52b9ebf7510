"""Plain CNNs of 15 to 30 layers from scratch, like those that BCNet was compared with (section 3.6).

The paper gives neither widths nor depths; ours is a VGG-like stack that learns in a minute on a CPU.
"""

from typing import Any

WIDTHS = (16, 32, 48, 64, 96)


def plain_cnn(*, layers: int, input_shape: tuple[int, int, int]) -> Any:
    """A stack of convolutions in five stages with max-pooling between them, as a Keras model.

    `layers` counts the convolutions (each with batch normalisation and ReLU), the four poolings and the
    output layer that the head adds.
    """
    import keras

    inputs = keras.Input(input_shape)
    x = inputs
    convolutions = layers - len(WIDTHS)
    for stage, width in enumerate(WIDTHS):
        for _ in range(_share(convolutions, stage)):
            x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
            # Keras's momentum of 0.99 needs more steps than small datasets have before inference works.
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
            x = keras.layers.ReLU()(x)
        if stage < len(WIDTHS) - 1:
            x = keras.layers.MaxPooling2D()(x)
    return keras.Model(inputs, x, name=f"cnn_{layers}")


def _share(convolutions: int, stage: int) -> int:
    """How many of the convolutions a stage has: one at full resolution, which costs most and gains least;
    the others alike, later stages first with the rest."""
    if stage == 0:
        return 1
    others = len(WIDTHS) - 1
    each, rest = divmod(convolutions - 1, others)
    return each + (stage > others - rest)
