"""A box hits a lesion as the guide says, and nothing depends on the order of boxes, lesions or films."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.detection.boxes import ScoredBox
from bccli.core.detection.lesions import Lesion, boxed_lesion
from bccli.core.detection.matching import RULES, Film, HitRule, Hits, check_film, match
from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from tests.core.detection.films import films, plain_matching, scored_box, worked_example

RULE = st.sampled_from([*RULES.values(), HitRule(iou=0.5), HitRule(True, 0.1)])


@given(films, RULE)
def test_matching_is_that_of_a_plain_loop(film: Film, rule: HitRule) -> None:
    by, false, spare = plain_matching(film, rule)
    assert match(film, rule) == Hits([by.get(m, -1) for m in range(len(film.lesions))], false, spare)


def found(film: Film, rule: HitRule) -> tuple[list, list, list]:
    """Lesions with the boxes that hit them, false boxes, and spare ones, whatever their numbers."""
    hits = match(film, rule)
    pairs = [
        (lesion.box, lesion.area, *((film.boxes[box].score, film.boxes[box].box) if box >= 0 else ()))
        for lesion, box in zip(film.lesions, hits.by, strict=True)
    ]
    rest = ([(film.boxes[n].score, film.boxes[n].box) for n in some] for some in (hits.false, hits.spare))
    return sorted(pairs), *map(sorted, rest)


@given(films, RULE, st.randoms())
def test_the_order_of_boxes_and_lesions_does_not_matter(
    film: Film, rule: HitRule, chance: random.Random
) -> None:
    film = replace(film, lesions=[boxed_lesion(lesion.box) for lesion in film.lesions])
    mixed = replace(
        film,
        boxes=chance.sample(film.boxes, len(film.boxes)),
        lesions=chance.sample(film.lesions, len(film.lesions)),
    )
    assert found(mixed, rule) == found(film, rule)


@given(films, RULE)
def test_each_box_is_a_hit_or_false_or_spare_and_hits_one_lesion(film: Film, rule: HitRule) -> None:
    hits = match(film, rule)
    hitting = [number for number in hits.by if number >= 0]
    assert sorted([*hitting, *hits.false, *hits.spare]) == list(range(len(film.boxes)))
    assert len(hitting) <= len(film.lesions)


@given(films, RULE, st.sampled_from([0.25, 0.5, 0.75]))
def test_without_the_less_sure_boxes_the_others_are_what_they_were(
    film: Film, rule: HitRule, threshold: float
) -> None:
    kept = [number for number, one in enumerate(film.boxes) if one.score >= threshold]
    whole, part = match(film, rule), match(replace(film, boxes=[film.boxes[n] for n in kept]), rule)
    assert [kept[n] if n >= 0 else -1 for n in part.by] == [n if n in kept else -1 for n in whole.by]
    assert [kept[n] for n in part.false] == [n for n in whole.false if n in kept]


def test_the_worked_example() -> None:
    first, second, third, _ = worked_example()
    assert match(first, RULES["either"]) == Hits([0, 3], [2], [1])
    assert match(second, RULES["either"]) == match(second, RULES["iou"]) == Hits([0], [1], [])
    assert match(second, RULES["centre"]) == Hits([-1], [0, 1], [])
    assert match(third, RULES["either"]) == Hits([], [0, 1], [])


def test_one_large_box_does_not_find_two_lesions() -> None:
    lesions = [boxed_lesion(Box(0, 0, 10, 20)), boxed_lesion(Box(10, 0, 30, 20))]
    film = Film([scored_box(0, 0, 30, 20, 0.9)], lesions, (40, 40))
    assert match(film, RULES["either"]).by == [-1, 0]
    twice = replace(film, boxes=[*film.boxes, scored_box(0, 0, 30, 20, 0.4)])
    assert match(twice, RULES["either"]).by == [1, 0]


def test_equally_sure_boxes_are_taken_by_how_well_they_fit() -> None:
    worse, better = scored_box(0, 0, 12, 12, 0.5), scored_box(0, 0, 10, 10, 0.5)
    film = Film([worse, better], [boxed_lesion(Box(0, 0, 10, 10))], (40, 40))
    assert match(film, RULES["iou"]) == Hits([1], [], [0])


@pytest.mark.parametrize(
    ("box", "score", "said"),
    [
        (Box(0, 0, 50, 10), 0.5, r"q: box 0 is \(0, 0, 50, 10\), not .* within 40×30 pixels"),
        (Box(-1, 0, 5, 10), 0.5, "box 0"),
        (Box(5, 5, 5, 10), 0.5, "box 0"),
        (Box(9, 5, 3, 10), 0.5, "box 0"),
        (Box(0, 0, 5, 5), float("nan"), "q: box 0 has the score nan"),
        (Box(0, 0, 5, 5), float("inf"), "score inf"),
    ],
)
def test_what_is_no_box_of_the_film_is_refused(box: Box, score: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_film(Film([ScoredBox(box, score)], [], (30, 40), name="q"))


def test_a_lesion_beyond_the_film_is_refused() -> None:
    with pytest.raises(DataError, match="film: lesion 0"):
        check_film(Film([], [Lesion(Box(0, 0, 50, 10), 9)], (30, 40)))
