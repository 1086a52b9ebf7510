"""Which films a detector learns from, of data as they come."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.commands.mammograms import cbis, lesions
from tests.conftest import Bccli, read_rows, rows_of, save
from tests.sentences import refused

TRAIN = "--head", "detector", "--backbone", "cnn-15", "--epochs", 1, "--trainable", "none"


@pytest.mark.exports
@pytest.mark.filterwarnings("ignore:::pydicom")
def test_a_film_with_several_lesions_comes_once_with_all_of_them(bccli: Bccli, tmp_path: Path) -> None:
    cbis(tmp_path / "raw", lesions())
    bccli("prepare", "cbis-ddsm", tmp_path / "raw", tmp_path / "data", "--size", "48x64")
    rows = read_rows(tmp_path / "data" / "manifest.csv")
    films = Counter(row["source"] for row in rows)
    again = len(rows) - len(films)
    assert again
    result = bccli("train", tmp_path / "data", tmp_path / "run", *TRAIN)
    assert f"{again} rows show a film that another row shows" in result.stderr
    assert "without a mask" not in result.stderr
    told = {row["path"]: row for row in read_rows(tmp_path / "run" / "predictions.csv")}
    assert len(told) == len({row["source"] for row in told.values()})
    found = Counter(told[row["path"]]["source"] for row in read_rows(tmp_path / "run" / "lesions.csv"))
    held_out = {row["source"] for row in rows if row["split"] != "train"}
    assert found == {source: films[source] for source in held_out}
    assert max(found.values()) == 2
    said = "--data", tmp_path / "data", "--format", "json"
    result = bccli("evaluate", tmp_path / "run", *said)
    assert "show a film that another row shows" in result.stderr
    assert json.loads(result.stdout)["runs"][0]["n"] == len(films)


def films_with_discs_at(root: Path, *rows: int) -> Path:
    """A table of films 40×80, of each split two with a lesion in each of these rows, without one in row 0."""
    table = []
    for split in ("train", "val", "test"):
        for number, row in enumerate([*rows, *rows]):
            name = f"{split}{number}.png"
            ys, xs = np.mgrid[:80, :40]
            disc = (np.hypot(ys - row, xs - 20) <= 6) & (row > 0)
            film = np.random.default_rng(len(table)).integers(0, 60, disc.shape) + 180 * disc
            save(root / name, film.astype(np.uint8))
            if row:
                save(root / "masks" / name, np.where(disc, 255, 0).astype(np.uint8))
            label = ("cancer" if number % 2 else "benign") if row else "normal"
            table.append((name, label, name, split, f"masks/{name}" if row else ""))
    with (root / "films.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "patient", "split", "mask"))
        writer.writerows(table)
    return root / "films.csv"


def test_films_whose_lesion_is_cut_away_are_left_out(bccli: Bccli, tmp_path: Path) -> None:
    table = films_with_discs_at(tmp_path / "raw", 0, 40, 8)
    bccli("prepare", "csv", table, tmp_path / "data", "--size", "40x40", "--fit", "crop")
    result = bccli("train", tmp_path / "data", tmp_path / "run", *TRAIN)
    assert "6 images of whose masks nothing is in the prepared image were left out" in result.stderr
    labels = Counter(row["label"] for row in read_rows(tmp_path / "run" / "predictions.csv"))
    assert labels == {"normal": 4, "lesion": 4}
    table = films_with_discs_at(tmp_path / "beyond", 0, 8)
    bccli("prepare", "csv", table, tmp_path / "nothing", "--size", "40x40", "--fit", "crop")
    refused(bccli("train", tmp_path / "nothing", tmp_path / "none", *TRAIN, exit=3), "--fit pad")


@pytest.mark.exports
def test_what_was_padded_counts_nowhere(bccli: Bccli, tmp_path: Path) -> None:
    table = films_with_discs_at(tmp_path / "raw", 0, 40)
    data, run = tmp_path / "data", tmp_path / "run"
    bccli("prepare", "csv", table, data, "--size", "80x80", "--fit", "pad")
    bccli("train", data, run, *TRAIN)
    cell = 80 // json.loads((run / "run.json").read_text())["detector"]["cells"][1]
    least, most = 20 - cell, 60 + cell
    boxes = read_rows(run / "boxes.csv")
    assert boxes
    assert all(least <= int(box["left"]) < int(box["right"]) <= most for box in boxes)
    stored = read_rows(run / "predictions.csv")
    surest: dict[str, float] = {}
    for box in boxes:
        surest[box["path"]] = max(surest.get(box["path"], 0), float(box["score"]))
    for row in stored:
        assert surest.get(row["path"], 0) == pytest.approx(float(row["p_lesion"]), abs=1e-6)
    raw = [table.parent / row["source"] for row in stored]
    answers = rows_of(bccli("predict", run, *raw).stdout)
    for row, answer in zip(stored, answers, strict=True):
        assert float(answer["p_lesion"]) == pytest.approx(float(row["p_lesion"]), abs=1e-4)
    said = bccli("evaluate", run, "--data", data, "--format", "json", "--bootstrap", 0)
    (entry,) = json.loads(said.stdout)["runs"]
    assert entry["froc"]["films"] == 12


@pytest.mark.parametrize("how", [("--roi", "crop", "--context", 0.5), ("--roi", "mask")])
def test_regions_are_no_films(bccli: Bccli, tmp_path: Path, how: tuple[object, ...]) -> None:
    table = films_with_discs_at(tmp_path / "raw", 40)
    bccli("prepare", "csv", table, tmp_path / "data", "--size", "40x40", *how)
    refused(bccli("train", tmp_path / "data", tmp_path / "run", *TRAIN, exit=3), "without --roi")


@pytest.mark.exports
def test_cells_that_are_not_the_networks_are_refused(bccli: Bccli, tmp_path: Path) -> None:
    table = films_with_discs_at(tmp_path / "raw", 0, 40)
    bccli("prepare", "csv", table, tmp_path / "data", "--size", "40x40")
    bccli("train", tmp_path / "data", tmp_path / "run", *TRAIN)
    path = tmp_path / "run" / "run.json"
    info = json.loads(path.read_text())
    rows, columns = info["detector"]["cells"]
    for cells in ([rows + 1, columns], [100_000, 100_000]):
        path.write_text(json.dumps({**info, "detector": {"cells": cells}}))
        said = bccli("predict", tmp_path / "run", table.parent / "test0.png", "--boxes", exit=3)
        refused(said, f"{cells[0]}×{cells[1]}", "copy the whole folder again")
