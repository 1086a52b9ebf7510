"""`bccli prepare inbreast` on films in the layout of INbreast Release 1.0."""

import json
import plistlib
from collections import Counter
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from PIL import Image, ImageDraw

from bccli.core.datasets import inbreast as reader
from tests.commands.digital_films import (
    FILMS,
    HEADER,
    MASS,
    PATIENTS,
    SECRET,
    DigitalFilm,
    changed,
    film_pixels,
    inbreast,
    property_list,
    square,
    write_contours,
    write_list,
)
from tests.commands.mammograms import SIZE
from tests.commands.test_histology import Prepare
from tests.commands.test_mammography import mask_at
from tests.conftest import Bccli, read_rows, save
from tests.sentences import refused

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")  # which warns of what tests write

ALL = "--ratios", "1/0/0"
BY_NUMBER = {str(film.number): film for film in FILMS}
SEVERITIES = {
    "1": "normal",
    "2": "benign",
    "3": "benign",
    "4": "malignant",
    "5": "malignant",
    "6": "malignant",
}


@pytest.fixture
def prepare(bccli: Bccli, tmp_path: Path) -> Prepare:
    """Prepares into folders of their own."""
    return Prepare(bccli, tmp_path)


def number_of(row: dict[str, str]) -> str:
    """The film of a row of a manifest."""
    return row["source"].rpartition("/")[2].split("_")[0]


def drawn(film: DigitalFilm, *names: str) -> np.ndarray:
    """The film's lesions by Pillow's polygons, or those of these names only."""
    image = Image.new("L", SIZE)
    for name, points in film.regions:
        if name.startswith("Pectoral") or (names and name not in names):
            continue
        corners = [(int(x), int(y)) for x, y in points]
        if len(corners) > 2:
            ImageDraw.Draw(image).polygon(corners, fill=255, outline=255)
        else:
            ImageDraw.Draw(image).point(corners, fill=255)
    return np.asarray(image)


def test_every_film_has_its_class_patient_view_lesions_and_mask(prepare: Prepare, tmp_path: Path) -> None:
    source = inbreast(tmp_path / "raw")
    rows = prepare("inbreast", source, *ALL, "--task", "three")
    assert {number_of(row) for row in rows} == set(BY_NUMBER)
    for row in rows:
        film = BY_NUMBER[number_of(row)]
        assert row["source"] == f"AllDICOMs/{film.stem}.dcm"
        assert row["label"] == SEVERITIES[film.category[0]]
        assert (row["patient"], row["side"], row["view"]) == (film.patient, film.side, film.view)
        assert bool(row["mask"]) == bool(film.regions)
        if film.regions:
            assert (mask_at(tmp_path / "data0", row) == drawn(film)).all(), film
    subtypes = {number_of(row): row["subtype"] for row in rows}
    assert subtypes["22678694"] == "mass;spiculated"
    assert subtypes["50997515"] == "mass;calcification"
    assert subtypes["24055445"] == "calcification;cluster"
    assert subtypes["50997461"] == "asymmetry"
    assert subtypes["24055483"] == "calcification"
    assert subtypes["20588536"] == "distortion"
    assert (subtypes["20588562"], subtypes["22670620"]) == ("other", "other")
    assert (subtypes["22678622"], subtypes["51048738"]) == ("", "mass")
    assert "passed over" not in prepare.said
    assert "marks of one or two points, of which each counts as one pixel: 5 (AllXML/2" in prepare.said
    assert "INbreast is not complete here: 17 of 410 images (3 of 67 normal" in prepare.said


def test_tasks_are_by_assessment_and_by_mass_and_the_graver_class_is_positive(
    prepare: Prepare, tmp_path: Path
) -> None:
    source = inbreast(tmp_path / "raw")
    severity = Counter(row["label"] for row in prepare("inbreast", source, *ALL))
    assert severity == {"benign": 10, "malignant": 7}
    assert prepare.info["positive"] == "malignant"
    rows = prepare("inbreast", source, *ALL, "--task", "mass")
    masses = {number_of(row) for row in rows if row["label"] == "mass"}
    assert masses == {str(film.number) for film in FILMS if MASS in film.regions}
    assert (prepare.info["classes"], prepare.info["positive"]) == (["no_mass", "mass"], "mass")
    for row in rows:
        film = BY_NUMBER[number_of(row)]
        if row["label"] == "mass":
            assert (mask_at(tmp_path / "data1", row) == drawn(film, "Mass")).all()
        elif film.regions:
            assert (mask_at(tmp_path / "data1", row) == drawn(film)).all()
    assert "INbreast is not complete" not in prepare.said


