"""Whose predictions are measured: those of a run, or a table of predictions that stands alone."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bccli.core.data.label_tree import Tree, parse_tree
from bccli.core.data.patients import known_patient
from bccli.core.data.positive_class import UNKNOWN, find_positive
from bccli.core.errors import DataError
from bccli.core.evaluation.breasts.choices import LEVELS
from bccli.core.evaluation.detections.films import DETECTOR, FilmsFound, films_of
from bccli.core.metrics.losses import CROSS_ENTROPY, Loss
from bccli.core.runs.aggregation import (
    at_level,
    has_several_per_image,
    holds_patches,
    in_order,
    refuse_contradictions,
    repeats,
)
from bccli.core.runs.predictions import Predictions, read_predictions
from bccli.core.runs.run_folder import COMPLETE, PATCHES_FILE, PREDICTIONS_FILE, Run, is_sweep
from bccli.core.runs.run_info import RunInfo
from bccli.core.runs.temperature import temperature_of


@dataclass(frozen=True)
class Subject:
    """Whose predictions are measured: those of one split, and what is known beside them.

    `val` are the predictions that thresholds, temperatures and leaderboards rest on. `several_per_image` says
    that rows of one image become one: its patches, or, without `cut`, its rows in repeated folds. Where rows
    are images that a fusion made of patches, `patches` is what it knew of these. `facts` are fields of
    `Figures`; train and val accuracy are those of the network. `tree` is that of the labels, if there is one,
    and `decide` how a run of kind tree chooses among them. `films` are those of a detector, and
    `largest_of` is the class whose largest probability over its tiles a film of it has, as in `predict`. Of a
    table, `val_in_train` is how many patients of val its rows of train name, too.
    """

    name: str
    predictions: Predictions
    val: Predictions | None
    several_per_image: bool
    split: str | None = None
    cut: bool = True
    positive: str | None = None
    positive_origin: str = UNKNOWN
    loss: Loss = CROSS_ENTROPY
    temperature: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    run: Run | None = None
    patches: "Subject | None" = None
    tree: Tree | None = None
    decide: str | None = None
    films: FilmsFound | None = None
    val_in_train: int = 0
    largest_of: str | None = None

    def remarking(self, sentences: Iterable[str]) -> "Subject":
        """The same with more that has to be said in every format."""
        rows = self.predictions
        return replace(self, predictions=replace(rows, notes=(*rows.notes, *sentences)))

    def merges(self, level: str) -> bool:
        """Whether a unit of this level is made of several predictions."""
        return level not in ("image", "patch") or (level == "image" and self.several_per_image)

    def images_of(self, rows: Predictions) -> Predictions:
        """A row for each image of some of its rows."""
        several = self.several_per_image
        return at_level(rows, "image", several_per_image=several, largest_of=self.largest_of)

    @property
    def knows_severity(self) -> bool:
        """Whether the order of its classes is that of their severity; of two, whether one is known to be
        positive."""
        classes = self.predictions.classes
        if len(classes) == 2:
            return self.positive_origin != UNKNOWN
        dataset = self.facts.get("dataset")
        ordered = dataset is not None and dataset not in _NAMED_BY_USERS
        return ordered or find_positive(classes).origin != UNKNOWN

    def on_val(self) -> "Subject":
        """The same run on its images of val."""
        leakage = {"leakage": self.run.info.leakage.get("val")} if self.run else {}
        leakage["watched_test"] = None
        return replace(
            self,
            predictions=self.val or self.predictions.of_split("val"),
            split="val",
            facts={**self.facts, **leakage},
            patches=self.patches and self.patches.on_val(),
        )


def subject_of(run: Run, predictions: Predictions, split: str) -> Subject:
    """One split of a run's predictions, with what run.json knows."""
    subject = _subject(run, predictions, split)
    if run.info.kind_within != "fusion":
        return subject
    if not run.info.patches:
        return subject  # nobody has answered for single ones
    path = run.file(PATCHES_FILE) if run.complete else run.root / PATCHES_FILE
    return replace(subject, patches=_of_patches(subject, run, read_predictions(path, run.classes), split))


def _of_patches(subject: Subject, run: Run, patches: Predictions, split: str) -> Subject:
    """The same with the patches that images were fused from."""
    return replace(
        _subject(run, patches, split),
        several_per_image=True,
        temperature=None,
        facts={**subject.facts, **run.info.patches},
    )


def _subject(run: Run, predictions: Predictions, split: str) -> Subject:
    info = run.info
    return Subject(
        name=run.name,
        predictions=predictions.of_split(split),
        val=predictions.of_split("val"),
        several_per_image=run.preparation.patches is not None and has_several_per_image(predictions),
        split=split,
        positive=info.positive,
        positive_origin=_origin(info),
        loss=_loss(info),
        temperature=temperature_of(run),
        facts={
            "kind": info.kind,
            "backbone": info.backbone,
            "dataset": info.dataset,
            "protocol": info.protocol,
            "leakage": info.leakage.get(split),
            "train_accuracy": info.train_accuracy,
            "val_accuracy": info.val_accuracy,
            "beta_rows": info.beta_rows,
            "recipe": info.recipe,
            "watched_test": _watched(info) if split == "test" else None,
        },
        run=run,
        tree=parse_tree(info.tree, str(run.root)) if info.tree else None,
        decide=info.decide or None,
        films=films_of(run, predictions),
        largest_of=run.classes[-1] if info.kind_within == DETECTOR else None,
    )


