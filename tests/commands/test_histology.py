"""`bccli prepare` on histology as it is downloaded: names, folders and formats are real, images tiny."""

import json
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Bccli, draw, read_rows, rows_of, save
from tests.core.imaging.slides import draw_slide
from tests.sentences import refused

BREAST = "BreaKHis_v1/histology_slides/breast"
SLIDES = {
    # subtype: (letter, slides)
    "adenosis": ("B_A", ("22549AB", "22549CD")),
    "fibroadenoma": ("B_F", ("9133", "14134")),
    "phyllodes_tumor": ("B_PT", ("21998AB", "22704")),
    "tubular_adenoma": ("B_TA", ("13200", "16184CD")),
    "ductal_carcinoma": ("M_DC", ("2523", "13412")),
    "lobular_carcinoma": ("M_LC", ("12204", "13412")),
    "mucinous_carcinoma": ("M_MC", ("19979", "19979C")),
    "papillary_carcinoma": ("M_PC", ("190EF", "9146")),
}


@dataclass
class Prepare:
    """Prepares into fresh folders; what the last call said and wrote stays at hand."""

    bccli: Bccli
    folder: Path
    said: str = ""
    info: dict[str, Any] = field(default_factory=dict)

    def __call__(self, dataset: str, source: Path, *options: object) -> list[dict[str, str]]:
        """The manifest of what `bccli prepare` makes of a source."""
        data = self.folder / f"data{len(list(self.folder.glob('data*')))}"
        self.said = self.bccli("prepare", dataset, source, data, *options).stderr
        self.info = json.loads((data / "dataset.json").read_text())
        return read_rows(data / "manifest.csv")


@pytest.fixture
def prepare(bccli: Bccli, tmp_path: Path) -> Prepare:
    """Prepares into folders of their own."""
    return Prepare(bccli, tmp_path)


def breakhis(root: Path, *, zooms: tuple[int, ...] = (40, 100, 200, 400), numbers: int = 2) -> Path:
    """BreaKHis_v1 with its folders, two slides of each subtype."""
    number = 0
    for subtype, (letter, slides) in SLIDES.items():
        group = "benign" if letter[0] == "B" else "malignant"
        for slide in slides:
            folder = root / BREAST / group / "SOB" / subtype
            folder /= f"SOB_{letter}_14-{slide}"
            for zoom in zooms:
                for image in range(1, numbers + 1):
                    number += 1
                    name = f"SOB_{letter}-14-{slide}-{zoom}-{image:03d}.png"
                    save(folder / f"{zoom}X" / name, draw(group == "malignant", number))
    return root


