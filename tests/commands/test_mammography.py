"""`bccli prepare` on mammography as it is downloaded, and `predict` with masks."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl
import pytest
from PIL import Image
from pydicom import uid

from bccli.core.imaging.formats.decoding import decode, decode_deep
from tests.commands.mammograms import (
    FILM,
    MIAS,
    SIZE,
    Lesion,
    box_of,
    cbis,
    circle,
    lesion_mask,
    lesions,
    mammogram,
    mias,
    mini_ddsm,
    place,
    write_lists,
    write_table,
)
from tests.commands.test_histology import Prepare
from tests.conftest import Bccli, read_rows, rows_of, save
from tests.core.imaging.formats.test_dicom import dataset_of, dicom
from tests.sentences import refused

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")  # which warns of what tests write

REGION = "--clahe", "--roi", "crop", "--size", "41x41", "--center-crop", "40x40", "--denoise"


PATHS = "image file path", "cropped image file path", "ROI mask file path"


@pytest.fixture
def prepare(bccli: Bccli, tmp_path: Path) -> Prepare:
    """Prepares into folders of their own."""
    return Prepare(bccli, tmp_path)


def mask_at(data: Path, row: dict[str, str]) -> np.ndarray:
    """The mask of a row of a manifest."""
    return np.asarray(Image.open(data / row["mask"]))


def patients_of(rows: list[dict[str, str]], split: str) -> set[str]:
    """The patients of a split."""
    return {row["patient"] for row in rows if row["split"] == split}


# CBIS-DDSM


@pytest.mark.parametrize("style", ["uids", "digits", "series", "jpeg"])
def test_lesions_of_every_download_have_their_own_masks_also_where_the_lists_swap_them(
    prepare: Prepare, tmp_path: Path, style: str
) -> None:
    wanted = lesions()
    rows = prepare("cbis-ddsm", cbis(tmp_path / "raw", wanted, style))
    assert not (tmp_path / "data0" / "quarantine.csv").exists()
    by_region = {place(lesion.paths["image file path"], style): lesion for lesion in wanted}
    assert {row["source"] for row in rows} == set(by_region)
    assert len(rows) == len(wanted)
    for lesion, row in zip(sorted(wanted, key=lambda entry: entry.split == "test"), rows, strict=True):
        malignant = lesion.pathology == "MALIGNANT"
        assert row["label"] == ("malignant" if malignant else "benign")
        assert row["source"] == place(lesion.paths["image file path"], style)
        assert (row["patient"], row["view"], row["subtype"]) == (lesion.patient, lesion.view, "mass")
        assert row["side"] == lesion.side[0]
        assert row["box"] == ",".join(map(str, box_of(lesion_mask(lesion.seed))))
        assert (mask_at(tmp_path / "data0", row) == lesion_mask(lesion.seed)).all()
    official = {lesion.patient: lesion.split for lesion in wanted}
    assert all((row["split"] == "test") == (official[row["patient"]] == "test") for row in rows)
    assert patients_of(rows, "val")
    assert not patients_of(rows, "val") & patients_of(rows, "train")


def test_the_jpeg_copy_is_found_by_its_own_table_whatever_its_folders_are_called(
    prepare: Prepare, tmp_path: Path
) -> None:
    source = cbis(tmp_path / "raw", lesions(), "jpeg")
    expected = prepare("cbis-ddsm", source)
    info = (source / "csv" / "dicom_info.csv").read_text()
    for number, folder in enumerate(sorted((source / "jpeg").iterdir())):
        info = info.replace(f"jpeg/{folder.name}/", f"jpeg/s{number}/")
        folder.rename(folder.with_name(f"s{number}"))
    (source / "csv" / "dicom_info.csv").write_text(info)
    assert [row["sha256"] for row in prepare("cbis-ddsm", source)] == [row["sha256"] for row in expected]
    (source / "csv" / "dicom_info.csv").write_text(info.replace("image_path", "path"))
    refused(prepare.bccli("prepare", "cbis-ddsm", source, tmp_path / "x", exit=3), "no column 'image_path'")


def test_the_paper_joins_train_and_test_and_splits_by_the_image(prepare: Prepare, tmp_path: Path) -> None:
    source = cbis(tmp_path / "raw", lesions())
    rows = prepare("cbis-ddsm", source, "--recipe", "cbis-ddsm-tl", "--protocol", "paper", "--no-denoise")
    assert Counter(row["split"] for row in rows) == {"train": 17, "val": 2, "test": 2}
    honest = prepare("cbis-ddsm", cbis(tmp_path / "few", lesions(3)), "--recipe", "cbis-ddsm-ft")
    assert {(row["width"], row["height"]) for row in honest} == {("320", "320")}
    assert Counter(row["split"] for row in honest)["test"] == 3


def test_calcifications_are_a_task_and_mixed_lesions_cross_the_split(
    prepare: Prepare, bccli: Bccli, tmp_path: Path
) -> None:
    crossing = [
        Lesion("P_00000", kind="calc", split="test"),
        Lesion("P_00001", "MALIGNANT", kind="calc"),
        Lesion("P_00090", kind="calc"),
    ]
    source = cbis(tmp_path / "raw", [*lesions(), *crossing])
    rows = prepare("cbis-ddsm", source, "--task", "calcifications", "--ratios", "1/0/0")
    assert {(row["patient"], row["subtype"]) for row in rows} == {
        (lesion.patient, "calcification") for lesion in crossing
    }
    command = "prepare", "cbis-ddsm", source, tmp_path / "all", "--task", "all"
    refused(bccli(*command, exit=3), "in test and in train or val: 1 of 10 (P_00000)", "--protocol paper")
    assert len(prepare("cbis-ddsm", source, "--task", "all", "--protocol", "paper")) == 24


MPEG2 = "1.2.840.10008.1.2.4.100"
MASK, FILM_PIXELS = lesion_mask(0), mammogram(0)
BAD = {
    "no pixels": ("image", dicom(FILM_PIXELS, PixelData=None), "holds no image (no pixel data)"),
    "wrong length": ("image", dicom(FILM_PIXELS)[:-500], "is damaged"),
    "no codec": (
        "image",
        dicom(FILM_PIXELS, syntax=MPEG2, stream=b"\xff\x4f\xff\x51" + b"\0" * 96),
        "is compressed in a way that bccli cannot read (MPEG2",
    ),
    "other size": ("mask", dicom(MASK[:-8]), "has another size (96×152, not 96×160)"),
    "empty": ("mask", dicom(MASK * 0), "is empty"),
    "white": ("mask", dicom(MASK * 0 + 255), "is white all over"),
    "no mask": ("mask", dicom(mammogram(9) >> 8), "more values than the two of a mask"),
}


@pytest.mark.parametrize("fault", list(BAD))
def test_lesions_that_cannot_be_used_are_in_the_quarantine_with_the_reason(
    bccli: Bccli, tmp_path: Path, fault: str
) -> None:
    role, data, reason = BAD[fault]
    source = cbis(tmp_path / "raw", lesions())
    bad = Lesion("P_00070", "MALIGNANT")
    cbis(tmp_path / "bad", [bad], **{role: data})
    for path in (tmp_path / "bad" / "CBIS-DDSM").iterdir():
        path.rename(source / "CBIS-DDSM" / path.name)
    write_lists(source, [*lesions(), bad])
    result = bccli("prepare", "cbis-ddsm", source, tmp_path / "data", exit=4)
    assert "1 of 19 images could not be read" in result.stderr
    (row,) = read_rows(tmp_path / "data" / "quarantine.csv")
    assert row["path"] == place(bad.paths["image file path"], "uids")
    assert reason in row["reason"]


def scaled_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another width and height, by hand: each pixel is the one that its middle falls into."""
    (height, width), (across, down) = mask.shape, size
    rows = ((np.arange(down) + 0.5) * height / down).astype(int)
    columns = ((np.arange(across) + 0.5) * width / across).astype(int)
    return mask[rows][:, columns]


