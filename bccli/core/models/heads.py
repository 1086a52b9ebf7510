"""What sits on a backbone: dense layers to class scores, probabilities, and the losses between them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bccli.core.errors import DataError, UsageError


@dataclass(frozen=True)
class Head:
    """A dense head: sizes of the hidden layers, the share dropped before the output, the output's kind."""

    dense: tuple[int, ...] = ()
    dropout: float = 0.0
    output: str = "softmax"


def units(output: str, classes: int) -> int:
    """How many numbers the output layer has. Raises DataError for a sigmoid with more than two classes."""
    if output == "softmax":
        return classes
    if classes != 2:
        raise DataError(f"--output sigmoid is for two classes, and there are {classes}; say --output softmax")
    return 1


def build_head(head: Head, features: int, classes: int) -> Any:
    """A Keras model from features (batch, features) to scores before the output's activation."""
    import keras

    inputs = keras.Input((features,), name="features")
    x = inputs
    for size in head.dense:
        x = keras.layers.Dense(size, activation="relu")(x)
    if head.dropout:
        x = keras.layers.Dropout(head.dropout)(x)
    scores = keras.layers.Dense(units(head.output, classes), dtype="float32", name="scores")(x)
    return keras.Model(inputs, scores, name="head")


def _softmax(scores: Any) -> Any:
    import keras

    return keras.ops.softmax(scores)


def _sigmoid(scores: Any) -> Any:
    import keras

    positive = keras.ops.sigmoid(scores)
    return keras.ops.concatenate([1.0 - positive, positive], axis=-1)


# From scores to one probability per class; a sigmoid's only number belongs to the last class.
OUTPUTS: dict[str, Callable[[Any], Any]] = {"softmax": _softmax, "sigmoid": _sigmoid}


def _categorical_crossentropy(truth: Any, scores: Any) -> Any:
    import keras

    return keras.losses.categorical_crossentropy(truth, scores, from_logits=True)


def _sigmoid_crossentropy(truth: Any, scores: Any) -> Any:
    import keras

    return keras.losses.binary_crossentropy(truth[:, 1:], scores, from_logits=True)


def _softmax_binary_crossentropy(truth: Any, scores: Any) -> Any:
    import keras

    return keras.losses.binary_crossentropy(truth, _softmax(scores))


def _squares_of(activate: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def mean_squared_error(truth: Any, scores: Any) -> Any:
        import keras

        return keras.losses.mean_squared_error(truth, activate(scores))

    return mean_squared_error


# (loss, output) → function of truth (batch, classes) and scores, giving one value per image.
LOSSES: dict[tuple[str, str], Callable[[Any, Any], Any]] = {
    ("categorical_crossentropy", "softmax"): _categorical_crossentropy,
    ("binary_crossentropy", "sigmoid"): _sigmoid_crossentropy,
    ("binary_crossentropy", "softmax"): _softmax_binary_crossentropy,
    ("mse", "softmax"): _squares_of(_softmax),
    ("mse", "sigmoid"): _squares_of(_sigmoid),
}
DEFAULT_LOSS = {"softmax": "categorical_crossentropy", "sigmoid": "binary_crossentropy"}


def find_loss(loss: str, output: str) -> Callable[[Any, Any], Any]:
    """The loss function for an output. Raises UsageError where the two do not go together."""
    if (loss, output) not in LOSSES:
        raise UsageError(
            f"--loss {loss} does not go with --output {output}; say --loss {DEFAULT_LOSS[output]}"
        )
    return LOSSES[loss, output]


def assemble(extractor: Any, head: Any, output: str) -> Any:
    """The whole network: RGB 0–255 in, class probabilities out."""
    import keras

    return keras.Model(extractor.input, OUTPUTS[output](head(extractor.output)), name="bccli")