def iciar(root: Path, number: int = 4, *, listed: str = "") -> Path:
    """ICIAR2018_BACH_Challenge with folders, the list, and a whole slide's thumbnail."""
    rows = []
    for place, (folder, prefix) in enumerate(
        {"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}.items()
    ):
        for image in range(1, number + 1):
            name = f"{prefix}{image:03d}.tif"
            save(root / "Photos" / folder / name, draw(place % 2, place * 100 + image))
            rows.append(f"{name},{folder}")
    (root / "Photos" / "microscopy_ground_truth.csv").write_text(listed + "\n".join(rows) + "\n")
    save(root / "WSI" / "gt_thumbnails" / "A01.png", draw(0, 7))
    return root


def bioimaging(root: Path, number: int = 6) -> Path:
    """breasthistology: training by folders, the test images beside their list."""
    for place, folder in enumerate(("Normal", "Benign", "In Situ", "Invasive")):
        for image in range(1, number + 1):
            save(root / "Training_data" / folder / f"t{image}.tif", draw(place % 2, place * 100 + image))
    rows = []
    for image, label in enumerate(("Normal", "Benign", "In situ", "Invasive"), 1):
        save(root / "Test_data" / f"t{image}.tif", draw(image % 2, 1000 + image))
        rows.append(f"t{image}\t{label}")
    (root / "Test_data" / "labels.txt").write_text("\r\n".join(rows))
    return root


def databiox(root: Path, cases: int = 6) -> Path:
    """Three grades with their cases, two images at each magnification, endings in both cases."""
    number = 0
    for grade in (1, 2, 3):
        for case in range(1, cases + 1):
            for zoom in ("4x", "10x", "20x", "40x"):
                for image in (1, 2):
                    number += 1
                    ending = "jpg" if zoom == "4x" else "JPG"
                    name = f"{case:02d}_BC_G{grade}_{9000 + 100 * grade + case}_{zoom}_{image}.{ending}"
                    save(root / f"BC_IDC_Grade_{grade}" / zoom / name, draw(grade % 2, number))
    return root


def idc(root: Path, patients: tuple[int, ...] = (9036, 10253, 8863)) -> Path:
    """Patients' folders, and beside them the folder with all of them again."""
    for folder in (root, root / "IDC_regular_ps50_idx5"):
        for patient in patients:
            for label in (0, 1):
                for x in (51, 101):
                    name = f"{patient}_idx5_x{x}_y2401_class{label}.png"
                    save(folder / str(patient) / str(label) / name, draw(label, patient + x, (50, 50)))
    return root


def crossing(rows: list[dict[str, str]]) -> set[str]:
    """Patients in test and elsewhere."""
    sides = defaultdict(set)
    for row in rows:
        sides[row["patient"]].add(row["split"] == "test")
    return {patient for patient, found in sides.items() if len(found) > 1}


# BreakHis


def test_breakhis_has_a_binary_task_and_subtypes(prepare: Prepare, tmp_path: Path) -> None:
    source = breakhis(tmp_path / "raw")
    rows = prepare("breakhis", source)
    assert Counter(row["label"] for row in rows) == {"benign": 64, "malignant": 64}
    assert prepare.info["settings"]["task"] == "binary"
    case = {row["subtype"] for row in rows if row["patient"] == "13412"}
    assert case == {"ductal_carcinoma", "lobular_carcinoma"}
    assert not crossing(rows)
    rows = prepare("breakhis", source, "--task", "subtypes")
    assert prepare.info["classes"] == list(SLIDES)
    assert all(row["label"] == row["subtype"] for row in rows)


def test_a_partial_breakhis_says_what_is_there(prepare: Prepare, tmp_path: Path) -> None:
    prepare("breakhis", breakhis(tmp_path / "raw"), "--magnification", "40x")
    assert "BreakHis is not complete here: 32 of 1,995 images" in prepare.said
    assert "40×: 16 of 625 benign, 16 of 1,370 malignant" in prepare.said
    found = prepare.info["verification"]
    assert (found["images"], found["expected"], found["complete"]) == (32, 1995, False)
    assert {share["where"] for share in found["shares"]} == {"40"}


def test_images_of_real_size_are_read(prepare: Prepare, tmp_path: Path) -> None:
    for folder, name, size in (
        ("Normal", "n001.tif", (2048, 1536)),
        ("Invasive", "iv001.tif", (2048, 1536)),
    ):
        save(tmp_path / "bach" / "Photos" / folder / name, draw(0, size[0], size))
    rows = prepare("bach", tmp_path / "bach", "--ratios", "1/0/0")
    assert {(row["width"], row["height"]) for row in rows} == {("2048", "1536")}
    for letter in ("B_A", "M_DC"):
        save(tmp_path / "breakhis" / f"SOB_{letter}-14-1-40-001.png", draw(0, 1, (700, 460)))
    rows = prepare("breakhis", tmp_path / "breakhis", "--ratios", "1/0/0", "--size", "144x96")
    assert {(row["width"], row["height"]) for row in rows} == {("144", "96")}


def test_renamed_and_doubled_images_are_named(prepare: Prepare, tmp_path: Path) -> None:
    source = breakhis(tmp_path / "raw", zooms=(40,))
    one = next(source.rglob("SOB_B_A-14-22549AB-40-001.png"))
    (one.parent / "SOB_B_A-14-22549AB-40-001 (1).png").write_bytes(one.read_bytes())
    again = save(source / "again" / one.name, draw(0, 1))
    rows = prepare("breakhis", source)
    said = prepare.said
    assert "renamed were passed over: 1 (" in said
    assert "40-001 (1).png" in said
    assert "copies of images that are there already were passed over: 1 (again/" in said
    assert again.name in said
    assert len(rows) == 32


def test_a_folder_of_another_magnification_is_remarked_upon(prepare: Prepare, tmp_path: Path) -> None:
    source = breakhis(tmp_path / "raw", zooms=(40,))
    folder = next(source.rglob("40X"))
    folder.rename(folder.parent / "100X")
    rows = prepare("breakhis", source)
    assert "contradict themselves" in prepare.said
    assert {row["magnification"] for row in rows} == {"40"}


def test_empty_files_are_named_before_anything_is_read(bccli: Bccli, tmp_path: Path) -> None:
    source = breakhis(tmp_path / "raw", zooms=(40,))
    bad = next(source.rglob("*9133-40-002.png"))
    bad.write_bytes(b"")
    said = bccli("prepare", "breakhis", source, tmp_path / "data", "--dry-run").stderr
    assert f"empty files (0 bytes), to be downloaded again: 1 ({bad.relative_to(source)})" in said
    bccli("prepare", "breakhis", source, tmp_path / "data", exit=4)
    info = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert info["verification"]["unreadable"] == 1


# BACH


def test_iciar_is_read_with_its_list(prepare: Prepare, tmp_path: Path) -> None:
    rows = prepare("bach", iciar(tmp_path / "ICIAR2018_BACH_Challenge"))
    assert Counter(row["label"] for row in rows) == dict.fromkeys(
        ("normal", "benign", "in_situ", "invasive"), 4
    )
    assert prepare.info["classes"] == ["normal", "benign", "in_situ", "invasive"]
    assert {row["patient"] for row in rows} == {""}
    assert "the patients of 16 images are unknown" in prepare.said
    found = prepare.info["verification"]
    assert found["edition"] == "ICIAR2018 BACH"
    assert found["missing"][:2] == ["n005", "n006"]
    assert "missing from ICIAR2018 BACH: 384 (n005, n006, n007, …)" in prepare.said


def test_a_whole_iciar_is_complete(prepare: Prepare, tmp_path: Path) -> None:
    prepare("bach", iciar(tmp_path / "raw", 100), "--size", "8x8")
    found = prepare.info["verification"]
    assert found["complete"]
    assert "not complete" not in prepare.said


def test_a_list_may_have_a_header_and_be_alone(prepare: Prepare, tmp_path: Path) -> None:
    """Without class folders, and with names that begin with no class."""
    source = iciar(tmp_path / "raw", listed="image,class\n")
    for path in list((source / "Photos").rglob("*.tif")):
        path.rename(source / "Photos" / path.name)
    rows = prepare("bach", source)
    assert Counter(row["label"] for row in rows) == dict.fromkeys(
        ("normal", "benign", "in_situ", "invasive"), 4
    )


def test_without_a_list_the_folders_say_it_and_without_folders_the_names(
    prepare: Prepare, tmp_path: Path
) -> None:
    source = iciar(tmp_path / "raw")
    (source / "Photos" / "microscopy_ground_truth.csv").unlink()
    expected = Counter(row["label"] for row in prepare("bach", source))
    for path in list((source / "Photos").rglob("*.tif")):
        path.rename(source / path.name)
    assert Counter(row["label"] for row in prepare("bach", source)) == expected


def test_what_a_list_names_and_nobody_has_is_missing(prepare: Prepare, tmp_path: Path) -> None:
    source = iciar(tmp_path / "raw")
    (source / "Photos" / "Benign" / "b002.tif").unlink()
    prepare("bach", source)
    assert "a list of the dataset names are not there: 1 (Photos/b002)" in prepare.said


def test_a_list_wins_over_a_folder_and_says_so(prepare: Prepare, tmp_path: Path) -> None:
    source = iciar(tmp_path / "raw")
    path = source / "Photos" / "microscopy_ground_truth.csv"
    path.write_text(path.read_text().replace("b002.tif,Benign", "b002.tif,Normal"))
    rows = prepare("bach", source)
    assert next(row for row in rows if row["source"].endswith("b002.tif"))["label"] == "normal"
    assert "contradict themselves: their names say otherwise" in prepare.said


@pytest.mark.parametrize("line", ["n002.tif,Malignant", "n002.tif"])
def test_a_list_that_cannot_be_meant_is_refused(bccli: Bccli, tmp_path: Path, line: str) -> None:
    source = iciar(tmp_path / "raw")
    path = source / "Photos" / "microscopy_ground_truth.csv"
    path.write_text(path.read_text().replace("n002.tif,Normal", line))
    result = bccli("prepare", "bach", source, tmp_path / "data", exit=3)
    refused(result, str(path), "line 2", "correct it")


def test_bioimaging_has_a_test_set_of_its_own(prepare: Prepare, tmp_path: Path) -> None:
    rows = prepare("bach", bioimaging(tmp_path / "breasthistology"))
    assert sorted(row["source"] for row in rows if row["split"] == "test") == [
        f"Test_data/t{number}.tif" for number in (1, 2, 3, 4)
    ]
    assert Counter(row["label"] for row in rows) == dict.fromkeys(
        ("normal", "benign", "in_situ", "invasive"), 7
    )
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    assert "own split has no val" in prepare.said
    found = prepare.info["verification"]
    assert (found["edition"], found["by"], found["expected"]) == ("Bioimaging2015", "split", 285)
    assert {"where": "test", "label": "", "found": 4, "expected": 36} in found["shares"]
    rows = prepare("bach", tmp_path / "breasthistology", "--ratios", "1/0/0")
    assert Counter(row["split"] for row in rows) == {"train": 24, "test": 4}


def test_carcinoma_against_the_rest(prepare: Prepare, tmp_path: Path) -> None:
    rows = prepare("bach", iciar(tmp_path / "raw"), "--task", "carcinoma")
    assert prepare.info["classes"] == ["non_carcinoma", "carcinoma"]
    assert {(row["subtype"], row["label"]) for row in rows} == {
        ("normal", "non_carcinoma"), ("benign", "non_carcinoma"),
        ("in_situ", "carcinoma"), ("invasive", "carcinoma"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("head", "mark", "ending"), [("image,patient\n", ",", ".tif"), ("", ";", ""), ("", "\t", ".tif")]
)
def test_patients_come_from_a_list(
    prepare: Prepare, tmp_path: Path, head: str, mark: str, ending: str
) -> None:
    source = iciar(tmp_path / "raw", 8)
    names = [f"{prefix}{number:03d}" for prefix in ("n", "b", "is", "iv") for number in range(1, 7)]
    lines = [f"{name}{ending}{mark}{name.rstrip('0123456789')}-{int(name[-1]) % 3}" for name in names]
    (tmp_path / "patients.csv").write_text(head + "\n".join(lines))
    rows = prepare("bach", source, "--patients", tmp_path / "patients.csv")
    assert len({row["patient"] for row in rows}) == 13
    assert sum(not row["patient"] for row in rows) == 8
    assert crossing([row for row in rows if row["patient"]]) == set()
    assert "the patients of 8 images are unknown" in prepare.said


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("x1.tif,1\n", "names none of the images"),
        ("n001.tif,1\nn001.tif,2\n", "line 2"),
        ("n001.tif\n", "not two columns"),
        ("", "names none of the images"),
        (None, "cannot be read"),
    ],
)
def test_a_list_of_patients_that_cannot_be_meant_is_refused(
    bccli: Bccli, tmp_path: Path, text: str | None, fragment: str
) -> None:
    path = tmp_path / "patients.csv"
    if text is not None:
        path.write_text(text)
    source = iciar(tmp_path / "raw")
    result = bccli("prepare", "bach", source, tmp_path / "data", "--patients", path, exit=3)
    refused(result, str(path), fragment)


