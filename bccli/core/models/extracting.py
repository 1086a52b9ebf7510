"""Features of images from a Keras model, batch by batch, the same to the bit whoever computes them.

On one kind of device a network's features of an image do not depend on the other images of its batch, but in
their last digits on how many there are. So each batch is full: the last image stands for those that it lacks.
"""

from collections.abc import Generator
from contextlib import closing
from functools import cached_property
from typing import Any

import numpy as np

from bccli.core.data.image_batches import ImageSource, read_ahead

ON_A_CPU = 32
"""So many images go through a network at a time."""


class Extracting:
    """A Keras model from RGB 0–255 to features (images, width), for images of one size."""

    def __init__(self, extractor: Any, batch_size: int = ON_A_CPU) -> None:
        self._extractor, self.batch_size = extractor, batch_size

    @property
    def width(self) -> int:
        """How many features there are."""
        return int(self._extractor.output_shape[-1])

    def vectors(self, images: ImageSource, order: np.ndarray) -> Generator[np.ndarray, None, None]:
        """Yield features (batch, width) of the images at these positions."""
        with closing(read_ahead(images.batches(order, self.batch_size))) as batches:
            for batch in batches:
                yield self._run(_filled(batch, self.batch_size)).numpy()[: len(batch)]

    @cached_property
    def _run(self) -> Any:
        """The compiled model."""
        import tensorflow as tf

        height, width = self._extractor.input_shape[1:3]
        return tf.function(
            lambda x: self._extractor(tf.cast(x, tf.float32), training=False),
            input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8)],
            autograph=False,
        )


def _filled(batch: Any, size: int) -> Any:
    """A batch of `size` images, the last one as often as it takes."""
    pixels = np.asarray(batch)
    lacking = size - len(pixels)
    return np.concatenate([pixels, np.repeat(pixels[-1:], lacking, axis=0)]) if lacking else batch
