"""`bccli prepare` with input as it comes: damaged, strange, contradictory, on a full disk."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PATIENT, Bccli, draw, read_rows, rows_of, save, tree
from tests.sentences import refused

MakeFolder = Callable[..., Path]


def damage(raw: Path) -> None:
    """Make a truncated, a wrong and an empty file of three images of different patients."""
    first = raw / "benign" / "p0_0.png"
    first.write_bytes(first.read_bytes()[:300])
    (raw / "benign" / "p2_0.png").write_text("this is no image")
    (raw / "malignant" / "p1_0.png").write_bytes(b"")


def image_rows(raw: Path) -> list[str]:
    """CSV rows path,label,patient of a folder's images."""
    return [
        f"{path.relative_to(raw).as_posix()},{path.parent.name},{path.name.split('_')[0]}"
        for path in sorted(raw.rglob("*.png"))
    ]


def write_table(raw: Path, rows: Iterable[str], header: str = "path,label,patient") -> Path:
    """A CSV in the folder of its images."""
    path = raw / "table.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def sources(data: Path) -> list[str]:
    """The column `source`, names that are not UTF-8 included."""
    text = (data / "manifest.csv").read_bytes().decode("utf-8", "surrogateescape")
    return [row["source"] for row in csv.DictReader(io.StringIO(text, newline=""))]


# Sources


def test_an_empty_folder_is_refused(bccli: Bccli, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", exit=3)
    refused(result, str(tmp_path / "raw"), "no images", "check")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("dataset", "fragment"),
    [("folder", "does not exist"), ("breakhis", "does not exist"), ("csv", "no such file")],
)
def test_a_missing_source_is_refused(bccli: Bccli, tmp_path: Path, dataset: str, fragment: str) -> None:
    result = bccli("prepare", dataset, tmp_path / "raw", tmp_path / "data", exit=3)
    refused(result, str(tmp_path / "raw"), fragment, "name the")