@pytest.mark.parametrize("style", ["uids", "jpeg"])
@pytest.mark.parametrize(("options", "margin"), [((), 0), (REGION, 0), ((*REGION, "--margin", "5"), 5)])
def test_masks_of_0_870_times_their_films_size_are_scaled_and_counted(
    prepare: Prepare, tmp_path: Path, style: str, options: tuple[str, ...], margin: int
) -> None:
    """The 78 masses of CBIS-DDSM of which this is so stay in, with their boxes where they belong."""
    size = 320, 528
    small = round(0.87 * size[0]), round(0.87 * size[1])
    wanted = lesions()
    scaled = [lesion for lesion in wanted if lesion.patient in ("P_00001", "P_00003", "P_00007")]
    source = cbis(tmp_path / "raw", wanted, style, size=size, sizes=dict.fromkeys(scaled, small))
    rows = prepare("cbis-ddsm", source, *options)
    assert len(rows) == len(wanted)
    assert prepare.info["quarantined"] == 0
    first = [place(lesion.paths["image file path"], style) for lesion in scaled]
    assert prepare.info["remarks"]["mask_scaled"] == {"count": len(scaled), "first": first[:3]}
    assert f"were scaled to it: {len(scaled)} ({first[0]}, " in prepare.said
    for lesion, row in zip(sorted(wanted, key=lambda entry: entry.split == "test"), rows, strict=True):
        mask = lesion_mask(lesion.seed, size)
        if lesion in scaled:
            mask = scaled_mask(scaled_mask(mask, small), size)
        left, top, right, bottom = box_of(mask)
        assert row["box"] == f"{left - margin},{top - margin},{right + margin},{bottom + margin}"
        assert all(
            abs(one - other) <= 2
            for one, other in zip(box_of(mask), box_of(lesion_mask(lesion.seed, size)), strict=True)
        )


def test_a_mask_of_the_right_size_comes_before_one_that_would_have_to_be_scaled(
    prepare: Prepare, tmp_path: Path
) -> None:
    wanted = lesions()
    source = cbis(tmp_path / "raw", wanted, crop=dicom(scaled_mask(lesion_mask(3), (192, 320))))
    rows = prepare("cbis-ddsm", source)
    assert "mask_scaled" not in prepare.info["remarks"]
    for lesion, row in zip(sorted(wanted, key=lambda entry: entry.split == "test"), rows, strict=True):
        assert row["box"] == ",".join(map(str, box_of(lesion_mask(lesion.seed))))


WRONG_SIZES = {
    "another aspect": (lesion_mask(0, (84, 136)), "its mask {} has another size (84×136, not 96×160)"),
    "too small": (lesion_mask(0, (40, 67)), "its mask {} has another size (40×67, not 96×160)"),
    "too large": (lesion_mask(0, (288, 480)), "its mask {} has another size (288×480, not 96×160)"),
    "cut": (lesion_mask(0, (95, 159)), "its mask {} has another size (95×159, not 96×160)"),
    "a picture": (mammogram(0, (84, 139)) >> 8, "its crop {} has another size (84×139, not 96×160)"),
}


@pytest.mark.parametrize("kind", list(WRONG_SIZES))
def test_what_is_no_smaller_copy_of_a_mask_is_refused(bccli: Bccli, tmp_path: Path, kind: str) -> None:
    pixels, reason = WRONG_SIZES[kind]
    good, bad = lesions(), Lesion("P_00070", "MALIGNANT")
    source = cbis(tmp_path / "raw", good)
    cbis(tmp_path / "bad", [bad], mask=dicom(pixels.astype(np.uint8)), crop=dicom(mammogram(3, (30, 30))))
    for path in (tmp_path / "bad" / "CBIS-DDSM").iterdir():
        path.rename(source / "CBIS-DDSM" / path.name)
    write_lists(source, [*good, bad])
    bccli("prepare", "cbis-ddsm", source, tmp_path / "data", exit=4)
    (row,) = read_rows(tmp_path / "data" / "quarantine.csv")
    assert reason.format(place(bad.paths["ROI mask file path"], "uids")) in row["reason"]
    assert "remarks" in json.loads((tmp_path / "data" / "dataset.json").read_text())


def test_faulty_lists_are_refused_in_a_sentence(bccli: Bccli, tmp_path: Path) -> None:
    source = cbis(tmp_path / "raw", lesions())
    path = source / "mass_case_description_train_set.csv"
    text = path.read_text()

    def error(new: bytes, *fragments: str) -> None:
        path.write_bytes(new)
        refused(bccli("prepare", "cbis-ddsm", source, tmp_path / "data", exit=3), path.name, *fragments)

    error(text.replace("pathology", "diagnosis").encode(), "no column 'pathology'", "'diagnosis'")
    error(text.replace("IRREGULAR", "UNREGELMÄSSIG").encode("latin-1"), "is not in UTF-8")
    error(text.replace("P_00001_LEFT_CC/", "../../../etc/").encode(), "line", "leaves the CSV's folder")
    error(text.replace("MALIGNANT", "UNSURE").encode(), "pathology 'UNSURE' is none of MALIGNANT, BENIGN")
    error(b"", "is empty")
    path.write_bytes(text.encode("utf-16"))
    bccli("prepare", "cbis-ddsm", source, tmp_path / "data")
    assert len(read_rows(tmp_path / "data" / "manifest.csv")) == 21


def test_a_list_that_names_files_that_are_not_there_says_so(bccli: Bccli, tmp_path: Path) -> None:
    source = cbis(tmp_path / "raw", lesions())
    gone = next((source / "CBIS-DDSM" / lesions()[0].case).rglob("*.dcm"))
    gone.unlink()
    said = bccli("prepare", "cbis-ddsm", source, tmp_path / "data").stderr
    assert "images that a list of the dataset names are not there: 2 (Mass-Training_P_00000_LEFT_CC" in said
    write_lists(tmp_path / "only", lesions())
    result = bccli("prepare", "cbis-ddsm", tmp_path / "only", tmp_path / "x", exit=3)
    refused(result, "no images of this dataset", "21 that a list names are not there")
    (tmp_path / "nothing").mkdir()
    refused(
        bccli("prepare", "cbis-ddsm", tmp_path / "nothing", tmp_path / "x", exit=3),
        "holds no mass_case_description_train_set.csv",
    )


