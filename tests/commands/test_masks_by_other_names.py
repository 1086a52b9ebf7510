"""Masks and overlays that are called otherwise than `a_mask.png` are noticed, and nothing else is."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.datasets.layout.named_after import named_after
from tests.conftest import Bccli, draw, read_rows, save
from tests.sentences import refused

CLASSES = ("benign", "malignant")
NOTICED = "files are named after images beside them and count as images"


def fill(root: Path, *names: str, folder: str = "{label}", count: int = 4) -> Path:
    """`count` images of each class under each of the names, which have a place for the number."""
    for label, called in enumerate(CLASSES):
        for place, name in enumerate(names):
            for number in range(count):
                pixels = draw(label, 1000 * label + 100 * place + number)
                save(root / folder.format(label=called, number=number) / name.format(number), pixels)
    return root


def dry_run(bccli: Bccli, raw: Path) -> str:
    return bccli("prepare", "folder", raw, raw.parent / "data", "--dry-run").stderr


OTHER_NAMES = [
    "{}_seg.png",
    "{}_gt.png",
    "{}_segmentation.png",
    "{}-Overlay.png",
    "{} (overlay).png",
    "{}_masks.png",
    "{}.mask.png",
    "{}_thumb.jpg",
    "{}_binary_mask.png",
    "{}_roi_1.png",
    "overlay {}.png",
    "mask_{}.png",
    "GT-{}.png",
]


IMAGE_NAMES = ["s{}", "{}", "benign ({})", "1.2.{}.7"]


@pytest.mark.parametrize(
    ("more", "image"),
    [(more, IMAGE_NAMES[place % len(IMAGE_NAMES)]) for place, more in enumerate(OTHER_NAMES)],
)
def test_files_named_after_others_are_noticed(bccli: Bccli, tmp_path: Path, more: str, image: str) -> None:
    raw = fill(tmp_path / "raw", f"{image}.png", more.format(image))
    sentence = dry_run(bccli, raw)
    first = f"benign/{more.format(image).format(0)}"
    assert f"{NOTICED}; if they are masks, call them such as a_mask.png" in sentence
    assert f": 8 ({first}, " in sentence


def test_they_count_as_images_and_are_told_of_once(bccli: Bccli, tmp_path: Path) -> None:
    raw = fill(tmp_path / "raw", "{}.png", "{}_seg.png", "{}_overlay.png", "{}_thumb.png")
    result = bccli("prepare", "folder", raw, tmp_path / "data")
    assert result.stderr.count("named after") == 1
    assert ": 24 (" in result.stderr
    assert len(read_rows(tmp_path / "data" / "manifest.csv")) == 32


def test_one_pair_in_each_patients_folder_is_noticed(bccli: Bccli, tmp_path: Path) -> None:
    raw = fill(tmp_path / "raw", "scan.png", "scan_seg.png", folder="{label}/P{number}")
    assert f"{NOTICED}" in dry_run(bccli, raw)


def test_masks_of_one_class_only_are_noticed(bccli: Bccli, tmp_path: Path) -> None:
    raw = fill(tmp_path / "raw", "{}.png", "{}_seg.png")
    for path in (raw / "benign").glob("*_seg.png"):
        path.unlink()
    assert ": 4 (malignant/0_seg.png, " in dry_run(bccli, raw)


def test_a_folder_beside_the_images_that_repeats_their_names_is_noticed(bccli: Bccli, tmp_path: Path) -> None:
    raw = fill(tmp_path / "raw", "{}.png")
    fill(raw, "{}.png", folder="{label}/Ground truth")
    assert ": 8 (benign/Ground truth/0.png, " in dry_run(bccli, raw)


@pytest.mark.parametrize(
    "names",
    [
        ("{}_L.png", "{}_R.png"),
        ("{}_CC.png", "{}_MLO.png"),
        ("{}_left.png", "{}_right.png"),
        ("{}_a.png", "{}_b.png"),
        ("{}.png", "{}_2.png"),
        ("{}.png", "{}b.png"),
        ("{}_seg.png",),
        ("{}.png", "{}.jpg"),
        ("{}.png", "{}_mask.png"),
        ("SOB_B_A-14-2254{}AB-40-001.png", "SOB_M_DC-14-2254{}-40-001.png"),
    ],
)
def test_views_sides_and_numbers_are_not(bccli: Bccli, tmp_path: Path, names: tuple[str, ...]) -> None:
    assert "named after" not in dry_run(bccli, fill(tmp_path / "raw", *names))


def test_a_few_among_many_are_not(bccli: Bccli, tmp_path: Path) -> None:
    raw = fill(tmp_path / "raw", "{}.png", count=9)
    for number in range(4):
        shutil.copy(raw / "benign" / f"{number}.png", raw / "benign" / f"{number}_copy.png")
    assert "named after" not in dry_run(bccli, raw)


def test_files_of_a_table_that_are_named_after_others_are_noticed(bccli: Bccli, tmp_path: Path) -> None:
    raw = fill(tmp_path / "raw", "{}.png", "{}_seg.png")
    paths = sorted(path.relative_to(raw) for path in raw.rglob("*.png"))
    table = raw / "table.csv"
    table.write_text("path,label\n" + "".join(f"{path},{path.parts[0]}\n" for path in paths))
    result = bccli("prepare", "csv", table, tmp_path / "data", "--dry-run")
    assert "named after others of it and count as images" in result.stderr
    assert "in the column mask" in result.stderr
    assert ": 8 (benign/0_seg.png, " in result.stderr
    bare = [path for path in paths if "seg" not in path.name]
    masked = [f"{path},{path.parts[0]},{path.with_name(path.stem + '_seg.png')}\n" for path in bare]
    table.write_text("path,label,mask\n" + "".join(masked))
    result = bccli("prepare", "csv", table, tmp_path / "data", "--dry-run")
    assert "named after" not in result.stderr


@given(st.sets(st.from_regex(r"[a-z0-9]{1,5}_[0-9]{1,3}", fullmatch=True), min_size=1, max_size=20))
def test_every_word_of_letters_behind_or_before_all_names_is_found(bare: set[str]) -> None:
    images = {f"{stem}.png" for stem in bare}
    for more in ("{}_gt.png", "{} Tumor outline.tif", "qq-{}.png"):
        others = {more.format(stem) for stem in bare}
        assert set(named_after(images | others)) == others


# Classes

WORDS = [
    "mask",
    "masks",
    "gt",
    "seg",
    "annotation",
    "annotations",
    "overlay",
    "overlays",
    "roi",
    "Ground Truth",
]
FORMS = ["{0}_{1}", "{0}-{1}", "{0} {1}", "{0}{1}", "{1}_{0}", "{0} ({1})"]


@pytest.mark.parametrize(
    ("form", "word"), [(FORMS[place % len(FORMS)], word) for place, word in enumerate(WORDS)]
)
def test_a_class_of_another_ones_masks_is_refused(bccli: Bccli, tmp_path: Path, form: str, word: str) -> None:
    raw = fill(tmp_path / "raw", "{}.png")
    masks = form.format("Malignant", word)
    fill(raw, "{}.png", folder=masks)
    result = bccli("prepare", "folder", raw, tmp_path / "data", exit=3)
    refused(result, str(raw / masks), "images in malignant", f"move masks to {raw / 'malignant' / 'masks'}")
    (raw / masks).rename(raw / "malignant" / "masks")
    assert "used as such: 4 (" in dry_run(bccli, raw)


def test_a_class_of_masks_in_a_split_is_refused(bccli: Bccli, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for part in ("train", "test"):
        fill(raw, "{}.png", folder=f"{part}/{{label}}")
    fill(raw, "{}/1.png", folder="test/benign_seg")
    result = bccli("prepare", "folder", raw, tmp_path / "data", exit=3)
    refused(result, str(raw / "test" / "benign_seg"), str(raw / "test" / "benign" / "masks"))


@pytest.mark.parametrize(("images", "masks"), [("", "annotations"), ("images", "GT"), ("", "Ground_truth")])
def test_a_folder_of_masks_of_all_classes_is_no_class(
    bccli: Bccli, tmp_path: Path, images: str, masks: str
) -> None:
    raw = fill(tmp_path / "raw", "{}.png", folder=f"{images}/{{label}}".lstrip("/"))
    fill(raw, "{}.png", folder=f"{masks}/{{label}}")
    result = bccli("prepare", "folder", raw, tmp_path / "data", exit=3)
    refused(result, str(raw / masks), "is no class", "call it masks")
    (raw / masks).rename(raw / "masks")
    assert "used as such: 8 (" in dry_run(bccli, raw)


@pytest.mark.parametrize(("images", "masks"), [("image", "mask"), ("imgs", "masks"), ("img", "Mask")])
def test_folders_of_images_and_of_masks_have_several_names(
    bccli: Bccli, tmp_path: Path, images: str, masks: str
) -> None:
    raw = fill(tmp_path / "raw", "{}.png", folder=f"{images}/{{label}}")
    fill(raw, "{}.png", folder=f"{masks}/{{label}}")
    assert "used as such: 8 (" in dry_run(bccli, raw)


@pytest.mark.parametrize("other", ["mask", "no mask", "annotated", "benign 2", "benign_tumor", "roidcis"])
def test_classes_that_are_no_ones_masks_stay(bccli: Bccli, tmp_path: Path, other: str) -> None:
    raw = fill(tmp_path / "raw", "{}.png")
    fill(raw, "{}.png", folder=other)
    assert other in bccli("prepare", "folder", raw, tmp_path / "data", "--dry-run").stdout


def test_annotations_that_are_no_images_are_left_alone(bccli: Bccli, tmp_path: Path) -> None:
    raw = fill(tmp_path / "raw", "{}.png")
    (raw / "benign_annotations").mkdir()
    (raw / "benign_annotations" / "0.xml").write_text("<a/>")
    assert "passed over (1 .xml)" in dry_run(bccli, raw)
