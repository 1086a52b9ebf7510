"""Boxes overlap as their pixels do, and of several around one thing the surest is left."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.detection.boxes import (
    ScoredBox,
    area,
    clipped,
    iou,
    iou_matrix,
    merge_tiles,
    share_of_smaller,
    suppress,
)
from bccli.core.imaging.equalising import Box
from tests.core.detection.films import boxes, overlap, pixels, scored, scored_box


@given(boxes(), boxes())
def test_the_iou_is_that_of_the_pixels_and_the_same_from_both_sides(one: Box, other: Box) -> None:
    assert iou(one, other) == pytest.approx(overlap(one, other), abs=1e-12)
    assert iou(one, other) == iou(other, one)
    assert iou(one, one) == 1
    smaller = min(area(one), area(other))
    shared = len(pixels(one) & pixels(other)) / smaller
    assert share_of_smaller([one], [other])[0, 0] == pytest.approx(shared, abs=1e-12)


def test_a_box_without_pixels_overlaps_with_nothing() -> None:
    nothing = Box(3, 3, 3, 9)
    assert iou(nothing, nothing) == iou(nothing, Box(0, 0, 9, 9)) == 0
    assert area(Box(5, 5, 2, 2)) == 0
    assert iou_matrix([], [Box(0, 0, 1, 1)]).shape == (0, 1)


def test_what_lies_beyond_the_film_is_cut_off() -> None:
    assert clipped(Box(-3, 5, 12, 30), (20, 10)) == Box(0, 5, 10, 20)
    assert area(clipped(Box(50, 50, 60, 60), (20, 10))) == 0


@given(st.lists(scored, max_size=8), st.sampled_from([0.1, 0.3, 0.5]), st.randoms())
def test_what_is_left_stands_apart_and_covers_the_rest(
    found: list[ScoredBox], same: float, chance: random.Random
) -> None:
    kept = suppress(found, same=same)
    for number, one in enumerate(kept):
        assert all(overlap(one.box, other.box) < same for other in kept[:number])
    for one in found:
        assert any(overlap(one.box, other.box) >= same and other.score >= one.score for other in kept)
    mixed = chance.sample(found, len(found))
    assert suppress(mixed, same=same) == kept
    assert suppress(mixed, same=same, most=2) == kept[:2]


def test_the_surest_box_is_left_by_hand() -> None:
    first, second, apart = (
        scored_box(0, 0, 10, 10, 0.5),
        scored_box(2, 0, 12, 10, 0.8),
        scored_box(20, 20, 25, 25, 0.1),
    )
    assert suppress([first, second, apart]) == [second, apart]


def test_halves_in_two_tiles_become_one_box() -> None:
    left, right = scored_box(40, 10, 60, 40, 0.6), scored_box(48, 10, 90, 40, 0.9)
    other = scored_box(200, 200, 220, 220, 0.7)
    assert merge_tiles([[left, other], [right]]) == [scored_box(40, 10, 90, 40, 0.9), other]
    assert suppress([left, right]) == [right, left], "which suppression alone would leave apart"


def test_what_lies_within_the_parts_together_is_none_of_its_own() -> None:
    upper, lower, corner = (
        scored_box(0, 0, 30, 10, 0.9),
        scored_box(0, 0, 30, 24, 0.8),
        scored_box(24, 0, 30, 24, 0.7),
    )
    assert merge_tiles([[upper], [lower], [corner]]) == [scored_box(0, 0, 30, 24, 0.9)]


def test_boxes_that_one_tile_has_apart_stay_apart() -> None:
    large, small = scored_box(0, 0, 40, 40, 0.9), scored_box(10, 10, 20, 20, 0.8)
    assert merge_tiles([[large, small]]) == [large, small]
    assert merge_tiles([[large], [small]]) == [large]


def test_tiles_that_agree_about_what_both_see_have_one_box() -> None:
    left, right = scored_box(10, 10, 60, 30, 0.9), scored_box(48, 10, 110, 30, 0.8)
    areas = [Box(0, 0, 64, 64), Box(48, 0, 112, 64)]
    assert len(merge_tiles([[left], [right]])) == 2, "a quarter of the smaller one is shared"
    assert merge_tiles([[left], [right]], areas) == [scored_box(10, 10, 110, 30, 0.9)]
    below = scored_box(48, 26, 110, 46, 0.8)
    assert merge_tiles([[left], [below]], areas) == [left, below], "here they do not agree"
    apart = [Box(0, 0, 60, 64), Box(60, 0, 112, 64)]
    assert len(merge_tiles([[left], [scored_box(60, 10, 100, 30, 0.8)]], apart)) == 2, "nothing is seen twice"


def test_boxes_in_a_row_do_not_become_one() -> None:
    row = [[scored_box(10 * n, 0, 10 * n + 20, 10, 0.9 - n / 10)] for n in range(4)]
    assert [one.box for one in merge_tiles(row)] == [Box(0, 0, 30, 10), Box(20, 0, 50, 10)]
    assert merge_tiles([]) == []


@given(st.lists(st.lists(scored, max_size=4), max_size=4))
def test_no_box_is_lost_by_merging(tiles: list[list[ScoredBox]]) -> None:
    merged = merge_tiles(tiles, same=1.1)
    for one in (one for tile in tiles for one in tile):
        assert any(pixels(one.box) <= pixels(whole.box) and whole.score >= one.score for whole in merged)


@given(st.lists(st.lists(scored, max_size=9), max_size=4), st.integers(1, 3))
def test_the_surest_merged_boxes_are_those_that_come_first_of_all(
    tiles: list[list[ScoredBox]], most: int
) -> None:
    assert merge_tiles(tiles, most=most) == merge_tiles(tiles)[:most]