def test_patients_stay_whole_in_splits_and_folds(prepare: Prepare, tmp_path: Path) -> None:
    source = inbreast(tmp_path / "raw")
    for options, column in ((("--ratios", "2/1/1"), "split"), (("--folds", "3"), "fold")):
        rows = prepare("inbreast", source, *options, "--task", "mass")
        parts: dict[str, set[str]] = {}
        for row in rows:
            parts.setdefault(row["patient"], set()).add(row[column])
        assert set(parts) == set(PATIENTS)
        assert all(len(found) == 1 for found in parts.values())


def test_regions_are_cut_out_by_the_contours_and_films_without_one_are_counted(
    prepare: Prepare, tmp_path: Path
) -> None:
    rows = prepare("inbreast", inbreast(tmp_path / "raw"), *ALL, "--roi", "crop", "--size", "16x16")
    by_number = {number_of(row): row for row in rows}
    assert set(by_number) == {number for number, film in BY_NUMBER.items() if film.regions}
    assert by_number["22678646"]["box"] == "20,30,51,61"
    assert by_number["24055483"]["box"] == "3,4,6,7"
    assert "3 images have no mask, and so no region to cut out, and are left out" in prepare.said


def test_nothing_that_reports_or_headers_say_reaches_an_output(bccli: Bccli, tmp_path: Path) -> None:
    source = inbreast(tmp_path / "raw")
    result = bccli("-v", "prepare", "inbreast", source, tmp_path / "data", *ALL)
    outputs = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    for data in (*outputs, result.stdout.encode(), result.stderr.encode()):
        assert SECRET.encode() not in data


# The list

FOOTER = "\r\n;;;;;;;\r\n;;;;;mean 2.1;;\r\n"
LISTS = {
    "as it is": lambda text: text.encode(),
    "commas": lambda text: text.replace(";", ",").encode(),
    "tabs, other capitals": lambda text: text.replace(HEADER, HEADER.upper()).replace(";", "\t").encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "line feeds, no last one": lambda text: text.replace("\r\n", "\n").rstrip().encode(),
    "sums below": lambda text: (text.rstrip() + FOOTER).encode(),
    "notes in latin-1": lambda text: (
        text.replace("Bi-Rads", "Bi-Rads;Notes").replace(";3\r\n", ";3;calcificação\r\n").encode("latin-1")
    ),
    "decimals with commas": lambda text: text.replace(";1\r\n", ";1,0\r\n").encode(),
    "spaces and capitals": lambda text: text.replace(";4a\r\n", " ; 4A \r\n").encode(),
    "words": lambda text: text.replace(";5\r\n", ";BI-RADS 5\r\n").encode(),
    "a row twice": lambda text: (text + text.splitlines()[-1] + "\r\n").encode(),
    "names with decimals": lambda text: text.replace("22670643;", "22670643,0;").encode(),
    "names of files": lambda text: text.replace("22670643;", "22670643_abc_MG_L_CC_ANON.dcm;").encode(),
}


@pytest.mark.parametrize("kind", list(LISTS))
def test_the_list_may_be_written_in_other_ways(prepare: Prepare, tmp_path: Path, kind: str) -> None:
    source = inbreast(tmp_path / "raw")
    path = source / "INbreast.csv"
    path.write_bytes(LISTS[kind](path.read_bytes().decode()))
    rows = prepare("inbreast", source, *ALL, "--task", "three")
    labels = {number_of(row): row["label"] for row in rows}
    assert labels == {number: SEVERITIES[film.category[0]] for number, film in BY_NUMBER.items()}
    assert (
        "rows of the list that name no image were passed over: 1 (mean 2.1 in line 20)" in prepare.said
    ) == (kind == "sums below")
    assert ("copies of images" in prepare.said) == (kind == "a row twice")


