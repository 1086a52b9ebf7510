"""Which image is trained on, chosen by and tested on, by splits and by folds."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.data.manifest import Sample
from bccli.core.data.split_codes import TEST, TRAIN, VAL, check_split_codes, counts_of, split_codes_of
from bccli.core.errors import DataError, UsageError


@dataclass
class Prepared:
    """What split codes look at of a dataset."""

    samples: tuple[Sample, ...]
    folds: int = 0
    classes: tuple[str, ...] = ("benign", "malignant")
    root: Path = Path("data")


def of_splits(*splits: str) -> Any:
    return Prepared(tuple(Sample(path=f"{row}.png", split=split) for row, split in enumerate(splits)))


def of_folds(*folds: int | None, parents: dict[int, int] | None = None) -> Any:
    """Images by fold, and the rows of what some are augmented copies of."""
    samples = tuple(
        Sample(path=f"{row}.png", fold=fold, parent=f"{parents[row]}.png" if row in (parents or {}) else "")
        for row, fold in enumerate(folds)
    )
    return Prepared(samples, folds=4)


def test_splits_have_numbers_and_what_is_in_none_is_not_used() -> None:
    assert (TRAIN, VAL, TEST) == (0, 1, 2)
    assert split_codes_of(of_splits("test", "train", "val", ""), None).tolist() == [2, 0, 1, -1]


@pytest.mark.parametrize(
    ("fold", "expected"), [(0, [2, 1, 0, 0]), (1, [0, 2, 1, 0]), (2, [0, 0, 2, 1]), (3, [1, 0, 0, 2])]
)
def test_a_fold_is_tested_and_the_next_one_validates(fold: int, expected: list[int]) -> None:
    assert split_codes_of(of_folds(0, 1, 2, 3, None), fold).tolist() == [*expected, -1]


def test_copies_are_trained_on_where_their_originals_are() -> None:
    """Copies of images of folds 0, 1, 2 and of an image that is not there, and a copy in another fold."""
    data = of_folds(0, 1, 2, 0, 1, 2, 3, 3, parents={3: 0, 4: 1, 5: 2, 6: 99, 7: 0})
    assert split_codes_of(data, 0).tolist() == [2, 1, 0, -1, -1, 0, -1, -1]


@pytest.mark.parametrize(
    ("data", "fold", "complaint"),
    [
        (
            of_splits("val"),
            0,
            "--fold: this dataset has splits, not folds; leave it out or prepare with --folds",
        ),
        (of_folds(0), None, "the dataset has 4 folds; say --fold 0 … 3 or --fold all"),
        (of_folds(0), 4, "--fold 4: the folds are 0 … 3"),
        (of_folds(0), -1, "--fold -1: the folds are 0 … 3"),
    ],
)
def test_a_fold_that_is_not_there_is_refused(data: Any, fold: int | None, complaint: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(complaint)}$"):
        split_codes_of(data, fold)


def labelled(*rows: tuple[str, str]) -> Any:
    """Images by label and patient."""
    return Prepared(tuple(Sample(label=label, patient=patient) for label, patient in rows))


def test_train_needs_an_image_of_each_class() -> None:
    data = labelled(("benign", ""), ("malignant", ""))
    check_split_codes(data, np.array([TRAIN, TRAIN]))
    for codes, complaint in (
        ([VAL, TEST], "data: no image is in train; prepare it with other --ratios"),
        (
            [TRAIN, TEST],
            "data: train has no image of class malignant; "
            "add patients of that class or split the dataset otherwise",
        ),
        (
            [-1, TRAIN],
            "data: train has no image of class benign; "
            "add patients of that class or split the dataset otherwise",
        ),
    ):
        with pytest.raises(DataError, match=f"^{re.escape(complaint)}$"):
            check_split_codes(data, np.array(codes))


def test_images_and_patients_are_counted_by_split_and_class() -> None:
    data = labelled(
        ("benign", "p"), ("benign", "p"), ("benign", ""),
        ("malignant", ""), ("malignant", "q"), ("benign", "r"),
    )  # fmt: skip
    assert counts_of(data, np.array([TRAIN, TRAIN, TRAIN, TRAIN, TEST, -1])) == [
        {"part": part, "label": label, "images": images, "patients": patients}
        for label, part, images, patients in (
            ("benign", "train", 3, 1),
            ("malignant", "train", 1, None),
            ("benign", "val", 0, None),
            ("malignant", "val", 0, None),
            ("benign", "test", 0, None),
            ("malignant", "test", 1, 1),
        )
    ]
