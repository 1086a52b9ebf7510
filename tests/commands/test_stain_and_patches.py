"""`bccli prepare --stain … --patch …`, and what `train` and `predict` make of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bccli.core.data.dataset import load_dataset
from bccli.core.imaging.formats.decoding import decode
from bccli.core.imaging.preparation import prepare_image
from tests.conftest import PATIENT, Bccli, read_rows, rows_of, save
from tests.core.imaging.slides import draw_slide
from tests.sentences import refused

SIZE = (96, 64)


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Stained tissue of eight patients in two classes, each patient stained otherwise."""
    for patient in range(8):
        for number in range(2):
            image = draw_slide(patient, number, SIZE)
            save(tmp_path / "raw" / ("benign", "malignant")[patient % 2] / f"p{patient}_{number}.png", image)
    return tmp_path / "raw"


def settings_of(data: Path) -> dict:
    """What dataset.json holds."""
    return json.loads((data / "dataset.json").read_text())


RATIOS = "--ratios", "2/1/1"


def test_patches_are_cut_before_they_are_resized(bccli: Bccli, slides: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    bccli("prepare", "folder", slides, data, *PATIENT, *RATIOS, "--patch", 32, "--size", "16x16")
    rows = read_rows(data / "manifest.csv")
    assert len(rows) == 16 * 6
    one = [row for row in rows if row["source"] == "benign/p0_0.png"]
    assert [(row["row"], row["col"]) for row in one] == [
        ("0", "0"), ("0", "32"), ("0", "64"), ("32", "0"), ("32", "32"), ("32", "64"),
    ]  # fmt: skip
    assert {(row["width"], row["height"]) for row in rows} == {("16", "16")}
    assert len({row["path"] for row in rows}) == len(rows)
    assert len({(row["source"], row["split"]) for row in rows}) == 16
    raw = decode(slides / "benign/p0_0.png")
    cut = Image.fromarray(raw[32:64, 64:96]).resize((16, 16), Image.Resampling.BOX)
    assert (decode(data / one[5]["path"]) == np.asarray(cut)).all()


def test_the_stride_decides_how_patches_overlap(bccli: Bccli, slides: Path, tmp_path: Path) -> None:
    for stride, count in (("32", 6), ("16", 3 * 5), ("64", 2)):
        data = tmp_path / stride
        bccli("prepare", "folder", slides, data, *PATIENT, *RATIOS, "--patch", 32, "--stride", stride)
        assert len(read_rows(data / "manifest.csv")) == 16 * count


def test_twelve_patches_of_a_whole_image(bccli: Bccli, tmp_path: Path) -> None:
    """12 of 512×512 from 2048×1536, as in the hybrid network's paper, section IV."""
    for number, label in enumerate("ab"):
        save(tmp_path / "raw" / label / f"p{number}.png", draw_slide(number, 0, (2048, 1536)))
    bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", "--patch", 512, "--ratios", "1/0/0")
    assert len(read_rows(tmp_path / "data" / "manifest.csv")) == 24


def test_only_patches_with_tissue_are_kept(bccli: Bccli, slides: Path, tmp_path: Path) -> None:
    half = draw_slide(0, 9, SIZE)
    half[:, 32:] = 245
    save(slides / "benign" / "p0_half.png", half)
    save(slides / "benign" / "p0_glass.png", np.full_like(half, 245))
    command = ("prepare", "folder", slides, tmp_path / "data", *PATIENT, *RATIOS, "--patch", 32)
    result = bccli(*command, "--min-tissue", 0.1)
    assert "1 images have no patch with enough tissue" in result.stderr
    rows = read_rows(tmp_path / "data" / "manifest.csv")
    assert {row["col"] for row in rows if "half" in row["source"]} == {"0"}
    assert not [row for row in rows if "glass" in row["source"]]
    assert settings_of(tmp_path / "data")["excluded"] == {"no_tissue": 1}


@pytest.mark.parametrize("method", ["macenko", "reinhard", "vahadane"])
def test_stain_normalisation_makes_patients_alike(
    bccli: Bccli, slides: Path, tmp_path: Path, method: str
) -> None:
    save(slides / "benign" / "p0_blank.png", np.full((64, 96, 3), 244, np.uint8))
    bccli("prepare", "folder", slides, tmp_path / "plain", *PATIENT, *RATIOS)
    result = bccli("prepare", "folder", slides, tmp_path / "data", *PATIENT, *RATIOS, "--stain", method)
    assert "1 images have too little stained tissue" in result.stderr
    assert settings_of(tmp_path / "data")["unstained"] == 1

    def spread(data: Path) -> float:
        means = [
            decode(data / row["path"]).reshape(-1, 3).mean(axis=0)
            for row in read_rows(data / "manifest.csv")
            if "blank" not in row["source"]
        ]
        return float(np.std(means, axis=0).mean())

    assert spread(tmp_path / "data") < 0.6 * spread(tmp_path / "plain")


def test_the_target_is_learned_from_train_alone(bccli: Bccli, slides: Path, tmp_path: Path) -> None:
    command = ("prepare", "folder", slides, tmp_path / "data", *PATIENT, *RATIOS, "--stain", "macenko")
    bccli(*command)
    target = settings_of(tmp_path / "data")["preparation"]["stain_target"]
    held_out = {
        row["source"] for row in read_rows(tmp_path / "data" / "manifest.csv") if row["split"] != "train"
    }
    assert held_out
    for number, source in enumerate(held_out):  # one picture for all would join their patients
        save(slides / source, np.random.default_rng(number).integers(0, 200, (64, 96, 3)).astype(np.uint8))
    shutil.rmtree(tmp_path / "data")
    bccli(*command)
    assert settings_of(tmp_path / "data")["preparation"]["stain_target"] == target
    bccli(*command[:3], tmp_path / "paper", *command[4:], "--protocol", "paper")
    assert settings_of(tmp_path / "paper")["preparation"]["stain_target"] != target


def test_a_target_can_be_a_file_or_the_reference(bccli: Bccli, slides: Path, tmp_path: Path) -> None:
    command = ("prepare", "folder", slides, tmp_path / "data", *PATIENT, "--folds", 3, "--stain", "macenko")
    refused(bccli(*command, exit=2), "--folds", "--stain-target")
    bccli(*command, "--stain-target", slides / "benign" / "p0_0.png")
    bccli(*command[:3], tmp_path / "other", *command[4:], "--stain-target", "reference")
    first, second = (
        settings_of(tmp_path / name)["preparation"]["stain_target"] for name in ("data", "other")
    )
    assert first != second
    result = bccli(*command, "--stain-target", slides / "benign" / "p2_0.png", exit=3)
    refused(result, "stain-target", "--overwrite")


@pytest.mark.exports
def test_predict_takes_the_same_steps(bccli: Bccli, slides: Path, tmp_path: Path) -> None:
    """The probability of an image is the mean over its patches, which are those of `prepare`."""
    data, run = tmp_path / "data", tmp_path / "run"
    bccli("prepare", "folder", slides, data, *PATIENT, *RATIOS, "--stain", "macenko", "--patch", 32)
    bccli("train", data, run, "--epochs", 1, "--batch-size", 8, "--trainable", "none")
    dataset = load_dataset(data)
    for sample in dataset.samples[:12]:
        prepared = prepare_image(decode(slides / sample.source), dataset.preparation)
        (same,) = [p for p in prepared.patches if (p.row, p.col) == (sample.row, sample.col)]
        assert (decode(data / sample.path) == same.image).all()
    stored = [row for row in read_rows(run / "predictions.csv") if row["split"] == "test"]
    sources = sorted({row["source"] for row in stored})
    shutil.rmtree(data)
    rows = rows_of(bccli("predict", run, *(slides / source for source in sources)).stdout)
    for source, row in zip(sources, rows, strict=True):
        patches = [float(entry["p_benign"]) for entry in stored if entry["source"] == source]
        assert len(patches) == 6
        assert float(row["p_benign"]) == pytest.approx(np.mean(patches), abs=1e-5)
    (single,) = rows_of(bccli("predict", run, slides / sources[0]).stdout)
    assert float(single["p_benign"]) == pytest.approx(float(rows[0]["p_benign"]), abs=1e-6)
    small = save(tmp_path / "small.png", draw_slide(0, 0, (20, 20)))
    (row,) = rows_of(bccli("predict", run, small, exit=4).stdout)
    assert "smaller (20×20) than a patch" in row["error"]
    check_geojson(bccli, run, slides / sources[0], small, tmp_path / "patches.geojson")
    for options, level, count in (((), "image", len(sources)), (("--level", "patch"), "patch", len(stored))):
        (figures,) = json.loads(bccli("evaluate", run, *options, "--format", "json").stdout)["runs"]
        assert (figures["level"], figures["n"]) == (level, count)


def check_geojson(bccli: Bccli, run: Path, image: Path, small: Path, file: Path) -> None:
    """The squares and numbers are those of the rows, and what has none is listed."""
    command = "predict", run, image, small, "--level", "patch"
    rows = [row for row in rows_of(bccli(*command, exit=4).stdout) if not row["error"]]
    found = json.loads(bccli(*command, "--format", "geojson", exit=4).stdout)
    assert found["type"] == "FeatureCollection"
    for row, feature in zip(rows, found["features"], strict=True):
        top, left = int(row["row"]), int(row["col"])
        assert feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        assert ring == [[left + x, top + y] for x, y in ((0, 0), (0, 32), (32, 32), (32, 0), (0, 0))]
        facts = feature["properties"]
        assert (facts["objectType"], facts["image"]) == ("detection", str(image))
        assert facts["classification"]["name"] == row["predicted"]
        assert (facts["classification"]["color"] == [213, 94, 0]) == (row["predicted"] == "malignant")
        assert facts["measurements"] == {
            name: pytest.approx(float(row[name]), abs=1e-6)  # CSV has six digits
            for name in ("probability", "p_benign", "p_malignant")
        }
    (error,) = found["errors"]
    assert error["image"] == str(small)
    assert "smaller (20×20) than a patch" in error["error"]
    bccli(*command, "--format", "geojson", "--output", file, exit=4)
    assert json.loads(file.read_text()) == found
    result = bccli("predict", run, image, "--format", "geojson", exit=2)
    refused(result, "--format geojson", "--level patch")


def test_an_image_smaller_than_a_patch_goes_to_the_quarantine(
    bccli: Bccli, slides: Path, tmp_path: Path
) -> None:
    save(slides / "benign" / "p0_small.png", draw_slide(0, 0, (20, 40)))
    command = ("prepare", "folder", slides, tmp_path / "data", *PATIENT, *RATIOS, "--patch", 32)
    result = bccli(*command, exit=4)
    assert "1 of 17 images could not be read" in result.stderr
    (row,) = read_rows(tmp_path / "data" / "quarantine.csv")
    assert "smaller" in row["reason"]


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (("--stain-target", "x.png"), ("--stain-target", "--stain")),
        (("--stride", 8), ("--stride", "--patch")),
        (("--min-tissue", 0.5), ("--min-tissue", "--patch")),
        (("--min-nuclei", 0.5), ("--min-nuclei", "--patch")),
        (("--min-breast", 0.5), ("--min-breast", "--patch")),
        (("--to-edges",), ("--to-edges", "--patch")),
        (("--patch", 32, "--min-tissue", 2), ("--min-tissue",)),
        (("--stain", "reinhard", "--stain-target", "reference"), ("reference", "reinhard")),
        (("--stain", "blue"), ("--stain", "'blue'")),
    ],
)
def test_options_that_make_no_sense_are_refused(
    bccli: Bccli, slides: Path, tmp_path: Path, options: tuple[object, ...], fragments: tuple[str, ...]
) -> None:
    refused(bccli("prepare", "folder", slides, tmp_path / "data", *options, exit=2), *fragments)


def test_a_target_that_is_no_stained_image_is_refused(bccli: Bccli, slides: Path, tmp_path: Path) -> None:
    command = ("prepare", "folder", slides, tmp_path / "data", *PATIENT, "--stain", "macenko")
    refused(bccli(*command, "--stain-target", tmp_path / "none.png", exit=3), "none.png", "does not exist")
    glass = save(tmp_path / "glass.png", np.full((64, 96, 3), 244, np.uint8))
    refused(bccli(*command, "--stain-target", glass, exit=3), "glass.png", "too little stained tissue")
    for image in slides.rglob("*.png"):
        save(image, np.full((64, 96, 3), 240, np.uint8))
    refused(bccli(*command, exit=3), "stain target", "--stain-target")
