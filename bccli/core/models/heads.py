"""What sits on a backbone: dense layers to class scores, probabilities, and the losses between them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bccli.core.errors import DataError, UsageError


@dataclass(frozen=True)
class Head:
    """A dense head: sizes of the hidden layers, the share dropped before the output, the output's kind.

    `kind` is a row of `HEADS`. A head that is `standardised` takes the mean and deviation of train's features
    out of them; None leaves the choice to what it sits on. `context` is the share of a lesion's size that is
    around it, 0 where that does not matter to the head.
    """

    dense: tuple[int, ...] = ()
    dropout: float = 0.0
    output: str = "softmax"
    kind: str = "gap"
    standardised: bool | None = False
    context: float = 0.0


DETECTOR = "detector"


@dataclass(frozen=True)
class HeadKind:
    """A kind of head: the features that it wants (a row of `extractors.EXTRACTORS`), whether they are
    normalised by batch, and the hidden layers and dropout that it has unless others are asked for. One that
    `locates` says where in an image something is, and knows two classes: with it and without."""

    features: str
    normalised: bool = False
    dense: tuple[int, ...] = ()
    dropout: float = 0.0
    locates: bool = False


HEADS = {
    "gap": HeadKind("average"),
    "blocks": HeadKind("blocks"),
    "two-views": HeadKind("views"),
    # The six layers of Mini-DDSM's authors (contract, section 3), the first two of them in the extractor.
    "thesis": HeadKind("pooled", normalised=True, dense=(10,), dropout=0.2),
    DETECTOR: HeadKind("scales", normalised=True, locates=True),
}


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

    from bccli.core.models.inference_mode import standardising_layer

    inputs = keras.Input((features,), name="features")
    x = standardising_layer()(inputs) if head.standardised else inputs
    if HEADS[head.kind].normalised:
        # Keras's momentum of 0.99 needs more steps than small datasets have before inference works.
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
    for size in head.dense:
        x = keras.layers.Dense(size, activation="relu")(x)
    if head.dropout:
        x = keras.layers.Dropout(head.dropout)(x)
    # A layer that stands alone has one optimum; where train says nothing, what chance put in would stay.
    first = "zeros" if head.standardised and not head.dense else "glorot_uniform"
    scores = keras.layers.Dense(
        units(head.output, classes), dtype="float32", kernel_initializer=first, name="scores"
    )(x)
    return keras.Model(inputs, scores, name="head")


def _softmax(scores: Any) -> Any:
    import keras

    return keras.ops.softmax(scores)


def _sigmoid(scores: Any) -> Any:
    import keras

    # Not 1 - sigmoid(scores), which is 0 from scores of 17 on.
    return keras.ops.sigmoid(keras.ops.concatenate([-scores, scores], axis=-1))


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

    # Not `_softmax`: Keras remembers the scores behind its result and would take them for a sigmoid's.
    probabilities = keras.ops.exp(keras.ops.log_softmax(scores))
    return keras.losses.binary_crossentropy(truth, probabilities)


def _squares_of(activate: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def mean_squared_error(truth: Any, scores: Any) -> Any:
        import keras

        return keras.losses.mean_squared_error(truth, activate(scores))

    return mean_squared_error


def _softmax_logarithms(scores: Any) -> Any:
    import keras

    return keras.ops.log_softmax(scores)


def _sigmoid_logarithms(scores: Any) -> Any:
    import keras

    return keras.ops.log_sigmoid(keras.ops.concatenate([-scores, scores], axis=-1))


FOCUS, FOCAL_SHARE = 2.0, 0.25
"""γ and α of the focal loss, as Lin et al. found them best (section 4.1)."""


def _focal_of(logarithms_of: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def focal(truth: Any, scores: Any) -> Any:
        """-α (1 - p)^γ log p of the true class, from the logarithms, so that no gradient is clipped away.

        Lin et al. 2017, "Focal Loss for Dense Object Detection", DOI 10.1109/ICCV.2017.324, equation 5.
        α is the same for each class, one output or several, as in Keras's categorical form: the paper's
        0.25 for the rare class would count malignant images less. --class-weights balances.
        """
        import keras

        logarithms = logarithms_of(scores)
        missing = 1.0 - keras.ops.exp(logarithms)
        return -FOCAL_SHARE * keras.ops.sum(truth * missing**FOCUS * logarithms, axis=-1)

    return focal


# (loss, output) → function of truth (batch, classes) and scores, giving one value per image.
LOSSES: dict[tuple[str, str], Callable[[Any, Any], Any]] = {
    ("categorical_crossentropy", "softmax"): _categorical_crossentropy,
    ("binary_crossentropy", "sigmoid"): _sigmoid_crossentropy,
    ("binary_crossentropy", "softmax"): _softmax_binary_crossentropy,
    ("mse", "softmax"): _squares_of(_softmax),
    ("mse", "sigmoid"): _squares_of(_sigmoid),
    ("focal", "softmax"): _focal_of(_softmax_logarithms),
    ("focal", "sigmoid"): _focal_of(_sigmoid_logarithms),
}
DEFAULT_LOSS = {"softmax": "categorical_crossentropy", "sigmoid": "binary_crossentropy"}


def find_loss(loss: str, output: str, *, label_smoothing: float = 0.0) -> Callable[[Any, Any], Any]:
    """The loss function for an output. Raises UsageError where the two do not fit.

    `label_smoothing` is the share of the truth that is spread evenly over all classes (Szegedy et al.
    2016, "Rethinking the Inception Architecture", DOI 10.1109/CVPR.2016.308, section 7).
    """
    if (loss, output) not in LOSSES:
        raise UsageError(
            f"--loss {loss} does not go with --output {output}; say --loss {DEFAULT_LOSS[output]}"
        )
    of = LOSSES[loss, output]
    if not label_smoothing:
        return of

    def smoothed(truth: Any, scores: Any) -> Any:
        return of(truth * (1.0 - label_smoothing) + label_smoothing / truth.shape[-1], scores)

    return smoothed


def assemble(extractor: Any, head: Any, output: str) -> Any:
    """The whole network: RGB 0–255 in, class probabilities out."""
    import keras

    return keras.Model(extractor.input, OUTPUTS[output](head(extractor.output)), name="bccli")
