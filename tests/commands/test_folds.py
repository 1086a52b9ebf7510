"""Cross-validation through the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PATIENT, Bccli, draw_folder, read_rows, rows_of
from tests.library import Library, bccli_in

TRAIN = "--backbone", "mobilenet-0.25", "--weights", "none", "--trainable", "none", "--epochs", 3


@pytest.fixture
def folded(library: Library, tmp_path: Path) -> Path:
    """A prepared dataset with four folds, beside its raw images and `run`, which was trained on all folds."""
    return library.copy("folded", fill, tmp_path) / "folded"


def fill(place: Path) -> None:
    raw = draw_folder(place / "raw", patients=8, size=(32, 32))
    bccli_in("prepare", "folder", raw, place / "folded", *PATIENT, "--folds", 4)
    bccli_in("train", place / "folded", place / "run", *TRAIN, "--fold", "all")


def test_every_patient_has_one_fold(folded: Path) -> None:
    rows = read_rows(folded / "manifest.csv")
    assert {row["split"] for row in rows} == {""}
    assert {row["fold"] for row in rows} == {"0", "1", "2", "3"}
    assert len({(row["patient"], row["fold"]) for row in rows}) == 8


def test_a_fold_is_tested_and_the_next_validates(bccli: Bccli, folded: Path, tmp_path: Path) -> None:
    bccli("train", folded, tmp_path / "third", *TRAIN, "--fold", 3)
    by_split = {
        split: {
            row["fold"] for row in read_rows(tmp_path / "third" / "predictions.csv") if row["split"] == split
        }
        for split in ("val", "test")
    }
    assert by_split == {"test": {"3"}, "val": {"0"}}


def test_all_folds_are_pooled_and_predict_averages_them(bccli: Bccli, folded: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tested = [row for row in read_rows(run / "predictions.csv") if row["split"] == "test"]
    assert sorted(row["path"] for row in tested) == sorted(
        row["path"] for row in read_rows(folded / "manifest.csv")
    )
    figures = json.loads(bccli("evaluate", run, "--format", "json").stdout)["runs"][0]
    assert (figures["kind"], figures["n"], figures["patients"]) == ("folds", 32, 8)
    assert figures["leakage"] == {"patients": 0, "identical": 0, "near_duplicates": 0, "children": 0}
    info = json.loads((run / "run.json").read_text())
    assert (info["positive"], info["positive_origin"]) == ("malignant", "known")
    single = [
        json.loads((run / part / "metrics.json").read_text())["runs"][1]["accuracy"] for part in info["parts"]
    ]
    assert info["spread"]["test"]["accuracy"] == pytest.approx([np.mean(single), np.std(single, ddof=1)])

    image = tmp_path / "raw" / "benign" / "p0_0.png"
    together = rows_of(bccli("predict", run, image).stdout)[0]
    alone = [rows_of(bccli("predict", run / part, image).stdout)[0] for part in info["parts"]]
    mean = np.mean([float(row["p_malignant"]) for row in alone])
    assert float(together["p_malignant"]) == pytest.approx(mean, abs=1e-6)


def test_finished_folds_are_not_trained_again(bccli: Bccli, folded: Path, tmp_path: Path) -> None:
    before = (tmp_path / "run" / "fold-2" / "model.keras").stat().st_mtime_ns
    again = bccli("train", folded, tmp_path / "run", *TRAIN, "--fold", "all")
    assert "nothing to do" in again.stderr
    assert (tmp_path / "run" / "fold-2" / "model.keras").stat().st_mtime_ns == before


def test_folds_have_to_be_named(bccli: Bccli, folded: Path, prepared: Path, tmp_path: Path) -> None:
    assert "--fold 0 … 3 or --fold all" in bccli("train", folded, tmp_path / "a", exit=2).stderr
    assert "the folds are 0 … 3" in bccli("train", folded, tmp_path / "a", "--fold", 4, exit=2).stderr