def test_a_patient_of_two_images_of_one_name_is_refused(bccli: Bccli, tmp_path: Path) -> None:
    source, path = bioimaging(tmp_path / "raw"), tmp_path / "patients.csv"
    path.write_text("t1.tif,7\n")
    options = "--patients", path
    refused(bccli("prepare", "bach", source, tmp_path / "data", *options, exit=3), "both", "with its folder")
    path.write_text("Training_data/Normal/t1.tif,7\nBenign\\t1.tif,8\n")
    bccli("prepare", "bach", source, tmp_path / "data", *options)
    patients = {row["source"]: row["patient"] for row in read_rows(tmp_path / "data" / "manifest.csv")}
    assert patients["Training_data/Normal/t1.tif"] == "7"
    assert patients["Training_data/Benign/t1.tif"] == "8"
    assert patients["Test_data/t1.tif"] == ""


# Databiox


def test_databiox_is_read_by_its_names(prepare: Prepare, tmp_path: Path) -> None:
    rows = prepare("databiox", databiox(tmp_path / "raw"))
    assert Counter(row["label"] for row in rows) == dict.fromkeys(("grade_1", "grade_2", "grade_3"), 48)
    assert {row["magnification"] for row in rows} == {"4", "10", "20", "40"}
    assert len({row["patient"] for row in rows}) == 18
    assert not crossing(rows)
    assert "Databiox is not complete here: 144 of 922 images" in prepare.said
    rows = prepare("databiox", tmp_path / "raw", "--magnification", "4,40")
    assert {row["magnification"] for row in rows} == {"4", "40"}


