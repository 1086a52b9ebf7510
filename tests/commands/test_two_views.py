"""`--head two-views`: a lesion and what is around it, from the preparation to the answer of a moved run."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Bccli, read_rows, rows_of, save
from tests.library import Library, bccli_in
from tests.sentences import refused

SIDE, RADIUS, CONTEXT = 60, 8, 0.5
HEAD = "--head", "two-views", "--epochs", 2, "--batch-size", 8
FROZEN = "--weights", "none", "--trainable", "none"
CROPS = "--roi", "crop", "--size", "32x32"


def draw_films(root: Path) -> Path:
    """Noise with a disc, brighter if it is malignant; returns the table, which has folds for nobody."""
    rows = []
    for patient in range(12):
        rng = np.random.default_rng(patient)
        for number in range(2):
            x, y = rng.integers(16, SIDE - 16, 2)
            ys, xs = np.mgrid[:SIDE, :SIDE]
            disc = np.hypot(ys - y, xs - x) <= RADIUS
            film = np.where(disc, 120 + 80 * (patient % 2), rng.integers(10, 90, (SIDE, SIDE)))
            name = f"p{patient}_{number}.png"
            save(root / "films" / name, film.astype(np.uint8))
            save(root / "masks" / name, np.where(disc, 255, 0).astype(np.uint8))
            split = ("train", "train", "val", "test")[patient // 2 % 4]
            label = ("benign", "malignant")[patient % 2]
            rows.append((f"films/{name}", label, f"p{patient}", split, f"masks/{name}"))
    with (root / "films.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "patient", "split", "mask"), *rows])
    return root / "films.csv"


def fill(place: Path) -> None:
    table = draw_films(place / "raw")
    for name, words in {
        "data": (*CROPS, "--context", CONTEXT),
        "wider": (*CROPS, "--context", 1),
        "tight": CROPS,
        "whole": ("--size", "32x32"),
        "cut": (*CROPS, "--context", CONTEXT, "--center-crop", "30x30"),
        "folds": (*CROPS, "--context", CONTEXT, "--split-by", "patient", "--folds", 3),
    }.items():
        bccli_in("prepare", "csv", table, place / name, *words)
    bccli_in("train", place / "data", place / "run", *HEAD, *FROZEN)
    bccli_in("train", place / "data", place / "all", *HEAD, "--trainable", "all")


@pytest.fixture(scope="module")
def place(library: Library) -> Path:
    """Films, data prepared from them in several ways, and two runs; nobody changes them."""
    return library.folder("two_views", fill)


def info_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def answers_again(bccli: Bccli, run: Path, raw: Path, *words: object) -> None:
    """Check that `predict` says of the films of a run what is stored."""
    stored = read_rows(run / "predictions.csv")
    films = [raw / row["source"] for row in stored]
    found = bccli("predict", run, *films, "--mask-dir", raw / "masks", *words)
    assert "LiteRT" in found.stderr
    for row, answer in zip(stored, rows_of(found.stdout), strict=True):
        assert float(answer["p_malignant"]) == pytest.approx(float(row["p_malignant"]), abs=1e-4)


@pytest.mark.exports
@pytest.mark.parametrize("name", ["run", "all"])
def test_predict_answers_as_in_training(bccli: Bccli, place: Path, name: str) -> None:
    info = info_of(place / name)
    assert info["settings"]["head"] == "two-views"
    assert info["settings"]["context"] == info["preparation"]["context"] == CONTEXT
    assert info["litert"]["difference"] < 1e-4
    answers_again(bccli, place / name, place / "raw")


@pytest.mark.exports
def test_a_fresh_process_knows_it_without_the_data(
    bccli_process: Callable[..., subprocess.CompletedProcess[str]], place: Path, tmp_path: Path
) -> None:
    shutil.copytree(place / "run", tmp_path / "moved")
    stored = read_rows(tmp_path / "moved" / "predictions.csv")
    films = [place / "raw" / row["source"] for row in stored]
    words = *films, "--mask-dir", place / "raw" / "masks"
    done = bccli_process("predict", tmp_path / "moved", *words, "--format", "csv")
    for row, answer in zip(stored, rows_of(done.stdout), strict=True):
        assert float(answer["p_malignant"]) == pytest.approx(float(row["p_malignant"]), abs=1e-4)


def test_features_are_those_of_two_calls_of_the_backbone(place: Path) -> None:
    import keras

    from bccli.core.models.graph import extractor_and_head

    whole = keras.saving.load_model(place / "run" / "model.keras")
    extractor, _ = extractor_and_head(whole)
    (backbone,) = [layer for layer in whole.layers if layer.name == "cnn_15"]
    rows = read_rows(place / "data" / "manifest.csv")[:5]
    pixels = np.stack([np.asarray(Image.open(place / "data" / row["path"])) for row in rows]).astype(
        "float32"
    )
    inner = keras.layers.Resizing(32, 32)(pixels[:, 5:27, 5:27])
    expected = np.concatenate(
        [np.asarray(backbone(view / 127.5 - 1)).mean(axis=(1, 2)) for view in (pixels, inner)], axis=1
    )
    np.testing.assert_allclose(extractor(pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("whole", ("no crops of lesions", "--roi crop --context 0.5")),
        ("tight", ("both views would be the same", "--roi crop --context 0.5")),
        ("cut", ("--center-crop", "without")),
    ],
)
def test_data_without_surroundings_are_refused(
    bccli: Bccli, place: Path, tmp_path: Path, name: str, reasons: tuple[str, ...]
) -> None:
    for words in ((), ("--dry-run",)):
        refused(bccli("train", place / name, tmp_path / "run", *HEAD, *FROZEN, *words, exit=3), *reasons)
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_run_goes_on_with_the_same_share_only(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    again = bccli("train", place / "data", tmp_path / "run", *HEAD, *FROZEN)
    assert "nothing to do" in again.stderr
    refused(bccli("train", place / "wider", tmp_path / "run", *HEAD, *FROZEN, exit=3), "context 0.5, now 1")


def test_every_share_has_its_features(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    cache = "--cache", tmp_path / "cache"
    shutil.copytree(place / "data", tmp_path / "data")
    facts = json.loads((tmp_path / "data" / "dataset.json").read_text())
    facts["preparation"]["context"] = 0.25
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(facts))
    bccli("train", place / "data", tmp_path / "first", *HEAD, *FROZEN, *cache)
    again = bccli("train", place / "data", tmp_path / "again", *HEAD, *FROZEN, *cache, "--lr", 0.1)
    assert "images were in the cache" in again.stderr
    other = bccli("train", tmp_path / "data", tmp_path / "other", *HEAD, *FROZEN, *cache)
    assert "images were in the cache" not in other.stderr
    gap = bccli("train", place / "data", tmp_path / "gap", *HEAD, *FROZEN, *cache, "--head", "gap")
    assert "images were in the cache" not in gap.stderr


@pytest.mark.exports
def test_classifiers_folds_sweeps_trees_and_recipes_take_it(
    bccli: Bccli, place: Path, tmp_path: Path
) -> None:
    data, views = place / "data", HEAD[:2]
    bccli("train", data, tmp_path / "logistic", *views, "--weights", "none", "--classifier", "logistic")
    answers_again(bccli, tmp_path / "logistic", place / "raw")
    bccli("train", place / "folds", tmp_path / "folds", *HEAD, *FROZEN, "--fold", "all")
    (fold, *_) = sorted(path.parent for path in (tmp_path / "folds").glob("*/run.json"))
    assert info_of(fold)["settings"]["context"] == CONTEXT
    bccli("train", data, tmp_path / "sweep", *HEAD, *FROZEN, "--seeds", 2)
    bccli("hierarchy", data, tmp_path / "tree", "--tree", "benign, malignant", *HEAD, *FROZEN)
    answers_again(bccli, tmp_path / "tree", place / "raw")
    recipe = place / "run" / "recipe.toml"
    assert 'head = "two-views"' in recipe.read_text()
    bccli("train", data, tmp_path / "again", "--recipe", recipe)
    assert read_rows(tmp_path / "again" / "predictions.csv") == read_rows(place / "run" / "predictions.csv")


@pytest.mark.exports
@pytest.mark.parametrize("gamma", [0, 20])
def test_a_run_is_tuned_on_data_with_its_share(bccli: Bccli, place: Path, tmp_path: Path, gamma: int) -> None:
    words = "--from-layer", gamma, "--epochs", 1, "--batch-size", 8
    bccli("finetune", place / "run", tmp_path / "tuned", *words)
    assert info_of(tmp_path / "tuned")["settings"]["context"] == CONTEXT
    answers_again(bccli, tmp_path / "tuned", place / "raw")
    wider = "--data", place / "wider"
    refused(
        bccli("finetune", place / "run", tmp_path / "other", *words, *wider, exit=3), "--context 1", "0.5"
    )


@pytest.mark.exports
def test_maps_of_keras_and_litert_are_the_same_and_overlays_show_them(
    bccli: Bccli, place: Path, tmp_path: Path
) -> None:
    import keras

    from bccli.core.models.runtimes import KerasEngine, TfliteRuntime
    from bccli.core.prediction.maps.class_activation import activation_maps
    from bccli.core.runs.run_folder import load_run

    run = load_run(place / "run")
    keras.backend.clear_session()  # a process that has built nothing gives the names of what it loads
    rows = read_rows(place / "data" / "manifest.csv")[:5]
    images = np.stack([np.asarray(Image.open(place / "data" / row["path"])) for row in rows])
    shown = [engine.class_maps(run) for engine in (KerasEngine("CPU"), TfliteRuntime())]
    assert [maps.context if maps else 0 for maps in shown] == [CONTEXT] * 2
    whole = [lambda images: images]
    keras, litert = (activation_maps(maps, images, [0, 1, 0, 1, 0], whole, 4) for maps in shown if maps)
    for one, other in zip(keras, litert, strict=True):
        assert one.shape == (32, 32)
        assert np.abs(one - other).max() <= 1e-3 * one.max()
    films = sorted((place / "raw" / "films").iterdir())[:6]
    words = "--mask-dir", place / "raw" / "masks", "--explain", tmp_path / "maps"
    for film, row in zip(films, rows_of(bccli("predict", place / "run", *films, *words).stdout), strict=True):
        ys, xs = np.nonzero(np.asarray(Image.open(place / "raw" / "masks" / film.name)))
        if row["peak_x"]:
            assert abs(int(row["peak_x"]) - xs.mean()) <= RADIUS * (1 + CONTEXT) + 1
            assert abs(int(row["peak_y"]) - ys.mean()) <= RADIUS * (1 + CONTEXT) + 1


def test_what_sees_an_image_once_is_refused(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    run = place / "data", tmp_path / "run"
    two = "--backbone", "cnn-15", "--backbone", "cnn-20", "--join"
    refused(bccli("train", *run, *HEAD, *two, exit=2), "--head two-views", "joined backbones see one")
