"""`bccli train --classifier`: fitted classifiers and the bag of visual words, from data to answers."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.classifiers.models import load_classifier
from tests.conftest import PATIENT, Bccli, read_rows, rows_of, tree
from tests.sentences import refused

FITTED = "svm", "forest", "logistic", "boosting"
FROZEN = "--backbone", "cnn-15", "--weights", "none"


@pytest.fixture
def data(bccli: Bccli, make_folder: Callable[..., Path], tmp_path: Path) -> Path:
    raw = make_folder(patients=10, size=(32, 32))
    bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT, "--ratios", "3/1/1")
    return tmp_path / "data"


def probabilities(rows: list[dict[str, str]]) -> dict[str, list[float]]:
    """By the end of the path, which is the same for a prepared image wherever it lies."""
    named = [name for name in rows[0] if name.startswith("p_")]
    return {Path(row["path"]).name: [float(row[name]) for name in named] for row in rows}


@pytest.mark.exports
def test_every_classifier_and_the_network_side_by_side(bccli: Bccli, data: Path, tmp_path: Path) -> None:
    every = [word for name in ("dense", *FITTED, "bovw") for word in ("--classifier", name)]
    rows = rows_of(
        bccli("train", data, tmp_path / "out", *FROZEN, "--trainable", "none", *every, "--epochs", 2).stdout
    )
    names = {"cnn-15", *(f"cnn-15-{name}" for name in FITTED), "bovw"}
    assert {row["name"] for row in rows} == names
    assert {row["classifier"] for row in rows} == {"dense", *FITTED, "bovw"}
    by_name = {row["name"]: row for row in rows}
    assert by_name["bovw"]["backbone"] == "none"
    for row in rows:
        assert row["status"] == "complete"
        for split in ("val", "test"):
            assert 0 <= float(row[f"{split}_roc_auc"]) <= 1
    assert float(by_name["bovw"]["test_accuracy"]) == 1  # stripes along and across are other words
    for name in names - {"cnn-15"}:
        run = tmp_path / "out" / name
        info = json.loads((run / "run.json").read_text())
        assert info["kind"] == "classifier"
        stored = read_rows(run / "predictions.csv")
        found = rows_of(bccli("predict", run, data / "images", "--format", "csv").stdout)
        expected, answered = probabilities(stored), probabilities(found)
        for image, values in expected.items():
            assert answered[image] == pytest.approx(values, abs=2e-4), name
        seen = {row["path"] for row in read_rows(run / "seen.csv")}
        assert seen
        assert seen.isdisjoint(row["path"] for row in stored if row["split"] == "test")
    table = bccli("evaluate", tmp_path / "out", "--bootstrap", 0, "--format", "csv").stdout
    assert {row["name"] for row in rows_of(table)} == names


def test_features_are_those_of_the_network(bccli: Bccli, data: Path, tmp_path: Path) -> None:
    bccli("train", data, tmp_path / "dense", *FROZEN, "--trainable", "none", "--epochs", 1)
    known = sorted((data / ".cache" / "features").rglob("*.npy"))
    result = bccli("train", data, tmp_path / "svm", *FROZEN, "--classifier", "svm")
    assert "images were in the cache" in result.stderr
    assert sorted((data / ".cache" / "features").rglob("*.npy")) == known


def test_recipe_repeats_a_run_and_the_same_command_recognises_it(
    bccli: Bccli, data: Path, tmp_path: Path
) -> None:
    shared = *FROZEN, "--class-weights", "balanced", "--seed", 3
    options = *shared, "--classifier", "logistic"
    bccli("train", data, tmp_path / "one", *options)
    bccli("train", data, tmp_path / "two", "--recipe", tmp_path / "one" / "recipe.toml")
    one, two = (tree(tmp_path / name) for name in ("one", "two"))
    for name in ("predictions.csv", "recipe.toml", "classifier.npz", "seen.csv"):
        assert one[name] == two[name]
    assert "nothing to do" in bccli("train", data, tmp_path / "one", *options).stderr
    other = bccli("train", data, tmp_path / "one", *shared, "--classifier", "svm", exit=3)
    refused(other, "classifier logistic")


@pytest.mark.parametrize("classifier", ["svm", "bovw"])
def test_views_are_examples_of_train_alone(bccli: Bccli, data: Path, tmp_path: Path, classifier: str) -> None:
    options = () if classifier == "bovw" else FROZEN
    policy = "--augment", "flips", "--views", 2, "--workers", 1
    result = bccli("train", data, tmp_path / "out", "--classifier", classifier, *options, *policy)
    train = sum(row["split"] == "train" for row in read_rows(data / "manifest.csv"))
    assert f"to {2 * train} vectors" in result.stderr


@pytest.mark.exports
def test_folds_share_the_answer(bccli: Bccli, make_folder: Callable[..., Path], tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "out"
    bccli("prepare", "folder", make_folder(patients=8), data, *PATIENT, "--folds", 3)
    bccli("train", data, run, "--classifier", "bovw", "--fold", "all")
    found = rows_of(bccli("predict", run, data / "images", "--format", "csv").stdout)
    parts = [
        probabilities(
            rows_of(bccli("predict", run / f"fold-{fold}", data / "images", "--format", "csv").stdout)
        )
        for fold in range(3)
    ]
    for image, values in probabilities(found).items():
        assert values == pytest.approx(np.mean([part[image] for part in parts], axis=0), abs=1e-5)


def test_words_are_learned_and_told_without_tensorflow(
    bccli: Bccli, bccli_process: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from bccli.cli import cli\n"
        f"data, run = {str(data)!r}, {str(tmp_path / 'out')!r}\n"
        "cli(['train', data, run, '--classifier', 'bovw'], standalone_mode=False)\n"
        "cli(['predict', run, data + '/images'], standalone_mode=False)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.exports
def test_moved_runs_answer_without_data(bccli: Bccli, data: Path, tmp_path: Path) -> None:
    bccli("train", data, tmp_path / "out", *FROZEN, "--classifier", "forest")
    expected = probabilities(read_rows(tmp_path / "out" / "predictions.csv"))
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    shutil.move(data / "images", tmp_path / "kept")
    shutil.rmtree(data)
    found = probabilities(
        rows_of(bccli("predict", tmp_path / "elsewhere", tmp_path / "kept", "--format", "csv").stdout)
    )
    for image, values in expected.items():
        assert found[image] == pytest.approx(values, abs=1e-4)


def test_patients_too_few_for_folds_are_said(
    bccli: Bccli, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    bccli("prepare", "folder", make_folder(size=(32, 32)), tmp_path / "data", *PATIENT, "--ratios", "1/1/1")
    result = bccli("train", tmp_path / "data", tmp_path / "out", *FROZEN, "--classifier", "svm")
    assert "too few patients of each class for svm" in result.stderr


@pytest.mark.exports
def test_only_the_chosen_one_is_kept(bccli: Bccli, data: Path, tmp_path: Path) -> None:
    three = [word for name in ("svm", "forest", "bovw") for word in ("--classifier", name)]
    rows = rows_of(bccli("train", data, tmp_path / "out", *FROZEN, *three, "--save", "best").stdout)
    for row in rows:
        kept = (tmp_path / "out" / row["name"] / "classifier.npz").exists()
        assert kept == (row["chosen"] == "True")
    chosen = next(row["name"] for row in rows if row["chosen"] == "True")
    bccli("predict", tmp_path / "out" / chosen, data / "images")


def test_bad_input(bccli: Bccli, data: Path, tmp_path: Path) -> None:
    def wrong(*options: object, exit: int = 2) -> Any:
        return bccli("train", data, tmp_path / "out", *options, exit=exit)

    refused(wrong("--classifier", "svm", "--lr", 0.1), "--lr", "--classifier svm has no use for it")
    refused(wrong("--classifier", "bovw", *FROZEN), "--backbone", "--classifier bovw has no use for it")
    refused(wrong(*FROZEN, "--classifier", "svm", "--trainable", "all"), "--trainable all", "frozen")
    refused(wrong(*FROZEN, "--classifier", "svm", "--augment", "flips"), "--views")
    refused(wrong("--classifier", "bovw", "--views", 3), "--views", "add --augment POLICY")
    assert "bovw" in wrong("--classifier", "knn").stderr
    assert not (tmp_path / "out").exists()
    bccli("train", data, tmp_path / "out", "--classifier", "bovw")
    refused(bccli("finetune", tmp_path / "out", tmp_path / "tuned", exit=3), "is a classifier")
    words = tmp_path / "out" / "words.npz"
    words.write_bytes(words.read_bytes()[:-5])
    refused(bccli("predict", tmp_path / "out", data / "images", exit=3), "words.npz", "has changed")


@pytest.mark.slow
@pytest.mark.exports
def test_a_classifier_of_the_averages_of_all_blocks_predicts_and_evaluates_as_it_was_fitted(
    bccli: Bccli, data: Path, tmp_path: Path
) -> None:
    """Its features are those that a head of blocks is trained on, and others than those of gap."""
    blocks = "train", data, tmp_path / "blocks", *FROZEN, "--head", "blocks"
    bccli(*blocks, "--classifier", "logistic")
    stores = {path.name for path in (data / ".cache" / "features").iterdir()}
    bccli("train", data, tmp_path / "gap", *FROZEN, "--classifier", "logistic")
    assert len({path.name for path in (data / ".cache" / "features").iterdir()} - stores) == 1
    dense = (
        "train",
        data,
        tmp_path / "dense",
        *FROZEN,
        "--trainable",
        "none",
        "--head",
        "blocks",
        "--epochs",
        1,
    )
    assert "images were in the cache" in bccli(*dense).stderr
    widths = {}
    for name in ("blocks", "gap"):
        run = tmp_path / name
        widths[name] = load_classifier(run / "classifier.npz").width
        expected = probabilities(read_rows(run / "predictions.csv"))
        found = probabilities(rows_of(bccli("predict", run, data / "images", "--format", "csv").stdout))
        for image, values in expected.items():
            assert found[image] == pytest.approx(values, abs=2e-4), name
    assert widths["blocks"] > widths["gap"]
    settings = json.loads((tmp_path / "blocks" / "run.json").read_text())["settings"]
    assert (settings["head"], settings["classifier"]) == ("blocks", "logistic")
    (row,) = rows_of(bccli("evaluate", tmp_path / "blocks", "--bootstrap", 0, "--format", "csv").stdout)
    (other,) = rows_of(
        bccli("evaluate", tmp_path / "blocks", "--data", data, "--bootstrap", 0, "--format", "csv").stdout
    )
    assert int(other["n"]) > int(row["n"])
    assert 'head = "blocks"' in (tmp_path / "blocks" / "recipe.toml").read_text()
    again = *("train", data, tmp_path / "again"), "--recipe", tmp_path / "blocks" / "recipe.toml"
    bccli(*again)
    assert (tmp_path / "again" / "predictions.csv").read_bytes() == (
        tmp_path / "blocks" / "predictions.csv"
    ).read_bytes()