def test_oddities_of_databiox_are_tolerated_and_counted(prepare: Prepare, tmp_path: Path) -> None:
    source = databiox(tmp_path / "raw")
    names = {
        "BC_IDC_Grade_1/10x/07_BC_G1 9300 10X.JPG": ("grade_1", "9300", "10"),
        "BC_IDC_Grade_2/10x/08_BC_G3_9301_10x_1.JPEG": ("grade_2", "9301", "10"),
    }
    for name in (*names, "BC_IDC_Grade_1/4x/overview.jpg"):
        save(source / name, draw(0, len(name)))
    found = {row["source"]: row for row in prepare("databiox", source)}
    for name, (label, patient, zoom) in names.items():
        row = found[name]
        assert (row["label"], row["patient"], row["magnification"]) == (label, patient, zoom)
    said = prepare.said
    assert "irregular names were read all the same: 1 (BC_IDC_Grade_1/10x/07_BC_G1 9300 10X.JPG)" in said
    assert "otherwise than their folders or lists: 1 (BC_IDC_Grade_2/10x/08_BC_G3_9301_10x_1.JPEG)" in said
    assert "passed over: 1 (BC_IDC_Grade_1/4x/overview.jpg)" in said


# IDC


def test_each_patch_of_idc_is_taken_once(prepare: Prepare, tmp_path: Path) -> None:
    rows = prepare("idc", idc(tmp_path / "raw"))
    assert len(rows) == 12
    assert not any(row["source"].startswith("IDC") for row in rows)
    said = prepare.said
    assert (
        "copies of images that are there already were passed over: 12 (IDC_regular_ps50_idx5/10253/" in said
    )
    assert prepare.info["excluded"] == {"copy": 12}
    assert prepare.info["verification"]["images"] == 12


