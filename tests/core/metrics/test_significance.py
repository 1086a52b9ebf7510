"""Two classifiers: published examples, tests by their definitions, intervals that see a difference."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core.metrics import significance as comparing
from bccli.core.metrics.cases import material_of
from bccli.core.metrics.comparison import Side, compare, images_apart
from bccli.core.metrics.figures import measure
from bccli.core.metrics.significance import EXACT, delong, mcnemar, swapped
from bccli.core.runs.predictions import Predictions

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


def obuchowski_by_definition(
    helped: np.ndarray, scores: list[np.ndarray], owners: np.ndarray
) -> tuple[np.ndarray, float]:
    """The covariance of two areas, and the p-value, by sums over pairs and patients as in the paper."""
    patients = sorted(set(owners.tolist()))
    ill, well = helped.sum(), (~helped).sum()
    areas, x, y = [], [], []
    for values in scores:
        order = {
            (i, j): 1.0 if values[i] > values[j] else 0.5 if values[i] == values[j] else 0.0
            for i in np.flatnonzero(helped)
            for j in np.flatnonzero(~helped)
        }
        areas.append(sum(order.values()) / ill / well)
        of_ill = {i: sum(order[i, j] for j in np.flatnonzero(~helped)) / well for i in np.flatnonzero(helped)}
        of_well = {j: sum(order[i, j] for i in np.flatnonzero(helped)) / ill for j in np.flatnonzero(~helped)}
        x.append(
            [sum(of_ill[i] - areas[-1] for i in np.flatnonzero(helped & (owners == p))) for p in patients]
        )
        y.append(
            [sum(of_well[j] - areas[-1] for j in np.flatnonzero(~helped & (owners == p))) for p in patients]
        )
    x, y = np.array(x), np.array(y)
    with_ill, with_well = (len(set(owners[chosen].tolist())) for chosen in (helped, ~helped))
    s10, s01 = with_ill / ((with_ill - 1) * ill) * x @ x.T, with_well / ((with_well - 1) * well) * y @ y.T
    s11 = len(patients) / (len(patients) - 1) * x @ y.T
    covariance = s10 / ill + s01 / well + (s11 + s11.T) / (ill * well)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return covariance, float(2 * scipy.stats.norm.sf(abs(areas[0] - areas[1]) / np.sqrt(variance)))


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_clustered_test_is_obuchowskis_definition(seed):
    rng = np.random.default_rng(seed)
    owners = rng.integers(0, 9, 40)
    helped = rng.integers(0, 2, 40) == 1
    scores = [(helped + rng.normal(size=40) + rng.normal(size=9)[owners]).round(1) for _ in range(2)]
    found = delong(helped, scores, owners)
    covariance, p = obuchowski_by_definition(helped, scores, owners)
    assert found["standard_error"] == pytest.approx(np.sqrt(np.diag(covariance)).tolist())
    assert found["p"] == pytest.approx(p)


def test_with_one_image_each_the_clustered_test_is_delongs():
    helped, scores = ovarian()
    both = [scores["albumin"], scores["kg"]]
    assert delong(helped, both, np.arange(len(helped)) * 7) == delong(helped, both)


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


@pytest.mark.parametrize(("first", "second"), [(480, 520), (520, 480), (500, 500), (1000, 0)])
def test_a_thousand_disagreements_are_still_exact_and_one_more_is_not(first, second):
    def p_of(first, second):
        right = np.arange(first + second) < first
        return mcnemar(right, ~right)["p"]

    assert p_of(first, second) == pytest.approx(scipy.stats.binomtest(first, first + second).pvalue)
    square = (abs(first + 1 - second) - 1) ** 2 / 1001
    assert p_of(first + 1, second) == pytest.approx(scipy.stats.chi2.sf(square, 1), rel=1e-9)


@pytest.mark.parametrize(
    ("patients", "cells", "ways"),
    [
        (12, 100_000_000, 2**12),
        (13, 100_000_000, 2**13),
        (14, 100_000_000, 10_001),
        (40, 100_000_000, 10_001),
        (40, 40 * 2000, 2001),
        (40, 1, 1001),
    ],
)
def test_p_values_are_shares_of_the_ways_to_swap(monkeypatch, patients, cells, ways):
    """Beyond 13 patients there are ways at random, and the two as they are; at least a thousand."""
    sides = [predictions(seed, apart=apart, patients=patients, images=1) for seed, apart in ((1, 2), (2, 1))]
    monkeypatch.setattr(comparing, "MOST_CELLS", cells)
    found = swapped(*(material_of(side.labels, side.probabilities, side.classes) for side in sides))
    assert found["log_loss"] * ways == pytest.approx(round(found["log_loss"] * ways), abs=1e-6)
    assert 0 < found["log_loss"] < 1


def test_the_number_of_swaps_at_a_time_changes_nothing(monkeypatch):
    sides = [predictions(seed, apart=apart, patients=20, images=1) for seed, apart in ((1, 2), (2, 1))]
    materials = [material_of(side.labels, side.probabilities, side.classes) for side in sides]
    monkeypatch.setattr(comparing, "MOST_CELLS", 1)
    whole = swapped(*materials)
    for cells in (1, 16 * 20 * 7):
        monkeypatch.setattr(comparing, "CELLS", cells)
        assert swapped(*materials) == whole


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
        ({"paths": tuple(f"x{k}" for k in range(240))}, "they have no image in common"),
        ({"classes": ("a", "c")}, "their classes differ (a, b; a, c)"),
        ({"labels": np.ones(240, int)}, "0.png is a in one and b in the other"),
        (
            {"paths": ("1.png", *(f"{k}.png" for k in range(1, 240)))},
            "an image is there several times; --level image averages what is said of it",
        ),
    ],
)
def test_what_cannot_be_compared_says_why(change, reason):
    good = predictions(1, apart=2)
    found = compare(Side("x", good), Side("y", replace(good, **change)), positive=None, rounds=20)
    assert found == {"first": "x", "second": "y", "n": 0, "reason": reason}


@pytest.mark.parametrize("images", [240, 100])
def test_images_that_are_there_several_times_on_either_side_are_not_compared(images):
    good = predictions(1, apart=2)
    twice = replace(good, paths=("1.png", *good.paths[1:]))
    fewer = good.where(np.arange(240) < images)
    for sides in ((twice, fewer), (fewer, twice)):
        found = compare(Side("x", sides[0]), Side("y", sides[1]), positive=None, rounds=20)
        assert found["reason"] == "an image is there several times; --level image averages what is said of it"


def test_what_one_side_has_no_probabilities_for_is_not_compared():
    a, b = predictions(1, apart=2), replace(predictions(2, apart=1), probabilities=None)
    for sides in ((a, b), (b, a)):
        found = compare(Side("x", sides[0]), Side("y", sides[1]), positive=None, rounds=20)
        assert list(found["differences"]) == [
            *("accuracy", "balanced_accuracy", "f1", "tpr", "tnr", "mcc", "kappa", "patient_accuracy")
        ]
        assert found["delong"] is None


def test_images_apart_are_those_that_no_name_joins():
    a = predictions(1, apart=2, patients=3)
    named = replace(a, sources=tuple(f"raw/{path}" for path in a.paths))
    moved = replace(named, paths=tuple(f"x/{path}" for path in a.paths))
    strange = replace(a, paths=tuple(f"y/{path}" for path in a.paths))
    assert images_apart([a, named, moved, strange]) == [[2, 3], [3], [0, 3], [0, 1, 2]]


def by_swapping(a: Predictions, b: Predictions, name: str) -> float:
    """The p-value of a measure's difference from each way to swap the two in whole patients."""
    owners = np.array(a.patients)
    patients = sorted(set(a.patients))

    def difference(ways: tuple[bool, ...]) -> float:
        mixed = np.isin(owners, [p for p, swap in zip(patients, ways, strict=True) if swap])
        sides = []
        for one, other in ((a, b), (b, a)):
            chosen = np.where(mixed, other.predicted, one.predicted)
            scores = np.where(mixed[:, None], other.probabilities, one.probabilities)
            figures = measure(a.labels, scores, a.classes, predicted=chosen, patients=a.patients)
            sides.append(getattr(figures, name))
        return sides[0] - sides[1]

    seen = difference((False,) * len(patients))
    all_of_them = [difference(ways) for ways in itertools.product((False, True), repeat=len(patients))]
    return float(np.mean([abs(value) >= abs(seen) - 1e-12 for value in all_of_them]))


