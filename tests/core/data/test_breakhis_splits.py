"""BreakHis's 82 slides, by their counts alone: what splits and folds make of subtypes and large patients."""

import numpy as np
import pytest

from bccli.core.data.split_table import Subtypes
from bccli.core.data.splits import TEST, assign_folds, assign_splits
from tests.core.data.breakhis_roster import ROSTER, slides

KINDS = tuple(ROSTER)


@pytest.fixture(scope="module")
def images():
    """Case, label and subtype of each image."""
    cases = {}
    rows = [
        (cases.setdefault(case, len(cases)), int(kind in KINDS[4:]), KINDS.index(kind))
        for kind, _, case, counts in slides()
        for _ in range(sum(counts))
    ]
    assert (len(rows), len(cases)) == (7909, 70)
    return tuple(np.array(column) for column in zip(*rows, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_test_lacks_no_subtype_and_no_patient_is_most_of_it(images, seed):
    groups, labels, kinds = images
    found = assign_splits(groups, labels, (70, 20, 10), seed=seed, subtypes=Subtypes(kinds, KINDS))
    tested = found.splits == TEST
    assert set(kinds[tested].tolist()) == set(range(8))
    assert not any("subtype" in note for note in found.notes)
    # The smaller of the two cases of adenosis, both of which also have another subtype or many slides.
    assert np.bincount(groups[tested]).max() / tested.sum() < 0.17
    shares = np.bincount(labels[tested]) / np.bincount(labels)
    assert np.abs(shares - 0.1).max() < 0.01


def test_folds_hold_what_subtypes_allow(images):
    groups, labels, kinds = images
    plain = assign_folds(groups, labels, 5, seed=0).folds
    found = assign_folds(groups, labels, 5, seed=0, subtypes=Subtypes(kinds, KINDS)).folds

    def missing(folds):
        return sum(8 - len(set(kinds[folds == fold].tolist())) for fold in range(5))

    # Adenosis has 2 cases, phyllodes tumours 3 and lobular carcinomas 4: three, two and one fold lack them.
    assert missing(found) <= 6 < missing(plain)


def test_what_test_lacks_is_said():
    groups = np.repeat(np.arange(12), 5)
    kinds = np.where(groups == 0, 1, 0)
    found = assign_splits(
        groups, groups % 2, (70, 20, 10), seed=0, subtypes=Subtypes(kinds, ("common", "rare"))
    )
    lacks = "test has no image of subtype rare, which 1 patient has."
    assert (lacks in found.notes) == (0 not in groups[found.splits == TEST].tolist())
    assert lacks in found.notes or found.splits[0] == TEST


def test_a_thousand_classes_are_parted_with_an_image_in_every_split():
    labels = np.repeat(np.arange(1000), 4)
    found = assign_splits(np.arange(4000), labels, (70, 20, 10), seed=0)
    present = {(split, label) for split, label in zip(found.splits.tolist(), labels.tolist(), strict=True)}
    assert len(present) == 3000
    assert not found.notes


def test_many_classes_that_are_missing_make_one_note():
    labels = np.concatenate([np.repeat(np.arange(20), 1), np.full(60, 20)])
    notes = assign_splits(np.arange(80), labels, (70, 20, 10), seed=0).notes
    assert sum("test has no image" in note for note in notes) == 1
    assert any("test has no image of 20 classes (0, 1, 2, 3, 4, …)." in note for note in notes)