# Sampling, holding out, splitting by magnification


def test_a_sample_is_stratified_spread_over_patients_and_the_same_again(
    prepare: Prepare, tmp_path: Path
) -> None:
    source = databiox(tmp_path / "raw")
    rows = prepare("databiox", source, "--sample", 36)
    assert Counter(row["label"] for row in rows) == dict.fromkeys(("grade_1", "grade_2", "grade_3"), 12)
    assert set(Counter(row["patient"] for row in rows).values()) == {2}
    again, other = (
        prepare("databiox", source, "--sample", 36),
        prepare("databiox", source, "--sample", 36, "--seed", 1),
    )
    assert again == rows
    assert {row["source"] for row in other} != {row["source"] for row in rows}
    assert not crossing(rows)


def test_a_sample_can_be_all_and_not_more(bccli: Bccli, prepare: Prepare, tmp_path: Path) -> None:
    source = iciar(tmp_path / "raw")
    assert len(prepare("bach", source, "--sample", 16)) == 16
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[prepare]\nsample = 8\n")
    assert len(prepare("bach", source, "--recipe", recipe)) == 8
    assert len(prepare("bach", source, "--recipe", recipe, "--sample", "all")) == 16
    result = bccli("prepare", "bach", source, tmp_path / "d", "--sample", 17, exit=3)
    refused(result, "--sample 17", "only 16 images")
    refused(bccli("prepare", "bach", source, tmp_path / "d", "--sample", 3, exit=2), "there are 4 classes")
    for wrong in (0, "-1", "most"):
        result = bccli("prepare", "bach", source, tmp_path / "d", "--sample", wrong, exit=2)
        refused(result, "--sample", "neither a number from 1 on nor all")


