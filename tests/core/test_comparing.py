"""Two classifiers: DeLong's published example, McNemar by SciPy, paired intervals that see a difference."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.comparing import EXACT, Side, compare, delong, mcnemar
from bccli.core.predictions import Predictions

# DeLong, DeLong and Clarke-Pearson 1988: albumin, total protein, 10 − K-G score, and whether surgery would
# help, of 43 patients with ovarian cancer for whom all are known.
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1
3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0
2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1
3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0
3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1
3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


def ovarian() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    table = np.array(OVARIAN.split(), float).reshape(-1, 4)
    scores = {"albumin": table[:, 0], "protein": table[:, 1], "kg": 10 - table[:, 2]}
    return table[:, 3] == 1, scores


@pytest.mark.parametrize(
    ("name", "area", "error"),
    [("kg", 0.7258, 0.1028), ("albumin", 0.7366, 0.0927), ("protein", 0.6478, 0.1000)],
)
def test_areas_and_errors_of_delongs_example_are_the_published_ones(name, area, error):
    helped, scores = ovarian()
    found = delong(helped, [scores[name], scores["kg"]])
    assert found["roc_auc"][0] == pytest.approx(area, abs=5e-5)
    assert found["standard_error"][0] == pytest.approx(error, abs=5e-5)


def by_definition(helped: np.ndarray, scores: list[np.ndarray]) -> float:
    """DeLong's p-value from the structural components, pair by pair."""
    kernels = []
    for values in scores:
        above, below = values[helped], values[~helped]
        kernels.append(np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in below] for a in above]))
    first = np.cov([kernel.mean(axis=1) for kernel in kernels])
    second = np.cov([kernel.mean(axis=0) for kernel in kernels])
    covariance = first / helped.sum() + second / (~helped).sum()
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    z = (kernels[0].mean() - kernels[1].mean()) / np.sqrt(variance)
    return 2 * scipy.stats.norm.sf(abs(z))


def test_delongs_test_is_its_definition():
    helped, scores = ovarian()
    for pair in (("albumin", "kg"), ("protein", "kg"), ("albumin", "protein")):
        both = [scores[name] for name in pair]
        assert delong(helped, both)["p"] == pytest.approx(by_definition(helped, both))


def test_delong_of_a_curve_with_itself_and_of_too_few():
    helped, scores = ovarian()
    assert delong(helped, [scores["kg"], scores["kg"]])["p"] == 1.0
    assert delong(np.array([True, False, False]), [np.arange(3.0), np.arange(3.0)]) is None


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemars_test_is_the_binomial_one(first, second):
    right = np.repeat([True, False, True], [first, second, 7])
    found = mcnemar(right, np.repeat([False, True, True], [first, second, 7]))
    assert (found["first_only"], found["second_only"]) == (first, second)
    expected = scipy.stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert found["p"] == pytest.approx(expected)


def test_many_disagreements_take_the_chi_square():
    first = np.arange(EXACT + 1000) < EXACT / 2
    found = mcnemar(first, ~first)
    exact = scipy.stats.binomtest(found["first_only"], len(first)).pvalue
    assert found["p"] == pytest.approx(exact, rel=0.2)


def predictions(seed: int, *, apart: float, patients: int = 60, images: int = 4) -> Predictions:
    """Predictions of the same images for every `apart`, more often right where it is larger."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(patients) % 2, images)
    noise = np.random.default_rng(0).normal(size=len(labels)) + 0.3 * rng.normal(size=len(labels))
    positive = 1 / (1 + np.exp(-apart * (labels - 0.5) - noise))
    probabilities = np.stack([1 - positive, positive], axis=1)
    return Predictions(
        classes=("a", "b"),
        splits=(),
        patients=tuple(f"p{k}" for k in np.repeat(np.arange(patients), images)),
        labels=labels,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        paths=tuple(f"{k}.png" for k in range(len(labels))),
    )


def test_a_better_classifier_is_told_from_a_worse_one():
    found = compare(
        Side("good", predictions(1, apart=4)),
        Side("bad", predictions(2, apart=0.5)),
        positive=None,
        rounds=300,
    )
    for name in ("accuracy", "roc_auc", "mcc", "patient_accuracy"):
        entry = found["differences"][name]
        assert 0 < entry["ci"][0] <= entry["difference"] <= entry["ci"][1], name
    assert found["mcnemar"]["p"] < 0.001
    assert found["delong"]["p"] < 0.001


def test_the_order_of_rows_and_classes_does_not_matter():
    good, bad = predictions(1, apart=2), predictions(2, apart=1)
    expected = compare(Side("x", good), Side("y", bad), positive="b", rounds=50)
    order = np.random.default_rng(0).permutation(len(bad))
    shuffled = replace(
        bad,
        classes=("b", "a"),
        patients=tuple(bad.patients[k] for k in order),
        paths=tuple(bad.paths[k] for k in order),
        labels=1 - bad.labels[order],
        predicted=1 - bad.predicted[order],
        probabilities=bad.probabilities[order][:, ::-1],
    )
    assert compare(Side("x", good), Side("y", shuffled), positive="b", rounds=50) == expected


def test_images_are_found_again_by_their_sources():
    good, bad = predictions(1, apart=2), predictions(2, apart=1)
    sources = tuple(f"raw/{path}" for path in good.paths)
    moved = replace(bad, paths=tuple(f"other/{path}" for path in bad.paths), sources=sources)
    found = compare(Side("x", replace(good, sources=sources)), Side("y", moved), positive=None, rounds=0)
    assert found["n"] == len(good)
    assert all(entry["ci"] is None for entry in found["differences"].values())


def test_only_common_images_are_compared():
    good, bad = predictions(1, apart=2), predictions(2, apart=1)
    half = np.arange(len(bad)) < 100
    found = compare(Side("x", good), Side("y", bad.where(half)), positive=None, rounds=20)
    assert found["n"] == 100


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"paths": tuple(f"x{k}" for k in range(240))}, "no image in common"),
        ({"classes": ("a", "c")}, "classes differ"),
        ({"labels": np.ones(240, int)}, "0.png is a in one and b in the other"),
    ],
)
def test_what_cannot_be_compared_says_why(change, reason):
    good = predictions(1, apart=2)
    found = compare(Side("x", good), Side("y", replace(good, **change)), positive=None, rounds=20)
    assert found["n"] == 0
    assert reason in found["reason"]
