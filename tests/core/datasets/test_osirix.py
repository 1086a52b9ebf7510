"""Contours that OsiriX exported, whole and damaged."""

import plistlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.datasets.layout.osirix import Contour, read_contours
from bccli.core.errors import ImageError
from tests.commands.digital_films import property_list, square
from tests.fuzzing import FEW, MANY, damaged

SEED = property_list([("Mass", square(20.5, 30.25, 30)), ("Calcification", [(3, 4)])])


def read(folder: Path, data: bytes) -> tuple[Contour, ...]:
    (folder / "1.xml").write_bytes(data)
    return read_contours(folder / "1.xml")


def region(folder: Path, **changes: Any) -> tuple[Contour, ...]:
    """What is read of one region with two points after these changes."""
    whole = {"Name": "Mass", "NumberOfPoints": 2, "Point_px": ["(1.5, 2.5)", "(3, 4)"]}
    return read(folder, plistlib.dumps({"Images": [{"ROIs": [{**whole, **changes}]}]}))


def test_regions_have_their_names_and_points(tmp_path: Path) -> None:
    mass, dot = read(tmp_path, SEED)
    assert mass == Contour("Mass", tuple(square(20.5, 30.25, 30)))
    assert dot == Contour("Calcification", ((3.0, 4.0),))


def test_all_images_count_and_regions_without_points_do_not(tmp_path: Path) -> None:
    rois = [{"Name": name, "Point_px": points} for name, points in (("a", ["(1, 2)"]), ("b", []))]
    images = [{"ROIs": rois}, {"NumberOfROIs": 0}, {"ROIs": rois[:1]}]
    assert [contour.name for contour in read(tmp_path, plistlib.dumps({"Images": images}))] == ["a", "a"]
    assert read(tmp_path, plistlib.dumps({"Images": []})) == ()


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("(1027.5, 2210.0)", (1027.5, 2210.0)),
        ("(1027,2210)", (1027, 2210)),
        ("{1027.5, -2210.}", (1027.5, -2210)),
        (" ( +1 ;2 ) ", (1, 2)),
        ("(1027,5, 2210,25)", (1027.5, 2210.25)),
    ],
)
def test_points_may_be_written_in_several_ways(tmp_path: Path, text: str, point: tuple[float, float]) -> None:
    assert region(tmp_path, NumberOfPoints=1, Point_px=[text]) == (Contour("Mass", (point,)),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(1)",
        "(1, 2, 3)",
        "(nan, 2)",
        "(inf, 2)",
        "(1e3, 2)",
        "1, 2",
        "(12345678, 1)",
        "(1, " + "2" * 99 + ")",
    ],
)
def test_a_region_with_a_point_that_is_none_is_damaged(tmp_path: Path, text: str) -> None:
    assert region(tmp_path, Point_px=["(1, 2)", text]) == (Contour("Mass", (), True),)


@pytest.mark.parametrize("announced", [0, 1, 3, "two"])
def test_a_region_with_another_number_of_points_than_it_says_is_damaged(
    tmp_path: Path, announced: object
) -> None:
    assert region(tmp_path, NumberOfPoints=announced) == (Contour("Mass", (), True),)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^cannot be read \(no such file or directory\)$"):
        read_contours(tmp_path / "1.xml")
    with pytest.raises(ImageError, match=r"^cannot be read"):
        read_contours(tmp_path)


def try_to_read(folder: Path, data: bytes) -> None:
    contours: tuple[Contour, ...] = ()
    with suppress(ImageError):
        contours = read(folder, data)
    for contour in contours:
        assert contour.is_damaged or all(abs(number) < 1e8 for point in contour.points for number in point)


@given(data=damaged(SEED))
@FEW
def test_damaged_files_have_contours_or_a_reason(tmp_path: Path, data: bytes) -> None:
    try_to_read(tmp_path, data)


@pytest.mark.full
@given(data=damaged(SEED) | st.binary(max_size=200))
@MANY
def test_many_damaged_files_have_contours_or_a_reason(tmp_path: Path, data: bytes) -> None:
    try_to_read(tmp_path, data)