def test_a_dry_run_of_a_sample_is_what_is_then_made(bccli: Bccli, tmp_path: Path) -> None:
    command = "prepare", "databiox", databiox(tmp_path / "raw"), tmp_path / "data", "--sample", 30
    assert bccli(*command, "--dry-run").stdout == bccli(*command).stdout
    assert "nothing to do" in bccli(*command).stderr


def test_holding_out_takes_whole_patients(prepare: Prepare, tmp_path: Path) -> None:
    rows = prepare("databiox", databiox(tmp_path / "raw"), "--holdout", 21)
    tested = [row for row in rows if row["split"] == "test"]
    assert 21 <= len(tested) <= 28
    assert not crossing(rows)
    assert {row["split"] for row in rows} == {"train", "val", "test"}


def test_bcnets_split_is_that_of_keras(prepare: Prepare, tmp_path: Path) -> None:
    """21 images at random, and of the rest the first quarter of each class in the order of the names."""
    source = databiox(tmp_path / "raw")
    rows = prepare("databiox", source, "--recipe", "bcnet", "--protocol", "paper")
    assert Counter(row["split"] for row in rows)["test"] == 21
    for label in ("grade_1", "grade_2", "grade_3"):
        rest = [row["split"] for row in rows if row["label"] == label and row["split"] != "test"]
        number = len(rest) // 4
        assert rest == ["val"] * number + ["train"] * (len(rest) - number)
    assert {(row["width"], row["height"]) for row in rows} == {("224", "224")}
    assert prepare.info["protocol"] == "paper"


def test_the_split_by_magnification_tests_on_one(bccli: Bccli, prepare: Prepare, tmp_path: Path) -> None:
    source = breakhis(tmp_path / "raw")
    rows = prepare("breakhis", source, "--recipe", "resnet50-breakhis", "--protocol", "paper")
    assert {(row["split"], row["magnification"]) for row in rows} == {
        ("test", "40"), ("train", "100"), ("train", "200"), ("train", "400"),
    }  # fmt: skip
    assert prepare.info["audit"]["test"]["patients"] > 0
    options = "--protocol", "paper", "--split-by", "magnification", "--test-magnification", "40x"
    rows = prepare("breakhis", source, *options, "--ratios", "80/20/0")
    assert {row["split"] for row in rows if row["magnification"] != "40"} == {"train", "val"}
    assert {row["split"] for row in rows if row["magnification"] == "40"} == {"test"}
    result = bccli("prepare", "breakhis", source, tmp_path / "d", *options, "--magnification", "100", exit=3)
    refused(result, "--test-magnification 40", "no image has it", "100×")


@pytest.mark.parametrize("protocol", ["honest", "paper"])
def test_recipes_prepare_their_datasets(prepare: Prepare, tmp_path: Path, protocol: str) -> None:
    for recipe, dataset, source in (
        ("bcnet", "databiox", databiox(tmp_path / "databiox")),
        ("resnet50-breakhis", "breakhis", breakhis(tmp_path / "breakhis", numbers=1)),
    ):
        rows = prepare(dataset, source, "--recipe", recipe, "--protocol", protocol)
        assert bool(crossing(rows)) == (protocol == "paper")
    options = "--recipe", "hybrid-bilstm", "--protocol", protocol, "--sample", 40
    small = "--patch", 8, "--stride", 8, "--stain-target", "reference"
    rows = prepare("bach", iciar(tmp_path / "bach", 20), *options, *small)
    assert Counter(row["split"] for row in rows) == {"train": 28 * 9, "val": 8 * 9, "test": 4 * 9}


