"""Intervals: weightings mean what repeating images would, limits cover what they should, and say when not."""

import math
import re

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as judge
from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core.metrics import bootstrap, weighted
from bccli.core.metrics.cases import material_of
from bccli.core.metrics.figures import measure
from bccli.core.metrics.limits import student
from bccli.core.metrics.weighted import measures

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
    monkeypatch.setattr(weighted, "CELLS", 200)
    monkeypatch.setattr(bootstrap, "CELLS", 200)
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


def test_all_patients_are_drawn_together_so_that_the_mix_of_classes_varies():
    labels, probabilities, patients = study(4, patients=12)
    labels = np.repeat(np.arange(12) < 6, 5).astype(int)
    material = material_of(labels, probabilities, BINARY, patients=patients)
    (found,) = bootstrap.spreads([material], rounds=400)
    mix = found["majority_accuracy"].values
    assert np.ptp(mix) > 0.2
    expected = np.abs(np.random.default_rng(1).binomial(12, 0.5, 10_000) / 12 - 0.5) + 0.5
    assert mix.mean() == pytest.approx(expected.mean(), abs=0.02)


def test_weightings_are_the_same_however_many_come_at_once(monkeypatch):
    whole = np.concatenate(list(bootstrap.draws(np.random.default_rng(3), 7, rounds=40)))
    for cells in (20, 1):
        monkeypatch.setattr(bootstrap, "CELLS", cells)
        parts = np.concatenate(list(bootstrap.draws(np.random.default_rng(3), 7, rounds=40)))
        assert (whole == parts).all()
    assert (whole.sum(axis=1) == 7).all()


