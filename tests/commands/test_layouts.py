"""`prepare folder`: splits, masks, magnifications and names of classes, as people's folders have them."""

import json
import os
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PATIENT, Bccli, draw, read_rows, save
from tests.sentences import refused

CLASSES = ("benign", "malignant")


def mask(path: Path, left: int = 5, size: tuple[int, int] = (24, 24)) -> None:
    """A mask with a bar of 4 columns from `left`."""
    pixels = np.zeros(size[::-1], np.uint8)
    pixels[:, left : left + 4] = 255
    save(path, pixels)


def fill(root: Path, folder: str, label: int, count: int, seed: int = 0, name: str = "{}.png") -> None:
    """`count` different images of a class."""
    for number in range(count):
        save(root / folder / name.format(number), draw(label, seed + 1000 * label + number))


def part_counts(data: Path) -> Counter[tuple[str, str]]:
    """How many images of each split and class there are."""
    return Counter((row["split"], row["label"]) for row in read_rows(data / "manifest.csv"))


# Splits

PARTS = [
    ("train", "val", "test"),
    ("Train", "Validation", "Test"),
    ("training", "valid", "testing"),
    ("train_set", "validation_set", "test_set"),
]


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("order", ["{part}/{label}", "{label}/{part}"])
def test_folders_of_splits_are_the_splits(
    bccli: Bccli, tmp_path: Path, parts: tuple[str, ...], order: str
) -> None:
    for label, name in enumerate(CLASSES):
        for place, part in enumerate(parts):
            fill(tmp_path / "raw", order.format(part=part, label=name), label, 4 - place, seed=place * 50)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")
    assert "folders are taken for the splits" in result.stderr
    assert part_counts(tmp_path / "data") == {
        (split, name): 4 - place for place, split in enumerate(("train", "val", "test")) for name in CLASSES
    }


