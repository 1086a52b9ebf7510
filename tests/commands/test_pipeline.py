"""The main job through the command line: prepare, train, evaluate, predict."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Bccli, read_rows, rows_of

pytestmark = pytest.mark.exports


def test_tiny_images_become_a_classifier_and_labels(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = bccli("train", prepared, run, "--backbone", "cnn-15", "--epochs", 2, "--batch-size", 4)
    assert {row["split"] for row in rows_of(trained.stdout)} == {"val", "test"}
    figures = json.loads(bccli("evaluate", run, "--format", "json").stdout)["runs"][0]
    assert figures["n"] == 8
    assert figures["patients"] == 2
    assert figures["positive"] == "malignant"
    labelled = rows_of(bccli("predict", run, tmp_path / "raw").stdout)
    assert len(labelled) == 24
    assert all(float(row["p_benign"]) + float(row["p_malignant"]) == pytest.approx(1) for row in labelled)


def test_predict_prepares_real_images_as_prepare_did(
    bccli: Bccli, real_data: Path, real_weights: Path, tmp_path: Path
) -> None:
    """The preparation is no default one, the prepared data is gone and the run has moved."""
    source, data, run = real_data / "breakhis", tmp_path / "data", tmp_path / "run"
    bccli("prepare", "breakhis", source, data, "--size", "160x112", "--fit", "pad")
    bccli(
        "train",
        data,
        run,
        "--backbone",
        "mobilenet-0.25",
        "--weights",
        "imagenet",
        "--epochs",
        40,
        "--dense",
        64,
    )
    shutil.rmtree(data)
    moved = run.rename(tmp_path / "elsewhere")
    stored = {str(source / row["source"]): row for row in read_rows(moved / "predictions.csv")}
    labelled = rows_of(bccli("predict", moved, *stored).stdout)
    assert [row["path"] for row in labelled] == list(stored)
    probabilities = [float(row["p_malignant"]) for row in labelled]
    assert max(probabilities) - min(probabilities) > 0.1
    for row, probability in zip(labelled, probabilities, strict=True):
        assert probability == pytest.approx(float(stored[row["path"]]["p_malignant"]), abs=1e-5)
