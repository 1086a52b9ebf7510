"""What is to be trained: a run's design, its images with their splits, the checks before work begins."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.augmentation import Policy, built_in
from bccli.core.catalog import Backbone, find_backbone
from bccli.core.data.audit import audit, refuse_leakage
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import open_images
from bccli.core.data.leakage import Leak, leak_sentences
from bccli.core.data.node_subset import LESION
from bccli.core.data.split_codes import TEST, TRAIN, VAL, check_split_codes, counts_of, split_codes_of
from bccli.core.errors import DataError, UsageError, WeightsError
from bccli.core.models.backbones import check_size
from bccli.core.models.cards.card import Card
from bccli.core.models.cards.card_files import find_files
from bccli.core.models.heads import DETECTOR, HEADS, Head, units
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import Run, load_run, network_hash, run_of_fold
from bccli.core.runs.run_info import FOLDS
from bccli.core.training.heads.surroundings import refuse_surroundings, with_surroundings
from bccli.core.training.input_norm import Norm, norm_of
from bccli.core.training.settings import AUTO, HELD_OUT, LAST, SETTINGS, Schedule
from bccli.core.vectors.given import GivenVectors
from bccli.core.weights.pretrained import Weights, find_weights

CARD, JOINED = "card", "joined"
"""What stands for the weights of a backbone that a card describes, and of several that are joined."""

VECTORS = "vectors"
"""What stands for the weights of a backbone, and for its name, where vectors come from a file."""

_NAMED = ("imagenet", "none", "run", CARD, JOINED, VECTORS)

DENSE, WORDS = "dense", "bovw"
"""The classifiers that are no row of `classifiers.fitting.CLASSIFIERS`: a network's head, and a bag of visual
words."""

ABOUT_IMAGES = (
    "weights", "trainable", "input_norm", "augment", "views", "augment_val", "mixed_precision", "mixed_type",
)  # fmt: skip
"""Settings that a run on vectors from a file has no use for."""

NO_BACKBONE = Backbone("none", "", "none", 0, 0, 0, smallest=16)
"""What stands for a backbone where images are classified by the words in them; no word fits into less."""

NO_NETWORK = Backbone(VECTORS, "", "none", 0, 0, 0)
"""What stands for a backbone where another program has computed the vectors of images."""


@dataclass(frozen=True)
class Tuning:
    """Where a fine-tuning starts: the run `base` of a network, or of one for each fold, and γ, the first
    layer of its backbone that learns.

    `base_hash` is that of its network, `norm` what it takes out of its input. The base's head is trained
    further unless `fresh_head`.
    """

    base: Path
    base_hash: str
    from_layer: int
    fresh_head: bool = False
    train_batch_norm: bool = False
    norm: Norm | None = None

    def on(self, base: Run) -> "Tuning":
        """The same from another run."""
        return replace(self, base=base.root, base_hash=network_hash(base), norm=norm_of(base))


@dataclass(frozen=True)
class Fusing:
    """Whose features of patches are fused to images: the run `base` of a network, or of one for each fold, by
    the hash of its network. The head's kind, a row of `fusion.methods.FUSIONS`, says how."""

    base: Path
    base_hash: str

    def on(self, base: Run) -> "Fusing":
        """The same of another run."""
        return Fusing(base.root, network_hash(base))


