"""What run.json holds, as a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bccli.core.data.stored_info import StoredInfo

RUNNING, COMPLETE, CLEARING = "running", "complete", "clearing"
SWEEP, FOLDS, TREE = "sweep", "folds", "tree"

_OF_COMPLETE = (
    "backbone", "dataset", "protocol", "classes", "positive", "preparation", "data",
    "size", "train_accuracy", "val_accuracy", "leakage", "files",
)  # fmt: skip

_OF_KIND = {"folds": ("parts",), "tree": ("parts", "tree", "decide")}
"""What a complete run of a kind has to have besides."""


@dataclass(frozen=True)
class TrainingData:
    """The data of a run: the dataset's `hash`, its number of `images`, and its `path` from the run's folder.

    `subset` names the tree and the node whose images they are, where they are a node's.
    """

    hash: str
    images: int
    path: str | None
    subset: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TrainingData":
        """Read what `to_json` wrote. Raises KeyError for a missing key."""
        return cls(value["hash"], value["images"], value.get("path"), value.get("view"))

    def to_json(self) -> dict[str, Any]:
        """As run.json has it under `data`."""
        known: dict[str, Any] = {"hash": self.hash, "images": self.images, "path": self.path}
        return known | ({"view": self.subset} if self.subset else {})


@dataclass(frozen=True, kw_only=True)
class RunInfo(StoredInfo):
    """The facts of a run.

    Every run has `version`, `kind`, `status` and `settings`; a complete one that is no sweep has the fields
    up to `files`, too, of which `size` is (width, height). The fields behind them are those of some kinds
    or states only:

    * networks: `norm`, `litert` (how model.tflite came out), `kept_epoch`, `epochs_trained`, and what test
      came to in late epochs where it was watched (`watched_test`);
    * networks and classifiers: `network_kept`, false where the network was removed;
    * classifiers: `fitted`, the settings that were chosen;
    * those that build upon another run: `base`, its path from the run's folder;
    * folds and trees: `parts`, the folders of their members; folds have `fold_kind`, the kind of these, and
      `spread`, the deviation over them;
    * fusions: `images`, their number, and `patches`, the accuracies of patches;
    * trees: `tree`, `decide`, `columns` (of predictions.csv), `joint` (the nodes of the joint network),
      `locators`, and the `loss` and `label_smoothing` that they are measured by;
    * sweeps: `members`;
    * `exports`: how further .tflite files came out; `calibration`: a temperature that was fitted to it.
    """

    REMEDY: ClassVar[str] = "copy the whole folder again"

    version: str
    kind: str
    status: str
    settings: dict[str, Any]

    backbone: str = ""
    dataset: str = ""
    protocol: str = ""
    classes: tuple[str, ...] = ()
    positive: str | None = None
    positive_origin: str | None = None
    preparation: dict[str, Any] = field(default_factory=dict)
    data: TrainingData = field(default=TrainingData("", 0, None))
    leakage: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    seed: int | None = None
    recipe: str | None = None
    size: tuple[int, int] = (0, 0)
    parameters: int | None = None
    train_accuracy: float | None = None
    val_accuracy: float | None = None
    beta_rows: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    norm: Mapping[str, Any] | None = None
    litert: Mapping[str, Any] | None = None
    kept_epoch: int | None = None
    epochs_trained: int | None = None
    watched_test: Mapping[str, Any] | None = None
    network_kept: bool = True
    fitted: Mapping[str, Any] | None = None
    base: str | None = None
    parts: tuple[str, ...] = ()
    fold_kind: str = ""
    spread: Mapping[str, Any] | None = None
    images: int | None = None
    patches: Mapping[str, Any] = field(default_factory=dict)
    tree: str = ""
    decide: str = ""
    columns: tuple[str, ...] = ()
    joint: tuple[str, ...] = ()
    locators: Mapping[str, Any] = field(default_factory=dict)
    loss: str | None = None
    label_smoothing: float | None = None
    members: tuple[str, ...] = ()
    exports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None

    @property
    def kind_within(self) -> str:
        """The kind of the run, or of the runs of its folds."""
        return self.fold_kind or self.kind

    @classmethod
    def parse(cls, name: str, value: Any) -> Any:
        """The value of a field from its JSON."""
        return TrainingData.from_json(value) if name == "data" else super().parse(name, value)

    @classmethod
    def needed(cls, facts: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys that a run of this kind and status has to have."""
        first = super().needed(facts)
        if facts.get("status") != COMPLETE:
            return first
        kind = facts.get("kind", "")
        return (*first, "files") if kind == SWEEP else (*first, *_OF_COMPLETE, *_OF_KIND.get(kind, ()))