@pytest.mark.parametrize("beside", [False, True])
def test_the_workbook_serves_where_it_was_saved_as_xlsx(
    prepare: Prepare, bccli: Bccli, tmp_path: Path, beside: bool
) -> None:
    source = inbreast(tmp_path / "raw")
    book = openpyxl.Workbook()
    book.active.append([*HEADER.split(";"), "Mass ", "Findings Notes (in Portuguese)"])
    for film in FILMS:
        category = int(film.category) if film.category.isdecimal() else film.category
        cells = [
            "removed",
            "removed",
            film.side,
            film.view,
            201001,
            float(film.number),
            film.density,
            category,
        ]
        book.active.append([*cells, "X", "nódulo"])
    book.active.append([None] * 8 + [107])
    book.save(source / "INbreast.xlsx")
    (source / "INbreast.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    if beside:
        (source / "INbreast.xlsx").write_bytes(b"is not even opened, as the CSV counts")
    else:
        (source / "INbreast.csv").unlink()
    assert len(prepare("inbreast", source, *ALL)) == len(FILMS)
    (source / "INbreast.xlsx").unlink()
    (source / "INbreast.csv").unlink(missing_ok=True)
    result = bccli("prepare", "inbreast", source, tmp_path / "x", exit=3)
    refused(result, "INbreast.xls: is a workbook of old Excel", "INbreast.csv beside it", "INbreast.xlsx")


def test_faulty_lists_are_refused_in_a_sentence(bccli: Bccli, tmp_path: Path) -> None:
    source = inbreast(tmp_path / "raw")

    def error(text: str, *fragments: str) -> None:
        (source / "INbreast.csv").write_text(text)
        refused(bccli("prepare", "inbreast", source, tmp_path / "x", exit=3), "INbreast.csv", *fragments)

    text = write_list(source, FILMS).read_text()
    error(text.replace("Bi-Rads", "Assessment"), "has no column 'Bi-Rads'")
    error(text.replace(";4a", ";4d"), "line 6: Bi-Rads '4d' is none of 0 to 6, 4a, 4b and 4c")
    error(text.replace(";6\n", ";2.5\n"), "Bi-Rads '2.5' is none of")
    twice = text + FILMS[0].row.removesuffix("1") + "5\n"
    error(twice, "line 19: Bi-Rads of 22678622 is 5 here, and 1 in ", "INbreast.csv line 2; remove one")
    error("", "is empty")
    (source / "INbreast.csv").unlink()
    refused(bccli("prepare", "inbreast", source, tmp_path / "x", exit=3), "holds no INbreast.csv")
    refused(bccli("prepare", "inbreast", source / "no", tmp_path / "x", exit=3), "does not exist")


def test_films_and_rows_without_each_other_are_named(prepare: Prepare, tmp_path: Path) -> None:
    source = inbreast(tmp_path / "raw")
    films = changed(changed(FILMS, 22678622, category=""), 22678646, category="0")
    write_list(source, [film for film in films if film.number != 51048738])
    (source / "AllDICOMs" / f"{BY_NUMBER['20588562'].stem}.dcm").unlink()
    (source / "AllDICOMs" / "20588562.dcm").write_bytes(b"renamed")
    rows = prepare("inbreast", source, *ALL)
    assert len(rows) == len(FILMS) - 4
    unassessed = [
        f"AllDICOMs/{BY_NUMBER[number].stem}.dcm" for number in ("22678622", "22678646", "51048738")
    ]
    assert f"without an assessment in the list were left out: 3 ({', '.join(unassessed)})" in prepare.said
    assert "a list of the dataset names are not there: 1 (20588562)" in prepare.said
    assert "masks whose images are not there were passed over: 1 (AllXML/20588562.xml)" in prepare.said
    assert "name this dataset does not know were passed over: 1 (AllDICOMs/20588562.dcm)" in prepare.said


def test_sides_and_views_that_contradict_the_names_are_those_of_the_list(
    prepare: Prepare, tmp_path: Path
) -> None:
    source = inbreast(tmp_path / "raw")
    write_list(source, changed(changed(FILMS, 22670643, side="R"), 22670620, side="", view="ML"))
    rows = {number_of(row): row for row in prepare("inbreast", source, *ALL)}
    assert (rows["22670643"]["side"], rows["22670643"]["view"]) == ("R", "CC")
    assert (rows["22670620"]["side"], rows["22670620"]["view"]) == ("R", "MLO")
    assert "contradict themselves: their names say otherwise than their folders or lists: 2" in prepare.said


# Copies of films


def test_a_png_counts_where_there_is_no_dicom_and_has_a_mask_where_it_has_the_films_size(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = inbreast(tmp_path / "raw")
    film, other = BY_NUMBER["22678646"], BY_NUMBER["22670643"]
    for one in (film, other):
        save(source / "AllPNGs" / f"{one.stem}.png", (film_pixels(one) >> 6).astype(np.uint8))
    (source / "AllDICOMs" / f"{film.stem}.dcm").unlink()
    rows = {number_of(row): row for row in prepare("inbreast", source, *ALL)}
    assert (rows["22678646"]["source"], rows["22678646"]["mask"]) == (f"AllPNGs/{film.stem}.png", "")
    assert rows["22670643"]["source"] == f"AllDICOMs/{other.stem}.dcm"
    assert "copies of images that are there already were passed over: 1 (AllPNGs/22670643" in prepare.said
    assert f"contours are for, and have no mask: 1 (AllPNGs/{film.stem}.png)" in prepare.said
    monkeypatch.setattr(reader, "SIZES", (SIZE,))
    rows = {number_of(row): row for row in prepare("inbreast", source, *ALL)}
    assert (mask_at(tmp_path / "data1", rows["22678646"]) == drawn(film)).all()


def test_with_regions_a_smaller_copy_is_in_the_quarantine(bccli: Bccli, tmp_path: Path) -> None:
    source = inbreast(tmp_path / "raw")
    film = BY_NUMBER["22678646"]
    (source / "AllDICOMs" / f"{film.stem}.dcm").unlink()
    save(source / f"{film.stem}.png", np.full((SIZE[1] // 2, SIZE[0] // 2), 99, np.uint8))
    bccli("prepare", "inbreast", source, tmp_path / "data", *ALL, "--roi", "crop", exit=4)
    (row,) = read_rows(tmp_path / "data" / "quarantine.csv")
    assert row["path"] == f"{film.stem}.png"
    assert row["reason"] == "is 48×80, and its contours are for the film itself, not for a smaller copy"


# Contours

BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE plist [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<plist version="1.0"><dict><key>Images</key><array><string>&b;</string></array></dict></plist>"""
EXTERNAL = b"""<?xml version="1.0"?>
<!DOCTYPE plist [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<plist version="1.0"><dict><key>Images</key><array><string>&a;</string></array></dict></plist>"""
WHOLE = property_list([MASS])
DAMAGED = {
    "cut off": WHOLE[: len(WHOLE) // 2],
    "empty": b"",
    "no XML": b"\0\1\2 {Mass}",
    "other XML": b"<annotation><object><name>Mass</name></object></annotation>",
    "binary": plistlib.dumps({"Images": []}, fmt=plistlib.FMT_BINARY),
    "no images": plistlib.dumps({"ROIs": []}),
    "a list": plistlib.dumps([1, 2]),
    "regions of another kind": plistlib.dumps({"Images": [{"ROIs": ["Mass", "Mass"]}]}),
    "points of another kind": plistlib.dumps({"Images": [{"ROIs": [{"Name": "Mass", "Point_px": [5, 6]}]}]}),
    "a wrong date": b"<plist><dict><key>Images</key><date>today</date></dict></plist>",
    "entities": BOMB,
    "an entity from a file": EXTERNAL,
    "deep": b"<plist>" + b"<array>" * 100_000,
}


@pytest.mark.parametrize("kind", list(DAMAGED))
def test_damaged_contours_cost_the_mask_and_are_named(prepare: Prepare, tmp_path: Path, kind: str) -> None:
    source = inbreast(tmp_path / "raw")
    film = BY_NUMBER["22678646"]
    (source / "AllXML" / f"{film.number}.xml").write_bytes(DAMAGED[kind])
    rows = {number_of(row): row for row in prepare("inbreast", source, *ALL)}
    assert len(rows) == len(FILMS)
    assert (rows["22678646"]["label"], rows["22678646"]["mask"]) == ("benign", "")
    reason = f"AllXML/{film.number}.xml is no property list of contours, or a damaged one"
    assert f"--task mass leaves them out: 1 ({reason})" in prepare.said
    assert "root:" not in json.dumps(prepare.info)


def test_without_its_contours_nobody_knows_whether_a_film_shows_a_mass(
    prepare: Prepare, tmp_path: Path
) -> None:
    source = inbreast(tmp_path / "raw")
    (source / "AllXML" / "22678646.xml").write_bytes(b"<plist>")
    rows = prepare("inbreast", source, *ALL, "--task", "mass")
    assert {number_of(row) for row in rows} == set(BY_NUMBER) - {"22678646"}


def test_contours_that_are_too_large_or_no_file_are_not_read(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = inbreast(tmp_path / "raw")
    monkeypatch.setattr("bccli.core.datasets.layout.osirix.CONTOURS_BYTES", 50_000)
    (source / "AllXML" / "22678646.xml").write_bytes(b" " * 50_001)
    (source / "AllXML" / "22670643.xml").unlink()
    (source / "AllXML" / "22670643.xml").symlink_to("/nowhere")
    rows = {number_of(row): row for row in prepare("inbreast", source, *ALL)}
    assert (rows["22678646"]["mask"], rows["22670643"]["mask"]) == ("", "")
    assert "AllXML/22678646.xml is larger than 50,000 bytes, the most that is read" in prepare.said
    assert "AllXML/22670643.xml cannot be read (no such file or directory)" in prepare.said


def test_one_contour_that_cannot_be_read_costs_itself_only(prepare: Prepare, tmp_path: Path) -> None:
    source = inbreast(tmp_path / "raw")
    content = plistlib.loads(property_list([MASS, ("Cluster", square(60, 60, 9)), ("Mass", [])]))
    content["Images"][0]["ROIs"][0]["Point_px"][2] = "(nan, 20.0)"
    (source / "AllXML" / "22678646.xml").write_bytes(plistlib.dumps(content))
    content["Images"][0]["ROIs"][0]["Point_px"].pop()
    content["Images"][0]["ROIs"] = content["Images"][0]["ROIs"][:1]
    (source / "AllXML" / "22670643.xml").write_bytes(plistlib.dumps(content))
    rows = {number_of(row): row for row in prepare("inbreast", source, *ALL, "--task", "mass")}
    assert [rows[number]["label"] for number in ("22678646", "22670643")] == ["mass", "mass"]
    assert [rows[number]["mask"] for number in ("22678646", "22670643")] == ["", ""]
    assert "reach beyond" not in prepare.said
    assert "points that cannot be read, and those were left out: 2 (AllXML/2" in prepare.said
    rows = {number_of(row): row for row in prepare("inbreast", source, *ALL)}
    assert rows["22678646"]["box"] == "60,60,70,70"
    assert rows["22670643"]["mask"] == ""


def test_contours_beyond_the_film_are_cut_off_and_named(
    prepare: Prepare, bccli: Bccli, tmp_path: Path
) -> None:
    source = inbreast(tmp_path / "raw")
    partly, wholly = BY_NUMBER["22678646"], BY_NUMBER["22670643"]
    write_contours(source, partly, [("Mass", square(-10, -20, 40)), ("Mass", square(80, 150, 16.5))])
    write_contours(source, wholly, [("Mass", square(3000, 2000, 50)), ("Calcification", [(-5, 9_999_999)])])
    rows = {number_of(row): row for row in prepare("inbreast", source, *ALL)}
    assert (rows["22678646"]["box"], rows["22670643"]["mask"]) == ("0,0,96,160", "")
    mask = mask_at(tmp_path / "data0", rows["22678646"])
    assert (mask[:21, :31].all(), mask[150:, 80:].all(), np.count_nonzero(mask)) == (True, True, 651 + 160)
    assert "contours that reach beyond them and were cut off, or lie there altogether: 2" in prepare.said
    bccli("prepare", "inbreast", source, tmp_path / "x", *ALL, "--roi", "crop", exit=4)
    (row,) = read_rows(tmp_path / "x" / "quarantine.csv")
    assert row["reason"] == "is 96×160, and its contours lie outside of it"