@pytest.mark.parametrize("style", ["uids", "digits"])
def test_masks_at_the_very_paths_of_the_real_lists_are_found_by_their_pixels(
    prepare: Prepare, tmp_path: Path, real_data: Path, style: str
) -> None:
    """Rows with mask and crop in one series and in two; every other lesion has them swapped."""
    wanted: list[tuple[dict[str, str], np.ndarray]] = []
    for split in ("train", "test"):
        name = f"mass_case_description_{split}_set.csv"
        with (real_data / "cbis-ddsm-csv" / name).open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        series = [[row[column].split("/")[2] for column in PATHS[1:]] for row in rows]
        apart = [row for row, (crop, mask) in zip(rows, series, strict=True) if crop != mask][:6]
        together = [row for row in rows if row not in apart][:8]
        write_table(tmp_path / "raw" / name, [*together, *apart])
        wanted += [(row, lesion_mask(len(wanted) + place)) for place, row in enumerate([*together, *apart])]
    for number, (row, mask) in enumerate(wanted):
        left, top, right, bottom = box_of(mask)
        film = mammogram(sum(row[PATHS[0]].encode()))
        contents = (
            [film, mask, film[top:bottom, left:right]] if number % 2 else [film, film[top:bottom], mask]
        )
        for column, pixels in zip(PATHS, contents, strict=True):
            path = tmp_path / "raw" / place(row[column], style)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dicom(pixels))
    rows = prepare("cbis-ddsm", tmp_path / "raw")
    assert len(rows) == len(wanted) == 28
    for row, (listed, mask) in zip(rows, wanted, strict=True):
        assert row["source"] == place(listed[PATHS[0]], style)
        assert row["label"] == ("malignant" if listed["pathology"] == "MALIGNANT" else "benign")
        assert (mask_at(tmp_path / "data0", row) == mask).all()


def real_tree(real_data: Path, root: Path, kinds: tuple[str, ...]) -> Path:
    """DICOM files at all paths of the real lists of these kinds, the same few pixels everywhere."""
    files = {
        "image file path": dicom(mammogram(1, (24, 40))),
        "cropped image file path": dicom(mammogram(2, (6, 8))),
    }
    files["ROI mask file path"] = dicom(lesion_mask(3, (80, 80))[:40, :24])
    root.mkdir()
    for source in sorted((real_data / "cbis-ddsm-csv").glob("*.csv")):
        if source.name.startswith(kinds):
            (root / source.name).write_bytes(source.read_bytes())
            with source.open(newline="") as stream:
                for row in csv.DictReader(stream):
                    for column, data in files.items():
                        path = root / row[column].strip()
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_bytes(data)
    return root


def test_the_real_lists_have_as_many_masses_as_the_paper_says(
    bccli: Bccli, tmp_path: Path, real_data: Path
) -> None:
    source = real_tree(real_data, tmp_path / "raw", ("mass",))
    command = "prepare", "cbis-ddsm", source, tmp_path / "data", "--dry-run"
    result = bccli(*command, "--ratios", "1/0/0")
    counts = {(row["part"], row["label"]): int(row["images"]) for row in rows_of(result.stdout)}
    assert counts == {
        ("train", "benign"): 681,
        ("train", "malignant"): 637,
        ("test", "benign"): 231,
        ("test", "malignant"): 147,
    }
    assert "not complete" not in result.stderr


@pytest.mark.slow
def test_with_calcifications_31_patients_of_the_real_lists_cross_the_split(
    bccli: Bccli, tmp_path: Path, real_data: Path
) -> None:
    """18 of them have masses in test and calcifications in train, 13 the other way."""
    source = real_tree(real_data, tmp_path / "raw", ("mass", "calc"))
    command = "prepare", "cbis-ddsm", source, tmp_path / "data", "--dry-run"
    refused(bccli(*command, "--task", "all", exit=3), "in test and in train or val: 31 of 1566")
    by_list: dict[str, set[str]] = {}
    for path in source.glob("*.csv"):
        with path.open(newline="") as stream:
            by_list[path.name[:4] + path.name.split("_")[3]] = {
                row["patient_id"] for row in csv.DictReader(stream)
            }
    assert len(by_list["calctrain"] & by_list["masstest"]) == 18
    assert len(by_list["masstrain"] & by_list["calctest"]) == 13
    assert not by_list["masstrain"] & by_list["masstest"]
    bccli(*command, "--task", "all", "--protocol", "paper")
    bccli(*command, "--task", "calcifications")


# Privacy

SECRETS = {
    "PatientName": "Doe^Jane",
    "PatientID": "MRN4711-77",
    "PatientBirthDate": "19520317",
    "OtherPatientNames": "Roe^Janet",
    "InstitutionName": "Hospital of Nowhere",
    "ReferringPhysicianName": "Grey^Meredith",
    "AccessionNumber": "ACC99182",
    "PatientAddress": "7 Elm Street",
    "StudyDate": "20010203",
    "StationName": "SCANNER-SEVEN",
    "StudyID": "STUDY55188",
    "ImageComments": "seen by Dr. Grey",
    "PatientAge": "049Y",
    "DeviceSerialNumber": "SN-0815-4711",
    "OperatorsName": "Poe^Operator",
    "ProtocolName": "Protocol of Nowhere",
}


def secret_words() -> set[str]:
    """The values and their longer words."""
    words = {word for secret in SECRETS.values() for word in re.split(r"[\^ ]", secret) if len(word) > 3}
    return words | set(SECRETS.values())


def test_nothing_that_a_dicom_file_says_of_a_patient_reaches_an_output(bccli: Bccli, tmp_path: Path) -> None:
    source = cbis(tmp_path / "raw", lesions())
    for number, path in enumerate(sorted(source.rglob("*.dcm"))):
        pixels = decode_deep(path)
        dataset = dataset_of(pixels, Modality="MG", Manufacturer="Maker", **SECRETS)
        dataset.save_as(path, enforce_file_format=True)
        if number % 7 == 0:  # damaged, so that messages are searched, too
            path.write_bytes(path.read_bytes()[:-100])
    (source / "CBIS-DDSM").joinpath("no_pixels.dcm").write_bytes(
        dicom(FILM_PIXELS, PixelData=None, **SECRETS)
    )
    result = bccli("-v", "prepare", "cbis-ddsm", source, tmp_path / "data", *REGION, exit=4)
    outputs = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    outputs[Path("stdout")], outputs[Path("stderr")] = result.stdout.encode(), result.stderr.encode()
    assert len(read_rows(tmp_path / "data" / "quarantine.csv")) > 3
    kept = {(row["scanner"], row["age"]) for row in read_rows(tmp_path / "data" / "manifest.csv")}
    assert kept == {("Maker", "49")}
    for path, data in outputs.items():
        for word in secret_words():
            assert word.encode() not in data, f"{word} in {path}"


# Regions


