"""Which image is in which split: codes 0 train, 1 val, 2 test, and -1 for images that are not used."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.manifest import SPLITS
from bccli.core.errors import DataError, UsageError

TRAIN, VAL, TEST = range(len(SPLITS))


def split_codes_of(dataset: Dataset, fold: int | None) -> np.ndarray:
    """0 train, 1 val, 2 test, -1 unused for every image.

    With folds, fold k is tested, fold k+1 validated, and the rest trained on, but for the augmented
    copies of what is not trained on.
    """
    if dataset.folds == 0:
        if fold is not None:
            raise UsageError(
                "--fold: this dataset has splits, not folds; leave it out or prepare with --folds"
            )
        return np.array([SPLITS.index(sample.split) if sample.split else -1 for sample in dataset.samples])
    if fold is None:
        raise UsageError(
            f"the dataset has {dataset.folds} folds; say --fold 0 … {dataset.folds - 1} or --fold all"
        )
    if not 0 <= fold < dataset.folds:
        raise UsageError(f"--fold {fold}: the folds are 0 … {dataset.folds - 1}")
    roles = {fold: TEST, (fold + 1) % dataset.folds: VAL}
    codes = np.array(
        [roles.get(sample.fold, TRAIN) if sample.fold is not None else -1 for sample in dataset.samples]
    )
    code_of = {sample.path: code for sample, code in zip(dataset.samples, codes.tolist(), strict=True)}
    for index, sample in enumerate(dataset.samples):
        if sample.parent and (codes[index] != TRAIN or code_of.get(sample.parent) != TRAIN):
            codes[index] = -1
    return codes


def check_split_codes(dataset: Dataset, codes: np.ndarray, needed: Sequence[str] | None = None) -> None:
    """Raises DataError where no image, or none of a `needed` class, by default of any, is in train."""
    labels = np.array([sample.label for sample in dataset.samples])
    trained = set(labels[codes == TRAIN].tolist())
    if not trained:
        raise DataError(f"{dataset.root}: no image is in train; prepare it with other --ratios")
    for label in dataset.classes if needed is None else needed:
        if label not in trained:
            raise DataError(
                f"{dataset.root}: train has no image of class {label}; "
                "add patients of that class or split the dataset otherwise"
            )


def counts_of(dataset: Dataset, codes: np.ndarray) -> list[dict[str, Any]]:
    """A row per split and class: how many images and patients they have."""
    rows = []
    for code, name in enumerate(SPLITS):
        for label in dataset.classes:
            here = [
                sample
                for sample, own in zip(dataset.samples, codes, strict=True)
                if own == code and sample.label == label
            ]
            patients = {sample.patient for sample in here if sample.patient}
            rows.append(
                {"part": name, "label": label, "images": len(here), "patients": len(patients) or None}
            )
    return rows
