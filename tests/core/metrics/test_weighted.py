"""Sums per class say what whole confusion matrices and all pairs of images would."""

import tracemalloc
from unittest import mock

import numpy as np
import pytest
import sklearn.metrics as judge
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.metrics import weighted
from bccli.core.metrics.cases import material_of
from bccli.core.metrics.figures import measure
from bccli.core.metrics.material import Cases, collect, rank
from bccli.core.metrics.weighted import IN_CACHE, areas, chunks, measures


@st.composite
def told(draw, most=6):
    """Labels, predictions and owners (n,) of up to six classes and four clusters, and weightings (3, 4)."""
    classes = draw(st.integers(2, most))
    number = st.integers(0, classes - 1)
    rows = draw(st.lists(st.tuples(number, number, st.integers(0, 3)), min_size=1, max_size=30))
    weights = draw(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=3, max_size=3))
    return classes, *np.array(rows).T, np.array(weights, float)


def dense(cells: np.ndarray, distance: np.ndarray) -> dict[str, float]:
    """The measures that a confusion matrix (K, K) gives by their textbook formulas."""
    total, hits = cells.sum(), np.diag(cells)
    actual, claimed = cells.sum(axis=1), cells.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "accuracy": hits.sum() / total,
            "majority_accuracy": actual.max() / total,
            "kappa": 1 - (cells * distance).sum() / (np.outer(actual, claimed) / total * distance).sum(),
            "mcc": (total * hits.sum() - actual @ claimed)
            / np.sqrt((total**2 - claimed @ claimed) * (total**2 - actual @ actual)),
        }
        for k in range(len(cells)):
            found[f"sensitivity.{k}"] = hits[k] / actual[k]
            found[f"precision.{k}"] = hits[k] / claimed[k]
            found[f"f1.{k}"] = 2 * hits[k] / (actual[k] + claimed[k])
            found[f"specificity.{k}"] = (total - actual[k] - claimed[k] + hits[k]) / (total - actual[k])
    return {name: value if np.isfinite(value) else np.nan for name, value in found.items()}


@given(told(), st.booleans())
def test_sums_per_class_say_what_the_confusion_matrix_does(images, quadratic):
    classes, labels, predicted, owners, weights = images
    weights = weights[:, : owners.max() + 1]
    material = collect(
        Cases(labels, predicted, None, owners),
        classes=classes,
        positive=None,
        per_image={},
        quadratic=quadratic,
    )
    found = measures(material, weights)
    apart = np.subtract.outer(np.arange(classes), np.arange(classes))
    for place, weighting_ in enumerate(weights):
        cells = np.zeros((classes, classes))
        np.add.at(cells, (labels, predicted), weighting_[owners])
        for name, value in dense(cells, apart**2 if quadratic else apart != 0).items():
            assert found[name][place] == pytest.approx(value, nan_ok=True, rel=1e-12, abs=1e-12), name


def test_rounds_come_in_chunks_of_so_many_numbers_or_one_by_one():
    assert chunks(10, 5, 20) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert chunks(3, 50, 20) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert chunks(3, 0, 2) == [slice(0, 2), slice(2, 3)]
    assert chunks(7, 1000) == [slice(0, 7)]
    assert chunks(0, 5) == []


def test_classes_are_no_grades_unless_it_is_said():
    cases = Cases(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]), None, np.arange(4))
    options = {"classes": 3, "positive": None, "per_image": {}}
    found = [
        measures(collect(cases, **options, **more), np.ones((1, 4)))["kappa"][0]
        for more in ({}, {"quadratic": False}, {"quadratic": True})
    ]
    assert found[0] == found[1] != found[2]


@st.composite
def scored(draw):
    """Positives, scores with ties and owners (n,), and weightings (3, 4)."""
    images = st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3))
    rows = draw(st.lists(images, min_size=0, max_size=30))
    weights = draw(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=3, max_size=3))
    positives, scores, owners = np.array(rows, np.int64).reshape(-1, 3).T
    return positives.astype(bool), scores / 6, owners, np.array(weights, float)


