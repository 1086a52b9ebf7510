"""What run.json holds, as a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from bccli.core.data.label_tree import parse_tree
from bccli.core.data.leakage import Leaks
from bccli.core.data.positive_class import Origin
from bccli.core.data.stored_info import StoredInfo
from bccli.core.errors import BccliError
from bccli.core.imaging.preparation import learned_preparation
from bccli.core.reading.json_types import Below, Count, Distinct, FolderName, Share, Text, misfit
from bccli.core.runs.run_types import (
    OF_KIND,
    CalibrationFacts,
    CardFacts,
    DataFacts,
    Decide,
    DetectorFacts,
    Export,
    JoinedFacts,
    LocatorFacts,
    Losses,
    LossName,
    NormFacts,
    OfPatches,
    Settings,
    Smoothing,
    StoredSets,
    StoredTriage,
    VectorFacts,
    WatchedTest,
)

RUNNING, COMPLETE, CLEARING = "running", "complete", "clearing"
SWEEP, FOLDS, TREE, HEAD = "sweep", "folds", "tree", "head"

_OF_COMPLETE = (
    "backbone", "dataset", "protocol", "classes", "positive", "preparation", "data",
    "size", "train_accuracy", "val_accuracy", "leakage", "files",
)  # fmt: skip

_OF_KIND = {"folds": ("parts",), "tree": ("parts", "tree", "decide")}
"""What a complete run of a kind has to have besides."""


@dataclass(frozen=True)
class TrainingData:
    """The data of a run: the dataset's `hash`, its number of `images`, and its `path` from the run's folder.

    `subset` names the tree and the node whose images they are, where they are a node's, and says where they
    are a detector's.
    """

    hash: str
    images: int
    path: str | None
    subset: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TrainingData":
        """Read what `to_json` wrote."""
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
    * classifiers, and networks whose weight decay was chosen: `fitted`, the settings that were chosen;
    * those on a network that a card describes: `card`, its files and where they were; those on several that
      are joined: `joined`, each by its backbone and its card;
    * those on vectors from a file: `vectors`, where these were, and what was missing among them;
    * those that build upon another run: `base`, its path from the run's folder;
    * detectors: `detector`, the rows and columns of their cells;
    * folds and trees: `parts`, the folders of their members; folds have `fold_kind`, the kind of these, and
      `spread`, the deviation over them;
    * fusions: `images`, their number, and `patches`, the accuracies of patches;
    * trees: `tree`, `decide`, `columns` (of predictions.csv), `joint` (the nodes of the joint network),
      `locators`, and the `loss` and `label_smoothing` that they are measured by;
    * sweeps: `members`;
    * `exports`: how further .tflite files came out; `calibration`: a temperature that was fitted to it,
      `triage` and `conformal`: thresholds and sets that were locked on val;
    * runs in which files are being replaced: `coming`, the hashes that these will have.
    """

    REMEDY: ClassVar[str] = "copy the whole folder again"

    version: str
    kind: Text
    status: str
    settings: Annotated[dict[str, Any], Settings]

    backbone: str = ""
    dataset: str = ""
    protocol: str = ""
    classes: Distinct[Text] = ()
    positive: str | None = None
    positive_origin: Origin | None = None
    preparation: dict[str, Any] = field(default_factory=dict)
    data: Annotated[TrainingData, DataFacts] = field(default=TrainingData("", 0, None))
    leakage: Leaks = field(default_factory=dict)
    seed: Count | None = None
    recipe: str | None = None
    size: tuple[Count, Count] = (0, 0)
    parameters: Count | None = None
    train_accuracy: Share | None = None
    val_accuracy: Share | None = None
    beta_rows: str | None = None
    files: Mapping[Below, str] = field(default_factory=dict)

    norm: Annotated[Mapping[str, Any], NormFacts] | None = None
    litert: Annotated[Mapping[str, Any], Export] | None = None
    kept_epoch: Count | None = None
    epochs_trained: Count | None = None
    watched_test: Annotated[Mapping[str, Any], WatchedTest] | None = None
    network_kept: bool = True
    fitted: Mapping[str, Any] | None = None
    base: str | None = None
    parts: tuple[FolderName, ...] = ()
    card: Annotated[Mapping[str, Any], CardFacts] | None = None
    vectors: Annotated[Mapping[str, Any], VectorFacts] | None = None
    joined: tuple[Annotated[Mapping[str, Any], JoinedFacts], ...] = ()
    detector: Annotated[Mapping[str, Any], DetectorFacts] | None = None
    fold_kind: str = ""
    spread: Mapping[str, Mapping[str, tuple[float | None, float | None]]] | None = None
    images: Count | None = None
    patches: OfPatches = field(default_factory=dict)
    tree: str = ""
    decide: Decide | Literal[""] = ""
    columns: tuple[str, ...] = ()
    joint: tuple[FolderName, ...] = ()
    locators: Mapping[FolderName, Annotated[Mapping[str, Any], LocatorFacts]] = field(default_factory=dict)
    loss: LossName | None = None
    label_smoothing: Smoothing | None = None
    members: tuple[FolderName, ...] = ()
    exports: Mapping[Below, Annotated[Mapping[str, Any], Export]] = field(default_factory=dict)
    calibration: Annotated[Mapping[str, Any], CalibrationFacts] | None = None
    triage: Annotated[Mapping[str, Any], StoredTriage] | None = None
    conformal: Annotated[Mapping[str, Any], StoredSets] | None = None
    coming: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_files(self) -> bool:
        """Whether features come of a network that a card describes, or of several that are joined."""
        return self.card is not None or bool(self.joined)

    @property
    def cards(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """The name and the facts of each network that a card describes."""
        joined = tuple((part["backbone"], part["card"]) for part in self.joined if part.get("card"))
        return ((self.backbone, self.card),) if self.card else joined

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

    def contradiction(self) -> str | None:
        """Where a value of a complete run does not go with its kind, or with other values."""
        if self.status != COMPLETE or self.kind == SWEEP:
            return None
        learned_preparation(self.preparation)
        if not all(self.size) and self.vectors is None:
            return "size"
        if wrong := self._wrong_settings():
            return wrong
        if self.positive is not None and self.positive not in self.classes:
            return "positive"
        if wrong := self._wrong_decisions():
            return wrong
        return self._wrong_tree() if self.tree or self.kind == "tree" else None

    def _wrong_settings(self) -> str | None:
        beside = {"loss": self.loss, "label_smoothing": self.label_smoothing}
        known = {**self.settings, **{name: value for name, value in beside.items() if value is not None}}
        wanted = OF_KIND.get(self.kind)
        if wanted is None and self.kind not in (FOLDS, TREE):
            return None  # a kind that somebody has added
        return misfit(known, Losses, "settings") or (misfit(known, wanted, "settings") if wanted else None)

    def _wrong_decisions(self) -> str | None:
        if self.triage and (self.triage["positive"] not in self.classes or not self.triage["rules"]):
            return "triage"
        if self.conformal and set(self.conformal["limits"]) != set(self.classes):
            return "conformal"
        return None

    def _wrong_tree(self) -> str | None:
        try:
            tree = parse_tree(self.tree)
        except BccliError:
            return "tree"
        if sorted(tree.leaves) != sorted(self.classes):
            return "tree"
        return None if self.decide else "decide"
