"""What triage promises holds on new patients, as often as it is said."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from bccli.core.errors import DataError
from bccli.core.metrics.decisions.triage import (
    Patients,
    TriageRule,
    fewest,
    lock,
    lower_limit,
    parse_triage,
    patients_of,
)

STUDIES, LEAST = 500, 465


@given(st.integers(1, 400), st.data())
def test_the_limit_is_clopper_and_pearsons(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    expected = binomtest(right, count, alternative="greater").proportion_ci(0.95, "exact").low
    assert lower_limit(right, count) == pytest.approx(expected, abs=1e-9)


@given(st.floats(0.5, 0.999))
def test_so_many_patients_are_enough_and_one_less_is_not(target: float) -> None:
    needed = fewest(target)
    assert lower_limit(needed, needed) >= target - 1e-12
    assert lower_limit(needed - 1, needed - 1) < target


def study(rng: np.random.Generator, patients: int, prevalence: float) -> Patients:
    """Patients with one to six images, whose scores are alike; positive ones have a positive image."""
    positive = rng.random(patients) < prevalence
    own = rng.normal(np.where(positive, 2.2, 0), 1.2)
    counts = rng.integers(1, 7, patients)
    owners = np.repeat(np.arange(patients), counts)
    shown = positive[owners] & (rng.random(len(owners)) < 0.7)
    shown[np.cumsum(counts) - 1] |= positive
    images = own[owners] + rng.normal(0, 0.6, len(owners)) + np.where(shown, 0.8, 0)
    return patients_of(owners, 1 / (1 + np.exp(1.5 - images)), shown)


def truth(rule: str, threshold: float, everybody: Patients) -> float:
    """The true value at a threshold, among a great many patients."""
    aside, positive = everybody.scores < threshold, everybody.positive
    return {
        "npv": lambda: 1 - positive[aside].mean(),
        "ppv": lambda: positive[~aside].mean(),
        "sensitivity": lambda: (~aside)[positive].mean(),
    }[rule]()


@pytest.mark.parametrize(
    ("rule", "target", "patients", "prevalence"),
    [
        ("npv", 0.95, 400, 0.25),
        ("npv", 0.98, 900, 0.15),
        ("ppv", 0.8, 400, 0.3),
        ("sensitivity", 0.9, 300, 0.3),
    ],
)
def test_promises_are_kept_in_all_but_one_study_in_twenty(
    rule: str, target: float, patients: int, prevalence: float
) -> None:
    everybody = study(np.random.default_rng(0), 100_000, prevalence)
    kept = made = 0
    for number in range(STUDIES):
        on_val = study(np.random.default_rng([1, number]), patients, prevalence)
        try:
            locked = lock(TriageRule(rule, target), on_val, "")
        except DataError:
            kept += 1  # what is not promised is not broken
            continue
        made += 1
        kept += truth(rule, locked.threshold, everybody) >= target
    assert kept >= LEAST
    assert made >= STUDIES / 5


@given(st.integers(0, 2**32 - 1), st.sampled_from(["npv", "ppv", "sensitivity"]))
def test_who_promises_more_sets_aside_less(seed: int, rule: str) -> None:
    patients = study(np.random.default_rng(seed), 400, 0.3)
    thresholds = []
    for target in (0.6, 0.7, 0.8, 0.9, 0.95):
        try:
            thresholds.append(lock(TriageRule(rule, target), patients, "").threshold)
        except DataError:
            thresholds.append(math.inf if rule == "ppv" else -math.inf)
    assert thresholds == sorted(thresholds, reverse=rule != "ppv")


@pytest.mark.parametrize(
    ("rule", "patients", "positives", "sentence"),
    [
        ("npv=0.98", 148, 10, "needs at least 149 patients in val, all of them right, and there are 148"),
        (
            "sensitivity=0.9",
            400,
            28,
            "needs at least 29 positive patients in val, all of them right, and there",
        ),
        ("ppv=0.9", 28, 10, "needs at least 29 patients"),
    ],
)
def test_too_few_patients_are_refused(rule: str, patients: int, positives: int, sentence: str) -> None:
    few = Patients(np.linspace(0, 1, patients), np.arange(patients) >= patients - positives)
    with pytest.raises(DataError, match=sentence):
        lock(parse_triage(rule), few, "run")


def test_one_patient_more_is_enough() -> None:
    enough = Patients(np.linspace(0, 1, 400), np.arange(400) >= 250)
    locked = lock(parse_triage("npv=0.98"), enough, "run")
    assert (locked.misses, locked.count) == (1, 251)  # 250 of 251: at least 0.981
    assert locked.threshold == enough.scores[251]
    flagged = lock(parse_triage("ppv=0.9"), enough, "run")
    assert (enough.scores >= flagged.threshold).sum() == flagged.count > 150
    assert lower_limit(150, flagged.count) >= 0.9 > lower_limit(150, flagged.count + 1)
    sensitive = lock(parse_triage("sensitivity=0.9"), enough, "run")
    assert (enough.scores[enough.positive] < sensitive.threshold).sum() == sensitive.misses
    assert lower_limit(150 - sensitive.misses, 150) >= 0.9 > lower_limit(150 - sensitive.misses - 1, 150)


def test_where_the_safest_threshold_fails_it_says_so() -> None:
    worst = Patients(np.linspace(0, 1, 300), np.arange(300) < 100)
    with pytest.raises(DataError, match="at the safest, 100 of 149 patients set aside are positive"):
        lock(parse_triage("npv=0.98"), worst, "run")
    equal = Patients(np.full(300, 0.5), np.arange(300) < 100)
    with pytest.raises(DataError, match="finds no threshold that divides"):
        lock(parse_triage("npv=0.98"), equal, "run")


@pytest.mark.parametrize(
    "text", ["npv", "npv=", "npv=1", "npv=0.3", "nvp=0.9", "0.9", "sensitivity=abc", "npv=nan"]
)
def test_what_is_no_promise_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"say sensitivity|needs a share"):
        parse_triage(text)