def test_a_file_as_source_is_refused(bccli: Bccli, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("x")
    refused(bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", exit=3), "is not a folder")


def test_a_folder_as_table_is_refused(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    refused(bccli("prepare", "csv", make_folder(), tmp_path / "data", exit=3), "path,label")


def test_one_class_is_refused(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw = make_folder(classes=("benign",))
    refused(bccli("prepare", "folder", raw, tmp_path / "data", exit=3), str(raw), "one class (benign)", "add")


@pytest.mark.parametrize("dataset", ["breakhis", "idc"])
def test_images_of_another_dataset_are_refused(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, dataset: str
) -> None:
    refused(bccli("prepare", dataset, make_folder(), tmp_path / "data", exit=3), "no images of this dataset")


def test_names_of_breakhis_say_class_patient_and_magnification(bccli: Bccli, tmp_path: Path) -> None:
    """Letters after the slide number belong to the slide, not to the patient; endings come in both cases."""
    names = [
        "SOB_B_A-14-22549AB-40-001.png",
        "SOB_B_A-14-22549CD-100-001.PNG",
        "SOB_M_DC-14-2523-40-001.png",
        "SOB_M_LC-14-13412-40-001.png",
        "notes.png",
    ]
    for number, name in enumerate(names):
        save(tmp_path / "raw" / name, draw(0, number))
    result = bccli("prepare", "breakhis", tmp_path / "raw", tmp_path / "data", "--ratios", "1/0/0")
    assert "1 (notes.png)" in result.stderr
    found = {row["source"]: row for row in read_rows(tmp_path / "data" / "manifest.csv")}
    assert sorted(found) == sorted(names[:4])
    assert [found[name]["patient"] for name in names[:4]] == ["22549", "22549", "2523", "13412"]
    assert [found[name]["magnification"] for name in names[:4]] == ["40", "100", "40", "40"]
    assert [found[name]["subtype"] for name in names[2:4]] == ["ductal_carcinoma", "lobular_carcinoma"]


def test_names_of_idc_say_patient_place_and_class(bccli: Bccli, tmp_path: Path) -> None:
    for label in (0, 1):
        for patient in (9036, 10253):
            name = f"{patient}/{label}/{patient}_idx5_x1051_y2401_class{label}.png"
            save(tmp_path / "raw" / name, draw(label, patient + label, (50, 50)))
    bccli("prepare", "idc", tmp_path / "raw", tmp_path / "data", "--ratios", "1/0/0")
    row = read_rows(tmp_path / "data" / "manifest.csv")[-1]
    expected = {"label": "idc", "patient": "9036", "row": "2401", "col": "1051", "width": "50"}
    assert {key: row[key] for key in expected} == expected


# Damaged images


def test_damaged_images_go_to_the_quarantine(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw, data = make_folder(), tmp_path / "data"
    damage(raw)
    result = bccli("prepare", "folder", raw, data, *PATIENT, exit=4)
    assert f"3 of 24 images could not be read; {data / 'quarantine.csv'}" in result.stderr
    bad = {row["path"]: row["reason"] for row in read_rows(data / "quarantine.csv")}
    assert list(bad) == ["benign/p0_0.png", "benign/p2_0.png", "malignant/p1_0.png"]
    assert "truncated" in bad["benign/p0_0.png"]
    assert "not an image" in bad["benign/p2_0.png"]
    assert "0 bytes" in bad["malignant/p1_0.png"]
    rows = read_rows(data / "manifest.csv")
    assert len(rows) == 21
    assert all((data / row["path"]).is_file() for row in rows)
    assert sum(int(row["images"]) for row in rows_of(result.stdout)) == 21


def test_blank_images_are_prepared_and_counted(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw = make_folder()
    names = sorted(path.relative_to(raw) for path in raw.rglob("*.png"))
    for name, value in ((names[0], 7), (names[3], 255)):
        save(raw / name, np.full((24, 24, 3), value, np.uint8))
    result = bccli("prepare", "folder", raw, tmp_path / "out", "--workers", 1)
    assert f"2 images are blank or nearly so (the first: {names[0]} is all of one colour)" in result.stderr
    assert len(sources(tmp_path / "out")) == len(names)
    again = bccli("prepare", "folder", raw, tmp_path / "out")
    assert "2 images are blank or nearly so" in again.stderr
    assert not list(tmp_path.glob("out/quarantine.csv"))


def test_images_on_their_side_have_the_size_that_is_shown(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw = make_folder(size=(32, 20))
    exif = Image.Exif()
    exif[274] = 8
    for path in raw.rglob("*.png"):
        Image.open(path).rotate(-90, expand=True).save(path, exif=exif)
    for size, shape in (((), (20, 32, 3)), (("--size", "mean"), (20, 32, 3))):
        out = tmp_path / f"out{len(size)}"
        bccli("prepare", "folder", raw, out, *size)
        for row in read_rows(out / "manifest.csv"):
            shown = np.asarray(Image.open(out / row["path"]))
            assert (int(row["height"]), int(row["width"]), 3) == shown.shape == shape
            seed = int(row["source"][-7]) * 1000 + int(row["source"][-5])
            assert (shown == draw(int(row["label"] == "malignant"), seed, (32, 20))).all()


@pytest.mark.parametrize("kind", ["png", "webp", "tif"])
def test_an_image_is_turned_before_its_mask_and_box_are_taken(
    bccli: Bccli, tmp_path: Path, kind: str
) -> None:
    """The mask of the first image is stored as it is shown, that of the second lies on its side as well."""
    mask = np.zeros((20, 32), np.uint8)
    mask[3:9, 5:30] = 255
    exif = Image.Exif()
    exif[274] = 6
    options = {"exif": exif, **({"lossless": True} if kind == "webp" else {})}
    lines = ["path,label,patient,mask"]
    for number in range(8):
        image = Image.fromarray(draw(number % 2, number, (32, 20))).rotate(90, expand=True)
        image.save(tmp_path / f"{number}.{kind}", **options)
        if number % 4 < 2:
            Image.fromarray(mask).save(tmp_path / f"{number}_mask.png")
        else:
            Image.fromarray(mask).rotate(90, expand=True).save(tmp_path / f"{number}_mask.png", exif=exif)
        lines.append(f"{number}.{kind},{'ab'[number % 2]},p{number},{number}_mask.png")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    bccli("prepare", "csv", tmp_path / "list.csv", tmp_path / "out", "--ratios", "1/1/1")
    rows = read_rows(tmp_path / "out" / "manifest.csv")
    assert len(rows) == 8
    for row in rows:
        assert row["box"] == "5,3,30,9"
        assert (np.asarray(Image.open(tmp_path / "out" / row["mask"])) == mask).all()
        shown = np.asarray(Image.open(tmp_path / "out" / row["path"]))
        assert (shown == draw(int(row["source"][0]) % 2, int(row["source"][0]), (32, 20))).all()


def test_the_same_command_again_does_nothing_and_says_the_same(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw, data = make_folder(), tmp_path / "data"
    damage(raw)
    first = bccli("prepare", "folder", raw, data, *PATIENT, exit=4)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    again = bccli("prepare", "folder", raw, data, *PATIENT, exit=4)
    assert again.stdout == first.stdout
    assert "nothing to do" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before
    bccli("prepare", "folder", raw, data, *PATIENT, "--skip-bad", exit=0)


@pytest.mark.parametrize("classes", [("benign", "malignant"), ("benign",)])
def test_a_class_of_which_no_image_can_be_read_is_refused(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, classes: tuple[str, ...]
) -> None:
    raw, data = make_folder(), tmp_path / "data"
    for label in classes:
        for path in (raw / label).iterdir():
            path.write_text("no image")
    result = bccli("prepare", "folder", raw, data, *PATIENT, "--skip-bad", exit=3)
    refused(result, "no image of class benign", str(data / "quarantine.csv"))
    assert len(read_rows(data / "quarantine.csv")) == 12 * len(classes)
    assert not (data / "dataset.json").exists()


# Tables


@pytest.mark.parametrize(
    ("row", "fragments"),
    [
        ("benign/p0_0.png,benign,p0", ("line 26", "already in line 2")),
        ("./benign//p0_0.png,benign,p0", ("line 26", "already in line 2")),
        ("C:\\x.png,benign,p0", ("line 26", "is absolute on Windows", "relative")),
        ("\\\\server\\x.png,benign,p0", ("line 26", "is absolute on Windows")),
        (",benign,p0", ("line 26", "path is empty")),
        ("new.png,,p0", ("line 26", "label is empty")),
        ("new.png", ("line 26", "label is empty")),
        ("a\0b.png,benign,p0", ("line 26", "NUL")),
        ("x" * 200_000 + ",benign,p0", ("line 26", "not valid CSV")),
    ],
)
def test_a_row_that_cannot_be_meant_is_named(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, row: str, fragments: tuple[str, ...]
) -> None:
    raw = make_folder()
    table = write_table(raw, [*image_rows(raw), row])
    refused(bccli("prepare", "csv", table, tmp_path / "data", exit=3), str(table), *fragments)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("column", "value", "fragment"),
    [
        ("split", "trian", "split 'trian' is none of train, val, test"),
        ("fold", "-1", "fold '-1'"),
        ("fold", "1.5", "fold '1.5'"),
        ("fold", "99999999999", "fold '99999999999'"),
    ],
)
def test_a_value_that_is_no_split_or_fold_is_named(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, column: str, value: str, fragment: str
) -> None:
    raw = make_folder()
    table = write_table(raw, [f"{row},{value}" for row in image_rows(raw)], f"path,label,patient,{column}")
    refused(bccli("prepare", "csv", table, tmp_path / "data", exit=3), "line 2", fragment)


@pytest.mark.parametrize(
    ("header", "missing"), [("path,lable", "'label'"), ("file,label", "'path'"), ("", "")]
)
def test_a_missing_column_is_named(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, header: str, missing: str
) -> None:
    table = write_table(make_folder(), [], header)
    refused(bccli("prepare", "csv", table, tmp_path / "data", exit=3), f"no column {missing}", "first line")


def test_an_image_as_table_is_refused(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    image = next(make_folder().rglob("*.png"))
    refused(bccli("prepare", "csv", image, tmp_path / "data", exit=3), str(image))


def test_an_image_that_a_table_names_and_nobody_has_is_quarantined(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw = make_folder()
    table = write_table(raw, [*image_rows(raw), "benign/gone.png,benign,p0"])
    bccli("prepare", "csv", table, tmp_path / "data", exit=4)
    bad = read_rows(tmp_path / "data" / "quarantine.csv")
    assert bad == [{"path": "benign/gone.png", "reason": "does not exist"}]


def test_a_table_from_a_spreadsheet_is_read(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    """Byte order mark, CRLF, a newline inside quotes, backslashes and blanks around values."""
    raw = make_folder()
    rows = [f'"{path}"," {label} ","{patient}\n(left)"' for path, label, patient in
            (row.replace("/", "\\").split(",") for row in image_rows(raw))]  # fmt: skip
    table = raw / "table.csv"
    table.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["path,label,patient", *rows]).encode())
    bccli("prepare", "csv", table, tmp_path / "data", "--ratios", "1/1/1")
    found = read_rows(tmp_path / "data" / "manifest.csv")
    assert len(found) == 24
    assert {row["label"] for row in found} == {"benign", "malignant"}
    assert found[0]["source"] == "benign/p0_0.png"
    assert found[0]["patient"] == "p0\n(left)"


def crossing_table(raw: Path) -> Path:
    """A table with a split of its own in which patient p0 is in train and in test."""
    parts = {"p0": "train", "p1": "train", "p2": "val", "p3": "val", "p4": "test", "p5": "test"}
    rows = [f"{row},{parts[row.split(',')[2]]}" for row in image_rows(raw)]
    rows[0] = rows[0].replace("train", "test")
    return write_table(raw, rows, "path,label,patient,split")


def test_patients_that_cross_an_official_split_are_refused(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    table = crossing_table(make_folder())
    result = bccli("prepare", "csv", table, tmp_path / "data", exit=3)
    refused(result, "in test and in train or val", "1 of 6 (p0)", "--split-by patient", "--protocol paper")


def test_the_paper_protocol_keeps_the_crossing_patients_and_counts_them(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    table = crossing_table(make_folder())
    result = bccli("prepare", "csv", table, tmp_path / "data", "--protocol", "paper")
    assert "test shares 1 patient with train or val" in result.stderr
    info = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert info["protocol"] == "paper"
    assert info["audit"]["test"]["patients"] == 1


@pytest.mark.parametrize("option", [("--folds", 3), ("--test-patients", "p1")])
def test_an_official_split_is_not_silently_preferred(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, option: tuple[object, ...]
) -> None:
    table = crossing_table(make_folder())
    result = bccli("prepare", "csv", table, tmp_path / "data", *option, exit=2)
    refused(result, str(option[0]), "--split-by patient")
    bccli("prepare", "csv", table, tmp_path / "data", *option, "--split-by", "patient")


def test_a_half_filled_split_is_refused(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw = make_folder()
    first, *rest = image_rows(raw)
    table = write_table(raw, [first + ",test", *(row + "," for row in rest)], "path,label,patient,split")
    refused(bccli("prepare", "csv", table, tmp_path / "data", exit=3), "23 of 24", "--split-by patient")


# Options


@pytest.mark.parametrize(
    ("options", "code", "fragments"),
    [
        (("--test-patients", "p11"), 2, ("'p11'", "did you mean 'p1'?", "there are 6")),
        (("--test-patients", "p0,p1,p2,p3,p4,p5"), 3, ("nobody is left",)),
        (("--folds", 7), 3, ("6 patients", "7 folds", "fewer")),
        (("--folds", 2), 2, ("--folds",)),
        (("--folds", 3, "--test-patients", "p1"), 2, ("--folds", "--test-patients")),
        (("--folds", 3, "--split-by", "image", "--protocol", "paper"), 2, ("--folds", "--split-by image")),
        (("--size", "huge"), 2, ("--size", "'huge'", "224x224")),
        (("--size", "224x"), 2, ("--size",)),
        (("--size", "0x24"), 2, ("--size",)),
        (("--size", "-1x24"), 2, ("--size",)),
        (("--size", "999999x999999"), 2, ("--size", "16,384")),
        (("--ratios", "70/30"), 2, ("--ratios", "70/20/10")),
        (("--ratios", "nan/1/1"), 2, ("--ratios",)),
        (("--ratios", "0/1/1"), 2, ("--ratios", "train")),
        (("--split-by", "image"), 2, ("--split-by image", "--protocol paper")),
        (("--split-by", "official"), 3, ("no split of its own", "--split-by patient")),
        (("--magnification", "40"), 2, ("--magnification", "folder")),
        (("--count", 5), 2, ("--count", "folder")),
        (("--patients", 24), 2, ("--patients", "folder")),
        (("--patient-regex", "("), 2, ("--patient-regex", "'('")),
        (("--positive", "malignnt"), 2, ("--positive", "did you mean 'malignant'?")),
        (("--seed", -1), 2, ("--seed",)),
        (("--workers", 0), 2, ("--workers",)),
        (("--fit", "strech"), 2, ("--fit", "did you mean 'stretch'?")),
        (("--sise", "24x24"), 2, ("--sise", "did you mean '--size'?")),
    ],
)
def test_options_that_make_no_sense_are_refused(
    bccli: Bccli,
    make_folder: MakeFolder,
    tmp_path: Path,
    options: tuple[object, ...],
    code: int,
    fragments: tuple[str, ...],
) -> None:
    result = bccli("prepare", "folder", make_folder(), tmp_path / "data", *PATIENT, *options, exit=code)
    refused(result, *fragments)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (("histo",), 3, "histology or mammography"),
        (("histology", "--count", 3, "--patients", 5), 3, "too few for 5 patients"),
        (("histology", "--patients", 1), 3, "at least 2 patients"),
        (("histology", "--patient-regex", "x"), 2, "--patient-regex has no meaning for phantom"),
    ],
)
def test_a_phantom_that_cannot_be_drawn_is_refused(
    bccli: Bccli, tmp_path: Path, arguments: tuple[object, ...], code: int, fragment: str
) -> None:
    kind, *options = arguments
    refused(bccli("prepare", "phantom", kind, tmp_path / "data", *options, exit=code), fragment)


def test_a_dry_run_writes_nothing(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw = make_folder()
    planned = bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT, "--dry-run")
    assert not (tmp_path / "data").exists()
    foreseen = r"about 24 images, [\d.]+ [kM]B \([\d,.]+ [kMGT]B free\), \d+ \w+ on 1 worker\n"
    assert re.search(foreseen, planned.stderr)
    assert bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT).stdout == planned.stdout


# The output folder


def test_a_foreign_folder_is_left_alone(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw, data = make_folder(), tmp_path / "data"
    data.mkdir()
    (data / "thesis.txt").write_text("mine")
    for option in ((), ("--overwrite",)):
        result = bccli("prepare", "folder", raw, data, *PATIENT, *option, exit=3)
        refused(result, str(data), "not empty", "choose another folder")
    assert tree(data) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("content", ["[]", '{"tool": "other"}'])
def test_a_dataset_json_of_another_tool_is_left_alone(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, content: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "dataset.json").write_text(content)
    result = bccli("prepare", "folder", make_folder(), data, "--overwrite", exit=3)
    refused(result, str(data), "not written by bccli")
    assert tree(data) == {"dataset.json": content.encode()}


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (("--size", "32x16"), "size none, now 32x16"),
        (("--ratios", "1/1/1"), "ratios 70/20/10, now 1/1/1"),
        (("--split-by", "patient"), "split-by default, now patient"),
        (("--seed", "1"), "seed 0, now 1"),
    ],
)
def test_other_settings_are_named(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, options: tuple[str, ...], difference: str
) -> None:
    raw, data = make_folder(), tmp_path / "data"
    bccli("prepare", "folder", raw, data, *PATIENT)
    before = tree(data)
    result = bccli("prepare", "folder", raw, data, *PATIENT, *options, exit=3)
    refused(result, str(data), difference, "--overwrite")
    assert tree(data) == before


def test_overwrite_replaces_everything(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw, data = make_folder(), tmp_path / "data"
    damage(raw)
    bccli("prepare", "folder", raw, data, *PATIENT, exit=4)
    shutil.rmtree(raw)
    make_folder(patients=4)
    refused(bccli("prepare", "folder", raw, data, *PATIENT, exit=3), "other images than there are now")
    bccli("prepare", "folder", raw, data, *PATIENT, "--size", "16x16", "--overwrite")
    bccli("prepare", "folder", raw, tmp_path / "fresh", *PATIENT, "--size", "16x16")
    assert tree(data) == tree(tmp_path / "fresh")


def test_a_file_in_the_place_of_the_output_is_refused(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw, data = make_folder(), tmp_path / "data"
    data.write_text("mine")
    refused(bccli("prepare", "folder", raw, data, exit=3), str(data), "not a folder")
    refused(bccli("prepare", "folder", raw, data / "below", exit=3), str(data), "no folder", "choose")
    assert data.read_text() == "mine"


def test_an_output_inside_the_source_is_refused(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    """The next look at the source would take the prepared images for a class."""
    raw = make_folder()
    refused(bccli("prepare", "folder", raw, raw / "data", exit=3), "inside the source", "choose")
    refused(bccli("prepare", "folder", raw, raw, exit=3), str(raw), "choose another folder")
    assert not (raw / "data").exists()


def in_small_file_system(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount; the test is skipped where that needs root."""
    if subprocess.run(["unshare", "-r", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare does not work here")
    script = script.replace("bccli ", f"{sys.executable} -m bccli ")
    command = ["unshare", "-r", "-m", "sh", "-c", script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_full_disk_costs_nothing_but_the_wait(make_folder: MakeFolder, tmp_path: Path) -> None:
    """Too small for the pixels first, then for what follows them; then there is room."""
    make_folder(size=(64, 64), images=6)
    (tmp_path / "disk").mkdir()
    command = f"bccli prepare folder raw disk/data --patient-regex '{PATIENT[1]}'"
    script = f"""
        mount -t tmpfs -o size=100k none disk
        {command}; echo "exit $?"; test ! -e disk/data/dataset.json || echo wrong
        mount -o remount,size=20m disk
        {command} > counts; echo "exit $?"
        cp -r disk/data copy
    """
    ended = in_small_file_system(script, tmp_path)
    assert ended.stdout.split("\n") == ["exit 3", "exit 0", ""]
    (error,) = [line for line in ended.stderr.splitlines() if line.startswith("Error")]
    assert "disk/data/images" in error
    assert "the disk is full; free some space and run the same command again" in error
    assert len(read_rows(tmp_path / "copy" / "manifest.csv")) == 36
    assert sorted(path.name for path in (tmp_path / "copy").iterdir() if path.name[0] != ".") == [
        "dataset.json", "images", "manifest.csv", "preview.png", "stats.png",
    ]  # fmt: skip


def test_a_read_only_place_is_refused(make_folder: MakeFolder, tmp_path: Path) -> None:
    make_folder()
    (tmp_path / "disk").mkdir()
    ended = in_small_file_system(
        'mount -t tmpfs -o ro none disk; bccli -q prepare folder raw disk/data; echo "exit $?" >&2', tmp_path
    )
    *_, error, code = ended.stderr.splitlines()
    assert error == "Error: disk/data: the file system is read-only; choose another place"
    assert code == "exit 3"
    assert ended.stdout == ""


# What is in a folder


def test_hidden_files_and_other_files_are_passed_over(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw = make_folder()
    for name in (".hidden/x.png", "benign/.thumb.png", "benign/._p0_0.png"):
        save(raw / name, draw(0, 7))
    for name in ("benign/notes.txt", "benign/Thumbs.db", "benign/p0_0.png.md5"):
        (raw / name).write_text("x")
    bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT)
    assert len(sources(tmp_path / "data")) == 24


def test_a_pipe_named_like_an_image_is_quarantined(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw = make_folder()
    os.mkfifo(raw / "benign" / "p0_9.png")
    bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT, exit=4)
    assert len(sources(tmp_path / "data")) == 24
    (row,) = read_rows(tmp_path / "data" / "quarantine.csv")
    assert "p0_9.png" in row["path"]


def test_images_outside_of_the_class_folders_are_reported(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw = make_folder()
    save(raw / "overview.png", draw(0, 7))
    assert "passed over: 1 (overview.png)" in bccli("prepare", "folder", raw, tmp_path / "data").stderr


@pytest.mark.parametrize(
    "name",
    [
        b"with blank.png",
        "Präparat ß 你好.png".encode(),
        b'comma, "quote".png',
        b"new\nline.png",
        b"latin\xfc\xff.png",
    ],
)
def test_every_name_that_a_file_can_have_is_kept(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, name: bytes
) -> None:
    raw, data = make_folder(), tmp_path / "data"
    os.rename(raw / "benign" / "p0_0.png", os.fsencode(raw / "benign") + b"/" + name)
    bccli("prepare", "folder", raw, data, *PATIENT)
    assert "benign/" + os.fsdecode(name) in sources(data)
    assert "nothing to do" in bccli("prepare", "folder", raw, data, *PATIENT).stderr
    bccli("train", data, tmp_path / "run", "--dry-run")


def test_a_damaged_image_with_a_strange_name_is_quarantined_by_it(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw, data = make_folder(), tmp_path / "data"
    name = os.fsencode(raw / "benign") + b"/b\xe4d\n.png"
    Path(os.fsdecode(name)).write_bytes(b"")
    bccli("prepare", "folder", raw, data, exit=4)
    assert b'"benign/b\xe4d\n.png",is empty (0 bytes)' in (data / "quarantine.csv").read_bytes()


def test_links_are_followed_once_and_loops_end(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    """Folders that are reached by their own names keep them, whatever the links are called."""
    raw, elsewhere = make_folder(), make_folder("elsewhere", classes=("x",), patients=2)
    os.symlink(elsewhere / "x", raw / "normal")
    os.symlink(elsewhere / "x", raw / "normal_again")
    os.symlink(raw / "malignant", raw / "aaa")
    os.symlink("..", raw / "benign" / "up")
    os.symlink("../..", raw / "benign" / "further_up")
    bccli("prepare", "folder", raw, tmp_path / "data", "--ratios", "1/1/1")
    found = [name.split("/")[0] for name in sources(tmp_path / "data")]
    assert {label: found.count(label) for label in found} == {"benign": 12, "malignant": 12, "normal": 8}


def test_links_that_lead_nowhere_are_quarantined(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw = make_folder()
    os.symlink("nowhere.png", raw / "benign" / "broken.png")
    os.symlink("itself.png", raw / "benign" / "itself.png")
    bccli("prepare", "folder", raw, tmp_path / "data", exit=4)
    bad = {row["path"]: row["reason"] for row in read_rows(tmp_path / "data" / "quarantine.csv")}
    assert bad["benign/broken.png"] == "does not exist"
    assert "symbolic links" in bad["benign/itself.png"]


def test_every_kind_of_image_becomes_rgb_of_8_bits(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw = make_folder()
    colour = Image.fromarray(draw(0, 1))
    kinds = {
        "grey.png": colour.convert("L"), "one_bit.png": colour.convert("1"),
        "palette.png": colour.convert("P"), "alpha.png": colour.convert("RGBA"),
        "grey_alpha.png": colour.convert("LA"), "cmyk.jpg": colour.convert("CMYK"),
        "cmyk.tif": colour.convert("CMYK"), "bitmap.bmp": colour, "small.JPEG": colour, "big.TIFF": colour,
        "grey.pgm": colour.convert("L"), "colour.ppm": colour,
        "deep.png": Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24) * 100),
        "deep.tif": Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24) * 100),
        "float.tiff": Image.fromarray(np.arange(576, dtype=np.float32).reshape(24, 24)),
    }  # fmt: skip
    for name, image in kinds.items():
        image.save(raw / "benign" / name)
    deep = np.arange(576, dtype=">u2").reshape(24, 24) * 100
    (raw / "benign" / "deep.pgm").write_bytes(b"P5\n24 24\n65535\n" + deep.astype(">u2").tobytes())
    bccli("prepare", "folder", raw, tmp_path / "data")
    written = {row["source"]: row["path"] for row in read_rows(tmp_path / "data" / "manifest.csv")}
    pixels = {}
    for name in [*kinds, "deep.pgm"]:
        with Image.open(tmp_path / "data" / written[f"benign/{name}"]) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (24, 24)), name
            pixels[name] = np.array(image)
    for name in ("deep.tif", "deep.pgm"):
        assert (pixels[name] == pixels["deep.png"]).all()
    assert (pixels["deep.png"].min(), pixels["deep.png"].max()) == (0, 255)
    for name in ("bitmap.bmp", "colour.ppm", "big.TIFF"):
        assert (pixels[name] == np.array(colour)).all()
