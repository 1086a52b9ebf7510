"""Which files in a folder are images, for `prepare` and `predict` alike."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PATIENT, Bccli, draw, read_rows, save
from tests.sentences import refused

ENDINGS = {
    ".jpe": "JPEG", ".jfif": "JPEG", ".webp": "WEBP", ".gif": "GIF", ".dib": "DIB", ".avif": "AVIF",
    ".pbm": "PPM", ".pnm": "PPM", ".jp2": "JPEG2000", ".j2k": "JPEG2000", ".jpx": "JPEG2000",
}  # fmt: skip


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    """An image file of a kind that Pillow writes."""
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert("1") if kind == "PBM" else image).save(stream, "PPM" if kind == "PBM" else kind)
    return stream.getvalue()


def dicom(pixels: np.ndarray) -> bytes:
    """A DICOM file of 8-bit grey pixels (height, width)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.PixelData = pixels.tobytes()
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def prepared_pixels(data: Path) -> dict[str, np.ndarray]:
    """The prepared pixels by the source of each image."""
    found = {}
    for row in read_rows(data / "manifest.csv"):
        with Image.open(data / row["path"]) as image:
            found[row["source"]] = np.array(image)
    return found


def test_images_of_all_endings_are_read(bccli: Bccli, make_folder: Any, tmp_path: Path) -> None:
    """The lossless ones come out as they went in."""
    raw, pixels = make_folder(), draw(0, 77)
    for ending, kind in ENDINGS.items():
        kind = "PBM" if ending == ".pbm" else kind
        (raw / "benign" / f"p0_x{ending.replace('.', '_')}{ending}").write_bytes(encoded(pixels, kind))
    result = bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT)
    assert "passed over" not in result.stderr
    found = prepared_pixels(tmp_path / "data")
    assert len(found) == 24 + len(ENDINGS)
    for ending in (".dib", ".pnm", ".jp2", ".j2k", ".jpx"):
        assert (found[f"benign/p0_x{ending.replace('.', '_')}{ending}"] == pixels).all(), ending


@pytest.mark.parametrize(
    "name", ["IM000001", "1.2.826.0.1.3680043.8.498.77", "slice.IMA", "export.img", "a b"]
)
def test_dicom_is_known_by_its_content(bccli: Bccli, make_folder: Any, tmp_path: Path, name: str) -> None:
    raw, grey = make_folder(), draw(0, 5)[:, :, 0]
    (raw / "benign" / "p0_").mkdir()
    (raw / "benign" / "p0_" / name).write_bytes(dicom(grey))
    bccli("prepare", "folder", raw, tmp_path / "data", "--patient-regex", r"/(p\d+)_")
    assert (prepared_pixels(tmp_path / "data")[f"benign/p0_/{name}"] == grey[:, :, None]).all()


def test_a_folder_of_dicom_without_endings_is_a_dataset(bccli: Bccli, tmp_path: Path) -> None:
    for label, name in enumerate(("benign", "malignant")):
        (tmp_path / "raw" / name).mkdir(parents=True)
        for number in range(6):
            grey = draw(label, 10 * label + number)[:, :, 0]
            (tmp_path / "raw" / name / f"IM-0001-{number:04d}").write_bytes(dicom(grey))
    (tmp_path / "raw" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM no image")
    bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data")
    assert len(read_rows(tmp_path / "data" / "manifest.csv")) == 12


def test_what_is_passed_over_is_one_line_with_the_endings(
    bccli: Bccli, make_folder: Any, tmp_path: Path
) -> None:
    raw = make_folder()
    for name in ("a.svs", "b.SVS", "c.txt", "README", "d.heic"):
        (raw / "benign" / name).write_bytes(b"no image")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._p0_0.png"):
        (raw / "benign" / name).write_bytes(b"no image")
    for folder in ("__MACOSX", "@eaDir", ".ipynb_checkpoints"):
        save(raw / folder / "p0_0.png", draw(0, 3))
        save(raw / "benign" / folder / "p0_0.png", draw(0, 3))
    lines = bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT).stderr.splitlines()
    (line,) = (line for line in lines if "passed over" in line)
    what, told = line.removesuffix(")").split(" (")
    assert what == "Warning: 5 files are no images by their endings and were passed over"
    assert sorted(told.split(", ")) == ["1 .heic", "1 .txt", "1 without one", "2 .svs"]
    assert len(read_rows(tmp_path / "data" / "manifest.csv")) == 24


@pytest.mark.parametrize("leftover", ["__MACOSX", "@eaDir", ".ipynb_checkpoints", "$RECYCLE.BIN"])
def test_leftovers_hide_no_hint(bccli: Bccli, make_folder: Any, tmp_path: Path, leftover: str) -> None:
    make_folder("wrap/BUSI")
    save(tmp_path / "wrap" / leftover / "BUSI" / "x.png", draw(0, 1))
    (tmp_path / "wrap" / "Thumbs.db").write_bytes(b"x")
    result = bccli("prepare", "folder", tmp_path / "wrap", tmp_path / "data", exit=3)
    refused(result, f"name the folder {tmp_path / 'wrap' / 'BUSI'} instead")