def plainly(
    image: np.ndarray, mask: np.ndarray, *, margin: int = 0, size: int = 41, centre: int = 40
) -> np.ndarray:
    """The paper's steps (section 4.3.1) as OpenCV calls on the whole image."""
    grey = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    equalised = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(grey)
    x, y, width, height = cv2.boundingRect(mask)
    rows = slice(max(y - margin, 0), y + height + margin)
    region = equalised[rows, max(x - margin, 0) : x + width + margin]
    region = cv2.normalize(region, None, 0, 255, cv2.NORM_MINMAX)
    shrinking = region.shape[0] >= size and region.shape[1] >= size
    resized = cv2.resize(region, (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
    edge = (size - centre) // 2
    return cv2.fastNlMeansDenoising(np.ascontiguousarray(resized[edge : edge + centre, edge : edge + centre]))


@pytest.mark.parametrize("margin", [0, 6])
def test_regions_are_those_of_the_papers_steps_on_the_whole_image(
    prepare: Prepare, tmp_path: Path, margin: int
) -> None:
    wanted = lesions()
    rows = prepare("cbis-ddsm", cbis(tmp_path / "raw", wanted), *REGION, "--margin", margin)
    ordered = sorted(wanted, key=lambda entry: entry.split == "test")
    for lesion, row in zip(ordered, rows, strict=True):
        image = mammogram(lesion.seed // 100 * 100 + lesion.seed % 10)
        expected = plainly(image, lesion_mask(lesion.seed), margin=margin)
        assert (decode(tmp_path / "data0" / row["path"]) == expected[:, :, None]).all()
        left, top, right, bottom = box_of(lesion_mask(lesion.seed))
        assert row["box"] == f"{left - margin},{top - margin},{right + margin},{bottom + margin}"


def test_regions_grow_by_a_share_of_their_size_and_another_share_is_another_dataset(
    prepare: Prepare, bccli: Bccli, tmp_path: Path
) -> None:
    wanted = lesions(4)
    source = cbis(tmp_path / "raw", wanted)
    rows = prepare("cbis-ddsm", source, "--roi", "crop", "--context", "0.5")
    ordered = sorted(wanted, key=lambda entry: entry.split == "test")
    for lesion, row in zip(ordered, rows, strict=True):
        mask = lesion_mask(lesion.seed)
        left, top, right, bottom = box_of(mask)
        across, upwards = -(-(right - left) // 4), -(-(bottom - top) // 4)
        expected = (
            max(left - across, 0), max(top - upwards, 0),
            min(right + across, mask.shape[1]), min(bottom + upwards, mask.shape[0]),
        )  # fmt: skip
        assert row["box"] == ",".join(map(str, expected))
        assert (int(row["width"]), int(row["height"])) == (
            expected[2] - expected[0],
            expected[3] - expected[1],
        )
    command = "prepare", "cbis-ddsm", source, tmp_path / "data0", "--roi", "crop", "--context"
    bccli(*command, "0.5")
    refused(bccli(*command, "0.6", exit=3), "context", "0.5", "0.6")
    refused(bccli(*command[:-1], exit=3), "context", "0.5")


def test_mask_blackens_what_is_outside_of_the_mask(prepare: Prepare, tmp_path: Path) -> None:
    lesion, *_ = wanted = lesions()
    row, *_ = prepare("cbis-ddsm", cbis(tmp_path / "raw", wanted), "--roi", "mask")
    image, mask = decode(tmp_path / "data0" / row["path"])[:, :, 0], lesion_mask(lesion.seed)
    film = mammogram(lesion.seed // 100 * 100 + lesion.seed % 10)
    grey = cv2.normalize(film, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    assert (image == np.where(mask > 0, grey, 0)).all()


def test_regions_of_another_aspect_ratio_are_excluded_and_counted(prepare: Prepare, tmp_path: Path) -> None:
    wanted = lesions()
    source = cbis(tmp_path / "raw", wanted)
    ratios = []
    for lesion in wanted:
        left, top, right, bottom = box_of(lesion_mask(lesion.seed))
        ratios.append((right - left) / (bottom - top))
    low, high = sorted(ratios)[3], sorted(ratios)[-3]
    rows = prepare("cbis-ddsm", source, *REGION, "--aspect", f"{low - 1e-6},{high + 1e-6}")
    inside = sum(low <= ratio <= high for ratio in ratios)
    assert 0 < inside < len(wanted)
    assert len(rows) == inside
    assert prepare.info["excluded"] == {"aspect_ratio": len(wanted) - inside}
    assert f"{len(wanted) - inside} images have an aspect ratio outside of --aspect" in prepare.said
    assert prepare.info["quarantined"] == 0


def test_predict_gets_the_pixels_that_prepare_wrote_with_every_step_for_mammograms(
    prepare: Prepare, tmp_path: Path
) -> None:
    """The same function with the settings that dataset.json keeps."""
    from bccli.core.data.dataset import load_dataset
    from bccli.core.imaging.preparation import prepare_image

    wanted = lesions(4)
    source = cbis(tmp_path / "raw", wanted)
    steps = (
        ("--clahe",),
        ("--denoise",),
        ("--roi", "mask", "--clahe", "--fit", "pad", "--size", "50x60"),
        ("--roi", "crop", "--margin", "4", "--fit", "crop", "--size", "30x20"),
        ("--roi", "crop", "--context", "0.3", "--fit", "crop", "--size", "30x20"),
        REGION,
        (*REGION, "--clahe-clip", "4.5", "--clahe-tiles", "5", "--interpolation", "lanczos"),
        (*REGION, "--denoise-strength", "12.5", "--denoise-template", "5", "--denoise-search", "13"),
    )
    ordered = sorted(wanted, key=lambda entry: entry.split == "test")
    written = set()
    for number, options in enumerate(steps):
        prepare("cbis-ddsm", source, *options)
        written.add((tmp_path / f"data{number}" / "images" / "000" / "000000.png").read_bytes())
        dataset = load_dataset(tmp_path / f"data{number}")
        for lesion, sample in zip(ordered, dataset.samples, strict=True):
            mask = lesion_mask(lesion.seed)
            raw = decode_deep(source / sample.source)
            (anew,) = prepare_image(raw, dataset.preparation, mask).patches
            assert (decode(tmp_path / f"data{number}" / sample.path) == anew.image).all()
    assert len(written) == len(steps)
    assert [
        load_dataset(tmp_path / f"data{number}").info.preparation.get("context") for number in (3, 4)
    ] == [
        None,
        0.3,
    ]


def test_a_white_edge_of_the_film_is_left_out_under_honest_and_predict_does_the_same(
    prepare: Prepare, tmp_path: Path
) -> None:
    """Masks run along the edge; the paper's way is its own minimum, maximum and bounding box."""
    from bccli.core.data.dataset import load_dataset
    from bccli.core.imaging.preparation import prepare_image

    table, films = [], {}
    for number in range(6):
        film, mask = mammogram(number, (192, 320)), lesion_mask(number, (192, 320))
        left, top, right, bottom = box_of(mask)
        film[:, :5] = 65_535
        marked = mask.copy()
        marked[top - 30 : bottom + 30, :5] = 255
        save(tmp_path / "raw" / f"{number}.png", film)
        save(tmp_path / "raw" / f"{number}_m.png", marked)
        names = {"path": f"{number}.png", "mask": f"{number}_m.png"}
        table.append({**names, "label": "ab"[number % 2], "patient": number})
        films[names["path"]] = film, marked, (left, top, right, bottom)
    listed = write_table(tmp_path / "raw" / "list.csv", table)
    for number, protocol in enumerate(("honest", "paper")):
        rows = prepare("csv", listed, *REGION, "--ratios", "1/0/0", "--protocol", protocol)
        assert prepare.info["preparation"].get("trim_edge", False) is (protocol == "honest")
        dataset = load_dataset(tmp_path / f"data{number}")
        for row in rows:
            film, marked, inside = films[row["source"]]
            assert row["box"] == ",".join(map(str, inside if protocol == "honest" else box_of(marked)))
            image = decode(tmp_path / f"data{number}" / row["path"])
            (anew,) = prepare_image(
                decode_deep(tmp_path / "raw" / row["source"]), dataset.preparation, marked
            ).patches
            assert (image == anew.image).all()
            if protocol == "paper":
                assert (image == plainly(film, marked)[:, :, None]).all()
    prepare("csv", listed, "--ratios", "1/0/0")
    assert "trim_edge" not in prepare.info["preparation"]  # white at the border may be anything
    prepare("cbis-ddsm", cbis(tmp_path / "films", lesions()))
    assert prepare.info["preparation"]["trim_edge"] is True


def test_two_workers_and_shards_prepare_the_same_regions(
    bccli: Bccli, prepare: Prepare, tmp_path: Path
) -> None:
    source = cbis(tmp_path / "raw", lesions())
    prepare("cbis-ddsm", source, *REGION)
    for shard in ("1/2", "2/2"):
        bccli("prepare", "cbis-ddsm", source, tmp_path / "sharded", *REGION, "--workers", 2, "--shard", shard)
    first, second = (
        json.loads((tmp_path / name / "dataset.json").read_text()) for name in ("data0", "sharded")
    )
    assert first["content_hash"] == second["content_hash"]


# Mini-DDSM


def test_a_breast_without_a_contour_is_normal_and_protocols_differ_on_the_other_view(
    prepare: Prepare, tmp_path: Path
) -> None:
    source = mini_ddsm(tmp_path / "raw").write()
    paper = prepare("mini-ddsm", source, "--protocol", "paper")
    assert Counter(row["label"] for row in paper) == {"normal": 33, "benign": 8, "cancer": 7}
    other = "Cancer/0001/A_0001_1.RIGHT_MLO.jpg"
    assert {row["label"] for row in paper if row["source"] == other} == {"normal"}
    honest = prepare("mini-ddsm", source)
    assert Counter(row["label"] for row in honest) == {"normal": 32, "benign": 8, "cancer": 7}
    assert prepare.info["excluded"] == {"other_view": 1}
    assert f"in the other view only were left out: 1 ({other})" in prepare.said
    assert not any(row["source"] == other for row in honest)
    assert len({row["patient"] for row in honest}) == 12
    assert {row["patient"] for row in honest if "0001" in row["source"]} == {
        "Normal_0001",
        "Benign_0001",
        "Cancer_0001",
    }
    assert {(row["view"], row["side"]) for row in honest} == {(v, s) for v in ("CC", "MLO") for s in "LR"}
    assert not patients_of(honest, "test") & (patients_of(honest, "train") | patients_of(honest, "val"))


def test_up_to_six_thin_contours_are_filled_together(prepare: Prepare, tmp_path: Path) -> None:
    dataset = mini_ddsm(tmp_path / "raw")
    dataset.add("Cancer", "0100", {"LEFT_CC": 6, "LEFT_MLO": 2})
    rows = prepare("mini-ddsm", dataset.write())
    (six,) = (row for row in rows if "0100" in row["source"] and row["mask"] and row["view"] == "CC")
    mask = mask_at(tmp_path / "data0", six) > 0
    size = mask.shape[1], mask.shape[0]
    places = [(14 + 12 * (place % 3), 20 + 30 * (place // 3)) for place in range(6)]
    filled = np.maximum.reduce([circle(size, x, y, 7, line=False) for x, y in places]) > 0
    assert (mask & filled).sum() > 0.98 * filled.sum()
    assert (mask & ~filled).sum() < 0.25 * filled.sum()
    assert all(mask[y, x] for x, y in places)
    assert six["label"] == "cancer"


def write_xlsx(path: Path, rows: list[dict[str, object]]) -> None:
    """The index on the second sheet of a workbook."""
    book = openpyxl.Workbook()
    book.active.append(["Readme"])
    sheet = book.create_sheet("DataWMask")
    sheet.append(list(rows[0]))
    for row in rows:
        sheet.append([None if value == "" else value for value in row.values()])
    book.save(path)


def test_the_index_may_be_xlsx_with_other_slashes_and_on_a_second_sheet(
    prepare: Prepare, bccli: Bccli, tmp_path: Path
) -> None:
    dataset = mini_ddsm(tmp_path / "raw")
    expected = prepare("mini-ddsm", dataset.write())
    (tmp_path / "raw" / "Dataset.csv").unlink()
    rows = [
        {key: str(value).replace("\\", "/") if key != "Age" else float(value) for key, value in row.items()}  # type: ignore[arg-type]
        for row in dataset.films
    ]
    write_xlsx(tmp_path / "raw" / "DataWMask.xlsx", rows)
    assert prepare("mini-ddsm", tmp_path / "raw") == expected
    assert prepare("mini-ddsm", tmp_path / "raw" / "DataWMask.xlsx") == expected
    (tmp_path / "raw" / "DataWMask.xlsx").write_bytes(b"PK\3\4 half of a download")
    refused(bccli("prepare", "mini-ddsm", tmp_path / "raw", tmp_path / "x", exit=3), "is no whole archive")


def test_of_several_indexes_the_one_whose_films_are_there_counts(prepare: Prepare, tmp_path: Path) -> None:
    dataset = mini_ddsm(tmp_path / "raw")
    more = [{**row, "fullPath": str(row["fullPath"]).replace("0001", "0901")} for row in dataset.films]
    write_table(tmp_path / "raw" / "All.csv", [*dataset.films, *more])
    write_table(tmp_path / "raw" / "A few.csv", dataset.films[:9])
    write_table(tmp_path / "raw" / "Other.csv", [{"a": 1}])
    assert len(prepare("mini-ddsm", dataset.write())) == 47
    assert "not there" not in prepare.said
    write_table(tmp_path / "raw" / "Dataset.csv", [*dataset.films, dataset.films[0]])
    assert len(prepare("mini-ddsm", tmp_path / "raw")) == 47
    assert "copies of images that are there already were passed over: 1" in prepare.said


def test_faulty_indexes_are_refused_in_a_sentence(bccli: Bccli, tmp_path: Path) -> None:
    dataset = mini_ddsm(tmp_path / "raw")
    path = dataset.write() / "Dataset.csv"
    text = path.read_text()

    def error(new: str, *fragments: str) -> None:
        path.write_text(new)
        refused(bccli("prepare", "mini-ddsm", path.parent, tmp_path / "data", exit=3), path.name, *fragments)

    error(text.replace("Status", "Diagnosis"), "no column 'Status'", "'Diagnosis'")
    error(text.replace("\\Benign\\0001", "\\..\\..\\etc"), "line", "leaves the CSV's folder")
    error(text.replace(",LEFT,", ",BOTH,"), "Side 'BOTH' is none of LEFT, RIGHT")
    error(text.replace(",Benign,", ",Unsure,"), "Status 'Unsure' is none of Normal, Benign, Cancer")
    path.unlink()
    refused(bccli("prepare", "mini-ddsm", tmp_path / "raw", tmp_path / "data", exit=3), "holds no index")
    refused(bccli("prepare", "mini-ddsm", tmp_path / "no", tmp_path / "data", exit=3), "does not exist")


def test_a_film_or_contour_that_is_not_there_is_named(bccli: Bccli, tmp_path: Path) -> None:
    source = mini_ddsm(tmp_path / "raw").write()
    (source / "Benign" / "0001" / "A_0001_1.LEFT_CC.jpg").unlink()
    masks = [source / "Benign" / f"000{number}" / f"A_000{number}_1.LEFT_CC_Mask.jpg" for number in (2, 3, 4)]
    masks[0].unlink()
    save(masks[1], np.zeros((8, 8), np.uint8))
    save(masks[2], np.zeros_like(np.asarray(Image.open(masks[2]))))
    region = "--task", "malignancy", "--roi", "crop", "--ratios", "1/0/0"
    result = bccli("prepare", "mini-ddsm", source, tmp_path / "data", *region, exit=4)
    assert "names are not there: 1 (Benign/0001/A_0001_1.LEFT_CC.jpg)" in result.stderr
    rows = read_rows(tmp_path / "data" / "quarantine.csv")
    assert [row["path"] for row in rows] == [
        f"Benign/000{number}/A_000{number}_1.LEFT_CC.jpg" for number in (2, 3, 4)
    ]
    endings = "does not exist", "has another size (8×8, not", "is empty"
    for row, mask, ending in zip(rows, masks, endings, strict=True):
        assert row["reason"].startswith(f"its mask {mask.relative_to(source)} {ending}")


@pytest.mark.parametrize("lost", [("",), ("2",), ("", "2", "3", "4")])
def test_a_contour_that_is_not_there_costs_the_image_only_where_masks_are_needed(
    prepare: Prepare, bccli: Bccli, tmp_path: Path, lost: tuple[str, ...]
) -> None:
    """The index still makes the breast a tumour, as it does that of its other view."""
    source = mini_ddsm(tmp_path / "raw").write()
    whole = prepare("mini-ddsm", source, "--ratios", "1/0/0")
    film = "Benign/0004/A_0004_1.LEFT_MLO.jpg"
    for number in lost:
        (source / film.replace(".jpg", f"_Mask{number}.jpg")).unlink()
    rows = prepare("mini-ddsm", source, "--ratios", "1/0/0")
    assert [(row["source"], row["label"], row["sha256"]) for row in rows] == [
        (row["source"], row["label"], row["sha256"]) for row in whole
    ]
    assert [
        row["source"] for row, before in zip(rows, whole, strict=True) if before["mask"] > row["mask"]
    ] == [film]
    first = film.replace(".jpg", f"_Mask{lost[0]}.jpg")
    assert prepare.info["remarks"]["mask_missing"] == {"count": 1, "first": [first]}
    assert f"names are not there, and their images have none: 1 ({first})" in prepare.said
    region = "--task", "malignancy", "--roi", "crop", "--ratios", "1/0/0"
    bccli("prepare", "mini-ddsm", source, tmp_path / "region", *region, exit=4)
    (row,) = read_rows(tmp_path / "region" / "quarantine.csv")
    assert row == {"path": film, "reason": f"its mask {first} does not exist"}


def test_a_mask_that_is_not_there_costs_nothing_where_no_region_is_wanted(
    prepare: Prepare, bccli: Bccli, tmp_path: Path
) -> None:
    """The same for the other readers that know masks: CBIS-DDSM and a table of one's own."""
    wanted = lesions()
    source = cbis(tmp_path / "raw", wanted)
    for folder in (source / "CBIS-DDSM").glob(f"{wanted[0].case}_*"):
        for mask in folder.rglob("*.dcm"):
            mask.unlink()
    rows = prepare("cbis-ddsm", source)
    assert len(rows) == len(wanted)
    assert sum(not row["mask"] for row in rows) == prepare.info["remarks"]["mask_missing"]["count"] == 2
    assert len(prepare("cbis-ddsm", source, *REGION)) == len(wanted) - 2
    assert prepare.info["remarks"]["missing"]["count"] == 2

    table = []
    for number in range(6):
        save(tmp_path / "own" / f"{number}.png", mammogram(number))
        save(tmp_path / "own" / f"{number}_m.png", lesion_mask(number))
        table.append({"path": f"{number}.png", "label": "ab"[number % 2], "mask": f"{number}_m.png"})
    (tmp_path / "own" / "3_m.png").unlink()
    listed = write_table(tmp_path / "own" / "list.csv", table)
    rows = prepare("csv", listed, "--ratios", "1/0/0")
    assert [bool(row["mask"]) for row in rows] == [True, True, True, False, True, True]
    assert prepare.info["remarks"] == {"mask_missing": {"count": 1, "first": ["3_m.png"]}}
    bccli("prepare", "csv", listed, tmp_path / "region", *REGION, "--ratios", "1/0/0", exit=4)
    (row,) = read_rows(tmp_path / "region" / "quarantine.csv")
    assert row == {"path": "3.png", "reason": "its mask 3_m.png does not exist"}


def test_the_mean_size_is_that_of_train_under_honest_and_of_all_under_paper(
    prepare: Prepare, bccli: Bccli, tmp_path: Path
) -> None:
    source = mini_ddsm(tmp_path / "raw").write()
    command = "--size", "mean", "--fit", "pad", "--split-by", "patient"
    for protocol, splits in (("honest", {"train"}), ("paper", {"train", "val", "test"})):
        rows = prepare("mini-ddsm", source, *command, "--protocol", protocol)
        widths = [Image.open(source / row["source"]).size[0] for row in rows if row["split"] in splits]
        assert {row["width"] for row in rows} == {str(round(np.mean(widths)))}
        assert {row["height"] for row in rows} == {str(FILM[1])}
        assert prepare.info["preparation"]["size"] == [round(np.mean(widths)), FILM[1]]
    said = refused(
        bccli("prepare", "mini-ddsm", source, tmp_path / "x", "--size", "mean", "--folds", 3, exit=2)
    )
    assert "--size WxH" in said


def test_keep_thins_a_class_in_train_only(prepare: Prepare, bccli: Bccli, tmp_path: Path) -> None:
    source = mini_ddsm(tmp_path / "raw").write()
    before = Counter((row["split"], row["label"]) for row in prepare("mini-ddsm", source))
    rows = prepare("mini-ddsm", source, "--keep", "normal=0.25")
    after = Counter((row["split"], row["label"]) for row in rows)
    kept = round(before["train", "normal"] / 4)
    assert after["train", "normal"] == kept
    assert {key: number for key, number in after.items() if key != ("train", "normal")} == {
        key: number for key, number in before.items() if key != ("train", "normal")
    }
    assert f"train keeps {kept} of {before['train', 'normal']} images of class normal" in prepare.said
    again = prepare("mini-ddsm", source, "--keep", "normal=0.25")
    assert again == rows
    command = "prepare", "mini-ddsm", source, tmp_path / "x", "--keep"
    refused(bccli(*command, "normall=0.25", exit=2), "did you mean 'normal'?")
    refused(bccli(*command, "normal=0.25", "--folds", 3, exit=2), "--folds")
    assert "such as normal=0.25" in bccli(*command, "normal", exit=2).stderr


@pytest.mark.pictures
def test_ages_are_in_the_statistics_and_in_a_column(prepare: Prepare, tmp_path: Path) -> None:
    source = mini_ddsm(tmp_path / "raw").write()
    rows = prepare("mini-ddsm", source)
    assert all(row["age"] for row in rows)
    assert prepare.info["ages"] == [
        {"label": "", "patients": 12, "mean": 51.5},
        {"label": "normal", "patients": 12, "mean": 51.5},
        {"label": "benign", "patients": 4, "mean": 51.5},
        {"label": "cancer", "patients": 4, "mean": 61.5},
    ]
    taller = Image.open(tmp_path / "data0" / "stats.png").height
    prepare("mini-ddsm", source, "--task", "malignancy")
    films = read_rows(source / "Dataset.csv")
    write_table(source / "Dataset.csv", [{**film, "Age": ""} for film in films])
    prepare("mini-ddsm", source)
    assert "ages" not in prepare.info
    assert Image.open(tmp_path / "data2" / "stats.png").height < taller


def test_tasks_join_tumours_or_leave_normals_out(prepare: Prepare, bccli: Bccli, tmp_path: Path) -> None:
    source = mini_ddsm(tmp_path / "raw").write()
    tumour = prepare("mini-ddsm", source, "--task", "tumor")
    assert Counter(row["label"] for row in tumour) == {"normal": 32, "tumor": 15}
    crops = prepare("mini-ddsm", source, "--task", "malignancy", "--roi", "crop", "--size", "20x20")
    assert Counter(row["label"] for row in crops) == {"benign": 8, "cancer": 7}
    everything = "prepare", "mini-ddsm", source, tmp_path / "x", "--roi", "crop"
    refused(bccli(*everything, exit=2), "--roi crop: no image of class normal has a mask", "--task")


def test_the_real_index_has_as_many_films_as_the_thesis_says(
    bccli: Bccli, tmp_path: Path, real_data: Path
) -> None:
    index = real_data / "mini-ddsm" / "full-index.csv"
    source = tmp_path / "raw"
    source.mkdir()
    (source / index.name).write_bytes(index.read_bytes())
    save(source / "film.jpg", np.zeros((8, 8), np.uint8))
    data = (source / "film.jpg").read_bytes()
    for row in read_rows(index):
        path = source / row["fullPath"].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    command = "prepare", "mini-ddsm", source, tmp_path / "data", "--dry-run", "--protocol"
    counted = {}
    for protocol in ("paper", "honest"):
        result = bccli(*command, protocol)
        assert "not complete" not in result.stderr
        counted[protocol] = Counter[str]()
        for row in rows_of(result.stdout):
            counted[protocol][row["label"]] += int(row["images"])
    assert counted["paper"] == {"normal": 4978, "benign": 1402, "cancer": 1428}
    assert counted["honest"] == {"normal": 4888, "benign": 1402, "cancer": 1428}
    assert "in the other view only were left out: 90 (" in result.stderr


def test_the_real_films_have_filled_contours(prepare: Prepare, tmp_path: Path, real_data: Path) -> None:
    rows = prepare("mini-ddsm", real_data / "mini-ddsm", "--size", "252x252", "--fit", "pad")
    assert Counter(row["label"] for row in rows) == {"normal": 32, "benign": 8, "cancer": 8}
    assert prepare.info["patients"] == 12
    for row in rows:
        if row["mask"]:
            left, top, right, bottom = map(int, row["box"].split(","))
            box = (right - left) * (bottom - top)
            assert np.count_nonzero(mask_at(tmp_path / "data0", row)) > 0.4 * box


# MIAS


def test_mias_has_circles_from_the_bottom_and_films_in_pairs(prepare: Prepare, tmp_path: Path) -> None:
    rows = {row["source"]: row for row in prepare("mias", mias(tmp_path / "raw"), "--ratios", "1/0/0")}
    labels = {name[3:6]: row["label"] for name, row in rows.items()}
    assert {film for film, label in labels.items() if label == "malignant"} == {"004", "005", "008"}
    assert {film for film, label in labels.items() if label == "benign"} == {"001", "007", "010"}
    first, fifth = rows["mdb001.pgm"], rows["mdb005.pgm"]
    assert (first["patient"], rows["mdb002.pgm"]["patient"], fifth["patient"]) == ("001", "001", "003")
    assert (first["side"], rows["mdb002.pgm"]["side"], first["view"]) == ("R", "L", "MLO")
    assert first["box"] == "338,402,733,797"  # 535 ± 197, 1024 - 425 ± 197
    assert fifth["subtype"] == "CIRC;MISC"
    assert mask_at(tmp_path / "data0", fifth)[[1024 - 133, 1024 - 168], [477, 500]].all()
    assert not rows["mdb007.pgm"]["mask"]
    assert not rows["mdb003.pgm"]["mask"]


def test_mias_says_what_is_wrong(prepare: Prepare, bccli: Bccli, tmp_path: Path) -> None:
    source = mias(tmp_path / "raw", MIAS.replace("CIRC B 525", "LUMP B 525"))
    command = "prepare", "mias", source, tmp_path / "x"
    refused(bccli(*command, exit=3), "Info.txt line 14: 'LUMP' is none of CALC")
    mias(source, MIAS.replace("CIRC B 525", "CIRC X 525"))
    refused(bccli(*command, exit=3), "Info.txt line 14: 'X' is neither B nor M")
    (source / "Info.txt").unlink()
    refused(bccli(*command, exit=3), "holds no Info.txt")
    mias(source, size=512)
    (source / "mdb003.pgm").unlink()
    small = prepare("mias", source, "--ratios", "1/0/0")
    assert "names are not there: 1 (mdb003)" in prepare.said
    assert "their circles or contours are for, and have no mask: 4 (mdb001.pgm" in prepare.said
    assert len(small) == 9
    assert not any(row["mask"] or row["box"] for row in small)
    region = "--task", "severity", "--roi", "crop", "--ratios", "1/0/0"
    refused(bccli("prepare", "mias", source, tmp_path / "small", *region, exit=3), "no image of class benign")
    reasons = {row["reason"] for row in read_rows(tmp_path / "small" / "quarantine.csv")}
    assert reasons == {"is 512×512, and the circles in Info.txt are for 1024×1024"}
    rows = prepare("mias", mias(tmp_path / "good"), "--task", "abnormal", "--ratios", "1/0/0")
    assert Counter(row["label"] for row in rows) == {"normal": 4, "abnormal": 6}


# Options that contradict each other


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (("--margin", "5"), ("--margin", "--roi crop")),
        (("--context", "0.5"), ("--context", "--roi crop")),
        (("--roi", "mask", "--context", "0.5"), ("--context", "--roi crop")),
        (("--roi", "crop", "--context", "-0.1"), ("--context", "-0.1")),
        (("--roi", "crop", "--context", "nan"), ("--context", "nan")),
        (("--roi", "crop", "--context", "inf"), ("--context", "inf")),
        (("--roi", "crop", "--context", "10.5"), ("--context", "10.5")),
        (("--roi", "crop", "--context", "half"), ("--context", "half")),
        (("--clahe", "--stain", "macenko"), ("--clahe", "--stain")),
        (("--roi", "mask", "--stain", "reinhard"), ("--roi mask", "--stain")),
        (("--size", "30x30", "--center-crop", "31x20"), ("--center-crop", "--size")),
        (("--aspect", "1.5,0.4"), ("--aspect", "no range")),
        (("--aspect", "wide"), ("--aspect", "such as 0.4,1.5")),
        (("--keep", "benign=2"), ("--keep", "share up to 1")),
        (("--size", "mean", "--patch", "8"), ("--size mean", "--patch")),
        (("--size", "meen"), ("--size", "such as 224x224")),
        (("--interpolation", "nearest"), ("--interpolation", "add --size")),
        (("--clahe-clip", "3"), ("--clahe-clip", "add --clahe")),
        (("--clahe-tiles", "4", "--denoise"), ("--clahe-tiles", "add --clahe")),
        (("--denoise-search", "15"), ("--denoise-search", "add --denoise")),
        (("--denoise", "--denoise-template", "6"), ("--denoise-template", "even")),
    ],
)
def test_steps_that_contradict_each_other_are_refused(
    bccli: Bccli, tmp_path: Path, options: tuple[str, ...], fragments: tuple[str, ...]
) -> None:
    said = bccli("prepare", "phantom", "mammography", tmp_path / "data", *options, exit=2).stderr
    assert all(fragment in said for fragment in fragments)
    assert not (tmp_path / "data").exists()


# Predict


@pytest.fixture(scope="module")
def region_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run on regions, the films that it comes from, and a folder with their masks by name."""
    from click.testing import CliRunner

    from bccli.cli import cli

    root = tmp_path_factory.mktemp("region")
    wanted = [lesion for lesion in lesions() if lesion.number == 1]
    for number, lesion in enumerate(wanted):
        film = mammogram(lesion.seed // 100 * 100 + lesion.seed % 10)
        save(root / "raw" / "films" / f"{number:02d}.png", film)
        save(root / "raw" / "masks" / f"{number:02d}_mask.png", lesion_mask(lesion.seed))
    table = [
        {
            "path": f"films/{number:02d}.png",
            "label": "malignant" if lesion.pathology == "MALIGNANT" else "benign",
            "patient": lesion.patient,
            "mask": f"masks/{number:02d}_mask.png",
        }
        for number, lesion in enumerate(wanted)
    ]
    write_table(root / "raw" / "table.csv", table)
    commands = (
        ("prepare", "csv", root / "raw" / "table.csv", root / "data", *REGION, "--ratios", "1/1/1"),
        ("train", root / "data", root / "run", "--trainable", "none", "--epochs", 1, "--backbone", "cnn-15"),
    )
    for command in commands:
        result = CliRunner().invoke(cli, [str(part) for part in command])
        assert result.exit_code == 0, result.stderr
    return {
        "root": root,
        "run": root / "run",
        "films": root / "raw" / "films",
        "masks": root / "raw" / "masks",
    }


def test_predict_needs_the_masks_that_regions_are_cut_out_by(
    bccli: Bccli, region_run: dict[str, Any], tmp_path: Path
) -> None:
    run, films, masks = region_run["run"], region_run["films"], region_run["masks"]
    refused(bccli("predict", run, films, exit=2), "trained on regions", "--mask-dir DIR")
    answers = rows_of(bccli("predict", run, films, "--mask-dir", masks).stdout)
    kept = {row["source"]: row for row in read_rows(run / "predictions.csv")}
    compared = 0
    for answer in answers:
        known = kept.get(f"films/{Path(answer['path']).name}")
        if known:
            assert float(answer["p_malignant"]) == pytest.approx(float(known["p_malignant"]), abs=1e-4)
            compared += 1
    assert compared > 5


def test_an_output_file_knows_whose_masks_it_rests_on(
    bccli: Bccli, region_run: dict[str, Any], tmp_path: Path
) -> None:
    masks, output = region_run["masks"], tmp_path / "labels.csv"
    film = min(region_run["films"].iterdir())
    save(tmp_path / "masks" / f"{film.stem}.png", lesion_mask(5))
    command = "predict", region_run["run"], film, "--output", output, "--mask-dir"
    bccli(*command, masks)
    assert "is complete; nothing to do" in bccli(*command, masks).stderr
    refused(bccli(*command, tmp_path / "masks", exit=3), str(output), f"mask-dir {masks}, now", "--overwrite")


def test_shards_use_masks_as_one_command_does(
    bccli: Bccli, region_run: dict[str, Any], tmp_path: Path
) -> None:
    films, masks = region_run["films"], region_run["masks"]
    command = "predict", region_run["run"], films, "--mask-dir", masks, "--batch-size", 2, "--output"
    bccli(*command, tmp_path / "whole", exit=None)
    bccli(*command, tmp_path / "shared", "--shard", "2/2", exit=None)
    assert (tmp_path / "shared").read_bytes() == (tmp_path / "whole").read_bytes()


def test_an_image_without_its_mask_is_a_row_with_its_error(
    bccli: Bccli, region_run: dict[str, Any], tmp_path: Path
) -> None:
    films = [save(tmp_path / "in" / f"{name}.png", mammogram(5)) for name in ("a", "b", "c", "d", "e")]
    masks = tmp_path / "masks"
    save(masks / "a.png", lesion_mask(5))
    save(masks / "b_mask.png", lesion_mask(5)[:-1])
    save(masks / "c_Mask2.png", lesion_mask(5) * 0)
    save(masks / "one" / "d.png", lesion_mask(5))
    save(masks / "two" / "d.png", lesion_mask(5))
    result = bccli("predict", region_run["run"], *films, "--mask-dir", masks, exit=4)
    errors = [row["error"] for row in rows_of(result.stdout)]
    assert errors[0] == ""
    assert errors[1] == f"its mask b_mask.png has another size ({SIZE[0]}×159, not {SIZE[0]}×160)"
    assert errors[2] == "has an empty mask, which marks no region"
    assert errors[3].startswith("has masks in several folders")
    assert errors[4].startswith("has no mask in")
    assert errors[4].endswith("called e")
    refused(
        bccli("predict", region_run["run"], *films, "--mask-dir", tmp_path / "none", exit=3), "does not exist"
    )


def test_predict_scales_a_smaller_mask_and_says_so(
    bccli: Bccli, region_run: dict[str, Any], tmp_path: Path
) -> None:
    small = round(0.87 * SIZE[0]), round(0.87 * SIZE[1])
    for name, mask in (("a", lesion_mask(5)), ("b", scaled_mask(lesion_mask(5), small))):
        save(tmp_path / "in" / f"{name}.png", mammogram(5))
        save(tmp_path / "masks" / f"{name}_mask.png", mask)
        save(tmp_path / "whole" / f"{name}.png", scaled_mask(mask, SIZE))
    result = bccli("predict", region_run["run"], tmp_path / "in", "--mask-dir", tmp_path / "masks")
    assert "were scaled to it: 1 (b_mask.png)" in result.stderr
    again = bccli("predict", region_run["run"], tmp_path / "in", "--mask-dir", tmp_path / "whole")
    assert result.stdout == again.stdout
    assert "scaled" not in again.stderr


def test_predict_repeats_nothing_that_a_dicom_file_says_of_a_patient(
    bccli: Bccli, region_run: dict[str, Any], tmp_path: Path
) -> None:
    for number in range(3):
        path = tmp_path / "in" / f"{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        dataset_of(mammogram(number), **SECRETS).save_as(path, enforce_file_format=True)
        save(tmp_path / "masks" / f"{number}.png", lesion_mask(number))
    path.write_bytes(path.read_bytes()[:-100])
    result = bccli(
        "-v", "predict", region_run["run"], tmp_path / "in", "--mask-dir", tmp_path / "masks", exit=4
    )
    assert "is damaged" in result.stdout
    for word in secret_words():
        assert word not in result.stdout + result.stderr


def test_masks_that_a_run_does_not_need_are_not_used(
    bccli: Bccli, region_run: dict[str, Any], tmp_path: Path
) -> None:
    run, films, masks = region_run["run"], region_run["films"], region_run["masks"]
    plain = tmp_path / "run"
    import shutil

    shutil.copytree(run, plain)
    info = json.loads((plain / "run.json").read_text())
    info["preparation"] = {"size": [40, 40], "fit": "stretch"}
    (plain / "run.json").write_text(json.dumps(info))
    result = bccli("predict", plain, films, "--mask-dir", masks)
    assert "--mask-dir is not used" in result.stderr


def test_uids_are_well_formed() -> None:
    """What the tests write could be a download."""
    assert all(uid.UID(lesion.uid(what)).is_valid for lesion in lesions() for what in range(4))