def _watched(info: RunInfo) -> Mapping[str, Any] | None:
    """What test came to in late epochs where it was watched; without numbers where there are several
    trainings."""
    return info.watched_test or ({} if info.settings.get("watch_test") else None)


def _loss(info: RunInfo) -> Loss:
    """The loss that a run was trained on; where its settings do not name one, it stands beside them."""
    name = info.loss or info.settings["loss"]
    return Loss(
        name, info.settings["label_smoothing"] if info.label_smoothing is None else info.label_smoothing
    )


def _origin(info: RunInfo) -> str:
    """How a run's positive class came about."""
    ordered = info.dataset not in _NAMED_BY_USERS
    return str(info.positive_origin or find_positive(info.classes, ordered=ordered).origin)


_NAMED_BY_USERS = ("folder", "csv")
"""Datasets whose classes have any names."""


def runs_at(path: Path) -> tuple[list[Path], list[Path]]:
    """The folder of a run, or those of a sweep's members: the complete ones, and the others."""
    if not is_sweep(path):
        return [path], []
    found: tuple[list[Path], list[Path]] = [], []
    for marker in sorted(path.glob("*/run.json")):
        found[RunInfo.read(marker).status != COMPLETE].append(marker.parent)
    if not found[0]:
        raise DataError(f"{path}: no member of this sweep is complete; run the same bccli train again")
    return found


def subject_of_run(run: Run, split: str) -> Subject:
    """One split of a run. Raises DataError where the run has no predictions of it."""
    path = run.file(PREDICTIONS_FILE)
    predictions = read_predictions(path, run.classes)
    if split not in predictions.splits:
        there = ", ".join(sorted(set(predictions.splits))) or "none"
        remedy = "; add --split val" if split == "test" and "val" in predictions.splits else ""
        raise DataError(f"{path}: has no images of {split}; it has {there}{remedy}")
    return subject_of(run, predictions, split)


def subject_of_table(
    predictions: Predictions, name: str, split: str | None, *, level: str | None = None
) -> Subject:
    """Predictions that stand alone; `split` None takes all rows, as does a table without splits.

    Only rows with a corner in their image are patches, unless the `level` that was asked for says so, as
    image, breast and exam say that what several folds say of an image is averaged.
    """
    cut = holds_patches(predictions) or (level == "patch" and has_several_per_image(predictions))
    several = cut or (level in ("image", *LEVELS) and repeats(predictions))
    if several and not cut and len(set(predictions.sources)) < len(set(predictions.paths)):
        predictions = replace(predictions, sources=())  # what several images share names none of them
    val = predictions.of_split("val") if any(predictions.splits) else None
    if split is not None and val is not None:
        chosen = predictions.of_split(split)
        if not len(chosen):
            raise DataError(f"{name}: has no images of {split}; choose another --split")
    else:
        split, chosen = None, predictions
    if several:
        refuse_contradictions(predictions, name, labels=level != "patch")
    accuracy = float((val.predicted == val.labels).mean()) if val is not None and len(val) else None
    facts = {"val_accuracy": accuracy}
    positive = find_positive(predictions.classes)
    shared = _patients(val) & _patients(predictions.of_split("train")) if val is not None else set()
    return Subject(
        name, chosen, val, several, split, cut, positive.name, positive.origin, facts=facts,
        val_in_train=len(shared),
    )  # fmt: skip


def _patients(rows: Predictions) -> set[str]:
    return {patient for patient in map(known_patient, rows.patients) if patient}


def about_table(subject: Subject, table: Predictions) -> list[str]:
    """Sentences about the rows of a table: those that are not measured, and those of the same image."""
    rows = subject.predictions
    sentences = []
    others = Counter(table.splits) - Counter(rows.splits)
    if others:
        named = " and ".join(f"{number:,} of {split}" for split, number in sorted(others.items()))
        sentences.append(f"{len(rows):,} rows of {subject.split} are measured; {named} are not")
    if subject.several_per_image:
        return sentences
    images = len(set(rows.paths))
    if images < len(rows):
        sentences.append(
            f"{len(rows):,} predictions of {images:,} images in several folds count one by one; "
            "--level image averages those of one image"
        )
    elif (found := len(set(rows.sources) - {""})) and found < len(rows):
        sentences.append(
            f"{len(rows):,} rows have {found:,} values of source, and each row counts as an image; with the "
            "columns row and col, or --level patch, they are patches"
        )
    return sentences


def with_trees(subjects: Sequence[Subject]) -> list[Subject]:
    """The subjects, those without a tree with the first other one's of the same labels, to be measured by."""

    def tree_for(subject: Subject) -> Tree | None:
        labels = set(subject.predictions.classes)
        fitting = (other.tree for other in subjects if other.tree and set(other.tree.leaves) == labels)
        return subject.tree or next(fitting, None)

    return [replace(subject, tree=tree_for(subject)) for subject in subjects]


def in_order_of_names(subject: Subject) -> Subject:
    """The subject with its rows sorted by their names, so that nothing rests on how a table has them."""
    return replace(
        subject,
        predictions=in_order(subject.predictions),
        val=subject.val and in_order(subject.val),
        patches=subject.patches and in_order_of_names(subject.patches),
    )