@pytest.mark.slow
def test_bach_at_its_real_size_gives_twelve_patches(prepare: Prepare, tmp_path: Path) -> None:
    """TIFF of 2048×1536, Macenko's normalisation to the median of train, 12 patches of 512×512."""
    source = iciar(tmp_path / "bach", 3)
    for number, file in enumerate(sorted(source.rglob("*.tif"))):
        Image.fromarray(draw_slide(number, 0, (2048, 1536))).save(file)
    rows = prepare("bach", source, "--recipe", "hybrid-bilstm", "--sample", 12, "--ratios", "1/1/1")
    assert len(rows) == 12 * 12
    assert {(row["width"], row["height"]) for row in rows} == {("512", "512")}
    corners = {(int(row["row"]), int(row["col"])) for row in rows}
    assert corners == {(512 * row, 512 * col) for row in range(3) for col in range(4)}
    assert prepare.info["preparation"]["stain_target"]["haematoxylin"]
    assert not prepare.info["unstained"]


# What cannot be meant


@pytest.mark.parametrize(
    ("dataset", "options", "code", "fragments"),
    [
        ("breakhis", ("--task", "subtype"), 2, ("--task subtype", "did you mean 'subtypes'?")),
        ("idc", ("--task", "idc"), 2, ("--task has no meaning for idc",)),
        ("breakhis", ("--magnification", "50"), 2, ("--magnification 50", "40, 100, 200, 400")),
        ("breakhis", ("--magnification", "all"), 2, ("--magnification", "'all'")),
        ("breakhis", ("--magnification", "200"), 3, ("no images", "there are images at 40×, 100×")),
        ("breakhis", ("--patients", "x.csv"), 2, ("--patients has no meaning for breakhis",)),
        ("bach", ("--patients", "24"), 2, ("--patients 24", "CSV")),
        ("phantom", ("--patients", "x.csv"), 2, ("--patients x.csv", "phantom takes a number")),
        ("bach", ("--patients", "0"), 2, ("--patients", "'0'")),
        ("bach", ("--test-magnification", "40"), 2, ("--test-magnification has no meaning for bach",)),
        ("breakhis", ("--split-by", "magnification"), 2, ("--test-magnification 40",)),
        ("breakhis", ("--test-magnification", "40"), 2, ("--split-by magnification",)),
        (
            "breakhis",
            ("--split-by", "magnification", "--test-magnification", "40"),
            2,
            ("--split-by magnification", "--protocol paper"),
        ),
        (
            "breakhis",
            (
                "--split-by",
                "magnification",
                "--test-magnification",
                "40",
                "--protocol",
                "paper",
                "--folds",
                3,
            ),
            2,
            ("--folds", "--split-by magnification"),
        ),
        (
            "breakhis",
            ("--split-by", "magnification", "--test-magnification", "40,100", "--protocol", "paper"),
            3,
            ("no image to train on",),
        ),
        ("breakhis", ("--holdout", 21, "--folds", 3), 2, ("--folds", "--holdout")),
        ("breakhis", ("--holdout", 21, "--test-patients", "2523"), 2, ("--test-patients", "--holdout")),
        ("breakhis", ("--holdout", 64), 3, ("--holdout 64", "only 64 images")),
        ("bach", ("--holdout", 3), 2, ("--holdout", "--split-by patient")),
        ("breakhis", ("--sample", 0), 2, ("--sample",)),
    ],
)
def test_options_that_make_no_sense_are_refused(
    bccli: Bccli,
    tmp_path: Path,
    dataset: str,
    options: tuple[object, ...],
    code: int,
    fragments: tuple[str, ...],
) -> None:
    if dataset == "breakhis":
        source = breakhis(tmp_path / "raw", zooms=(40, 100))
    else:
        source = bioimaging(tmp_path / "raw", 2) if dataset == "bach" else idc(tmp_path / "raw")
    refused(bccli("prepare", dataset, source, tmp_path / "data", *options, exit=code), *fragments)


