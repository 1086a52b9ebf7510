"""Films cut into tiles: each with its part of the mask, and a detector that finds lesions in whole films."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.detection.boxes import iou
from bccli.core.detection.lesions import find_lesions
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.formats.decoding import decode
from bccli.core.prediction.predictor import load_predictor
from tests.commands.test_detectors import boxes_of
from tests.conftest import Bccli, read_rows, rows_of, save
from tests.library import bccli_in
from tests.sentences import refused

WIDTH, HEIGHT, RADIUS = 96, 128, 9
SIDE, STRIDE = 48, 32
TILES = "--patch", SIDE, "--stride", STRIDE, "--to-edges"
TRAIN = (
    *("--head", "detector", "--backbone", "cnn-15", "--trainable", "all", "--epochs", 12, "--lr", 0.003),
    *("--batch-size", 16),
)
FAST = "--head", "detector", "--epochs", 1, "--trainable", "none", "--batch-size", 16


def draw_films(root: Path) -> Path:
    """Dark noise, with a bright disc and its mask for tumours; returns the table of all films."""
    rows = []
    for patient in range(24):
        label = ("normal", "tumor")[patient % 2]
        rng = np.random.default_rng(patient)
        for number in range(2):
            film, name, mask = rng.integers(10, 30, (HEIGHT, WIDTH)), f"p{patient}_{number}.png", ""
            if label == "tumor":
                x, y = rng.integers(12, WIDTH - 12), rng.integers(12, HEIGHT - 12)
                ys, xs = np.mgrid[:HEIGHT, :WIDTH]
                disc = np.hypot(ys - y, xs - x) <= RADIUS
                film, mask = np.where(disc, 220, film), f"masks/{name}"
                save(root / mask, np.where(disc, 255, 0).astype(np.uint8))
            save(root / "films" / name, film.astype(np.uint8))
            split = ("train", "train", "val", "test")[patient // 2 % 4]
            rows.append((f"films/{name}", label, f"p{patient}", split, mask))
    return write_table(root / "all.csv", rows)


def write_table(path: Path, rows: list[tuple[str, ...]]) -> Path:
    """A table of films for the dataset `csv`."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "patient", "split", "mask"))
        writer.writerows(rows)
    return path


