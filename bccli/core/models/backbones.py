"""From a row of the backbone table to a Keras model, and its pre-processing inside the graph."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from bccli.core.catalog import Backbone
from bccli.core.errors import DataError
from bccli.core.models.plain_cnns import plain_cnn
from bccli.core.models.resnext import resnext
from bccli.core.weights.pretrained import Weights, load_weights

# ImageNet's channel means and standard deviations in RGB, as keras.applications uses them.
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def _minus_one_to_one(x: Any) -> Any:
    return x / 127.5 - 1.0


def _none(x: Any) -> Any:
    """For networks whose first layers bring RGB 0–255 to what they expect."""
    return x


def _torch(x: Any) -> Any:
    """ImageNet's mean taken away and its deviation divided by, per channel."""
    import numpy as np

    return (x / 255.0 - np.array(_MEAN, "float32")) / np.array(_DEVIATION, "float32")


def _caffe(x: Any) -> Any:
    """RGB to BGR, ImageNet's mean taken away, no scaling."""
    import numpy as np

    return x[..., ::-1] - np.array(_CAFFE_MEAN_BGR, "float32")


def _efficientnet(x: Any) -> Any:
    """The factor that keras.applications puts behind its own Normalization only for ImageNet weights.

    That layer divides by the square root of what it should divide by; Keras mends it with one more
    Rescaling by 1/sqrt(deviation), which shifts layer numbers. Here the same factor acts on the pixels:
    after (x/255 - mean)/s, x·k + 255·mean·(1 - k) becomes k times what x would have become.
    """
    import numpy as np

    factor = np.array([1 / math.sqrt(deviation) for deviation in _DEVIATION], "float32")
    return x * factor + 255.0 * np.array(_MEAN, "float32") * (1.0 - factor)


PREPROCESSING: dict[str, Callable[[Any], Any]] = {
    "none": _none,
    "minus_one_to_one": _minus_one_to_one,
    "torch": _torch,
    "caffe": _caffe,
    "efficientnet": _efficientnet,
}

# What keras.applications does not have.
BUILDERS: dict[str, Callable[..., Any]] = {"plain_cnn": plain_cnn, "resnext": resnext}


def check_size(backbone: Backbone, size: tuple[int, int]) -> None:
    """Raises DataError where images of `size` (width, height) are too small for a backbone."""
    if min(size) < backbone.smallest:
        raise DataError(
            f"images of {size[0]}×{size[1]} are too small for {backbone.name}, "
            f"which needs {backbone.smallest}×{backbone.smallest}; prepare them with a larger --size"
        )


def build_backbone(backbone: Backbone, size: tuple[int, int], weights: Weights) -> Any:
    """A Keras model from preprocessed images of `size` (width, height) to feature maps.

    One graph is built whatever the weights. Raises DataError where the images are too small.
    """
    import keras

    check_size(backbone, size)
    width, height = size
    arguments: dict[str, Any] = {**dict(backbone.arguments), "input_shape": (height, width, 3)}
    if backbone.builder in BUILDERS:
        network = BUILDERS[backbone.builder](**arguments)
    else:
        builder = getattr(keras.applications, backbone.builder)
        network = builder(include_top=False, weights=None, **arguments)
    load_weights(network, weights, backbone.name)
    return network


def average(network: Any) -> Callable[[Any], Any]:
    """From preprocessed images to the global average (batch, features) of a network's maps."""
    import keras

    return lambda x: keras.layers.GlobalAveragePooling2D()(network(x))


def build_extractor(
    backbone: Backbone,
    network: Any,
    features: Callable[[Any], Any] | None = None,
    *,
    preprocess: Callable[[Any], Any] | None = None,
) -> Any:
    """A Keras model from RGB 0–255 to what `features` makes of its preprocessed input, `average` by default.

    `preprocess` replaces what the backbone's row wants.
    """
    import keras

    preprocess = preprocess or PREPROCESSING[backbone.preprocessing]
    inputs = keras.Input(network.input_shape[1:], name="rgb")
    outputs = (features or average(network))(preprocess(inputs))
    return keras.Model(inputs, outputs, name="extractor")


def standardising(mean: Sequence[float], deviation: Sequence[float]) -> Callable[[Any], Any]:
    """Pre-processing that takes each channel's mean away and divides by its deviation (3 numbers each)."""

    def preprocess(x: Any) -> Any:
        import numpy as np

        return (x - np.array(mean, "float32")) / np.array(deviation, "float32")

    return preprocess
