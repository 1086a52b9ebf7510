"""Average precision is that of a plain loop by COCO's rule of pairing, all points of the curve counting."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.detection.average_precision import IOUS, average_precision
from bccli.core.detection.boxes import ScoredBox
from bccli.core.detection.matching import Encounters, Film, HitRule
from bccli.core.detection.ranking import match_all, rank
from tests.core.detection.films import films, overlap, studies, worked_example

IOU = st.sampled_from(IOUS)


def measured(study: Sequence[Film], iou: float, repeats: object = None) -> float:
    matched = match_all([Encounters(film) for film in study], HitRule(iou=iou), spare_is_false=True)
    lesions = np.array([len(film.lesions) for film in study], float)
    weights = np.ones((1, len(study))) if repeats is None else np.array([repeats], float)
    return float(average_precision(rank(matched, np.arange(len(study))), lesions, weights)[0])


def looped(study: Sequence[Film], iou: float) -> float:
    """Precision and recall of every threshold; the area under the largest precision at or beyond a recall."""
    lesions = sum(len(film.lesions) for film in study)
    if not lesions:
        return math.nan
    right, wrong = [], []
    for film in study:
        taken: set[int] = set()

        def best(one: ScoredBox, film: Film = film) -> float:
            return max((overlap(one.box, lesion.box) for lesion in film.lesions), default=0)

        for one in sorted(film.boxes, key=lambda one: (-one.score, -best(one), one.box)):
            fits = [
                (overlap(one.box, lesion.box), -lesion.area, number)
                for number, lesion in enumerate(film.lesions)
                if number not in taken and overlap(one.box, lesion.box) >= iou
            ]
            if fits:
                taken.add(max(fits)[2])
            (right if fits else wrong).append(one.score)
    points = []
    for threshold in sorted({*right, *wrong}, reverse=True):
        hits, false = (sum(score >= threshold for score in scores) for scores in (right, wrong))
        points.append((hits / lesions, hits / (hits + false)))
    area, before = 0.0, 0.0
    for number, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[number:])
        before = recall
    return area


@given(studies, IOU)
def test_average_precision_is_that_of_a_plain_loop(study: list[Film], iou: float) -> None:
    assert measured(study, iou) == pytest.approx(looped(study, iou), nan_ok=True)


def test_the_worked_example() -> None:
    study = worked_example()
    assert [measured(study, iou) for iou in IOUS] == pytest.approx([5 / 12, 1 / 4, 1 / 6])


@given(studies, IOU, st.randoms())
def test_the_order_of_films_and_boxes_does_not_matter(
    study: list[Film], iou: float, chance: random.Random
) -> None:
    mixed = [
        replace(film, boxes=chance.sample(film.boxes, len(film.boxes)))
        for film in chance.sample(study, len(study))
    ]
    assert measured(mixed, iou) == pytest.approx(measured(study, iou), nan_ok=True)


@given(st.lists(st.tuples(films, st.integers(0, 3)), min_size=1, max_size=5), IOU)
def test_a_weighting_is_the_same_as_films_that_are_repeated(
    pairs: list[tuple[Film, int]], iou: float
) -> None:
    repeated = [film for film, count in pairs for _ in range(count)]
    if repeated:
        weighted = measured([film for film, _ in pairs], iou, [count for _, count in pairs])
        assert weighted == pytest.approx(measured(repeated, iou), nan_ok=True)


@given(studies, IOU)
def test_a_demand_for_more_overlap_is_never_easier_when_lesions_are_alone(
    study: list[Film], iou: float
) -> None:
    alone = [replace(film, lesions=film.lesions[:1]) for film in study]
    if any(film.lesions for film in alone):
        assert measured(alone, 0.1) >= measured(alone, iou) - 1e-12


def test_boxes_on_normal_films_and_films_without_boxes_count() -> None:
    first, _, third, fourth = worked_example()
    missed = replace(fourth, lesions=first.lesions[:1])
    best = replace(first, boxes=first.boxes[:1], lesions=first.lesions[:1])
    assert measured([best], 0.5) == 1
    assert measured([best, third], 0.5) == 1 / 2, "0.95 on a normal film comes before 0.9"
    assert measured([best, missed], 0.5) == 1 / 2
    assert measured([missed], 0.5) == 0
    assert math.isnan(measured([third], 0.5))


def test_boxes_of_one_score_count_at_once() -> None:
    best = worked_example()[0]
    tied = replace(best, boxes=[replace(best.boxes[0], score=0.7), best.boxes[2]], lesions=best.lesions[:1])
    assert measured([tied], 0.5) == 1 / 2