def mask_of(raw: Path, source: str) -> np.ndarray:
    """The mask of a film as bool (height, width), empty where it has none."""
    path = raw / "masks" / Path(source).name
    return decode(path)[..., 0] > 127 if path.exists() else np.zeros((HEIGHT, WIDTH), bool)


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests of this module share."""
    return tmp_path_factory.mktemp("tiles")


@pytest.fixture(scope="module")
def raw(module_path: Path) -> Path:
    """Films and masks."""
    return draw_films(module_path / "raw").parent


@pytest.fixture(scope="module")
def data(module_path: Path, raw: Path) -> Path:
    """The films in tiles."""
    bccli_in("prepare", "csv", raw / "all.csv", module_path / "data", *TILES)
    return module_path / "data"


@pytest.fixture(scope="module")
def trained(module_path: Path, data: Path) -> Path:
    """A detector of bright discs in tiles, made once."""
    bccli_in("train", data, module_path / "run", *TRAIN)
    return module_path / "run"


def test_a_tile_has_its_part_of_the_mask(data: Path, raw: Path) -> None:
    rows = read_rows(data / "manifest.csv")
    assert len(rows) == 48 * 3 * 4
    for row in rows:
        top, left = int(row["row"]), int(row["col"])
        part = mask_of(raw, row["source"])[top : top + SIDE, left : left + SIDE]
        assert bool(row["mask"]) == bool(part.any())
        if row["mask"]:
            assert ((decode(data / row["mask"])[..., 0] > 127) == part).all()
            ys, xs = np.nonzero(part)
            assert row["box"] == f"{xs.min()},{ys.min()},{xs.max() + 1},{ys.max() + 1}"
    stored = {str(path.relative_to(data)) for path in (data / "masks").rglob("*.png")}
    assert stored == {row["mask"] for row in rows} - {""}


def test_masks_change_nothing_about_the_tiles(bccli: Bccli, data: Path, raw: Path, tmp_path: Path) -> None:
    rows = [(*list(row.values())[:4], "") for row in read_rows(raw / "all.csv")]
    bccli("prepare", "csv", write_table(raw / "no-masks.csv", rows), tmp_path / "bare", *TILES)
    with_masks, bare = (read_rows(folder / "manifest.csv") for folder in (data, tmp_path / "bare"))
    for one, other in zip(with_masks, bare, strict=True):
        assert {**one, "mask": "", "box": ""} == other


def test_shards_make_the_same_tiles(bccli: Bccli, data: Path, raw: Path, tmp_path: Path) -> None:
    for shard in ("1/2", "2/2"):
        bccli("prepare", "csv", raw / "all.csv", tmp_path / "data", *TILES, "--shard", shard)
    assert (tmp_path / "data" / "manifest.csv").read_text() == (data / "manifest.csv").read_text()


def test_a_part_of_a_mask_that_is_cut_off_is_none(bccli: Bccli, raw: Path, tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[40:60, 20:49] = 255  # one pixel of the tile from column 48 on
    save(tmp_path / "mask.png", mask)
    films = (("p1_0", "tumor", "p1", "train", "mask.png"), ("p0_0", "normal", "p0", "train", ""))
    rows = [(str(raw / f"films/{name}.png"), *rest) for name, *rest in films]
    table = write_table(tmp_path / "one.csv", rows)
    bccli(
        "prepare",
        "csv",
        table,
        tmp_path / "data",
        "--patch",
        48,
        "--center-crop",
        "32x32",
        "--ratios",
        "1/0/0",
    )
    marked = {row["col"] for row in read_rows(tmp_path / "data" / "manifest.csv") if row["mask"]}
    assert marked == {"0"}


def test_tiles_beside_a_lesion_are_normal_and_those_of_unmarked_films_are_left_out(
    bccli: Bccli, raw: Path, tmp_path: Path
) -> None:
    rows = [tuple(row.values()) for row in read_rows(raw / "all.csv")]
    sources = [row[0] for row in rows if row[4]][:3]
    rows = [(*row[:4], "" if row[0] in sources else row[4]) for row in rows]
    bccli("prepare", "csv", write_table(raw / "some.csv", rows), tmp_path / "data", *TILES)
    result = bccli("train", tmp_path / "data", tmp_path / "run", *FAST)
    assert "36 images without a mask were left out" in result.stderr
    stored = read_rows(tmp_path / "run" / "predictions.csv")
    masks = {row["path"]: row["mask"] for row in read_rows(tmp_path / "data" / "manifest.csv")}
    assert all((row["label"] == "lesion") == bool(masks[row["path"]]) for row in stored)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["data"]["images"] == 45 * 12


def test_a_split_does_not_separate_tiles_of_a_film(data: Path) -> None:
    splits = {(row["source"], row["split"]) for row in read_rows(data / "manifest.csv")}
    assert max(Counter(source for source, _ in splits).values()) == 1


def test_boxes_and_lesions_are_those_of_films(trained: Path, raw: Path) -> None:
    films = read_rows(trained / "films.csv")
    assert len(films) == 24
    assert {(row["width"], row["height"]) for row in films} == {(str(WIDTH), str(HEIGHT))}
    true = read_rows(trained / "lesions.csv")
    for film in films:
        mask = mask_of(raw, film["path"])
        lesions = find_lesions([mask]) if mask.any() else []
        stored = [row for row in true if row["path"] == film["path"]]
        assert [tuple(int(row[key]) for key in Box._fields) for row in stored] == [one.box for one in lesions]
        assert [int(row["area"]) for row in stored] == [one.area for one in lesions]
    assert {row["path"] for row in read_rows(trained / "boxes.csv")} <= {row["path"] for row in films}


def largest_of_films(run: Path, split: str) -> dict[str, tuple[float, bool]]:
    """By film the largest p_lesion of its tiles of a split, and whether one of them has a lesion."""
    found: dict[str, tuple[float, bool]] = {}
    for row in read_rows(run / "predictions.csv"):
        if row["split"] == split:
            chance, has_lesion = found.get(row["source"], (0.0, False))
            chance = max(chance, float(row["p_lesion"]))
            found[row["source"]] = chance, has_lesion or row["label"] == "lesion"
    return found


def share_in_order(cases: Collection[tuple[float, bool]]) -> float:
    """The area under the ROC curve: of pairs of a lesion and none, in how many the lesion is the surer."""
    pairs = [(one, other) for one, ill in cases if ill for other, unwell in cases if not unwell]
    return sum((one > other) + (one == other) / 2 for one, other in pairs) / len(pairs)


def share_right(cases: Collection[tuple[float, bool]], threshold: float = 0.5) -> float:
    """How many are above a threshold where there is a lesion, and only there."""
    return sum((chance >= threshold) == has_lesion for chance, has_lesion in cases) / len(cases)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_film_is_as_sure_as_its_surest_tile(bccli: Bccli, trained: Path, raw: Path, split: str) -> None:
    films = largest_of_films(trained, split)
    printed = bccli("evaluate", trained, "--split", split, "--format", "json", "--bootstrap", 0)
    assert "boxes.csv" not in printed.stderr
    (entry,) = json.loads(printed.stdout)["runs"]
    assert entry["n"] == len(films) == 12
    assert entry["roc_auc"] == pytest.approx(share_in_order(films.values()))
    assert entry["accuracy"] == pytest.approx(share_right(films.values()))
    assert entry["fusion"]["largest"]["accuracy"] == entry["accuracy"] > entry["fusion"]["mean"]["accuracy"]
    assert entry["merged"] == "144 patches of 12 images; an image has the largest p_lesion of its patches"
    stored = json.loads((trained / "metrics.json").read_text())["runs"]
    (known,) = (row for row in stored if row["split"] == split)
    assert known["roc_auc"] == entry["roc_auc"]
    assert known["calibration"]["brier"] == entry["calibration"]["brier"]
    answers = rows_of(bccli("predict", trained, *(raw / name for name in films)).stdout)
    asked = {name: float(row["p_lesion"]) for name, row in zip(films, answers, strict=True)}
    assert asked == pytest.approx({name: chance for name, (chance, _) in films.items()}, abs=1e-4)
    brier = np.mean([2 * (chance - films[name][1]) ** 2 for name, chance in asked.items()])
    assert entry["calibration"]["brier"] == pytest.approx(brier, abs=1e-3)


def test_thresholds_and_patients_rest_on_films(bccli: Bccli, trained: Path, data: Path) -> None:
    words = "--format", "json", "--bootstrap", 0
    (entry,) = json.loads(bccli("evaluate", trained, "--threshold", "youden", *words).stdout)["runs"]
    chosen, on_val = entry["threshold"]["value"], largest_of_films(trained, "val").values()
    rates = [
        share_right([case for case in on_val if case[1]], threshold)
        + share_right([case for case in on_val if not case[1]], threshold)
        for threshold in (*(chance for chance, _ in on_val), chosen)
    ]
    assert rates[-1] == pytest.approx(max(rates))
    films = largest_of_films(trained, "test")
    assert entry["accuracy"] == pytest.approx(share_right(films.values(), chosen))
    patients: dict[str, list[tuple[float, bool]]] = {}
    for name, case in films.items():
        patients.setdefault(name.split("_")[0], []).append(case)
    means = [(sum(one for one, _ in cases) / len(cases), cases[0][1]) for cases in patients.values()]
    (entry,) = json.loads(bccli("evaluate", trained, "--level", "patient", *words).stdout)["runs"]
    assert entry["n"] == len(means) == 6
    assert entry["roc_auc"] == pytest.approx(share_in_order(means))
    assert entry["accuracy"] == pytest.approx(share_right(means))
    (entry,) = json.loads(bccli("evaluate", trained, "--data", data, *words).stdout)["runs"]
    every = [case for split in ("train", "val", "test") for case in largest_of_films(trained, split).values()]
    assert entry["roc_auc"] == pytest.approx(share_in_order(every), abs=0.01)
    (entry,) = json.loads(bccli("evaluate", trained, "--level", "patch", *words).stdout)["runs"]
    assert (entry["n"], entry["merged"]) == (144, None)


def froc_of(text: str, split: str | None) -> dict[str, Any]:
    """The figures of boxes of a split."""
    found: dict[str, Any]
    (found,) = (row["froc"] for row in json.loads(text)["runs"] if row["split"] == split)
    return found


def test_figures_of_boxes_count_films(
    bccli: Bccli, trained: Path, data: Path, raw: Path, tmp_path: Path
) -> None:
    stored = froc_of((trained / "metrics.json").read_text(), "test")
    assert (stored["films"], stored["normal_films"], stored["lesions"]) == (12, 6, 6)
    assert stored["rules"]["either"]["all"]["sensitivity"]["1"]["value"] >= 0.9
    again = bccli("evaluate", trained, "--split", "test", "--format", "json").stdout
    assert froc_of(again, "test") == stored
    other = bccli("evaluate", trained, "--data", data, "--format", "json").stdout
    (found,) = (row["froc"] for row in json.loads(other)["runs"])
    assert (found["films"], found["normal_films"], found["lesions"]) == (48, 24, 24)
    bccli("prepare", "csv", raw / "all.csv", tmp_path / "whole", "--size", f"{SIDE}x{SIDE}")
    said = bccli("evaluate", trained, "--data", tmp_path / "whole", exit=3)
    refused(said, "has whole films", "looks for boxes in tiles of films")


def test_films_of_all_folds_have_the_boxes_of_the_detector_that_did_not_see_them(
    bccli: Bccli, raw: Path, tmp_path: Path
) -> None:
    rows = [(*list(row.values())[:3], "", row["mask"]) for row in read_rows(raw / "all.csv")]
    table = write_table(raw / "no-splits.csv", rows)
    bccli("prepare", "csv", table, tmp_path / "data", "--folds", 3, "--patch", 64, "--to-edges")
    bccli("train", tmp_path / "data", tmp_path / "run", *FAST, "--fold", "all")
    films = [row for row in read_rows(tmp_path / "run" / "films.csv") if row["split"] == "test"]
    assert len({row["path"] for row in films}) == len(films) == 48
    written = bccli("evaluate", tmp_path / "run", "--split", "test", "--format", "json").stdout
    assert froc_of(written, "test")["films"] == 48


def test_it_finds_lesions_in_films_as_it_did_while_there_were_data(
    bccli: Bccli, trained: Path, raw: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "elsewhere"))
    stored: dict[str, list[tuple[Box, float]]] = {}
    for row in read_rows(run / "boxes.csv"):
        box = Box(*(int(row[key]) for key in Box._fields))
        stored.setdefault(row["path"], []).append((box, float(row["score"])))
    chances: dict[str, float] = {}
    for row in read_rows(run / "predictions.csv"):
        chances[row["source"]] = max(chances.get(row["source"], 0), float(row["p_lesion"]))
    films = [row["path"] for row in read_rows(run / "films.csv")]
    assert load_predictor([run]).at_once == 1, "more large films would fill the memory"
    result = bccli("predict", run, *(raw / name for name in films), "--boxes")
    assert "LiteRT" in result.stderr
    overlaps = []
    for name, row in zip(films, rows_of(result.stdout), strict=True):
        found = boxes_of(row["boxes"])
        assert float(row["p_lesion"]) == pytest.approx(chances[name], abs=1e-4)
        sure = [(box, score) for box, score in found if score > 0.5]
        for (box, score), (other, known) in zip(sure, stored[name], strict=False):
            assert iou(box, other) > 0.9
            assert score == pytest.approx(known, abs=1e-4)
        if (mask := mask_of(raw, name)).any():
            overlaps.append(iou(found[0][0], find_lesions([mask])[0].box))
    assert np.mean([overlap >= 0.2 for overlap in overlaps]) >= 0.9
    assert np.mean(overlaps) >= 0.5


def test_a_lesion_across_edges_of_tiles_has_one_box(bccli: Bccli, trained: Path, tmp_path: Path) -> None:
    film = np.random.default_rng(0).integers(10, 30, (HEIGHT, WIDTH))
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    disc = np.hypot(ys - 64, xs - 48) <= RADIUS  # in no tile as a whole
    save(tmp_path / "film.png", np.where(disc, 220, film).astype(np.uint8))
    (row,) = rows_of(bccli("predict", trained, tmp_path / "film.png", "--boxes").stdout)
    sure = [box for box, score in boxes_of(row["boxes"]) if score > 0.5]
    assert len(sure) == 1
    assert iou(sure[0], find_lesions([disc])[0].box) > 0.4


@pytest.mark.pictures
def test_overlays_show_the_film(bccli: Bccli, trained: Path, raw: Path, tmp_path: Path) -> None:
    film = raw / "films" / "p7_0.png"
    words = "predict", trained, film, "--boxes", "--explain", tmp_path / "shown", "--mask-dir", raw / "masks"
    (row,) = rows_of(bccli(*words).stdout)
    assert row["inside_mask"] == "True"
    (overlay,) = (tmp_path / "shown").glob("*.png")
    height, width = decode(overlay).shape[:2]
    assert (width, height) == (192, 256)
    written = json.loads(bccli("predict", trained, film, "--boxes", "--format", "geojson").stdout)
    assert len(written["features"]) == len(boxes_of(row["boxes"]))


@pytest.mark.exports
def test_only_tiles_of_the_breast_are_looked_at(bccli: Bccli, tmp_path: Path) -> None:
    rows = []
    for number in range(12):
        rng = np.random.default_rng(number)
        ys, xs = np.mgrid[:HEIGHT, :WIDTH]
        film = np.where(np.hypot(ys - 40, xs) < 40, 120, 5) + rng.integers(0, 9, (HEIGHT, WIDTH))
        film[104:120, 70:90] = 250  # a label
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        if label := number % 2:
            y, x = rng.integers(20, 60), rng.integers(5, 20)
            mask[y : y + 8, x : x + 8] = 255
        save(tmp_path / f"raw/film{number}.png", np.where(mask, 240, film).astype(np.uint8))
        save(tmp_path / f"raw/mask{number}.png", mask)
        split = ("train", "val", "test")[number // 2 % 3]
        name = f"mask{number}.png" if label else ""
        rows.append((f"film{number}.png", ("normal", "tumor")[label], f"p{number}", split, name))
    table, data, run = write_table(tmp_path / "raw/all.csv", rows), tmp_path / "data", tmp_path / "run"
    bccli("prepare", "csv", table, data, *TILES, "--min-breast", 0.05)
    seen = {(int(row["row"]), int(row["col"])) for row in read_rows(data / "manifest.csv")}
    assert (0, 0) in seen
    assert (80, 48) not in seen
    assert len(seen) < 12
    bccli("train", data, run, *FAST)
    predicted = read_rows(run / "predictions.csv")
    chances = {row["source"]: 0.0 for row in predicted}
    for row in predicted:
        chances[row["source"]] = max(chances[row["source"]], float(row["p_lesion"]))
    answers = rows_of(bccli("predict", run, *(tmp_path / "raw" / name for name in chances)).stdout)
    for row, chance in zip(answers, chances.values(), strict=True):
        assert float(row["p_lesion"]) == pytest.approx(chance, abs=1e-4)


def test_films_smaller_than_a_tile_and_patches_for_themselves_are_refused(
    bccli: Bccli, trained: Path, raw: Path, tmp_path: Path
) -> None:
    save(tmp_path / "small.png", np.zeros((20, 90), np.uint8))
    (row,) = rows_of(bccli("predict", trained, tmp_path / "small.png", "--boxes", exit=4).stdout)
    assert "smaller (90×20) than a patch (48×48)" in row["error"]
    said = bccli("predict", trained, raw / "films", "--level", "patch", exit=2)
    refused(said, "answers for images only")
