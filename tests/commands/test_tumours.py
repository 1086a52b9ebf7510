"""A tree whose second stage sees crops, and where these come from when no mask says so."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from bccli.core.imaging.regions import bounding_box, grown
from tests.conftest import Bccli, read_rows, rows_of, save
from tests.library import bccli_in
from tests.sentences import refused

TREE = "normal, tumor(benign, cancer)"
CLASSES = "normal", "benign", "cancer"
WIDTH, HEIGHT, RADIUS, MARGIN, CONTEXT = 64, 64, 13, 2, 0.15
TRAIN = (
    *("--backbone", "cnn-15", "--trainable", "all", "--epochs", 18, "--lr", 0.003, "--batch-size", 8),
    *("--class-weights", "balanced", "--detector", "cam"),
)
SECOND = "--backbone", "cnn-15", "--trainable", "none", "--epochs", 3


def draw_films(root: Path) -> Path:
    """Dark noise, with a bright disc for tumours, striped if they are cancer; returns the table."""
    rows = []
    for patient in range(24):
        label = CLASSES[patient % 3]
        rng = np.random.default_rng(patient)
        for number in range(2):
            film = rng.integers(10, 30, (HEIGHT, WIDTH))
            name, mask = f"p{patient}_{number}.png", ""
            if label != "normal":
                x, y = rng.integers(16, WIDTH - 16), rng.integers(16, HEIGHT - 16)
                ys, xs = np.mgrid[:HEIGHT, :WIDTH]
                disc = np.hypot(ys - y, xs - x) <= RADIUS
                striped = (xs % 4 < 2) | (label == "benign")
                film = np.where(disc, np.where(striped, 250, 150), film)
                mask = f"masks/{name}"
                save(root / mask, np.where(disc, 255, 0).astype(np.uint8))
            save(root / "films" / name, film.astype(np.uint8))
            split = ("train", "train", "val", "test")[patient // 3 % 4]
            rows.append((f"films/{name}", label, f"p{patient}", split, mask))
    for table, chosen in (("all.csv", rows), ("tumours.csv", [row for row in rows if row[1] != "normal"])):
        with (root / table).open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("path", "label", "patient", "split", "mask"))
            writer.writerows(chosen)
    return root


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests of this module share."""
    return tmp_path_factory.mktemp("tumours")


@pytest.fixture(scope="module")
def composed(module_path: Path) -> Path:
    """A tree whose second stage was trained on crops, made once."""
    run, crops, raw = module_path / "run", module_path / "crops", draw_films(module_path / "raw")
    bccli_in("prepare", "csv", raw / "all.csv", module_path / "data")
    bccli_in(
        *("prepare", "csv", raw / "tumours.csv", crops, "--roi", "crop", "--margin", MARGIN),
        *("--context", CONTEXT),
        *("--size", "32x32"),
    )
    bccli_in("train", crops, module_path / "second", *SECOND)
    node = f"tumor={module_path / 'second'}@{crops}"
    bccli_in("hierarchy", module_path / "data", run, *TRAIN, "--tree", TREE, "--compose", node)
    return run


def test_regions_are_found_where_masks_show_them_and_figures_say_how_often(
    bccli: Bccli, composed: Path
) -> None:
    runs = json.loads((composed / "metrics.json").read_text())["runs"]
    for row in runs:
        located = row["tree"]["nodes"]["tumor"]["located"]
        assert located["n"] == 8
        assert located["hit_rate"] >= 0.8, located
        assert located["iou"] >= 0.25, located
        assert row["tree"]["nodes"]["root"]["located"] is None
    again = json.loads(bccli("evaluate", composed, "--format", "json").stdout)["runs"][0]
    assert again["tree"]["nodes"]["tumor"]["located"] == runs[-1]["tree"]["nodes"]["tumor"]["located"]
    assert "with a hit rate of" in bccli("evaluate", composed, "--format", "table").stdout
    for row in read_rows(composed / "predictions.csv"):
        assert (row["tumor_hit"] == "") == (row["label"] == "normal")


