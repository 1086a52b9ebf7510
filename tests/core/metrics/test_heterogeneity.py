"""The test of whether groups of images differ, patients whole."""

from itertools import permutations

import numpy as np
import pytest

from bccli.core.metrics.heterogeneity import heterogeneity


def study(rng: np.random.Generator, patients: int, *, effect: float = 0.0, within: bool = False) -> tuple:
    """Images of patients who have much in common; in group 1 `effect` more of them are right."""
    counts = rng.integers(1, 7, patients)
    owners = np.repeat(np.arange(patients), counts)
    of_patient = rng.integers(0, 3, patients)
    groups = rng.integers(0, 2, len(owners)) if within else of_patient[owners]
    chance = np.clip(rng.beta(2, 1, patients)[owners] + effect * (groups == 1), 0, 1)
    return rng.random(len(owners)) < chance, groups, owners


@pytest.mark.parametrize("within", [False, True])
def test_groups_that_do_not_matter_are_called_different_in_five_of_a_hundred(within: bool) -> None:
    rng = np.random.default_rng(1)
    tests = [heterogeneity(*study(rng, 25, within=within)) for _ in range(200)]
    share = np.mean([test.p <= 0.05 for test in tests if test])
    assert 0.01 <= share <= 0.10  # 200 draws of 0.05 are within this in 999 of 1,000 cases
    assert all(test is not None and test.within is within for test in tests)


@pytest.mark.parametrize("within", [False, True])
def test_groups_that_do_matter_are_found(within: bool) -> None:
    rng = np.random.default_rng(2)
    tests = [heterogeneity(*study(rng, 80, effect=-0.5, within=within)) for _ in range(20)]
    assert np.mean([test.p <= 0.05 for test in tests if test]) >= 0.9


def test_p_value_is_that_of_all_ways_to_deal() -> None:
    groups = np.array([0, 0, 0, 1, 1, 1])
    owners, right = np.repeat(np.arange(6), 2), np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 0, 0], bool)

    def spread(of_patient: np.ndarray) -> float:
        each = of_patient[owners]
        means = [right[each == group].mean() for group in (0, 1)]
        return abs(means[0] - means[1])

    ways = [spread(np.array(way)) >= spread(groups) - 1e-12 for way in set(permutations(groups.tolist()))]
    found = heterogeneity(right, groups[owners], owners)
    assert found is not None
    assert found.p == pytest.approx(np.mean(ways), abs=0.03)
    assert (found.groups, found.patients, found.within) == (2, 6, False)


def test_too_little_to_tell() -> None:
    right, owners = np.array([True, False, True, True]), np.arange(4)
    assert heterogeneity(right, np.array([0, 0, 1, 1]), owners) is None
    assert heterogeneity(np.ones(20, bool), np.zeros(20, int), np.arange(20)) is None
    assert heterogeneity(np.ones(0, bool), np.zeros(0, int), np.zeros(0, int)) is None


def test_all_right_is_no_difference() -> None:
    found = heterogeneity(np.ones(40, bool), np.arange(40) % 4, np.arange(40))
    assert found is not None
    assert found.p == 1
