"""Sensitivity by false boxes a film is that of a loop over all thresholds, each matched anew."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.detection.boxes import ScoredBox
from bccli.core.detection.froc import RATES, Curve, froc_curve, sensitivities, threshold_at
from bccli.core.detection.matching import RULES, Encounters, Film, HitRule
from bccli.core.detection.ranking import match_all, rank
from tests.core.detection.films import films, is_on, plain_matching, scored, studies, worked_example

RULE = st.sampled_from(sorted(RULES))


def measured(study: Sequence[Film], rule: HitRule, *, normal: bool = False, repeats: object = None) -> list:
    """Sensitivity at each rate, each film being a cluster that counts once or as often as `repeats` says."""
    matched = match_all([Encounters(film) for film in study], rule)
    counted = np.array([not (normal and film.lesions) for film in study])
    lesions = np.array([len(film.lesions) for film in study], float)
    weights = np.ones((1, len(study))) if repeats is None else np.array([repeats], float)
    ranking = rank(matched, np.arange(len(study)), counted)
    return sensitivities(ranking, lesions, counted.astype(float), weights)[:, 0].tolist()


def from_threshold(study: Sequence[Film], rule: HitRule, threshold: float, normal: bool) -> tuple:
    """False boxes a film and sensitivity of the detector that only has boxes from a threshold on."""
    false, hits = 0, 0
    for film in study:
        kept = replace(film, boxes=[one for one in film.boxes if one.score >= threshold])
        by, wrong, _ = plain_matching(kept, rule)
        hits += len(by)
        false += len(wrong) if not (normal and film.lesions) else 0
    counted = sum(not (normal and film.lesions) for film in study)
    lesions = sum(len(film.lesions) for film in study)
    return false / counted if counted else math.nan, hits / lesions if lesions else math.nan


def looped(study: Sequence[Film], rule: HitRule, *, normal: bool = False) -> list:
    """The best sensitivity of all thresholds with so many false boxes a film at most."""
    scores = {one.score for film in study for one in film.boxes} | {math.inf}
    points = [from_threshold(study, rule, threshold, normal) for threshold in scores]
    if any(math.isnan(value) for point in points for value in point):
        return [math.nan] * len(RATES)
    return [max(found for false, found in points if false <= rate) for rate in RATES]


@given(studies, RULE, st.booleans())
def test_sensitivity_is_that_of_a_plain_loop(study: list[Film], rule: str, normal: bool) -> None:
    assert measured(study, RULES[rule], normal=normal) == pytest.approx(
        looped(study, RULES[rule], normal=normal), nan_ok=True
    )


@given(studies, RULE)
def test_more_false_boxes_are_never_worth_less(study: list[Film], rule: str) -> None:
    rows = measured(study, RULES[rule])
    assert rows == sorted(rows) or math.isnan(rows[0])
    assert all(0 <= value <= 1 for value in rows if not math.isnan(value))


@given(studies, RULE, st.randoms())
def test_the_order_of_films_does_not_matter(study: list[Film], rule: str, chance: random.Random) -> None:
    mixed = chance.sample(study, len(study))
    assert measured(mixed, RULES[rule]) == pytest.approx(measured(study, RULES[rule]), nan_ok=True)


@given(studies, scored, st.integers(0, 5), RULE, st.booleans())
def test_one_more_false_box_never_raises_the_sensitivity(
    study: list[Film], box: ScoredBox, place: int, rule: str, normal: bool
) -> None:
    film = study[place % len(study)]
    if any(is_on(box.box, lesion, RULES[rule]) for lesion in film.lesions):
        return
    worse = [replace(one, boxes=[*one.boxes, box]) if one is film else one for one in study]
    before, after = (measured(one, RULES[rule], normal=normal) for one in (study, worse))
    assert all(late <= early + 1e-12 or math.isnan(early) for early, late in zip(before, after, strict=True))


@given(st.lists(st.tuples(films, st.integers(0, 3)), min_size=1, max_size=5), RULE, st.booleans())
def test_a_weighting_is_the_same_as_films_that_are_repeated(
    pairs: list[tuple[Film, int]], rule: str, normal: bool
) -> None:
    study = [film for film, _ in pairs]
    repeated = [film for film, count in pairs for _ in range(count)]
    if not repeated:
        return
    counts = [count for _, count in pairs]
    weighted = measured(study, RULES[rule], normal=normal, repeats=counts)
    assert weighted == pytest.approx(measured(repeated, RULES[rule], normal=normal), nan_ok=True)


@given(studies, RULE)
def test_only_the_order_of_scores_counts(study: list[Film], rule: str) -> None:
    def bent(film: Film) -> Film:
        return replace(film, boxes=[ScoredBox(one.box, 7 * one.score**3 - 4) for one in film.boxes])

    assert measured([bent(film) for film in study], RULES[rule]) == pytest.approx(
        measured(study, RULES[rule]), nan_ok=True
    )


def test_the_worked_example() -> None:
    study = worked_example()
    third = 1 / 3
    assert measured(study, RULES["either"]) == pytest.approx([third, third, 1, 1, 1])
    assert measured(study, RULES["iou"]) == pytest.approx([third, third, 1, 1, 1])
    assert measured(study, RULES["centre"]) == pytest.approx([third, third, third, 2 * third, 2 * third])
    assert measured(study, RULES["either"], normal=True) == pytest.approx([0, third, 1, 1, 1])


def curve_of(study: Sequence[Film], rule: HitRule) -> Curve:
    matched = match_all([Encounters(film) for film in study], rule)
    return froc_curve(matched, np.ones(len(study), bool))


def test_the_curve_of_the_worked_example() -> None:
    curve = curve_of(worked_example(), RULES["either"])
    assert curve.thresholds.tolist() == [0.9, 0.6, 0.3]
    assert curve.false.tolist() == [0.25, 0.75, 1]
    assert curve.sensitivity.tolist() == pytest.approx([1 / 3, 2 / 3, 1])


@given(studies, RULE)
def test_each_step_of_the_curve_is_what_its_threshold_comes_to(study: list[Film], rule: str) -> None:
    curve = curve_of(study, RULES[rule])
    for step in zip(curve.thresholds, curve.false, curve.sensitivity, strict=True):
        assert step[1:] == pytest.approx(
            from_threshold(study, RULES[rule], step[0], normal=False), nan_ok=True
        )


@given(studies, RULE, st.sampled_from(RATES))
def test_a_threshold_locked_at_a_rate_keeps_to_it(study: list[Film], rule: str, rate: float) -> None:
    matched = match_all([Encounters(film) for film in study], RULES[rule])
    threshold = threshold_at(matched, np.ones(len(study), bool), rate)
    if threshold is None:
        threshold = math.inf
    false, found = from_threshold(study, RULES[rule], threshold, normal=False)
    assert false <= rate
    assert found == pytest.approx(measured(study, RULES[rule])[RATES.index(rate)], nan_ok=True)
    lower = [one.score for film in study for one in film.boxes if one.score < threshold]
    if lower:
        assert from_threshold(study, RULES[rule], max(lower), normal=False)[0] > rate


def test_an_unhit_film_full_of_sure_boxes_has_a_sensitivity_of_nought_and_no_threshold() -> None:
    first = worked_example()[0]
    study = [replace(first, boxes=[replace(first.boxes[2], score=1.0)] * 5)]
    assert measured(study, RULES["either"]) == [0] * 5
    matched = match_all([Encounters(film) for film in study], RULES["either"])
    assert threshold_at(matched, np.ones(1, bool)) is None