@given(scored())
def test_areas_are_those_of_all_pairs(images):
    positives, scores, owners, weights = images
    found = areas(rank(positives, scores, owners), weights)
    for place, each in enumerate(weights[:, owners]):
        own, others = each * positives, each * ~positives
        with np.errstate(divide="ignore", invalid="ignore"):
            above = (scores[:, None] > scores) + (scores[:, None] == scores) / 2
            roc = own @ above @ others / np.float64(own.sum() * others.sum())
            reached = scores >= scores[:, None]
            shares = np.nan_to_num((reached @ own) / (reached @ each))
            precision = own @ shares / np.float64(own.sum())
        assert found[0][place] == pytest.approx(roc, nan_ok=True, abs=1e-12)
        assert found[1][place] == pytest.approx(precision, nan_ok=True, abs=1e-12)


@given(scored())
def test_blocks_of_weightings_change_no_area(images):
    positives, scores, owners, weights = images
    ranking = rank(positives, scores, owners)
    single = [areas(ranking, weights[place : place + 1]) for place in range(len(weights))]
    np.testing.assert_array_equal(areas(ranking, weights), np.concatenate(single, axis=1))
    with mock.patch.object(weighted, "_WORTH_THREADS", 0), mock.patch.object(weighted, "IN_CACHE", 1):
        np.testing.assert_array_equal(areas(ranking, weights), np.concatenate(single, axis=1))


def many_classes(classes: int, images: int):
    rng = np.random.default_rng(0)
    labels = np.append(np.arange(classes), rng.integers(0, classes, images - classes))
    probabilities = rng.dirichlet(np.ones(classes), images) + 0.05 * np.eye(classes)[labels]
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("word", ["class", "grade"])
def test_forty_classes_are_scikit_learns(word):
    labels, probabilities = many_classes(40, 300)
    predicted = probabilities.argmax(axis=1)
    names = [f"{word}_{k:02}" for k in range(40)]
    figures = measure(labels, probabilities, names)
    weights = "quadratic" if word == "grade" else None
    precision, sensitivity, f1, counts = judge.precision_recall_fscore_support(
        labels, predicted, labels=range(40), zero_division=np.nan
    )
    expected = {
        "accuracy": judge.accuracy_score(labels, predicted),
        "balanced_accuracy": judge.balanced_accuracy_score(labels, predicted),
        "f1": judge.f1_score(labels, predicted, average="macro"),
        "mcc": judge.matthews_corrcoef(labels, predicted),
        "kappa": judge.cohen_kappa_score(labels, predicted, weights=weights),
        "roc_auc": judge.roc_auc_score(labels, probabilities, multi_class="ovr"),
    }
    for name, value in expected.items():
        assert getattr(figures, name) == pytest.approx(value, rel=1e-12), name
    assert figures.confusion_matrix == judge.confusion_matrix(labels, predicted).tolist()
    for k, row in enumerate(figures.per_class.values()):
        assert row["n"] == counts[k]
        assert row["sensitivity"] == pytest.approx(sensitivity[k])
        assert row["precision"] == (None if np.isnan(precision[k]) else pytest.approx(precision[k]))
        assert row["f1"] == pytest.approx(f1[k])
        assert row["roc_auc"] == pytest.approx(judge.roc_auc_score(labels == k, probabilities[:, k]))


def test_memory_grows_with_the_classes_and_not_with_their_square():
    """100 rounds of 200 classes: matrices of classes by classes, of each cluster or round, have 32 MB."""
    labels, probabilities = many_classes(200, 400)
    material = material_of(labels, probabilities, [f"class {k}" for k in range(200)])
    weights = np.random.default_rng(0).integers(0, 3, (100, material.clusters)).astype(float)
    tracemalloc.start()
    measures(material, weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6 + 8 * IN_CACHE * 8
