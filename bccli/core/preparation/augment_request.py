"""The request to `augment`, and its plan: each image's number of augmented copies, and the split of all."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.augmentation import Policy
from bccli.core.augmentation.copy_counts import Amount, count_copies, units_of
from bccli.core.data.dataset import Dataset
from bccli.core.data.manifest import SPLITS
from bccli.core.data.splits import split_images
from bccli.core.errors import DataError, UsageError
from bccli.core.preparation.division import Plan


@dataclass(frozen=True)
class Request:
    """The settings of `augment`.

    The images of `splits` (train where none is named) get augmented copies, all images where the dataset has
    folds. Under `protocol` paper all splits are joined, augmented and then divided image by image into
    `ratios`, whatever the parent of an image is.
    """

    data: Path
    policy: Policy
    amount: Amount = field(default_factory=Amount)
    splits: tuple[str, ...] = ()
    protocol: str = "honest"
    ratios: tuple[float, float, float] = (80, 10, 10)
    seed: int = 0

    @property
    def wanted(self) -> tuple[str, ...]:
        """The splits whose images get augmented copies, each once."""
        return tuple(dict.fromkeys(self.splits)) or ("train",)

    @property
    def measured(self) -> tuple[str, ...]:
        """The splits that get augmented copies although figures are measured on them."""
        return tuple(split for split in self.wanted if split != "train")

    def protocol_of(self, dataset: Dataset) -> str:
        """The protocol as every table of figures shows it, with the splits that are not as they were."""
        if self.protocol == "paper":
            return "paper"
        augmented = () if dataset.folds else self.measured
        return ", augmented ".join((dataset.info.protocol, *augmented))

    def to_json(self, dataset: Dataset) -> dict[str, Any]:
        """The settings by which two calls are the same: a policy by its content, not by its name."""
        paper = self.protocol == "paper"
        operations = self.policy.to_json()["operations"]
        settings = {
            **{f"operation {number}": _spelled(one) for number, one in enumerate(operations, 1)},
            **self.amount.to_json(),
            "splits": None if paper or dataset.folds else list(self.wanted),
            "protocol": self.protocol,
            "ratios": list(self.ratios) if paper else None,
            "seed": self.seed,
            "data": dataset.hash,
        }
        return json.loads(json.dumps(settings))

    def description(self) -> dict[str, Any]:
        """The policy as dataset.json describes it to a reader."""
        return {"policy": Path(self.policy.name).stem, **self.policy.to_json()}


def _spelled(operation: dict[str, Any]) -> str:
    """An operation in a line, as the message shows the first one in which two policies differ."""
    given = {key: value for key, value in operation.items() if key != "augmenter"}
    return f"{operation['augmenter']} {json.dumps(given, sort_keys=True, ensure_ascii=False)}"


@dataclass(frozen=True)
class Outcome:
    """Every image of the larger dataset: the row of its original, its number, and its split or fold.

    `parents`, `numbers` (0 for originals) and the plan's splits and folds have one value per image.
    """

    parents: np.ndarray
    numbers: np.ndarray
    plan: Plan

    def split_and_fold(self, row: int) -> tuple[str, int | None]:
        """The split and the fold of an image."""
        split, fold = int(self.plan.splits[row]), int(self.plan.folds[row])
        return SPLITS[split] if split >= 0 else "", fold if fold >= 0 else None


def plan_outcome(request: Request, dataset: Dataset) -> Outcome:
    """Assign copies to the images, and put all into their originals' splits or, under paper, into new ones.

    Raises DataError for a dataset that is augmented already or lacks a split, UsageError for a small total.
    """
    _refuse_augmented(dataset)
    samples = dataset.samples
    splits = np.array([SPLITS.index(sample.split) if sample.split else -1 for sample in samples], np.int32)
    folds = np.array([-1 if sample.fold is None else sample.fold for sample in samples], np.int32)
    labels = np.array([dataset.classes.index(sample.label) for sample in samples])
    paper = request.protocol == "paper"
    codes = np.zeros_like(splits) if paper else folds if dataset.folds else splits
    concerned = _concerned(request, dataset, splits)
    patched = dataset.preparation.patches is not None
    names = [sample.source if patched else sample.path for sample in samples]
    units = units_of(names, labels, codes, concerned, seed=request.seed)
    given = count_copies(request.amount, units, _where(request, dataset))
    copies = np.where(units.of >= 0, given[units.of], 0)
    parents = np.repeat(np.arange(len(samples)), copies + 1)
    starts = np.cumsum(copies + 1) - (copies + 1)
    numbers = np.arange(len(parents)) - starts[parents]
    notes = _notes(request, dataset, int((copies + 1)[units.of >= 0].sum()))
    if paper:
        plan = _divided(request, dataset, units.of[parents], numbers, labels[parents])
        return Outcome(parents, numbers, replace(plan, notes=(*notes, *plan.notes)))
    return Outcome(parents, numbers, Plan(splits[parents], folds[parents], notes))


def _concerned(request: Request, dataset: Dataset, splits: np.ndarray) -> np.ndarray:
    """A mask of the images that get augmented copies (images,)."""
    if dataset.folds and request.splits:
        raise UsageError(
            "--splits: this dataset has folds, and all images get augmented copies; leave it out"
        )
    if request.protocol == "paper" or dataset.folds:
        return np.ones(len(splits), bool)
    wanted = [SPLITS.index(split) for split in request.wanted]
    for split, code in zip(request.wanted, wanted, strict=True):
        if not (splits == code).any():
            raise DataError(f"{dataset.root}: no image is in {split}; name other --splits")
    return np.isin(splits, wanted)


def _where(request: Request, dataset: Dataset) -> str:
    if request.protocol == "paper" or dataset.folds:
        return str(dataset.root)
    return f"{' and '.join(request.wanted)} of {dataset.root}"


def _notes(request: Request, dataset: Dataset, reached: int) -> tuple[str, ...]:
    """Sentences that the user should know about an outcome of `reached` images."""
    notes = []
    if request.protocol == "paper":
        notes.append("Protocol paper: augmented copies of one image are on both sides of the split.")
    elif request.measured and not dataset.folds:
        names, verb = " and ".join(request.measured), "is" if len(request.measured) == 1 else "are"
        notes.append(f"{names} {verb} augmented: figures on augmented copies are not those of the originals.")
    if request.amount.total and reached != request.amount.total:
        whole = f"{reached} images, not {request.amount.total}"
        notes.append(f"There are {whole}: all patches of an image get an augmented copy, or none of them.")
    return tuple(notes)


def _divided(
    request: Request, dataset: Dataset, units: np.ndarray, numbers: np.ndarray, labels: np.ndarray
) -> Plan:
    """Divide originals and copies alike, image by image; the patches of one image stay together."""
    _, first, of = np.unique(np.stack([units, numbers]), axis=1, return_index=True, return_inverse=True)
    divided = split_images(labels[first], request.ratios, seed=request.seed, names=dataset.classes)
    splits = divided.splits[of.reshape(-1)]
    return Plan(splits.astype(np.int32), np.full(len(splits), -1, np.int32), divided.notes)


def _refuse_augmented(dataset: Dataset) -> None:
    copies = sum(bool(sample.parent or sample.variant) for sample in dataset.samples)
    if copies:
        raise DataError(
            f"{dataset.root}: is already augmented: {copies} of its images are augmented copies; "
            "augment the dataset it was made from"
        )