def of_classes(*patients: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Three images of each of so many patients of each class, with a probability per class."""
    owners = np.repeat(np.arange(sum(patients)), 3)
    labels = np.repeat(np.repeat(np.arange(len(patients)), patients), 3)
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(len(patients)), len(labels)) + 0.4 * np.eye(len(patients))[labels]
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True), [f"p{k}" for k in owners]


def test_rounds_without_a_class_are_left_out_and_it_is_said():
    labels, probabilities, patients = of_classes(12, 12, 2)
    figures = measure(labels, probabilities, ["a", "b", "c"], patients=patients, rounds=2000)
    assert figures.ci["roc_auc"]
    share = (24 / 26) ** 26  # no patient of c is drawn
    assert figures.ci_left_out["roc_auc"] == pytest.approx(share, abs=0.03)
    assert "accuracy" not in figures.ci_left_out


def test_beyond_three_in_ten_rounds_there_is_no_interval_but_a_reason():
    labels, probabilities, patients = of_classes(12, 12, 1)
    figures = measure(labels, probabilities, ["a", "b", "c"], patients=patients, rounds=1000)
    assert figures.ci["roc_auc"] is None
    assert "rests on 1 patient" in figures.reasons["ci.roc_auc"]
    assert figures.ci["accuracy"]
    labels, _, patients = of_classes(12, 12)
    predicted = np.where(np.arange(len(labels)) == 0, 1, 0)  # images of one patient alone are ever positive
    figures = measure(labels, None, BINARY, patients=patients, predicted=predicted, rounds=1000)
    assert figures.ci["mcc"] is None
    assert re.search(r"not defined in 3\d% of the rounds, and 30% may be", figures.reasons["ci.mcc"])


@pytest.mark.parametrize("count", [2, 4])
def test_what_rests_on_fewer_than_five_patients_has_no_interval(count):
    labels, probabilities, patients = of_classes(20, count)
    figures = measure(labels, probabilities, BINARY, patients=patients, rounds=300)
    for name in (
        "tpr",
        "roc_auc",
        "sensitivity.malignant",
        "f1",
        "precision.malignant",
        "mcc",
        "balanced_accuracy",
    ):
        assert figures.ci[name] is None
        assert figures.reasons[f"ci.{name}"] == f"rests on {count} patients; its interval needs 5"
    assert figures.ci["tnr"]
    assert figures.ci["accuracy"]


def test_there_are_as_many_rounds_as_the_digits_need():
    few = measure(*study(7, patients=30)[:2], BINARY, patients=study(7, patients=30)[2], rounds=None)
    many = measure(*study(7, patients=3000)[:2], BINARY, patients=study(7, patients=3000)[2], rounds=None)
    assert few.rounds == 20_000
    assert many.rounds < few.rounds / 2
    assert few.ci_error["accuracy"] < 0.005  # half of the second decimal, which is the last one that is shown


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        *((name, True) for name in ("accuracy", "balanced_accuracy", "f1", "roc_auc", "tpr", "tnr")),
        ("patient_accuracy", True),
        *((name, False) for name in ("fpr", "mcc", "kappa", "pr_auc", "brier", "log_loss")),
    ],
)
def test_the_headlines_say_how_many_rounds_are_needed(monkeypatch, name, counts):
    labels, probabilities, patients = study(9, patients=30)
    material = material_of(labels, probabilities, BINARY, patients=patients)
    monkeypatch.setattr(
        bootstrap, "measures", lambda *args, **options: {name: weighted.measures(*args, **options)[name]}
    )
    (found,) = bootstrap.spreads([material])
    assert (len(found[name].values) > 1000) == counts


@pytest.mark.parametrize("classes", [2, 3])
def test_what_rounds_cost_limits_them(monkeypatch, classes):
    labels, probabilities, patients = of_classes(*[10] * classes)
    material = material_of(labels, probabilities, "abc"[:classes], patients=patients)
    monkeypatch.setattr(bootstrap, "MOST_CELLS", 1500 * len(labels) * (classes - 1))
    (found,) = bootstrap.spreads([material])
    assert len(found["accuracy"].values) == 1500
    both = bootstrap.spreads([material, material])
    assert [len(one["accuracy"].values) for one in both] == [1000, 1000]


def test_a_thousand_rounds_do_where_no_measure_needs_more():
    labels = np.repeat(np.arange(20) % 2, 3)
    patients = [f"p{k}" for k in np.repeat(np.arange(20), 3)]
    figures = measure(labels, np.eye(2)[labels], BINARY, patients=patients, rounds=None)
    assert figures.rounds == 1000


@pytest.mark.parametrize(("clusters", "omitted"), [(7, 7), (400, 400), (1000, 400)])
def test_each_patient_is_left_out_in_turn_or_400_spread_over_them(clusters, omitted):
    labels, probabilities = np.arange(clusters) % 2, np.eye(2)[np.arange(clusters) % 2]
    predicted = np.zeros(clusters, int)  # only images of the second class are wrong
    material = material_of(labels, probabilities, BINARY, predicted=predicted)
    (found,) = bootstrap.spreads([material], rounds=1)
    right = (clusters + 1) // 2
    values = found["accuracy"].without
    assert len(values) == omitted
    assert set(np.round(values * (clusters - 1)).astype(int)) == {right - 1, right}
    if omitted == clusters:
        assert values[::2] == pytest.approx((right - 1) / (clusters - 1))


def test_the_error_of_limits_is_what_other_rounds_make_of_them():
    labels, probabilities, patients = study(8, patients=40)
    material = material_of(labels, probabilities, BINARY, patients=patients)
    lows, errors = [], []
    for seed in range(40):
        limits = bootstrap.intervals(material, rounds=500, seed=seed).limits["roc_auc"]
        lows.append(limits.low)
        errors.append(limits.error)
    assert 0.6 < np.median(errors) / np.std(lows) < 1.8


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
    assert figures.reasons["ci.roc_auc"] == "is the same in every round"
    for name in BINARY:
        for measured in ("sensitivity", "specificity"):
            assert figures.ci[f"{measured}.{name}"] == figures.ci["tpr"]
            assert f"ci.{measured}.{name}" not in figures.reasons
        assert figures.ci[f"precision.{name}"] is None
    assert figures.ci["tnr"] == figures.ci["tpr"]
    assert figures.ci["patient_accuracy"] == figures.ci["accuracy"]


@given(st.integers(1, 1000))
@settings(max_examples=50)
def test_students_t_is_scipys(freedom):
    assert student(0.975, freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), abs=0.02)


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


def poisson_sizes(rng, patients):
    return 1 + rng.poisson(4, patients)


def log_normal_sizes(rng, patients):
    """One to forty images, of which few patients have most."""
    return np.clip(np.round(np.exp(rng.normal(1.5, 1, patients))), 1, 40).astype(int)


def few_patients(seed: int, patients: int, *, prevalence: float, apart: float, sizes):
    """A study of which the number of patients alone is planned: neither that of each class nor of images."""
    rng = np.random.default_rng([patients, seed])
    owners = np.repeat(np.arange(patients), sizes(rng, patients))
    labels = (rng.random(patients) < prevalence).astype(int)[owners]
    scores = apart * (labels - 0.5) + rng.normal(size=patients)[owners] + rng.normal(size=len(owners))
    positive = 1 / (1 + np.exp(-scores))
    return labels, np.stack([1 - positive, positive], axis=1), [f"p{owner}" for owner in owners]


ALIKE = {"prevalence": 0.5, "apart": 1.5, "sizes": poisson_sizes}
UNEQUAL = {"prevalence": 0.3, "apart": 3.3, "sizes": log_normal_sizes}


@pytest.mark.parametrize(
    ("patients", "kind"),
    [
        pytest.param(13, ALIKE, marks=pytest.mark.full),
        pytest.param(18, UNEQUAL, marks=pytest.mark.full),
        pytest.param(30, ALIKE, marks=pytest.mark.full),
        pytest.param(30, UNEQUAL, marks=pytest.mark.slow),
    ],
)
def test_intervals_of_few_patients_cover_the_truth_too(patients, kind):
    """400 simulated studies; where a measure has no interval, the reason is there."""
    names = "accuracy", "roc_auc", "f1", "precision.malignant", "tpr"

    def value(figures, name):
        measure_name, _, label = name.partition(".")
        return figures.per_class[label][measure_name] if label else getattr(figures, name)

    labels, probabilities, owners = few_patients(0, 100_000, **kind)
    truth = measure(labels, probabilities, BINARY, patients=owners, rounds=0)
    held: dict[str, list[bool]] = {name: [] for name in names}
    for seed in range(1, 401):
        labels, probabilities, owners = few_patients(seed, patients, **kind)
        figures = measure(labels, probabilities, BINARY, patients=owners, rounds=1000)
        for name in names:
            limits = figures.ci[name]
            if limits is None:
                assert figures.reasons[f"ci.{name}"]
            else:
                held[name].append(limits[0] <= value(truth, name) <= limits[1])
    for name in names:
        assert len(held[name]) > 200
        # Of fewer patients, and thereby of few of a class, intervals are wide rather than narrow.
        assert 0.915 <= np.mean(held[name]) <= (0.985 if patients >= 24 else 1), name


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=5, max_size=12), st.integers(0, 3))
@settings(max_examples=40)
def test_few_images_have_wide_intervals_that_hold_the_figure(pairs, seed):
    labels, predicted = np.array(pairs).T
    figures = measure(labels, None, ["a", "b", "c"], predicted=predicted, rounds=60)
    for name, limits in figures.ci.items():
        value = getattr(figures, name, None)
        if limits and value is not None:
            assert limits[0] <= value <= limits[1], name