@pytest.mark.parametrize("name", ["accuracy", "f1", "mcc", "log_loss", "patient_accuracy"])
def test_few_patients_are_swapped_in_every_way(name):
    a, b = (predictions(seed, apart=apart, patients=6) for seed, apart in ((1, 2.0), (2, 1.0)))
    materials = [
        material_of(side.labels, side.probabilities, side.classes, patients=a.patients) for side in (a, b)
    ]
    assert swapped(*materials)[name] == pytest.approx(by_swapping(a, b, name))


def test_many_patients_are_swapped_at_random_to_the_same_end(monkeypatch):
    a, b = (predictions(seed, apart=apart, patients=12) for seed, apart in ((1, 2.0), (2, 1.0)))
    materials = [
        material_of(side.labels, side.probabilities, side.classes, patients=a.patients) for side in (a, b)
    ]
    exact = swapped(*materials)
    monkeypatch.setattr(comparing, "EVERY_SWAP", 5)
    for name, p in swapped(*materials).items():
        assert p == pytest.approx(exact[name], abs=0.02), name


def test_a_classifier_is_as_good_as_itself():
    same = predictions(1, apart=1)
    found = compare(Side("x", same), Side("y", same), positive=None, rounds=0)
    assert {entry["p"] for entry in found["differences"].values()} <= {1.0, None}


