"""A detector from the command line: trained on masks, and asked where in an image lesions are."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bccli.core.imaging.equalising import Box
from bccli.core.imaging.opencv import load_cv2
from bccli.core.imaging.regions import bounding_box
from tests.commands.test_tumours import HEIGHT, WIDTH, draw_films, read_mask
from tests.conftest import Bccli, read_rows, rows_of, save
from tests.library import bccli_in
from tests.sentences import refused

TRAIN = (
    *("--head", "detector", "--backbone", "cnn-15", "--trainable", "all", "--epochs", 30, "--lr", 0.003),
    *("--batch-size", 8),
)
FAST = "--head", "detector", "--epochs", 1, "--trainable", "none", "--batch-size", 8


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests of this module share."""
    return tmp_path_factory.mktemp("detectors")


@pytest.fixture(scope="module")
def trained(module_path: Path) -> Path:
    """A detector of bright discs, made once."""
    raw = draw_films(module_path / "raw")
    bccli_in("prepare", "csv", raw / "all.csv", module_path / "data")
    bccli_in("train", module_path / "data", module_path / "run", *TRAIN)
    return module_path / "run"


def boxes_of(text: str) -> list[tuple[Box, float]]:
    """The boxes of a cell, and their scores."""
    found = []
    for part in filter(None, text.split(";")):
        *edges, score = part.split(",")
        found.append((Box(*map(int, edges)), float(score)))
    return found


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, pixel by pixel."""
    masks = []
    for box in (one, other):
        mask = np.zeros((HEIGHT * 4, WIDTH * 4), bool)
        mask[box.top : box.bottom, box.left : box.right] = True
        masks.append(mask)
    return float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


def test_it_finds_what_masks_have_shown(bccli: Bccli, trained: Path, module_path: Path) -> None:
    raw = module_path / "raw"
    info = json.loads((trained / "run.json").read_text())
    assert (info["kind"], info["classes"], info["positive"]) == ("detector", ["normal", "lesion"], "lesion")
    result = bccli("predict", trained, raw / "films", "--boxes")
    assert "LiteRT" in result.stderr
    hits = []
    for row in rows_of(result.stdout):
        found = boxes_of(row["boxes"])
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
        assert all(
            0 <= box.left < box.right <= WIDTH and 0 <= box.top < box.bottom <= HEIGHT for box, _ in found
        )
        mask = raw / "masks" / Path(row["path"]).name
        if mask.exists():
            hits.append(overlap(found[0][0], bounding_box(read_mask(mask))) if found else 0.0)
            assert float(row["p_lesion"]) == pytest.approx(found[0][1], abs=1e-5)
    assert np.mean([hit >= 0.2 for hit in hits]) >= 0.9
    assert np.mean(hits) >= 0.5


def test_predict_says_what_is_stored_once_the_data_are_gone(
    bccli: Bccli, trained: Path, module_path: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "elsewhere"))
    stored = {row["source"]: row for row in read_rows(run / "predictions.csv")}
    boxes: dict[str, list[Box]] = {}
    for row in read_rows(run / "boxes.csv"):
        boxes.setdefault(row["path"], []).append(Box(*(int(row[key]) for key in Box._fields)))
    answers = rows_of(
        bccli("predict", run, *(module_path / "raw" / name for name in stored), "--boxes").stdout
    )
    for answer, row in zip(answers, stored.values(), strict=True):
        assert float(answer["p_lesion"]) == pytest.approx(float(row["p_lesion"]), abs=1e-4)
        sure = [box for box, score in boxes_of(answer["boxes"]) if score > 0.5]
        kept = boxes.get(row["path"], [])[: len(sure)]
        assert len(kept) == len(sure)
        for one, other in zip(sure, kept, strict=True):
            assert overlap(one, other) > 0.9


def test_a_larger_film_has_boxes_in_its_own_pixels(
    bccli: Bccli, trained: Path, module_path: Path, tmp_path: Path
) -> None:
    cv2 = load_cv2()
    raw = module_path / "raw"
    name = next(path.name for path in sorted((raw / "masks").iterdir()))
    film = np.asarray(read_mask(raw / "films" / name))
    save(tmp_path / "large.png", cv2.resize(film, (WIDTH * 3, HEIGHT * 3), interpolation=cv2.INTER_NEAREST))
    run = tmp_path / "run"
    data = tmp_path / "data"
    bccli("prepare", "csv", raw / "all.csv", data, "--size", f"{WIDTH}x{HEIGHT}")
    shutil.copytree(trained, run)
    info = json.loads((run / "run.json").read_text())
    info["preparation"] = json.loads((data / "dataset.json").read_text())["preparation"]
    (run / "run.json").write_text(json.dumps(info))
    (large,) = rows_of(bccli("predict", run, tmp_path / "large.png", "--boxes").stdout)
    (small,) = rows_of(bccli("predict", trained, raw / "films" / name, "--boxes").stdout)
    (box, _), (other, _) = boxes_of(large["boxes"])[0], boxes_of(small["boxes"])[0]
    assert overlap(box, Box(*(3 * edge for edge in other))) > 0.8


@pytest.mark.pictures
def test_geojson_and_overlays_show_the_boxes(
    bccli: Bccli, trained: Path, module_path: Path, tmp_path: Path
) -> None:
    film = module_path / "raw" / "films" / "p1_0.png"
    (row,) = rows_of(bccli("predict", trained, film, "--boxes", "--explain", tmp_path / "shown").stdout)
    (overlay,) = (tmp_path / "shown").glob("*.png")
    assert overlay.stat().st_size > 0
    assert row["peak_x"]
    written = json.loads(bccli("predict", trained, film, "--boxes", "--format", "geojson").stdout)
    found = boxes_of(row["boxes"])
    assert len(written["features"]) == len(found) > 0
    corners = written["features"][0]["geometry"]["coordinates"][0]
    box = found[0][0]
    assert [min(x) for x in zip(*corners, strict=True)] == [box.left, box.top]
    assert [max(x) for x in zip(*corners, strict=True)] == [box.right, box.bottom]


def table_with(root: Path, rows: Sequence[dict[str, str]], name: str) -> Path:
    """Another table of the same films."""
    path = root / name
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_what_cannot_be_learned_from_is_said(
    bccli: Bccli, trained: Path, module_path: Path, tmp_path: Path
) -> None:
    raw = module_path / "raw"
    rows = read_rows(raw / "all.csv")
    none = table_with(raw, [{**row, "mask": ""} for row in rows], "none.csv")
    bccli("prepare", "csv", none, tmp_path / "none")
    refused(bccli("train", tmp_path / "none", tmp_path / "run", *FAST, exit=3), "has no masks")
    late = table_with(
        raw, [{**row, "mask": row["mask"] if row["split"] == "test" else ""} for row in rows], "late.csv"
    )
    bccli("prepare", "csv", late, tmp_path / "late")
    said = bccli("train", tmp_path / "late", tmp_path / "run", *FAST, exit=3)
    assert "train has no image of class lesion" in said.stderr
    save(raw / "masks" / "whole.png", np.full((HEIGHT, WIDTH), 255, np.uint8))
    whole = [{**row, "mask": "masks/whole.png"} if row["mask"] else row for row in rows]
    bccli("prepare", "csv", table_with(raw, whole, "whole.csv"), tmp_path / "whole")
    said = bccli("train", tmp_path / "whole", tmp_path / "run", *FAST, exit=3)
    refused(said, "marks the whole image")


def test_films_that_all_have_a_lesion_are_enough(
    bccli: Bccli, module_path: Path, tmp_path: Path, trained: Path
) -> None:
    bccli("prepare", "csv", module_path / "raw" / "tumours.csv", tmp_path / "data")
    result = bccli("train", tmp_path / "data", tmp_path / "run", *FAST)
    assert "all images have a lesion" in result.stderr


def test_images_whose_lesion_nobody_has_marked_are_left_out(
    bccli: Bccli, module_path: Path, tmp_path: Path, trained: Path
) -> None:
    raw = module_path / "raw"
    rows = read_rows(raw / "all.csv")
    marked = [row for row in rows if row["mask"]]
    for row in marked[:3]:
        row["mask"] = ""
    bccli("prepare", "csv", table_with(raw, rows, "some.csv"), tmp_path / "data")
    result = bccli("train", tmp_path / "data", tmp_path / "run", *FAST)
    assert "3 images without a mask were left out" in result.stderr
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["data"]["images"] == len(rows) - 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("--classifier", "logistic"),
        ("--augment", "flips"),
        ("--loss", "mse"),
        ("--class-weights", "balanced"),
        ("--mixed-precision",),
    ],
)
def test_what_a_detector_has_no_use_for(
    bccli: Bccli, trained: Path, module_path: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    said = bccli("train", module_path / "data", tmp_path / "run", *FAST[:2], *arguments, exit=2)
    refused(said, "--head detector does not go with", " ".join(arguments))


def test_nodes_of_a_tree_are_no_detectors(
    bccli: Bccli, trained: Path, module_path: Path, tmp_path: Path
) -> None:
    words = "--tree", "normal, tumor(benign, cancer)", "--head", "detector"
    refused(bccli("hierarchy", module_path / "data", tmp_path / "run", *words, exit=2), "--head detector")


def test_boxes_are_asked_of_a_detector(
    bccli: Bccli, trained: Path, module_path: Path, tmp_path: Path
) -> None:
    film = module_path / "raw" / "films" / "p1_0.png"
    bccli("train", module_path / "data", tmp_path / "plain", "--epochs", 1, "--trainable", "none")
    refused(bccli("predict", tmp_path / "plain", film, "--boxes", exit=2), "is a network", "--head detector")
    refused(bccli("predict", trained, film, "--boxes", "--top", 1, exit=2), "--top")
    refused(bccli("predict", trained, film, "--boxes", "--ensemble", trained, exit=2), "one detector")
    refused(bccli("predict", trained, film, "--format", "geojson", exit=2), "--boxes")


def test_a_detector_is_continued_after_its_epochs(
    bccli: Bccli, module_path: Path, tmp_path: Path, trained: Path
) -> None:
    data = module_path / "data"
    bccli("train", data, tmp_path / "once", *FAST[:2], *FAST[4:], "--epochs", 3)
    bccli("train", data, tmp_path / "twice", *FAST[:2], *FAST[4:], "--epochs", 1)
    bccli("train", data, tmp_path / "twice", *FAST[:2], *FAST[4:], "--epochs", 3)
    tables = [(tmp_path / name / "history.csv").read_text() for name in ("once", "twice")]
    assert tables[0] == tables[1]
    result = bccli("train", data, tmp_path / "twice", *FAST[:2], *FAST[4:], "--epochs", 3)
    assert "is complete" in result.stderr
