"""Intervals: weightings mean what repeating images would, limits cover what they should, and say when not."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as judge
from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core import intervals, weighting
from bccli.core.metrics import material_of, measure
from bccli.core.weighting import measures

BINARY = ["benign", "malignant"]


@st.composite
def weighted_studies(draw):
    """Labels, probabilities with ties, patients, and how often each patient counts."""
    classes = draw(st.sampled_from((2, 3)))
    patients = draw(st.lists(st.integers(0, 5), min_size=classes, max_size=20))
    labels = list(range(classes)) + draw(
        st.lists(
            st.integers(0, classes - 1), min_size=len(patients) - classes, max_size=len(patients) - classes
        )
    )
    parts = st.lists(st.integers(1, 4), min_size=classes, max_size=classes)
    rows = draw(st.lists(parts, min_size=len(patients), max_size=len(patients)))
    probabilities = np.array(rows, float) / np.array(rows).sum(axis=1, keepdims=True)
    weights = draw(st.lists(st.integers(0, 3), min_size=6, max_size=6))
    return np.array(labels), probabilities, np.array(patients), np.array(weights)


@given(weighted_studies())
def test_a_weighting_is_the_same_as_images_that_are_repeated(study):
    labels, probabilities, patients, weights = study
    names = [f"class {k}" for k in range(probabilities.shape[1])]
    material = material_of(labels, probabilities, names, patients=[f"p{k}" for k in patients])
    order = list(dict.fromkeys(patients.tolist()))
    found = measures(material, weights[order][None, :].astype(float))
    rows = np.repeat(np.arange(len(labels)), weights[patients])
    repeated = material_of(labels[rows], probabilities[rows], names)
    expected = measures(repeated, np.ones((1, repeated.clusters)))
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, nan_ok=True, abs=1e-9), name


@given(weighted_studies())
@settings(max_examples=40)
def test_weighted_measures_are_scikit_learns_with_sample_weights(study):
    labels, probabilities, patients, weights = study
    classes = probabilities.shape[1]
    names = [f"class {k}" for k in range(classes)]
    material = material_of(labels, probabilities, names, patients=[f"p{k}" for k in patients])
    order = list(dict.fromkeys(patients.tolist()))
    each = weights[patients]
    there = set(labels[each > 0].tolist())
    if len(there) < classes:
        return
    found = measures(material, weights[order][None, :].astype(float))
    predicted = probabilities.argmax(axis=1)
    expected = {
        "accuracy": judge.accuracy_score(labels, predicted, sample_weight=each),
        "kappa": judge.cohen_kappa_score(labels, predicted, sample_weight=each),
        "log_loss": judge.log_loss(labels, probabilities, sample_weight=each),
    }
    for k in range(classes):
        scores = labels == k, probabilities[:, k]
        expected[f"roc_auc.{k}"] = judge.roc_auc_score(*scores, sample_weight=each)
        expected[f"pr_auc.{k}"] = judge.average_precision_score(*scores, sample_weight=each)
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, nan_ok=True, abs=1e-9), name
    mcc = found["mcc"][0]
    assert (0 if math.isnan(mcc) else mcc) == pytest.approx(
        judge.matthews_corrcoef(labels, predicted, sample_weight=each), abs=1e-9
    )


def study(seed: int, *, patients: int = 100, images: int = 5, apart: float = 1.5, alike: float = 1.0):
    """Labels, probabilities (n, 2) and patients of a study in which a patient's images are alike."""
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(patients), images)
    labels = rng.integers(0, 2, patients)[owners]
    scores = apart * (labels - 0.5) + alike * rng.normal(size=patients)[owners] + rng.normal(size=len(owners))
    positive = 1 / (1 + np.exp(-scores))
    return labels, np.stack([1 - positive, positive], axis=1), [f"p{owner}" for owner in owners]


def test_quadratic_kappa_is_scikit_learns_for_grades_only():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60)
    predicted = probabilities.argmax(axis=1)
    grades = measure(labels, probabilities, ["grade_1", "grade_2", "grade_3"])
    assert grades.kappa == pytest.approx(judge.cohen_kappa_score(labels, predicted, weights="quadratic"))
    others = measure(labels, probabilities, ["a", "b", "c"])
    assert others.kappa == pytest.approx(judge.cohen_kappa_score(labels, predicted))
    assert (grades.kappa_weights, others.kappa_weights) == ("quadratic", "none")
    assert others.mcc == pytest.approx(judge.matthews_corrcoef(labels, predicted))
    assert others.pr_auc == pytest.approx(
        np.mean([judge.average_precision_score(labels == k, probabilities[:, k]) for k in range(3)])
    )


def test_intervals_hold_the_figure_and_are_the_same_each_time():
    labels, probabilities, patients = study(0)
    first = measure(labels, probabilities, BINARY, patients=patients, rounds=300)
    for name, limits in first.ci.items():
        value = first.calibration.get(name, getattr(first, name, None))
        if limits and value is not None:
            assert limits[0] <= value <= limits[1], name
    assert first.ci["accuracy"][0] < first.ci["accuracy"][1]
    assert first == measure(labels, probabilities, BINARY, patients=patients, rounds=300)
    assert first.resampled == "patients"