def without_patients(table: Predictions) -> Predictions:
    return replace(table, patients=("",) * len(table))


def test_patients_are_those_of_either_side_and_the_order_does_not_matter():
    a, b = predictions(1, apart=2), predictions(2, apart=1)
    expected = compare(Side("a", a), Side("b", b), positive=None, rounds=200)
    assert expected["patients"] == 60
    for one, other in ((a, without_patients(b)), (without_patients(a), b)):
        found = compare(Side("a", one), Side("b", other), positive=None, rounds=200)
        assert found["differences"] == expected["differences"]
        back = compare(Side("b", other), Side("a", one), positive=None, rounds=200)
        for name, entry in back["differences"].items():
            assert entry["p"] == expected["differences"][name]["p"]
            low, high = expected["differences"][name]["ci"]
            assert entry["ci"] == pytest.approx([-high, -low], abs=1e-9)
    alone = compare(Side("a", without_patients(a)), Side("b", without_patients(b)), positive=None, rounds=200)
    assert alone["resampled"] == "images, as patients are unknown"
    assert alone["delong"]["method"] == "DeLong 1988"
    assert not alone["mcnemar"]["naive"]


def test_what_either_side_joins_stays_together():
    a, b = predictions(1, apart=2, patients=12), predictions(2, apart=1, patients=12)
    pairs = tuple(f"q{int(name[1:]) // 2}" for name in b.patients)
    found = compare(Side("a", a), Side("b", replace(b, patients=pairs)), positive=None, rounds=100)
    joined = compare(Side("a", replace(a, patients=pairs)), Side("b", b), positive=None, rounds=100)
    assert found["delong"] == joined["delong"]
    assert found["differences"]["accuracy"]["ci"] == joined["differences"]["accuracy"]["ci"]
