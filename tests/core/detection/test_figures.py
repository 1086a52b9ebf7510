"""All figures of a set of films: those of the worked example, their intervals, and their way through JSON."""

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core.detection.boxes import ScoredBox
from bccli.core.detection.figures import DetectionFigures, detection_figures, detection_from_json
from bccli.core.detection.intervals import Measured
from bccli.core.detection.lesions import boxed_lesion
from bccli.core.detection.matching import Film
from bccli.core.detection.study import Study, Wanted
from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from tests.core.detection.films import studies, worked_example


def test_the_worked_example() -> None:
    figures = detection_figures(worked_example(), rounds=0)
    assert (figures.films, figures.normal_films, figures.lesions) == (4, 2, 3)
    assert (figures.patients, figures.boxes, figures.resampled) == (4, 8, "patients")
    either, centre = figures.rules["either"], figures.rules["centre"]
    third = 1 / 3
    assert values(either.all.sensitivity) == pytest.approx([third, third, 1, 1, 1])
    assert values(either.normal.sensitivity) == pytest.approx([0, third, 1, 1, 1])
    assert [either.all.mean.value, either.normal.mean.value] == pytest.approx([11 / 15, 2 / 3])
    assert centre.all.mean.value == pytest.approx(7 / 15)
    assert list(either.all.sensitivity) == ["0.25", "0.5", "1", "2", "4"]
    assert either.all.curve == ((0.9, 0.25, third), (0.6, 0.75, 2 * third), (0.3, 1, 1))
    assert either.normal.curve == ((0.9, 0.5, third), (0.6, 1, 2 * third), (0.3, 1, 1))
    assert (either.spare, centre.spare) == (1, 1)
    overlap = (1 + 0.2 + 3 / 7) / 3
    point = either.point
    assert (point.threshold, figures.given_threshold) == (0.3, False)
    assert (point.sensitivity.value, point.false_per_film.value, point.false_per_normal_film.value) == (
        1,
        1,
        1,
    )
    assert point.iou_of_hits.value == pytest.approx(overlap)
    assert point.iou_of_lesions.value == pytest.approx(overlap)
    assert values(figures.average_precision) == pytest.approx([5 / 12, 1 / 4, 1 / 6])


def values(found) -> list[float]:
    return [one.value for one in found.values()]


def test_from_a_given_threshold_on() -> None:
    figures = detection_figures(worked_example(), threshold=0.6, rounds=0)
    point = figures.rules["either"].point
    assert figures.given_threshold
    assert point.threshold == 0.6
    assert point.sensitivity.value == pytest.approx(2 / 3)
    assert point.iou_of_hits.value == pytest.approx(0.6)
    assert point.iou_of_lesions.value == pytest.approx(0.4)
    assert (point.false_per_film.value, point.false_per_normal_film.value) == (0.75, 1)
    nothing = detection_figures(worked_example(), threshold=2, rounds=0).rules["either"].point
    assert (nothing.sensitivity.value, nothing.iou_of_lesions.value, nothing.false_per_film.value) == (
        0,
        0,
        0,
    )
    assert nothing.iou_of_hits == Measured(None, reason="no lesion is hit")


def test_sizes_are_thirds_of_the_lesions_or_those_given() -> None:
    sides = (4, 6, 8, 10, 12, 14)
    films = [
        Film(
            [ScoredBox(Box(0, 0, side, side), 0.9)] * (side > 7),
            [boxed_lesion(Box(0, 0, side, side))],
            (20, 20),
        )
        for side in sides
    ]
    sizes = detection_figures(films, rounds=0).sizes
    assert [one.lesions for one in sizes.values()] == [2, 2, 2]
    assert [one.sensitivity.value for one in sizes.values()] == [0, 1, 1]
    assert sizes["small"].above is None
    assert sizes["small"].up_to == sizes["medium"].above
    assert sizes["large"].up_to is None
    assert 36 / 400 < (sizes["small"].up_to or 0) < 64 / 400
    given_limits = detection_figures(films, rounds=0, size_limits=(0.04, 0.9)).sizes
    assert [one.lesions for one in given_limits.values()] == [1, 5, 0]
    assert given_limits["large"].sensitivity.reason == "there is no lesion of this size"
    assert given_limits["medium"].sensitivity.value == pytest.approx(4 / 5)


def study(seed: int, patients: int) -> list[Film]:
    """Two films of each patient, which are alike; half of the patients have a lesion on each."""
    rng = np.random.default_rng(seed)
    films = []
    for patient in range(patients):
        ill, skill, rate = rng.random() < 0.5, rng.normal(), rng.gamma(2, 1.0)
        for _ in range(2):
            boxes = []
            if ill and rng.random() < 0.95:
                moved = int(abs(rng.normal(0, 12)))
                score = 1.2 + skill + 0.7 * rng.normal()
                boxes.append(ScoredBox(Box(100 + moved, 100, 200 + moved, 200), float(score)))
            for number in range(rng.poisson(rate)):
                left = 300 + 10 * number
                score = rng.normal() + 0.3 * skill
                boxes.append(ScoredBox(Box(left, 300, left + 10, 310), float(score)))
            lesions = [boxed_lesion(Box(100, 100, 200, 200))] * ill
            films.append(Film(boxes, lesions, (1000, 1000), f"p{patient}"))
    return films


