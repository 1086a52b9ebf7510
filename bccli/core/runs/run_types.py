"""The types of what run.json holds, as far as bccli reads it again."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

from bccli.core.data.dataset import LesionSubset, NodeSubset
from bccli.core.reading.json_types import Below, Count, FolderName, Positive, Share, Side, Text

Output = Literal["softmax", "sigmoid"]
LossName = Literal["categorical_crossentropy", "binary_crossentropy", "mse", "focal"]
Decide = Literal["greedy", "path"]
Smoothing = Annotated[float, lambda value: 0 <= value < 1]


class Settings(TypedDict, total=False):
    """The settings that a run is read for; None in those of a sweep, where members choose for themselves."""

    output: Output | None
    loss: LossName | None
    label_smoothing: Smoothing | None
    dense: tuple[Count, ...] | None
    dropout: Smoothing | None
    head: str | None
    feature_norm: str | None
    input_norm: str | None
    trainable: str | None
    classifier: str | None
    weights_hash: str | None
    features_from: str | None
    from_layer: Count | str | None
    fold: Count | str | None
    seed: Count | None
    epochs: Count | None
    head_epochs: Count | None
    watch_test: bool | None


class NetworkSettings(TypedDict):
    """What a complete network or fusion has to have of them."""

    output: Output
    loss: LossName
    label_smoothing: Smoothing
    dense: tuple[Side, ...]
    dropout: Smoothing
    seed: Count


class ClassifierSettings(TypedDict):
    """What a complete classifier has to have of them."""

    classifier: Text
    seed: Count


class Losses(TypedDict):
    """What figures of a run are measured by, where it does not stand beside the settings."""

    loss: LossName
    label_smoothing: Smoothing


OF_KIND: Mapping[str, type[Any]] = {
    "network": NetworkSettings, "head": NetworkSettings, "fusion": NetworkSettings,
    "detector": NetworkSettings, "classifier": ClassifierSettings,
}  # fmt: skip


class Export(TypedDict, total=False):
    """How a .tflite file came out: the `file` and what one image costs for each weight, or an `error`.

    Of a node in a tree's joint network, `columns` are its scores.
    """

    file: Below
    difference: float
    multiply_adds: float
    columns: tuple[Count, ...]
    error: str


class _Card(TypedDict):
    file: FolderName
    files: Mapping[FolderName, str]
    folder: Text
    width: Side


class CardFacts(_Card, total=False):
    """The files of the network that a card describes: the main `file`, and all by their SHA-256, which lay in
    `folder`; it makes vectors of so many numbers. The rest is for people to read."""

    licence: str
    pretrained_on: str
    source: str


class _Joined(TypedDict):
    backbone: Text
    weights: Text


class JoinedFacts(_Joined, total=False):
    """One of several joined backbones, what tells its weights from others, and its card where it has one."""

    card: CardFacts


class _Data(TypedDict):
    hash: str
    images: Count


class DataFacts(_Data, total=False):
    """What `TrainingData` is made of."""

    path: str | None
    view: NodeSubset | LesionSubset | None


class DetectorLocatorFacts(TypedDict):
    """The detector that finds a node's regions: its folder in the run."""

    detector: FolderName


class MapLocatorFacts(TypedDict):
    """The maps that a node's regions are found by: `by` which node's, its class `number`, the maps' shapes,
    and a share."""

    by: FolderName
    number: Count
    shapes: tuple[tuple[Side, Side, Side], ...]
    share: Share


LocatorFacts = DetectorLocatorFacts | MapLocatorFacts
"""How a node's regions are found."""


class DetectorFacts(TypedDict):
    """The cells of a detector: their rows and columns."""

    cells: tuple[Side, Side]


class CalibrationFacts(TypedDict):
    """A temperature that was fitted to a run."""

    temperature: Positive


class TriageRuleFacts(TypedDict):
    """A threshold that was locked for a promise."""

    rule: Literal["npv", "ppv", "sensitivity"]
    target: Share
    threshold: Share


class StoredTriage(TypedDict):
    """Thresholds that were locked for a run, of the probability of a class, which hold at a temperature."""

    positive: Text
    rules: list[TriageRuleFacts]
    temperature: Positive | None


class StoredSets(TypedDict):
    """Conformal sets of a run: from which probability on each class belongs to a set."""

    coverage: Share
    limits: Mapping[Text, Share]
    temperature: Positive | None


class NormFacts(TypedDict):
    """What is taken out of the three channels of an input."""

    mean: tuple[float, float, float]
    deviation: tuple[Positive, Positive, Positive]


class WatchedTest(TypedDict):
    """What test came to in late epochs."""

    first_epoch: float
    last_epoch: float
    mean_accuracy: float
    best_accuracy: float
    best_epoch: float


OfPatches = Annotated[
    Mapping[str, Any], Mapping[Literal["train_accuracy", "val_accuracy", "beta_rows"], Share | str | None]
]
"""The accuracies of the patches of a fusion, and on which rows they are measured."""


class VectorFacts(TypedDict):
    """Vectors that a run was trained on.

    They were at `path` from the run's folder; `hash` is that of their numbers, of which each has `width`, and
    `count` how many there were. All of a slide belong to a row where they are `of_slides`. Images of splits
    may be `missing` one, `extra` ones belong to none, and `constant` columns are the same in all.
    """

    path: str | None
    hash: str
    width: Side
    count: Count
    of_slides: bool
    missing: Mapping[str, Count]
    extra: Count
    constant: Count