def test_val_is_taken_from_train_where_there_is_none(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(CLASSES):
        fill(tmp_path / "raw", f"train/{name}", label, 8)
        fill(tmp_path / "raw", f"test/{name}", label, 3, seed=50)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")
    assert "has no val" in result.stderr
    counts = part_counts(tmp_path / "data")
    assert {split for split, _ in counts} == {"train", "val", "test"}
    for row in read_rows(tmp_path / "data" / "manifest.csv"):
        assert (row["split"] == "test") == row["source"].startswith("test/")


def test_a_split_without_test_is_said(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(CLASSES):
        fill(tmp_path / "raw", f"train/{name}", label, 8)
        fill(tmp_path / "raw", f"val/{name}", label, 3, seed=50)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")
    assert "has no test" in result.stderr
    assert "--split-by patient" in result.stderr


def test_splits_that_patients_cross_are_refused_and_parted_anew(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(CLASSES):
        for place, part in enumerate(("train", "val", "test")):
            fill(
                tmp_path / "raw",
                f"{part}/{name}",
                label,
                4,
                seed=place * 50,
                name=f"p{label}{{}}_{place}.png",
            )
    command = "prepare", "folder", tmp_path / "raw", tmp_path / "data", *PATIENT
    refused(bccli(*command, exit=3), "in test and in train or val", "8 of 8", "--split-by patient")
    bccli(*command, "--split-by", "patient", "--ratios", "2/1/1")
    splits: dict[str, set[str]] = {}
    for row in read_rows(tmp_path / "data" / "manifest.csv"):
        splits.setdefault(row["patient"], set()).add(row["split"])
    assert {len(where) for where in splits.values()} == {1}


def test_images_in_folders_of_splits_without_classes_are_refused(bccli: Bccli, tmp_path: Path) -> None:
    for part in ("train", "test"):
        fill(tmp_path / "raw", part, 0, 4)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", exit=3)
    refused(result, "test, train are splits", "prepare csv")


def test_what_lies_beside_the_splits_is_reported(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(CLASSES):
        for place, part in enumerate(("train", "val", "test")):
            fill(tmp_path / "raw", f"{part}/{name}", label, 3, seed=place * 50)
    fill(tmp_path / "raw", "unlabelled", 0, 2)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")
    assert "passed over: 2 (unlabelled/0.png, unlabelled/1.png)" in result.stderr
    assert {label for _, label in part_counts(tmp_path / "data")} == set(CLASSES)


# Magnifications


@pytest.mark.parametrize(
    "folders", [("40X", "100X"), ("40x", "100x", "200x"), ("x40", "x100"), ("10 ×", "20 ×")]
)
def test_folders_of_magnifications_are_no_classes(
    bccli: Bccli, tmp_path: Path, folders: tuple[str, ...]
) -> None:
    for folder in folders:
        for label, name in enumerate(CLASSES):
            fill(tmp_path / "raw", f"{folder}/{name}", label, 3)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", exit=3)
    refused(result, ", ".join(folders), "magnifications", f"such as {tmp_path / 'raw' / folders[0]}")
    bccli("prepare", "folder", tmp_path / "raw" / folders[0], tmp_path / "data")


def test_magnifications_below_the_classes_are_read(bccli: Bccli, tmp_path: Path) -> None:
    for folder in ("40X", "100X"):
        for label, name in enumerate(CLASSES):
            fill(tmp_path / "raw", f"{name}/{folder}", label, 3, seed=len(folder) * 100)
    bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")
    assert len(read_rows(tmp_path / "data" / "manifest.csv")) == 12


# Masks

MASK_NAMES = [
    "{}_mask.png",
    "{}-mask.png",
    "{} mask.png",
    "{}_Mask.PNG",
    "{}_mask_1.png",
    "{}_mask1.png",
    "{}_mask.bmp",
]
IMAGE_NAMES = ["s{}", "benign ({})", "1.2.{}.x"]


@pytest.mark.parametrize("image", IMAGE_NAMES)
@pytest.mark.parametrize("named", MASK_NAMES)
def test_a_mask_beside_its_image_is_its_mask(bccli: Bccli, tmp_path: Path, named: str, image: str) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    for label, name in enumerate(CLASSES):
        fill(raw, name, label, 4, name=image + ".png")
        for number in range(4):
            mask(raw / name / named.format(image.format(number)), left=number)
    result = bccli("prepare", "folder", raw, data)
    assert "masks of the images beside them, and are used as such: 8 (" in result.stderr
    check_masks(data)


def check_masks(data: Path) -> None:
    """Every image has the mask of its number, and no mask is an image."""
    rows = read_rows(data / "manifest.csv")
    assert len(rows) == 8
    for row in rows:
        assert "mask" not in row["source"]
        stem = row["source"].rpartition("/")[2].rpartition(".")[0]
        left = int("".join(letter for letter in stem.split(".x")[0][-2:] if letter.isdecimal()))
        assert row["box"] == f"{left},0,{left + 4},24"


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("{label}", "{label}/masks"),
        ("{label}/images", "{label}/masks"),
        ("{label}", "masks/{label}"),
        ("images/{label}", "masks/{label}"),
        ("Images/{label}", "Masks/{label}"),
        ("{label}/p", "{label}/masks/p"),
    ],
)
@pytest.mark.parametrize("named", ["{}.png", "{}_mask.png"])
def test_a_folder_of_masks_belongs_to_the_images_beside_it(
    bccli: Bccli, tmp_path: Path, images: str, masks: str, named: str
) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    for label, name in enumerate(CLASSES):
        fill(raw, images.format(label=name), label, 4, name="s{}.png")
        for number in range(4):
            mask(raw / masks.format(label=name) / named.format(f"s{number}"), left=number)
    assert "used as such: 8 (" in bccli("prepare", "folder", raw, data).stderr
    check_masks(data)


def test_several_masks_of_an_image_are_joined(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(CLASSES):
        fill(tmp_path / "raw", name, label, 4, name="{}.png")
        for number in range(4):
            mask(tmp_path / "raw" / name / f"{number}_mask.png", left=2)
            mask(tmp_path / "raw" / name / f"{number}_mask_1.png", left=12)
    bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")
    assert {row["box"] for row in read_rows(tmp_path / "data" / "manifest.csv")} == {"2,0,16,24"}
    bccli("prepare", "folder", tmp_path / "raw", tmp_path / "crops", "--roi", "crop", "--size", "8x8")


def test_images_that_are_called_like_masks_without_images_stay_images(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(CLASSES):
        fill(tmp_path / "raw", name, label, 4, name="breast{}_mask.png")
    assert "masks" not in bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data").stderr
    assert len(read_rows(tmp_path / "data" / "manifest.csv")) == 8


def test_a_class_that_is_called_masks_is_one(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(("masks", "faces")):
        fill(tmp_path / "raw", name, label, 4)
    bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")
    assert {label for _, label in part_counts(tmp_path / "data")} == {"faces", "masks"}


def test_a_mask_whose_image_is_gone_is_no_image(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(CLASSES):
        fill(tmp_path / "raw", name, label, 4)
        for number in range(5):
            mask(tmp_path / "raw" / name / f"{number}_mask.png", left=number)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")
    assert "masks whose images are not there were passed over: 2 (benign/4_mask.png" in result.stderr
    assert len(read_rows(tmp_path / "data" / "manifest.csv")) == 8


@pytest.mark.parametrize("values", [(1, 1), (1, 2), (100, 90), (255, 255)])
def test_a_mask_marks_what_is_not_black(bccli: Bccli, tmp_path: Path, values: tuple[int, int]) -> None:
    """Labels are often stored as 0 and 1, and outlines filled in any colour."""
    for label, name in enumerate(CLASSES):
        fill(tmp_path / "raw", name, label, 4)
        for number in range(4):
            pixels = np.zeros((24, 24, 3) if number % 2 else (24, 24), np.uint8)
            pixels[3:9, 5:15] = (0, values[1], 0) if number % 2 else values[1]
            pixels[3:5, 5:15] = (0, values[0], 0) if number % 2 else values[0]
            save(tmp_path / "raw" / name / f"{number}_mask.png", pixels)
    bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")
    assert {row["box"] for row in read_rows(tmp_path / "data" / "manifest.csv")} == {"5,3,15,9"}


# Names of classes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Benign", "benign"),
        ("in situ", "InSitu"),
        ("in_situ", "in situ"),
        ("malignant ", "malignant"),
        (unicodedata.normalize("NFC", "gutärtig"), unicodedata.normalize("NFD", "gutärtig")),
        ("STRASSE", "straße"),
    ],
)
def test_names_of_classes_that_are_nearly_equal_are_refused(
    bccli: Bccli, tmp_path: Path, one: str, other: str
) -> None:
    for label, name in enumerate((one, other, "another")):
        fill(tmp_path / "raw", name, label % 2, 4, seed=label * 50)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", exit=3)
    refused(result, str(tmp_path / "raw" / one), str(tmp_path / "raw" / other), "the same name")
    assert not (tmp_path / "data").exists()


def test_names_of_classes_are_compared_across_splits(bccli: Bccli, tmp_path: Path) -> None:
    for part, names in (("train", ("benign", "malignant")), ("test", ("Benign", "malignant"))):
        for label, name in enumerate(names):
            fill(tmp_path / "raw", f"{part}/{name}", label, 4, seed=len(part) * 20)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", exit=3)
    refused(result, "raw/test/Benign", "raw/train/benign")


def test_names_that_differ_in_more_are_left_alone(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(("HER2", "HER2-", "HER2+")):
        fill(tmp_path / "raw", name, label % 2, 4, seed=label * 50)
    bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")


@pytest.mark.exports
@pytest.mark.pictures
def test_names_of_classes_that_are_not_utf8_work_to_the_end(bccli: Bccli, tmp_path: Path) -> None:
    raw, data, run = tmp_path / "raw", tmp_path / "data", tmp_path / "run"
    for label, name in enumerate((b"b\xf6sartig", b"gut\xe4rtig")):
        fill(raw, os.fsdecode(name), label, 12, name="p{}_0.png")
    bccli("prepare", "folder", raw, data, *PATIENT, "--ratios", "1/1/1")
    for name in ("stats.png", "preview.png"):
        with Image.open(data / name) as image:
            image.load()
    assert b"b\xf6sartig" in (data / "manifest.csv").read_bytes()
    bccli("augment", data, tmp_path / "more", "--policy", "table5", "--preview", tmp_path / "sheet.png")
    bccli("train", data, run, "--epochs", 1, "--batch-size", 8, "--trainable", "none")
    bccli("evaluate", run, "--split", "test", "--output", tmp_path / "figures", "--bootstrap", 40)
    classes = [os.fsdecode(b"b\xf6sartig"), os.fsdecode(b"gut\xe4rtig")]
    assert (
        sorted(json.loads((run / "run.json").read_bytes().decode("utf-8", "surrogateescape"))["classes"])
        == classes
    )
    for kind in ("csv", "json", "jsonl", "table"):
        bccli("predict", run, raw, "--format", kind)


# Another level


def layout(root: Path) -> None:
    for label, name in enumerate(CLASSES):
        for patient in range(3):
            fill(root, f"{name}/P{label}{patient}", label, 2, seed=patient * 10)


@pytest.mark.parametrize(
    ("place", "source"),
    [("a", ""), ("a/b", ""), ("", "benign/P00"), ("", "malignant/P12"), ("x", "x/benign/P00")],
)
def test_the_folder_that_was_meant_is_named(bccli: Bccli, tmp_path: Path, place: str, source: str) -> None:
    root = tmp_path / "raw"
    layout(root / place)
    result = bccli("prepare", "folder", root / source, tmp_path / "data", exit=3)
    refused(result, f"name the folder {root / place} instead")
    bccli("prepare", "folder", root / place, tmp_path / "data", "--dry-run")


def test_splits_that_lie_deeper_are_named(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(CLASSES):
        for part in ("train", "test"):
            fill(tmp_path / "raw" / "archive", f"{part}/{name}", label, 3)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", exit=3)
    refused(result, f"name the folder {tmp_path / 'raw' / 'archive'} instead")