def measures(figures: DetectionFigures) -> dict[str, Measured]:
    either = figures.rules["either"]
    return {
        **{f"all {rate}": one for rate, one in either.all.sensitivity.items()},
        **{f"normal {rate}": one for rate, one in either.normal.sensitivity.items()},
        "mean": either.all.mean,
        "normal mean": either.normal.mean,
        "iou of hits": either.point.iou_of_hits,
        "iou of lesions": either.point.iou_of_lesions,
        **{f"ap {iou}": one for iou, one in figures.average_precision.items()},
        **{name: one.sensitivity for name, one in figures.sizes.items() if one.lesions},
    }


def test_intervals_hold_the_figure_and_are_the_same_each_time() -> None:
    films = study(0, 40)
    first = detection_figures(films, rounds=200)
    assert first == detection_figures(films, rounds=200)
    assert first != detection_figures(films, rounds=200, seed=1)
    for name, one in measures(first).items():
        assert one.low is not None, name
        assert 0 <= one.low <= one.value <= one.high <= 1, name
    without = detection_figures(films, rounds=0)
    assert [one.value for one in measures(without).values()] == [
        one.value for one in measures(first).values()
    ]
    assert all(one.low is None and one.reason is None for one in measures(without).values())


def test_films_that_are_alike_make_intervals_over_patients_wider() -> None:
    films = study(1, 60)
    over_patients = measures(detection_figures(films, rounds=300))["mean"]
    over_films = detection_figures([replace(film, patient="") for film in films], rounds=300)
    assert over_films.patients is None
    assert over_films.resampled.startswith("images")
    one = measures(over_films)["mean"]
    assert over_patients.high - over_patients.low > 1.15 * (one.high - one.low)


@given(studies, st.lists(st.integers(0, 2), min_size=6, max_size=6), st.booleans())
@settings(deadline=None, max_examples=40)
def test_what_a_drawing_comes_to_is_what_its_films_come_to(
    films: list[Film], counts: list[int], given_threshold: bool
) -> None:
    films = [replace(film, patient=str(number)) for number, film in enumerate(films)]
    repeated = [film for film, count in zip(films, counts, strict=False) for _ in range(count)]
    if not repeated:
        return
    wanted = Wanted((0.25, 1.0, 4.0), (0.1, 0.5), 0.5 if given_threshold else None, (0.1, 0.3))
    weights = np.array([counts[: len(films)]], float)
    drawn = Study(films, wanted).measured([weights])
    apart = [replace(film, patient="") for film in repeated]
    expected = Study(apart, wanted).measured([np.ones((1, len(apart)))])
    for name, found in expected.items():
        if given_threshold or ".false." not in name:
            assert drawn[name] == pytest.approx(found, nan_ok=True), name


def test_each_drawing_has_the_threshold_of_its_own_films() -> None:
    found = Study(worked_example(), Wanted((1.0,), (0.1,))).measured(
        [np.array([[1.0, 1, 1, 1], [1, 1, 3, 1]])]
    )
    assert found["either.sensitivity"].tolist() == pytest.approx([1, 1 / 3])
    assert found["either.iou_of_hits"].tolist() == pytest.approx([(1 + 0.2 + 3 / 7) / 3, 1])
    assert found["small.sensitivity"].tolist() == pytest.approx([1, 1 / 3])


@given(studies, st.randoms())
@settings(deadline=None, max_examples=40)
def test_the_order_of_films_and_boxes_does_not_matter(films: list[Film], chance: random.Random) -> None:
    mixed = [
        replace(film, boxes=chance.sample(film.boxes, len(film.boxes)))
        for film in chance.sample(films, len(films))
    ]
    found, other = (flat(detection_figures(some, rounds=0).to_json()) for some in (films, mixed))
    assert found.keys() == other.keys()
    for place, value in found.items():
        assert other[place] == (pytest.approx(value) if isinstance(value, float) else value), place


