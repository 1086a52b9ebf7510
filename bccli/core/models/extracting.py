"""Features of images from a Keras model, batch by batch, the same to the bit whoever computes them.

On one kind of device a network's features of an image do not depend on the other images of its batch, but in
their last digits on how many there are. So each batch is full: the last image stands for those that it lacks.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

import numpy as np

from bccli.core.data.image_batches import ImageSource, read_ahead
from bccli.core.models import backend
from bccli.core.models.devices.sharing import devices_here, placed
from bccli.core.models.engines import TENSORFLOW, Computing, start_engine
from bccli.core.runs.provenance import multiplies_in_tf32

# So many images go through a network at a time on a CPU, and on a GPU of whatever memory so many at most.
_LEAST, _MOST = 32, 512

# Half of a GPU's memory holds the maps of a batch, of which a network has so many bytes at a time for each
# pixel of an image: four of 64 channels in 32 bits, as large as the image itself.
_SHARE, _BYTES_PER_PIXEL = 2, 4 * 64 * 4


def batch_size_of(gpu_memory: int, pixels: int) -> int:
    """How many images of so many pixels go through a network at a time on a GPU with so many bytes of memory,
    or on a CPU, where it is 0: a power of two.

    >>> [batch_size_of(gigabytes << 30, 224 * 224) for gigabytes in (0, 8, 16, 80)]
    [32, 64, 128, 512]
    """
    fitting = gpu_memory // _SHARE // (pixels * _BYTES_PER_PIXEL)
    return max(_LEAST, min(_MOST, 1 << max(fitting.bit_length() - 1, 0)))


class Extracting:
    """A Keras model from RGB 0–255 to features (images, width), for images of one size.

    An `engine` computes them on a `device`, cpu or gpu, in a `precision`, which all decide their last digits;
    so does how many images a device has at a time, and where several share a batch, each has as many as one.
    The model has so many `views` of each image in its memory.
    """

    def __init__(
        self, extractor: Any, engine: str = TENSORFLOW, batch_size: int | None = None, *, views: int = 1
    ) -> None:
        import tensorflow as tf

        self._extractor, self.engine, self.device = extractor, engine, backend.device_class()
        self.precision = str(extractor.compute_dtype)
        if self.device == "gpu" and multiplies_in_tf32(tf) is False:
            self.precision += " without TF32"
        memory = backend.gpu_memory() if self.device == "gpu" else 0
        height, width = extractor.input_shape[1:3]
        devices = devices_here() if engine == TENSORFLOW else []
        each = batch_size or batch_size_of(memory, views * height * width)
        self.batch_size = each * max(1, len(devices))
        self._places_on = devices if self.device == "gpu" or len(devices) > 1 else []
        self._compute: Computing | None = None

    @property
    def width(self) -> int:
        """How many features there are."""
        return int(self._extractor.output_shape[-1])

    def vectors(self, images: ImageSource, order: np.ndarray) -> Generator[np.ndarray, None, None]:
        """Yield features (batch, width) of the images at these positions. Raises UnusableError before the
        first where the engine cannot compute them."""
        with closing(read_ahead(self._full(images.batches(order, self.batch_size)))) as batches:
            for pixels, count in batches:
                self._compute = self._compute or start_engine(self.engine, self._extractor, pixels)
                yield self._compute(pixels)[:count]

    def _full(self, batches: Iterator[Any]) -> Iterator[tuple[Any, int]]:
        """Yield full batches, placed on their devices where that takes time, and how many images each has."""
        for batch in batches:
            pixels = _filled(batch, self.batch_size)
            yield placed(pixels, self._places_on) if self._places_on else pixels, len(batch)


def _filled(batch: Any, size: int) -> np.ndarray:
    """A batch of `size` images, the last one as often as it takes."""
    pixels = np.asarray(batch)
    lacking = size - len(pixels)
    return np.concatenate([pixels, np.repeat(pixels[-1:], lacking, axis=0)]) if lacking else pixels