def test_the_number_of_rounds_at_a_time_changes_nothing(monkeypatch):
    labels, probabilities, patients = study(1, patients=30)
    whole = measure(labels, probabilities, BINARY, patients=patients, rounds=50)
    monkeypatch.setattr(weighting, "CELLS", 200)
    monkeypatch.setattr(intervals, "CELLS", 200)
    parts = measure(labels, probabilities, BINARY, patients=patients, rounds=50)
    for name, limits in whole.ci.items():
        assert parts.ci[name] == (limits and pytest.approx(limits)), name


def test_images_that_are_alike_make_intervals_over_patients_wider():
    labels, probabilities, patients = study(2)
    over_patients = measure(labels, probabilities, BINARY, patients=patients, rounds=300)
    over_images = measure(labels, probabilities, BINARY, rounds=300)
    assert over_images.resampled.startswith("images")
    for name in ("accuracy", "roc_auc", "mcc", "log_loss"):
        wide, narrow = np.ptp(over_patients.ci[name]), np.ptp(over_images.ci[name])
        assert wide > 1.3 * narrow, name


@pytest.mark.parametrize("count", [1, 4, 5])
def test_fewer_than_five_patients_have_no_intervals_and_are_told_why(count):
    labels, probabilities, patients = study(3, patients=count, images=8)
    labels = np.arange(len(labels)) % 2
    figures = measure(labels, probabilities, BINARY, patients=patients, rounds=100)
    if count < 5:
        assert figures.ci is None
        assert figures.reasons["ci"] == f"only {count} patient{'s' * (count > 1)}; intervals need 5"
    else:
        assert figures.ci["accuracy"]


def test_a_class_of_few_patients_is_there_in_every_round():
    labels, probabilities, patients = study(4, patients=40)
    labels = np.repeat(np.arange(40) < 3, 5).astype(int)
    material = material_of(labels, probabilities, BINARY, patients=patients)
    strata = intervals.strata(material)
    weights = np.concatenate(list(intervals.draws(strata, rounds=200)))
    assert (weights[:, :3].sum(axis=1) == 3).all()
    assert (weights.sum(axis=1) == 40).all()
    assert weights[:, :3].max() == 3


def test_enough_patients_of_each_class_are_drawn_together():
    labels, probabilities, patients = study(5)
    assert set(intervals.strata(material_of(labels, probabilities, BINARY, patients=patients))) == {0}


def test_a_single_patient_of_a_class_gives_no_interval_for_what_rests_on_it():
    labels, probabilities, patients = study(6, patients=20)
    labels = np.repeat(np.arange(20) == 0, 5).astype(int)
    figures = measure(labels, probabilities, BINARY, patients=patients, rounds=200)
    assert figures.ci["roc_auc"] is figures.ci["tpr"] is None
    assert figures.reasons["ci.roc_auc"]
    assert figures.ci["accuracy"]


def test_no_mistake_among_some_patients_is_not_certainty():
    labels = np.repeat(np.arange(20) % 2, 3)
    patients = [f"p{k}" for k in np.repeat(np.arange(20), 3)]
    figures = measure(labels, np.eye(2)[labels], BINARY, patients=patients, rounds=100)
    exact = scipy.stats.binomtest(20, 20).proportion_ci(0.95, "exact")
    assert figures.ci["accuracy"] == pytest.approx([exact.low, 1.0])
    exact = scipy.stats.binomtest(10, 10).proportion_ci(0.95, "exact")
    assert figures.ci["tpr"] == pytest.approx([exact.low, 1.0])
    assert figures.ci["fpr"] == pytest.approx([0.0, 1 - exact.low])
    assert figures.ci["roc_auc"] is None
    assert "every round" in figures.reasons["ci.roc_auc"]


@given(st.integers(1, 1000))
@settings(max_examples=50)
def test_students_t_is_scipys(freedom):
    assert intervals.student(0.975, freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), abs=0.02)


SHARE = 0.93, 0.97
COVERED = ("accuracy", "balanced_accuracy", "roc_auc", "pr_auc", "f1", "tpr", "tnr", "mcc", "kappa", "brier")


@pytest.mark.slow
def test_intervals_cover_the_truth_in_19_of_20_studies_and_those_over_images_do_not():
    """1,000 simulated studies of 100 patients with five images each, and one of 100,000 for the truth."""
    labels, probabilities, patients = study(0, patients=100_000)
    truth = measure(labels, probabilities, BINARY, patients=patients)
    values = {name: truth.calibration.get(name, getattr(truth, name, None)) for name in COVERED}
    shares = {}
    for unit, studies in (("patients", 1000), ("images", 150)):
        hits = np.zeros(len(COVERED))
        for seed in range(1, studies + 1):
            labels, probabilities, patients = study(seed)
            known = patients if unit == "patients" else None
            ci = measure(labels, probabilities, BINARY, patients=known, rounds=400).ci
            hits += [ci[name][0] <= values[name] <= ci[name][1] for name in COVERED]
        shares[unit] = dict(zip(COVERED, (hits / studies).tolist(), strict=True))
    for name in COVERED:
        assert SHARE[0] <= shares["patients"][name] <= SHARE[1], shares
        assert shares["images"][name] < 0.88, shares


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=5, max_size=12), st.integers(0, 3))
@settings(max_examples=40)
def test_few_images_have_wide_intervals_that_hold_the_figure(pairs, seed):
    labels, predicted = np.array(pairs).T
    figures = measure(labels, None, ["a", "b", "c"], predicted=predicted, rounds=60)
    for name, limits in figures.ci.items():
        value = getattr(figures, name, None)
        if limits and value is not None:
            assert limits[0] <= value <= limits[1], name