def flat(value: object, place: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {key: one for name in value for key, one in flat(value[name], f"{place}.{name}").items()}
    if isinstance(value, list | tuple):
        return {key: one for n, row in enumerate(value) for key, one in flat(row, f"{place}[{n}]").items()}
    return {place: value}


@pytest.mark.parametrize("patients", [1, 4, 5])
def test_fewer_than_five_patients_have_no_intervals_and_are_told_why(patients: int) -> None:
    films = [replace(film, patient=f"p{n % patients}") for n, film in enumerate(study(3, 20))]
    for one in measures(detection_figures(films, rounds=100)).values():
        assert one.value is None or (one.low is None) == (patients < 5)
        if patients < 5:
            assert f"only {patients} patient" in (one.reason or "")


def test_few_patients_with_lesions_have_no_intervals_of_what_is_about_lesions() -> None:
    films = [film for film in study(4, 60) if not film.lesions]
    ill = next(film for film in study(4, 60) if film.lesions and film.boxes)
    figures = detection_figures([*films, replace(ill, patient="ill")], rounds=100, threshold=0.0)
    assert "rests on 1 patient" in (measures(figures)["all 1"].reason or "")
    assert figures.rules["either"].point.false_per_film.low is not None


def test_a_sensitivity_of_one_has_an_interval_by_the_number_of_patients() -> None:
    best = Film([ScoredBox(Box(0, 0, 9, 9), 0.9)], [boxed_lesion(Box(0, 0, 9, 9))], (20, 20))
    films = [replace(best, patient=str(number)) for number in range(20)]
    one = measures(detection_figures(films, rounds=100))["all 1"]
    assert (one.value, one.high) == (1, 1)
    assert one.low == pytest.approx(0.025 ** (1 / 20))


def test_what_cannot_be_measured_says_why() -> None:
    _, second, third, fourth = worked_example()
    ill = detection_figures([second], rounds=0)
    assert ill.rules["either"].normal.mean == Measured(None, reason="there is no film without a lesion")
    assert ill.rules["either"].point.false_per_normal_film.reason == "there is no film without a lesion"
    assert ill.rules["either"].normal.curve == ()
    normal = detection_figures([third, fourth], rounds=0)
    assert normal.rules["iou"].all.mean == Measured(None, reason="there is no lesion")
    assert normal.average_precision["0.1"] == Measured(None, reason="there is no lesion")
    assert normal.rules["iou"].point.false_per_film.value == 1
    assert normal.sizes["small"].up_to is None
    none = detection_figures([])
    assert none.rules["centre"].all.sensitivity["1"] == Measured(None, reason="there is no film")
    for figures in (ill, normal, none):
        text = json.dumps(figures.to_json(), allow_nan=False)
        assert detection_from_json(json.loads(text), "x") == figures


def test_figures_come_back_from_json() -> None:
    figures = detection_figures(study(5, 20), rounds=50)
    text = json.dumps(figures.to_json(), allow_nan=False)
    assert detection_from_json(json.loads(text), "metrics.json") == figures


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("films",), "4"),
        (("films",), None),
        (("rules", "either"), {}),
        (("rules",), []),
        (("rules", "either", "point", "threshold"), "0.3"),
        (("rules", "either", "all", "curve"), [[1, 2]]),
        (("rules", "either", "all", "mean", "value"), math.nan),
        (("average_precision", "0.1"), 0.4),
    ],
)
def test_what_was_not_written_here_is_refused_by_its_place(place: tuple[str, ...], value: object) -> None:
    stored = json.loads(json.dumps(detection_figures(worked_example(), rounds=0).to_json()))
    inner = stored
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    with pytest.raises(DataError, match=rf"m\.json\.{place[0]}.*is not what bccli writes"):
        detection_from_json(stored, "m.json")


def test_a_box_beyond_its_film_is_named() -> None:
    film = Film([ScoredBox(Box(0, 0, 90, 9), 0.9)], [], (20, 20), name="b/1.png")
    with pytest.raises(DataError, match=r"b/1\.png: box 0"):
        detection_figures([film])


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    rng = np.random.default_rng(0)
    best = Film([ScoredBox(Box(0, 0, 9, 9), 0.9)], [boxed_lesion(Box(0, 0, 9, 9))], (20, 20))
    films = [replace(best, boxes=[replace(best.boxes[0], score=float(rng.random()))]) for _ in range(300)]
    curve = detection_figures(films, rounds=0).rules["iou"].all.curve
    assert len(curve) == 100
    assert (curve[0][2], curve[-1][2]) == (pytest.approx(1 / 300), 1)


@pytest.mark.slow
@pytest.mark.parametrize("patients", [30, 60])
def test_intervals_hold_the_truth_in_95_of_100_studies(patients: int) -> None:
    names = (
        "all 0.25",
        "all 1",
        "mean",
        "normal 1",
        "normal mean",
        "ap 0.5",
        "iou of hits",
        "iou of lesions",
    )
    truth = measures(detection_figures(study(10**6, 20_000), rounds=0))
    held: dict[str, list[bool]] = {name: [] for name in names}
    for seed in range(300):
        found = measures(detection_figures(study(seed, patients), rounds=500))
        for name in names:
            if found[name].low is not None:
                held[name].append(found[name].low <= truth[name].value <= found[name].high)
    for name in names:
        assert len(held[name]) > 290
        assert 0.92 <= np.mean(held[name]) <= 0.995, name
