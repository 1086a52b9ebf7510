"""Conformal sets hold the true class as often as asked, for images of new patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.errors import DataError
from bccli.core.metrics.decisions.conformal import ConformalSets, conformal_sets, fewest_patients

STUDIES = 500


def study(
    rng: np.random.Generator, patients: int, shares: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and patients of images that are alike within a patient."""
    classes = len(shares)
    label = rng.choice(classes, patients, p=shares)
    counts = rng.integers(1, 9, patients)
    owners = np.repeat(np.arange(patients), counts)
    scores = 1.5 * np.eye(classes)[label] + rng.normal(0, 1, (patients, classes))
    scores = scores[owners] + rng.normal(0, 0.7, (len(owners), classes))
    powers = np.exp(scores)
    return label[owners], powers / powers.sum(axis=1, keepdims=True), owners


def covered(
    sets: ConformalSets, labels: np.ndarray, probabilities: np.ndarray, owners: np.ndarray
) -> np.ndarray:
    """The share of each patient's images whose set holds the true class (patients,)."""
    held = sets.members(probabilities)[np.arange(len(labels)), labels]
    return np.bincount(owners, held) / np.bincount(owners)


@pytest.mark.parametrize(("patients", "shares"), [(60, (0.95, 0.05)), (200, (0.4, 0.35, 0.25))])
def test_coverage_is_what_was_asked_for(patients: int, shares: tuple[float, ...]) -> None:
    new = study(np.random.default_rng(0), 100_000, shares)
    found, errors = [], []
    for number in range(STUDIES):
        sets = conformal_sets(*study(np.random.default_rng([1, number]), patients, shares), 0.9, "")
        of_patients = covered(sets, *new)
        found.append(of_patients.mean())
        errors.append(of_patients.std())
    error = np.hypot(np.std(found) / np.sqrt(STUDIES), np.mean(errors) / np.sqrt(100_000))
    assert abs(np.mean(found) - 0.9) <= 2 * error


def test_each_class_is_covered_where_each_has_patients_enough() -> None:
    new = study(np.random.default_rng(0), 50_000, (0.85, 0.15))
    labels = new[0][np.unique(new[2], return_index=True)[1]]
    found = []
    for number in range(STUDIES):
        sets = conformal_sets(*study(np.random.default_rng([2, number]), 300, (0.85, 0.15)), 0.9, "")
        assert sets.by_class
        shares = covered(sets, *new)
        found.append([shares[labels == k].mean() for k in range(2)])
    assert np.mean(found, axis=0) == pytest.approx(0.9, abs=0.015)


@given(st.floats(0.5, 0.99))
def test_so_many_patients_are_enough_and_one_less_is_not(coverage: float) -> None:
    needed = fewest_patients(coverage)
    labels, owners = np.zeros(needed, int), np.arange(needed)
    probabilities = np.stack([np.linspace(0.1, 0.9, needed), np.linspace(0.9, 0.1, needed)], axis=1)
    sets = conformal_sets(labels, probabilities, owners, coverage, "run")
    assert not sets.by_class
    assert min(sets.limits) > 0
    with pytest.raises(DataError, match=f"at least {needed} patients in val, and there are {needed - 1}"):
        conformal_sets(labels[1:], probabilities[1:], owners[1:], coverage, "run")


def test_images_of_a_patient_do_not_count_for_more() -> None:
    rng = np.random.default_rng(0)
    labels, probabilities, owners = study(rng, 40, (0.5, 0.5))
    again = np.concatenate([np.arange(len(labels)), *[np.flatnonzero(owners == 3)] * 50])
    one = conformal_sets(labels, probabilities, owners, 0.9, "")
    other = conformal_sets(labels[again], probabilities[again], owners[again], 0.9, "")
    assert other.limits == pytest.approx(one.limits)