def test_a_source_too_deep_is_told_the_right_one(bccli: Bccli, tmp_path: Path) -> None:
    for dataset, make, deep, right in (
        ("breakhis", breakhis, f"{BREAST}/malignant/SOB", BREAST),
        ("bach", iciar, "Photos/Normal", "Photos"),
        ("databiox", databiox, "BC_IDC_Grade_2/10x", ""),
        ("idc", idc, "9036/0", ""),
    ):  # fmt: skip
        source = make(tmp_path / dataset)
        result = bccli("prepare", dataset, source / deep, tmp_path / "data", exit=3)
        refused(result, str(source / deep), "one class", f"name the folder {source / right} instead")


def test_a_part_of_a_download_is_not_taken_for_a_wrong_level(bccli: Bccli, tmp_path: Path) -> None:
    source = breakhis(tmp_path / "raw", zooms=(40,)) / "BreaKHis_v1"
    shutil.rmtree(tmp_path / "raw" / BREAST / "benign")
    result = bccli("prepare", "breakhis", source, tmp_path / "data", exit=3)
    assert refused(result, "one class (malignant)").endswith("add images of another class")


def test_a_source_too_high_is_read_all_the_same(prepare: Prepare, tmp_path: Path) -> None:
    for dataset, make in (("breakhis", breakhis), ("bach", iciar), ("databiox", databiox), ("idc", idc)):
        make(tmp_path / dataset / "downloads" / "unpacked")
        assert prepare(dataset, tmp_path / dataset)


def test_class_folders_one_level_off_are_found(bccli: Bccli, tmp_path: Path) -> None:
    for number in range(4):
        save(
            tmp_path / "raw" / "images" / ("benign", "malignant")[number % 2] / f"{number}.png",
            draw(0, number),
        )
    command = "prepare", "folder"
    result = bccli(*command, tmp_path / "raw", tmp_path / "data", exit=3)
    refused(result, "one class (images)", f"name the folder {tmp_path / 'raw' / 'images'} instead")
    result = bccli(*command, tmp_path / "raw" / "images" / "benign", tmp_path / "data", exit=3)
    refused(result, "no images", f"name the folder {tmp_path / 'raw' / 'images'} instead")


def test_an_archive_has_to_be_unpacked(bccli: Bccli, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "BreaKHis_v1.tar.gz").write_bytes(b"x")
    result = bccli("prepare", "breakhis", tmp_path / "raw", tmp_path / "data", exit=3)
    refused(result, "no images", "unpack BreaKHis_v1.tar.gz first")


def test_images_of_another_dataset_are_counted(bccli: Bccli, tmp_path: Path) -> None:
    result = bccli("prepare", "databiox", breakhis(tmp_path / "raw", zooms=(40,)), tmp_path / "data", exit=3)
    refused(result, "no images of this dataset were found among 32 (BreaKHis_v1/")


def test_the_table_of_datasets_says_what_belongs_to_them(bccli: Bccli) -> None:
    rows = {row["name"]: row for row in rows_of(bccli("prepare", "--list-datasets").stdout)}
    assert rows["bach"]["images"].startswith("ICIAR2018 BACH: 400; Bioimaging2015: 285")
    assert rows["breakhis"]["tasks"].startswith("binary: benign,malignant; subtypes: adenosis,")
    for name in ("breakhis", "bach", "databiox", "idc"):
        assert all(rows[name][key] for key in ("title", "classes", "licence", "source", "home", "citation"))
        assert "doi:10." in rows[name]["citation"]


def test_pixels_of_a_16_bit_or_cmyk_tiff_do_not_stop_bach(prepare: Prepare, tmp_path: Path) -> None:
    source = iciar(tmp_path / "raw")
    Image.fromarray(draw(0, 1)).convert("CMYK").save(source / "Photos" / "Normal" / "n001.tif")
    deep = np.arange(576, dtype=np.uint16).reshape(24, 24) * 100
    Image.fromarray(deep).save(source / "Photos" / "Benign" / "b001.tif")
    assert len(prepare("bach", source)) == 16
