"""What figures rest on: patients, and as how many equally large ones they count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core.metrics.bootstrap import spreads
from bccli.core.metrics.cases import material_of
from bccli.core.metrics.support import Support, equally_large, supports

BINARY = ["benign", "malignant"]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_unequal_clusters_count_as_fewer_equal_ones(counts):
    counts = np.array(counts, float)
    having = int((counts > 0).sum())
    assert min(having, 1) <= equally_large(counts) + 1e-9
    assert equally_large(counts) <= having + 1e-9
    assert equally_large(np.where(counts > 0, 7.0, 0)) == pytest.approx(having)


def study(*counts: int, malignant: int):
    """One patient for each number of images, the last ones malignant."""
    owners = np.repeat(np.arange(len(counts)), counts)
    labels = (owners >= len(counts) - malignant).astype(int)
    positive = np.random.default_rng(0).random(len(owners)) * 0.6 + 0.2 * labels
    return labels, np.stack([1 - positive, positive], axis=1), [f"p{owner:02}" for owner in owners]


def test_each_measure_rests_on_what_it_is_about():
    labels, probabilities, patients = study(*[4] * 12, *[2] * 8, malignant=8)
    found = supports(material_of(labels, probabilities, BINARY, positive="malignant", patients=patients))
    assert (found["tpr"].clusters, found["tpr"].equal) == (8, pytest.approx(8))
    assert (found["tnr"].clusters, found["tnr"].equal) == (12, pytest.approx(12))
    assert found["roc_auc"].clusters == 8
    assert found["roc_auc"].equal == pytest.approx(2 / (1 / 8 + 1 / 12))
    assert found["accuracy"].equal == pytest.approx(64**2 / (12 * 16 + 8 * 4))
    assert found["patient_accuracy"].equal == 20


def test_what_compares_a_class_with_the_rest_rests_on_nothing_where_one_of_them_lacks():
    labels, probabilities, patients = study(*[2] * 6, malignant=0)
    found = supports(material_of(labels, probabilities, BINARY, patients=patients))
    assert found["roc_auc"] == Support(0, 0.0, 5, hull=0.5)
    assert found["balanced_accuracy"].equal == 0.0
    assert found["mcc"].equal == 3.0


def test_of_three_classes_two_patients_do_for_the_whole_and_five_for_a_class():
    labels, probabilities = np.arange(12) % 3, np.full((12, 3), 1 / 3)
    found = supports(material_of(labels, probabilities, "abc", patients=[f"p{k}" for k in range(12)]))
    needed = {name: support.needed for name, support in found.items()}
    assert {needed[name] for name in ("mcc", "kappa", "balanced_accuracy", "f1", "roc_auc", "accuracy")} == {
        2
    }
    assert {needed[f"{name}.1"] for name in ("sensitivity", "precision", "f1", "roc_auc", "pr_auc")} == {5}


@given(st.floats(2, 20), st.floats(2, 20))
@settings(max_examples=30)
def test_fewer_equal_clusters_make_limits_that_hold_those_of_more(one, other):
    labels, probabilities, patients = study(*[3] * 20, malignant=10)
    material = material_of(labels, probabilities, BINARY, positive="malignant", patients=patients)
    spread = spreads([material], rounds=200)[0]["accuracy"]
    (few, _), (many, _) = (spread.limits(Support(20, equal)) for equal in sorted((one, other)))
    assert few.low <= many.low <= many.high <= few.high