@dataclass(frozen=True)
class Design:
    """What is trained and how: all that decides a run's result, besides the data.

    `weights` and `trainable` are None until `resolve` lets the backbone choose. A `card` describes a backbone
    that is no row of the table, whose file is copied into the run where `save_backbone` says so. Of several
    backbones that are `joined`, each by its name and card, the features stand side by side. `vectors` from a
    file stand for a backbone and images. The settings of the schedule that are `undecided` may be others
    than it says where they suit a head on frozen features.
    """

    backbone: str = "cnn-15"
    weights: str | None = None
    trainable: str | None = None
    head: Head = field(default_factory=Head)
    schedule: Schedule = field(default_factory=Schedule)
    fold: int | None = None
    allow_leakage: bool = False
    input_norm: str = "backbone"
    augment: Policy | None = None
    views: int | None = None
    augment_val: bool = False
    watch_test: bool = False
    tuning: Tuning | None = None
    fusing: Fusing | None = None
    classifier: str = DENSE
    undecided: frozenset[str] = frozenset()
    card: Card | None = None
    save_backbone: bool = False
    joined: tuple[tuple[str, Card | None], ...] = ()
    vectors: GivenVectors | None = None

    @property
    def fuses(self) -> bool:
        """Whether patches become images."""
        return self.fusing is not None or self.head.kind not in HEADS

    @property
    def locates(self) -> bool:
        """Whether it finds lesions, and does not classify images."""
        return not self.fuses and HEADS[self.head.kind].locates

    @property
    def parts(self) -> "tuple[Design, ...]":
        """The designs of the backbones that are joined, each for itself."""
        plain = replace(self, joined=(), trainable=self.trainable or "none")
        return tuple(
            replace(plain, backbone=name, card=card, weights=None if card else self.weights)
            for name, card in self.joined
        )

    @property
    def from_files(self) -> bool:
        """Whether features come of something else than one backbone of the table."""
        return self.card is not None or bool(self.joined) or self.vectors is not None

    @property
    def extracts_by_keras(self) -> bool:
        """Whether a backbone of the table computes features, alone or joined with others."""
        return self.vectors is None and any(part.card is None for part in self.parts or (self,))

    @property
    def base(self) -> Path | None:
        """The run that this one builds upon, if there is one."""
        start = self.tuning or self.fusing
        return start.base if start else None

    @property
    def builds_on_folds(self) -> bool:
        """Whether it builds upon a run of all folds."""
        return self.base is not None and load_run(self.base).info.kind == FOLDS

    def of_fold(self, fold: int) -> "Design":
        """The design of one fold: what builds upon a run of all folds builds upon that of the same fold.

        Raises DataError where that run has no such fold.
        """
        base = run_of_fold(load_run(self.base), fold) if self.base else None
        return replace(
            self,
            fold=fold,
            tuning=self.tuning.on(base) if self.tuning and base else None,
            fusing=self.fusing.on(base) if self.fusing and base else None,
        )

    def values(self, weights: Weights) -> dict[str, Any]:
        """The value of each setting of the table, by its name; whatever else makes two runs the same is not
        in it."""
        known = {
            **{one.name: getattr(self, one.name) for one in fields(self)},
            **{one.name: getattr(self.schedule, one.name) for one in fields(self.schedule)},
            "head": self.head.kind,
            "dense": self.head.dense,
            "dropout": self.head.dropout,
            "feature_norm": _FEATURE_NORMS[self.head.standardised],
            "weights": weights.name,
            "augment": self.augment.name if self.augment else None,
        }
        return {row.name: known[row.name] for row in SETTINGS if row.name in known}

    def to_json(self, weights: Weights) -> dict[str, Any]:
        """The settings by which two runs are the same."""
        values = self.values(weights)
        settings = {
            "backbone": self.backbone,
            **{row.name: values[row.name] for row in SETTINGS if row.changes_results},
            **{name: AUTO for name in self.undecided if values.get(name) is not None},
            "weights": weights.name if weights.name in _NAMED else "file",
            "weights_hash": weights.hash,
            "mixed_type": values["mixed_type"] if self.schedule.mixed_precision else None,
            "augment": _named(self.augment) if self.augment else None,
            "augment_hash": _content(self.augment.to_json()) if self.augment else "",
            "from_layer": self.tuning.from_layer if self.tuning else None,
            "fresh_head": bool(self.tuning and self.tuning.fresh_head),
            "train_batch_norm": bool(self.tuning and self.tuning.train_batch_norm),
            "features_from": self.fusing.base_hash if self.fusing else "",
            "classifier": self.classifier,
            **({"vectors": self.vectors.hash} if self.vectors else {}),
            **({"context": self.head.context} if self.head.context else {}),
        }
        return json.loads(json.dumps(settings))


_FEATURE_NORMS = {None: AUTO, False: "none", True: "train"}


def _named(policy: Policy) -> str:
    return policy.name if policy.name in built_in() else "file"


