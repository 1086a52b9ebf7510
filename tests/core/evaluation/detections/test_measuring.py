"""The threshold of boxes, and what films are drawn with."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bccli.core.detection.boxes import ScoredBox
from bccli.core.detection.lesions import boxed_lesion
from bccli.core.detection.matching import Film
from bccli.core.errors import DataError
from bccli.core.evaluation.detections.films import FilmsFound, drawn_together
from bccli.core.evaluation.detections.measuring import FilmTerms, check_stored, size_limits_of, threshold_on
from bccli.core.imaging.equalising import Box
from bccli.core.prediction.detectors.boxes_file import Detected
from bccli.core.runs.predictions import Predictions

SHAPE = 100, 80
LESION = Box(10, 10, 30, 30)
ELSEWHERE = Box(50, 50, 60, 60)


def film(hit: float | None, false: Sequence[float]) -> Film:
    """A film with a lesion, perhaps a box on it, and false boxes, by their scores."""
    boxes = [] if hit is None else [ScoredBox(LESION, hit)]
    return Film([*boxes, *(ScoredBox(ELSEWHERE, score) for score in false)], [boxed_lesion(LESION)], SHAPE)


@pytest.mark.parametrize(
    ("films", "expected"),
    [
        ([film(None, []), film(None, [])], 0.0),
        ([film(0.5, [0.4]), film(0.3, [])], 0.3),
        ([film(0.5, [0.4]), film(0.3, [0.35, 0.2])], 0.3),
        ([film(0.1, [0.9, 0.9])], math.inf),
    ],
)
def test_the_threshold_is_the_lowest_with_one_false_box_a_film(films: list[Film], expected: float) -> None:
    assert threshold_on(films) == expected


def test_a_threshold_that_no_score_reaches_finds_nothing() -> None:
    figures = FilmTerms(threshold=math.inf, rounds=0).measure([film(0.5, [0.4])])
    point = figures.rules["either"].point
    assert (point.sensitivity.value, point.false_per_film.value) == (0.0, 0.0)
    assert figures.rules["either"].all.sensitivity["1"].value == 1.0


def test_sizes_are_those_of_the_whole() -> None:
    lesions = [boxed_lesion(Box(0, 0, side, side)) for side in (4, 8, 16)]
    whole = FilmTerms(rounds=0).measure([Film([], [lesion], SHAPE) for lesion in lesions])
    limits = size_limits_of(whole)
    part = FilmTerms(size_limits=limits, rounds=0).measure([Film([], lesions[2:], SHAPE)])
    assert [part.sizes[name].lesions for name in ("small", "medium", "large")] == [0, 0, 1]
    assert size_limits_of(FilmTerms(rounds=0).measure([Film([], [], SHAPE)])) is None


def test_stored_figures_are_those_that_were_measured() -> None:
    stored = json.loads(json.dumps(FilmTerms(rounds=0).measure([film(0.5, [0.4])]).to_json()))
    check_stored(stored, "metrics.json")
    for wrong in ({}, {**stored, "rules": {}}, {**stored, "sizes": {}}, {**stored, "films": "many"}, 7):
        with pytest.raises(DataError, match=r"metrics\.json.* is not what bccli writes there"):
            check_stored(wrong, "metrics.json")


ROWS = Predictions(
    classes=("normal", "lesion"),
    splits=("test", "val", "test", "test"),
    patients=("p", "p", "q", ""),
    labels=np.array([1, 1, 0, 0]),
    predicted=np.array([1, 1, 0, 0]),
    probabilities=None,
    paths=("a.png", "a.png", "b.png", "c.png"),
    sources=(),
)


def test_films_come_in_the_order_of_their_rows_each_with_what_its_split_found() -> None:
    sure, unsure = ScoredBox(LESION, 0.9), ScoredBox(LESION, 0.2)
    found = FilmsFound((80, 100), {}).joined(
        [Detected("a.png", (sure,), (), "test"), Detected("a.png", (unsure,), (), "val")]
    )
    films = found.of(ROWS)
    assert [list(one.boxes) for one in films] == [[sure], [unsure], [], []]
    assert {one.shape for one in films} == {(100, 80)}
    assert [one.patient for one in films] == ["p", "p", "q", ""]


def test_boxes_of_images_that_nobody_knows_are_counted() -> None:
    box = ScoredBox(LESION, 0.9)
    found = FilmsFound((80, 100), {}).joined([Detected("a.png", (box,), (), "test")])
    assert not [*found.beside(ROWS).remarks()]
    (said,) = found.joined([Detected("b.png", (box,), (), "val")]).beside(ROWS).remarks()
    assert said == "1 row of boxes.csv is of images that are not in predictions.csv, and counts nowhere"
    (said,) = found.joined([Detected("d.png", (box, box), (), "test")]).beside(ROWS).remarks()
    assert said.startswith("2 rows of boxes.csv are")


def test_tiles_of_a_film_are_one_film_in_each_split() -> None:
    box = ScoredBox(Box(150, 150, 190, 180), 0.9)
    found = FilmsFound((80, 100), {}, in_tiles=True).joined([Detected("x", (box,), (), "test", (200, 300))])
    films = found.of(replace(ROWS, sources=("x", "x", "x", "y")))
    assert [(one.name, one.shape, len(one.boxes)) for one in films] == [
        ("x", (200, 300), 1),
        ("x", (100, 80), 0),
        ("y", (100, 80), 0),
    ]


def test_films_of_one_owner_are_drawn_together() -> None:
    assert drawn_together(replace(ROWS, owners=np.array([0, 0, 0, 1]))) == ["p", "p", "p", ""]
    assert drawn_together(replace(ROWS, owners=np.array([0, 0, 1, 1]))) == ["p", "p", "q", "q"]
    assert drawn_together(replace(ROWS, owners=np.array([0, 0, 1, 2]))) == ["p", "p", "q", ""]