def test_predict_finds_the_regions_of_images_without_a_mask(
    bccli: Bccli, composed: Path, module_path: Path, tmp_path: Path
) -> None:
    raw = module_path / "raw"
    stored = {row["source"]: row for row in read_rows(composed / "predictions.csv")}
    files = [raw / name for name in stored]
    result = bccli("predict", composed, *files)
    assert "looks for" in result.stderr
    assert "LiteRT" in result.stderr
    near = []
    for answer, (name, row) in zip(rows_of(result.stdout), stored.items(), strict=True):
        left, top, right, bottom = map(int, answer["tumor_box"].split(","))
        assert 0 <= left < right <= WIDTH
        assert 0 <= top < bottom <= HEIGHT
        assert answer["tumor_box_from"] == "map"
        assert float(answer["root:tumor"]) == pytest.approx(float(row["root:tumor"]), abs=1e-4)
        if row["label"] != "normal":
            rows, columns = np.nonzero(np.asarray(read_mask(raw / "masks" / Path(name).name)))
            near.append(left <= columns.mean() <= right and top <= rows.mean() <= bottom)
    assert np.mean(near) >= 0.8
    for name in ("p1_0.png", "p10_0.png"):
        save(tmp_path / "masks" / name, read_mask(raw / "masks" / name))
    answers = rows_of(bccli("predict", composed, *files, "--mask-dir", tmp_path / "masks").stdout)
    sources = {Path(row["path"]).name: row["tumor_box_from"] for row in answers}
    assert {name for name, source in sources.items() if source == "mask"} == {"p10_0.png"} & set(sources)


@pytest.mark.exports
def test_the_first_stage_points_at_tumours_and_the_second_into_its_crop(
    bccli: Bccli, composed: Path, module_path: Path, tmp_path: Path
) -> None:
    raw = module_path / "raw"
    words = raw / "films", "--mask-dir", raw / "masks", "--format", "csv", "--explain"
    first = rows_of(bccli("predict", composed / "root", *words, tmp_path / "first").stdout)
    hits = [row["inside_mask"] == "True" for row in first if row["predicted"] == "tumor"]
    assert len(hits) >= 24
    assert np.mean(hits) >= 0.8
    for row in rows_of(bccli("predict", composed, *words, tmp_path / "whole").stdout):
        if row["predicted"] != "normal" and row["peak_x"]:
            left, top, right, bottom = map(int, row["tumor_box"].split(","))
            assert left <= int(row["peak_x"]) < right
            assert top <= int(row["peak_y"]) < bottom


def test_with_masks_predict_says_what_is_stored(bccli: Bccli, composed: Path, module_path: Path) -> None:
    raw = module_path / "raw"
    rows = [row for row in read_rows(composed / "predictions.csv") if row["label"] != "normal"]
    files = [raw / row["source"] for row in rows]
    answers = rows_of(bccli("predict", composed, *files, "--mask-dir", raw / "masks").stdout)
    for row, answer in zip(rows, answers, strict=True):
        mask = np.asarray(read_mask(raw / "masks" / Path(row["source"]).name))
        box = grown(bounding_box(mask), mask.shape, margin=MARGIN, context=CONTEXT)
        assert answer["tumor_box"] == ",".join(map(str, box))
        assert answer["predicted"] == row["predicted"]
        assert float(answer["tumor:cancer"]) == pytest.approx(float(row["tumor:cancer"]), abs=1e-4)


def test_what_cannot_be_found_needs_masks(
    bccli: Bccli, composed: Path, module_path: Path, tmp_path: Path
) -> None:
    film = module_path / "raw" / "films" / "p1_0.png"
    refused(bccli("predict", module_path / "second", film, exit=2), "add --mask-dir")
    twice = bccli("predict", composed, film, "--ensemble", composed, exit=2)
    refused(twice, "add --mask-dir")


def read_mask(path: Path) -> np.ndarray:
    """A mask as it was drawn."""
    from PIL import Image

    return np.asarray(Image.open(path))