def test_where_nothing_is_an_image_the_endings_say_why(bccli: Bccli, tmp_path: Path) -> None:
    for name in ("benign/a.svs", "malignant/b.svs"):
        (tmp_path / "raw" / name).parent.mkdir(parents=True)
        (tmp_path / "raw" / name).write_bytes(b"x")
    refused(bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", exit=3), "no images", "2 .svs")


def test_files_with_an_image_s_name_that_are_none_go_to_the_quarantine(
    bccli: Bccli, make_folder: Any, tmp_path: Path
) -> None:
    raw = make_folder()
    names = [f"p0_{place}{ending}" for place, ending in enumerate((*ENDINGS, ".ima", ".png"))]
    for name in names:
        (raw / "benign" / f"x{name}").write_bytes(b"no image at all")
    bccli("prepare", "folder", raw, tmp_path / "data", exit=4)
    bad = {row["path"] for row in read_rows(tmp_path / "data" / "quarantine.csv")}
    assert bad == {f"benign/x{name}" for name in names}


def test_predict_reads_in_folders_what_prepare_reads(
    bccli: Bccli, finished: Path, make_folder: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    for ending, kind in ENDINGS.items():
        folder.mkdir(exist_ok=True)
        (folder / f"a{ending[1:]}{ending}").write_bytes(
            encoded(draw(0, 1), "PBM" if ending == ".pbm" else kind)
        )
    (folder / "IM0001").write_bytes(dicom(draw(0, 5)[:, :, 0]))
    save(folder / "IM0001_mask.png", draw(0, 1)[:, :, 0])
    save(folder / "b.png", draw(0, 1))
    save(folder / "b_mask.png", draw(0, 1)[:, :, 0])
    (folder / "notes.txt").write_text("x")
    result = bccli("predict", finished, folder, "--format", "csv")
    paths = [line.split(",")[0] for line in result.stdout.splitlines()[1:]]
    expected = {*(f"a{ending[1:]}{ending}" for ending in ENDINGS), "IM0001", "b.png"}
    assert {Path(path).name for path in paths} == expected
    assert "1 file is no image by its ending and was passed over (1 .txt)" in result.stderr
    assert f"2 masks beside images were passed over ({folder / 'IM0001_mask.png'})" in result.stderr
    named = bccli("predict", finished, folder / "b_mask.png", "--format", "csv").stdout
    assert len(named.splitlines()) == 2
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.svs").write_bytes(b"x")
    refused(bccli("predict", finished, tmp_path / "none", exit=3), "no images were found", "1 .svs")


BREAKHIS = [
    f"SOB_{label}_{subtype}-14-{slide}-{zoom}-{number:03d}"
    for label, subtype, slides in (("B", "A", range(3)), ("M", "DC", range(3, 6)))
    for slide in slides
    for zoom in (40, 100)
    for number in (1, 2)
]
IDC = [
    f"{patient}_idx5_x{50 * x}_y51_class{label}"
    for patient in (8863, 8864, 8865)
    for label in (0, 1)
    for x in (1, 2)
]
DATABIOX = [
    f"{number:02d}_BC_G{grade}_{9000 + 10 * grade + number}_10x_1"
    for grade in (1, 2, 3)
    for number in (1, 2, 3)
]
BACH = [f"{prefix}{number:03d}" for prefix in ("n", "b", "is", "iv") for number in (1, 2, 3)]


@pytest.mark.parametrize("ending", [".jpg", ".webp", ".JPEG", ".png.jpg", ".tif"])
@pytest.mark.parametrize(
    ("dataset", "stems"), [("breakhis", BREAKHIS), ("idc", IDC), ("databiox", DATABIOX), ("bach", BACH)]
)
def test_copies_in_another_format_are_read(
    bccli: Bccli, tmp_path: Path, dataset: str, stems: list[str], ending: str
) -> None:
    for seed, stem in enumerate(stems):
        save(tmp_path / "raw" / f"{stem}{ending}", draw(seed % 2, seed))
    bccli("prepare", dataset, tmp_path / "raw", tmp_path / "data", "--dry-run")


def test_an_image_in_two_formats_counts_once(bccli: Bccli, tmp_path: Path) -> None:
    for seed, stem in enumerate(BREAKHIS):
        for ending in (".png", ".jpg"):
            save(tmp_path / "raw" / f"{stem}{ending}", draw(seed % 2, seed))
    result = bccli("prepare", "breakhis", tmp_path / "raw", tmp_path / "data")
    assert f"copies of images that are there already were passed over: {len(BREAKHIS)}" in result.stderr
    assert len(read_rows(tmp_path / "data" / "manifest.csv")) == len(BREAKHIS)