def _content(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def resolve(design: Design) -> tuple[Design, Backbone, Weights]:
    """Fill in what depends on the backbone, and find its weights before any data is read.

    Raises UsageError, WeightsError.
    """
    if design.locates:
        _check_detector(design)
    if design.classifier == WORDS:
        design = replace(_classified(design), backbone=NO_BACKBONE.name, head=Head(), input_norm="backbone")
        _check_augmentation(design, "none")
        return replace(design, weights="none"), NO_BACKBONE, Weights("none")
    if design.vectors:
        return _on_vectors(design)
    if design.joined and not design.fusing:
        return _on_several(design)
    if design.card and not design.fusing:
        return _on_card(design, design.card)
    backbone = row_of(design)
    if tuning := design.tuning:
        if design.schedule.weight_decay == HELD_OUT:
            raise UsageError(f"--weight-decay {HELD_OUT}: the backbone learns, too; say a number")
        design.schedule.check()
        _check_augmentation(design, "none" if tuning.from_layer else "all")
        return replace(design, weights="run"), backbone, Weights("run", hash=tuning.base_hash)
    if design.fusing:
        design.schedule.check()
        _check_augmentation(design, "none")
        return replace(design, weights="run"), backbone, Weights("run", hash=design.fusing.base_hash)
    if design.classifier != DENSE:
        design = _classified(design)
    weights = find_weights(backbone, design.weights or ("imagenet" if backbone.weights else "none"))
    trainable = design.trainable or ("all" if weights.file is None else "none")
    _check_augmentation(design, trainable)
    design = _with_head(replace(design, weights=weights.name, trainable=trainable))
    design.schedule.check()
    return design, backbone, weights


_FITTING: Mapping[str, Any] = {
    "lr": 2e-2, "schedule": "exponential", "decay": 0.1, "decay_epochs": 12.0, "monitor": LAST
}  # fmt: skip
"""What lets a single dense layer on standardised features come to its optimum in 50 epochs of `_STEPS`."""

_STEPS = 80
"""So many steps at least has an epoch of such a layer, where they take no backbone."""

_LOGISTIC = {("categorical_crossentropy", "softmax"), ("binary_crossentropy", "sigmoid")}
"""The losses, each with its output, that are those of a logistic regression."""

_STEADY = {"adam", "rmsprop"}
"""Optimizers whose steps do not grow with a weight decay. It is thousands for few examples of wide vectors,
and sgd diverges by it."""


def _with_head(design: Design) -> Design:
    """The same with all decided that depends on whether the features below the head stay as they are.

    Raises UsageError for what does not go with features that change, or with hidden layers.
    """
    head, frozen = design.head, design.trainable == "none"
    if head.standardised is None:
        head = replace(head, standardised=frozen and not HEADS[head.kind].normalised)
    if head.standardised and not frozen:
        raise UsageError(
            "--feature-norm train: the backbone learns, and its features change; leave it out, or add "
            "--trainable none"
        )
    schedule, undecided = design.schedule, design.undecided
    ridged = bool(head.standardised) and not head.dense and (schedule.loss, schedule.output) in _LOGISTIC
    if schedule.weight_decay == HELD_OUT and not ridged:
        raise UsageError(
            f"--weight-decay {HELD_OUT}: is about a single dense layer on --feature-norm train with its "
            "output's cross-entropy; say a number"
        )
    if ridged and schedule.optimizer in _STEADY and "weight_decay" in undecided:
        schedule = replace(schedule, weight_decay=HELD_OUT)
    if ridged and schedule.weight_decay:
        open_still = undecided & {"steps_per_epoch"}
        return replace(design, head=head, schedule=_fitting(schedule, undecided), undecided=open_still)
    return replace(design, head=head, schedule=schedule, undecided=frozenset())


def _fitting(schedule: Schedule, undecided: frozenset[str]) -> Schedule:
    """The schedule with what is undecided in it as it suits a single dense layer on standardised features."""
    names = undecided & _FITTING.keys()
    if "schedule" not in undecided:
        names -= {"decay", "decay_epochs", "monitor"}
    if schedule.patience is not None or schedule.stop_at:
        names -= {"monitor"}
    if schedule.optimizer != "adam":
        names -= {"lr"}
    return replace(schedule, **{name: _FITTING[name] for name in names})


def _paced(job: "Job") -> "Job":
    """The same with enough steps in an epoch, where these are undecided and features are stored."""
    design = job.design
    enough = design.schedule.steps(int((job.split_codes == TRAIN).sum())) >= _STEPS
    if "steps_per_epoch" not in design.undecided or enough or not job.fixed:
        return replace(job, design=replace(design, undecided=frozenset()))
    schedule = replace(design.schedule, steps_per_epoch=_STEPS)
    return replace(job, design=replace(design, schedule=schedule, undecided=frozenset()))


def row_of(design: Design) -> Backbone:
    """The row of a design's backbone, or what stands for one."""
    if design.joined:
        return joint_row([row_of(part) for part in design.parts])
    return design.card.row if design.card else find_backbone(design.backbone)


def _check_detector(design: Design) -> None:
    """Raises UsageError for what does not go with a head that finds lesions."""
    schedule, augmenting = design.schedule, design.augment.name if design.augment else ""
    wrong = {
        f"--classifier {design.classifier}": design.classifier != DENSE,
        f"--backbone {design.backbone}, which a file describes": design.from_files,
        f"--augment {augmenting}, which does not move masks (bccli augment does)": bool(augmenting),
        "--mixed-precision": schedule.mixed_precision,
        f"--loss {schedule.loss} (focal, or none to add 1 − Dice to it)": schedule.loss not in _OF_CELLS,
        f"--class-weights {schedule.class_weights}": schedule.class_weights != "none",
        "--label-smoothing": bool(schedule.label_smoothing),
        "a second stage, which knows no masks": design.tuning is not None,
    }
    for what, found in wrong.items():
        if found:
            raise UsageError(f"--head {DETECTOR} does not go with {what}; leave one of them out")


_OF_CELLS = ("categorical_crossentropy", "focal")
"""The losses of a detector: the first, which nobody asks for, stands for the sum of the focal one and of
1 − Dice."""


def _on_card(design: Design, card: Card) -> tuple[Design, Backbone, Weights]:
    """The same of a design whose backbone a card describes: its network never learns."""
    if design.weights is not None:
        raise UsageError(f"--weights {design.weights}: {card.name} is a card, whose file has its weights")
    refuse_surroundings(design.head, f"{card.name} is a card, which sees")
    if design.trainable == "all":
        raise UsageError(
            f"--trainable all: {card.name} is a card, and its network stays as it is; leave it out"
        )
    if design.input_norm != "backbone":
        raise UsageError(
            f"--input-norm {design.input_norm}: the card {card.name} says how pixels are normalised"
        )
    if design.augment and not design.views:
        raise UsageError(
            f"--augment: the features of {card.name} are computed once; add --views N for those of N "
            "augmented copies of each image"
        )
    if design.schedule.mixed_precision and design.classifier == DENSE:
        raise UsageError(f"--mixed-precision: only a head is trained on {card.name}; leave it out")
    _check_augmentation(design, "none")
    identity = card.identity(find_files(card).hashes)
    return _frozen(design), card.row, Weights(CARD, hash=identity)


def _on_several(design: Design) -> tuple[Design, Backbone, Weights]:
    """The same of a design whose backbones are joined: none of them learns."""
    refuse_surroundings(design.head, "joined backbones see")
    if design.trainable == "all":
        raise UsageError("--trainable all: joined backbones stay as they are; leave it out")
    if design.augment and not design.views:
        raise UsageError(
            "--augment: the features of joined backbones are computed once; add --views N for those of N "
            "augmented copies of each image"
        )
    if design.schedule.mixed_precision and design.classifier == DENSE:
        raise UsageError("--mixed-precision: only a head is trained on joined backbones; leave it out")
    parts = [resolve(part) for part in design.parts]
    rows, weights = [row for _, row, _ in parts], [found for _, _, found in parts]
    seed = design.schedule.seed
    known = [(row.name, found.hash or f"random {seed}") for row, found in zip(rows, weights, strict=True)]
    return _frozen(design), joint_row(rows), Weights(JOINED, hash=_content(known))


def _frozen(design: Design) -> Design:
    """The same with all decided that depends on features staying as they are."""
    if design.classifier != DENSE:
        design = _classified(design)
    design = _with_head(replace(design, trainable="none"))
    design.schedule.check()
    return design


def joint_row(rows: Sequence[Backbone]) -> Backbone:
    """What stands for several backbones in the table."""
    name, smallest = "+".join(row.name for row in rows), max(row.smallest for row in rows)
    return Backbone(name, "", "none", max(row.size for row in rows), 0, 0, smallest=smallest)


def _on_vectors(design: Design) -> tuple[Design, Backbone, Weights]:
    """The same of a design whose vectors come from a file: there are no images to look at."""
    if design.fuses:
        design.schedule.check()
    base = design.fusing.base_hash if design.fusing else ""
    known = replace(design, trainable="none") if design.fuses else _frozen(design)
    return replace(known, weights=VECTORS), NO_NETWORK, Weights(VECTORS, hash=base)


def _classified(design: Design) -> Design:
    """The same for a classifier of features, without all that only a network's training has a use for."""
    if design.trainable == "all":
        raise UsageError(
            f"--trainable all: {design.classifier} is fitted to features of a frozen backbone; leave it out"
        )
    if design.augment and not design.views:
        raise UsageError(
            f"--augment: {design.classifier} is fitted to features that are computed once; add --views N for "
            "those of N augmented copies of each image"
        )
    schedule = Schedule(seed=design.schedule.seed, class_weights=design.schedule.class_weights)
    return replace(
        design,
        trainable="none",
        head=Head(kind=design.head.kind, context=design.head.context),
        schedule=schedule,
        augment_val=False,
        watch_test=False,
    )


def check(designs: Sequence[Design]) -> None:
    """Say before any data is read what is wrong with a design, or with all of several.

    Of several, those without weights are left to fail by themselves. Raises UsageError, WeightsError.
    """
    missing = []
    for design in designs:
        try:
            resolve(design)
        except WeightsError as error:
            missing.append(error)
    if len(missing) == len(designs):
        raise missing[0]


def _check_augmentation(design: Design, trainable: str) -> None:
    for option, given in (("--views", design.views), ("--augment-val", design.augment_val)):
        if given and design.augment is None:
            raise UsageError(f"{option} is about augmented images; add --augment POLICY")
    if design.views and trainable != "none":
        raise UsageError(
            "--views keeps features of a frozen backbone, and this one learns; leave it out for fresh draws"
        )


@dataclass(frozen=True)
class Job:
    """One network to train: the design resolved, the data, and which image is in which split."""

    design: Design
    backbone: Backbone
    weights: Weights
    dataset: Dataset
    split_codes: np.ndarray
    leaks: dict[str, Leak]
    cache: Path

    @property
    def weights_identity(self) -> str:
        """What tells one set of backbone weights from another: the file, or the seed of random ones."""
        return self.weights.hash or f"random {self.design.schedule.seed}"

    @property
    def fixed(self) -> bool:
        """Whether the network sees the same pixels again and again: images as they are, or some augmented
        copies of each."""
        return self.design.augment is None or bool(self.design.views)


def preview(design: Design, dataset: Dataset, fold: int | None) -> list[dict[str, Any]]:
    """The table of a dry run: images and patients per split and class."""
    split_codes = usable_codes(design, split_codes_of(dataset, fold))
    check_images(design, dataset, split_codes)
    return counts_of(dataset, split_codes)


def usable_codes(design: Design, split_codes: np.ndarray) -> np.ndarray:
    """The codes of splits (images,), -1 for images that a design's vectors lack."""
    return design.vectors.leave_out(split_codes) if design.vectors else split_codes


def default_cache(dataset: Dataset, root: Path) -> Path:
    """DATA/.cache, or RUN/.cache where DATA cannot be written."""
    return (dataset.root if os.access(dataset.root, os.W_OK) else root) / ".cache"


def plan_job(design: Design, dataset: Dataset, cache: Path, watcher: Watcher) -> Job:
    """Assign the images to splits, check and audit these. Raises DataError, UsageError, LeakageError."""
    design, backbone, weights = resolve(design)
    design = replace(design, head=with_surroundings(design.head, dataset))
    whole = split_codes_of(dataset, design.fold)
    split_codes = usable_codes(design, whole)
    if design.vectors and (lacking := design.vectors.lacking(whole)):
        watcher.warn(lacking)
    units(design.head.output, len(dataset.classes))
    check_images(design, dataset, split_codes)
    if not design.vectors:
        used = [
            sample for sample, code in zip(dataset.samples, split_codes.tolist(), strict=True) if code >= 0
        ]
        size = open_images(dataset.root, used).size
        check_image_size(design, backbone, size, dataset.root)
        if not dataset.preparation.size and (hint := size_hint(backbone, size)):
            watcher.note(hint)
    if design.classifier == DENSE:
        design = replace(design, schedule=_without_val(design.schedule, split_codes, watcher))
    if design.augment_val:
        watcher.warn(
            "val is augmented, too: val_loss and val_accuracy of history.csv are those of augmented images; "
            "all other figures are of images as they are"
        )
    leaks = audit(dataset, split_codes, cache)
    refuse_leakage(leaks, dataset, allowed=design.allow_leakage or dataset.allows_leakage)
    for sentence in leak_sentences({split: leak.to_json() for split, leak in leaks.items()}):
        watcher.warn(sentence)
    return _paced(Job(design, backbone, weights, dataset, split_codes, leaks, cache))


def size_hint(backbone: Backbone, size: tuple[int, int]) -> str:
    """What images of `size` (width, height) of much more pixels than a backbone is made for cost, in words;
    nothing for others."""
    times = size[0] * size[1] / backbone.size**2 if backbone.size else 0  # words and vectors have none
    if times <= 4:
        return ""
    side = f"{backbone.size}x{backbone.size}"
    return (
        f"images of {size[0]}×{size[1]} have {times:.0f} times the pixels that {backbone.name} is made for, "
        f"and take so much longer; bccli prepare … --size {side} makes them smaller"
    )


def check_image_size(design: Design, backbone: Backbone, size: tuple[int, int], where: Path) -> None:
    """Raises DataError where a design's backbone cannot take images of `size` (width, height)."""
    for name, card in design.joined:
        check_image_size(
            replace(design, joined=(), card=card), card.row if card else find_backbone(name), size, where
        )
    if design.card:
        design.card.check_size(size, where)
    else:
        check_size(backbone, size)


def check_images(design: Design, dataset: Dataset, split_codes: np.ndarray) -> None:
    """Raises DataError or UsageError where a design cannot be trained on images that are split so."""
    if not design.vectors:
        dataset.require_images()
    with_surroundings(design.head, dataset)
    check_split_codes(dataset, split_codes, [LESION] if design.locates else None)
    _check_watched(design, dataset, split_codes)


def _check_watched(design: Design, dataset: Dataset, split_codes: np.ndarray) -> None:
    """Raises UsageError where test is to be watched and must not be, or is not there."""
    if not design.watch_test or design.classifier != DENSE:
        return
    if not dataset.allows_leakage:
        raise UsageError(
            f"--watch-test: {dataset.root} was prepared with --protocol {dataset.info.protocol}, under which "
            "test is looked at once, after training; leave it out, or prepare with --protocol paper"
        )
    if not (split_codes == TEST).any():
        raise UsageError(f"--watch-test: {dataset.root} has no test images to watch; leave it out")


def _without_val(schedule: Schedule, split_codes: np.ndarray, watcher: Watcher) -> Schedule:
    if (split_codes == VAL).any():
        return schedule
    if schedule.patience is not None or schedule.stop_at:
        raise DataError(
            "there are no val images to stop by; prepare some, or leave --patience and --stop-at out"
        )
    if schedule.monitor == LAST:
        watcher.warn("there are no val images: the last epoch's weights are kept, and nothing measures them")
        return schedule
    watcher.warn("there are no val images: the last epoch's training loss decides which weights are kept")
    return replace(schedule, monitor="loss")
