"""An image and its middle part, seen by one network: a lesion, and the lesion within its surroundings.

Both are rows of one batch, so a network is called once: it has one node in a graph, its batch norms one set
of statistics, and what cuts it in two needs to know nothing of views. An image comes before its middle part.
"""

from collections.abc import Callable
from typing import Any

from bccli.core.imaging.regions import middle_of

VIEWS = 2


def in_two_views(look: Callable[[Any], Any], context: float) -> Callable[[Any], Any]:
    """From images (batch, height, width, 3) to what `look` makes of each and of its middle part, vectors side
    by side (batch, 2 · width).

    A lesion has a share `context` of its size around it; `look` itself where that is 0.
    """
    if not context:
        return look
    return lambda images: _side_by_side(look(_both(images, context)))


def of_two_views(look: Callable[[Any], Any], width: int, context: float) -> Callable[[Any], Any]:
    """The same from vectors side by side, each of this `width`, to what `look` makes of each."""
    import keras

    if not context:
        return look
    return lambda vectors: _side_by_side(look(keras.ops.reshape(vectors, (-1, width))))


def _both(images: Any, context: float) -> Any:
    """Images and their middle parts at the same size, in turn (2 · batch, height, width, 3)."""
    import keras

    _, height, width, channels = images.shape
    box = middle_of((width, height), context)
    inner = keras.ops.image.resize(
        images[:, box.top : box.bottom, box.left : box.right],
        (height, width),
        interpolation="bilinear",
        data_format="channels_last",
    )
    both = keras.ops.stack([images, inner], axis=1)
    return keras.ops.reshape(both, (-1, height, width, channels))


def _side_by_side(vectors: Any) -> Any:
    import keras

    return keras.ops.reshape(vectors, (-1, VIEWS * vectors.shape[-1]))
