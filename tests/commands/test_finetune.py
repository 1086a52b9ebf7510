"""`bccli finetune` through the command line."""

import hashlib
import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bccli.cli import cli
from tests.conftest import PATIENT, Bccli, draw, read_rows, rows_of, save
from tests.library import bccli_in
from tests.sentences import refused

SHORT = "--epochs", 2, "--batch-size", 8, "--lr", 1e-3
GAMMA = 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw images, data prepared from them, and a small trained run, `base`, for all tests."""
    place = tmp_path_factory.mktemp("finetune")
    for patient, number in product(range(6), range(4)):
        label = "benign", "malignant"
        path = place / "raw" / label[patient % 2] / f"p{patient}_{number}.png"
        save(path, draw(patient % 2, patient * 1000 + number))
    prepare = "prepare", "folder", place / "raw", place / "data", *PATIENT, "--ratios", "1/1/1"
    train = "train", place / "data", place / "base", "--epochs", 2, "--batch-size", 8, "--dense", 6
    for command in (prepare, train):
        assert CliRunner().invoke(cli, [str(word) for word in command]).exit_code == 0
    return place


@pytest.fixture
def base(place: Path) -> Path:
    """The run that all start from; nobody changes it."""
    return place / "base"


@pytest.fixture
def prepared(place: Path) -> Path:
    """The data that it was trained on."""
    return place / "data"


def model_of(run: Path) -> Any:
    import keras

    return keras.saving.load_model(run / "model.keras")


def weights_of(run: Path) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
    """Those of each layer of the backbone, and those of the head."""
    model = model_of(run)
    layers = [layer.get_weights() for layer in model.get_layer("cnn_15").layers]
    return layers, model.get_layer("head").get_weights()


def same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True))


def settings_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())["settings"]


# What learns


@pytest.mark.parametrize(
    "learning", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["kept", "learning"]
)
def test_what_comes_before_gamma_stays_as_it_is(
    bccli: Bccli, base: Path, tmp_path: Path, learning: bool
) -> None:
    out = tmp_path / "out"
    option = ["--train-batch-norm"] if learning else []
    said = bccli("finetune", base, out, "--from-layer", GAMMA, *SHORT, "--optimizer", "sgd", *option).stderr
    assert f"activations at layer {GAMMA}" in said
    (before, head), (after, new_head) = weights_of(base), weights_of(out)
    assert all(same(left, right) for left, right in zip(before[:GAMMA], after[:GAMMA], strict=True))
    kinds = [type(layer).__name__ for layer in model_of(out).get_layer("cnn_15").layers]
    for kind, left, right in zip(kinds[GAMMA:], before[GAMMA:], after[GAMMA:], strict=True):
        if kind == "Conv2D" or (kind == "BatchNormalization" and learning):
            assert not same(left, right)
        else:
            assert same(left, right)
    assert not same(head, new_head)


@pytest.mark.slow
def test_it_starts_where_the_run_ended_and_a_fresh_head_does_not(
    bccli: Bccli, base: Path, tmp_path: Path
) -> None:
    """At a rate of nearly nothing, the kept head answers as the run does."""
    tiny = "--from-layer", GAMMA, "--epochs", 1, "--batch-size", 8, "--lr", 1e-12
    bccli("finetune", base, tmp_path / "kept", *tiny)
    bccli("finetune", base, tmp_path / "fresh", *tiny, "--dropout", 0.2)
    answers = [
        np.array([float(row["p_malignant"]) for row in read_rows(run / "predictions.csv")])
        for run in (base, tmp_path / "kept", tmp_path / "fresh")
    ]
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-4)
    assert np.abs(answers[2] - answers[0]).max() > 1e-3
    kept, fresh = settings_of(tmp_path / "kept"), settings_of(tmp_path / "fresh")
    assert (kept["dense"], kept["fresh_head"], fresh["dense"], fresh["fresh_head"]) == ([6], False, [6], True)


@pytest.mark.exports
def test_stored_activations_give_the_predictions_of_the_whole_network(
    bccli: Bccli, base: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And training from them is training the whole, as it is where there is no room for them."""
    options = "--from-layer", GAMMA, *SHORT
    bccli("finetune", base, tmp_path / "stored", *options)
    assert not list((prepared / ".cache" / "features").glob("*"))  # they are removed in the end
    monkeypatch.setattr("bccli.core.training.network._DISK_SHARE", 0.0)
    said = bccli("finetune", base, tmp_path / "live", *options).stderr
    assert "the frozen layers run in each step: activations" in said
    assert "free" in said
    stored, live = (read_rows(tmp_path / name / "predictions.csv") for name in ("stored", "live"))
    left, right = (np.array([float(row["p_malignant"]) for row in rows]) for rows in (stored, live))
    np.testing.assert_allclose(left, right, rtol=1e-3)
    files = [prepared / row["path"] for row in stored]
    answers = json.loads(bccli("predict", tmp_path / "stored", *files, "--format", "json").stdout)
    np.testing.assert_allclose([row["p_malignant"] for row in answers], left, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_continued_run_keeps_to_what_it_did_whatever_room_there_is(
    bccli: Bccli, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = "--from-layer", GAMMA, "--batch-size", 8, "--lr", 1e-3, "--schedule", "constant"
    bccli("finetune", base, tmp_path / "out", *options, "--epochs", 1)
    bccli("finetune", base, tmp_path / "expected", *options, "--epochs", 2)
    monkeypatch.setattr("bccli.core.training.network._DISK_SHARE", 0.0)
    said = bccli("finetune", base, tmp_path / "out", *options, "--epochs", 2).stderr
    assert "the frozen layers run in each step" not in said
    for ours, theirs in zip(weights_of(tmp_path / "out"), weights_of(tmp_path / "expected"), strict=True):
        assert all(same([a], [b]) for a, b in zip(_flat(ours), _flat(theirs), strict=True))


def _flat(weights: Any) -> list[np.ndarray]:
    return [array for entry in weights for array in (entry if isinstance(entry, list) else [entry])]


@pytest.mark.slow
def test_names_blocks_and_all_are_ways_to_say_gamma(bccli: Bccli, base: Path, tmp_path: Path) -> None:
    import keras

    names = [layer.name for layer in model_of(base).get_layer("cnn_15").layers]
    kinds = [type(layer).__name__ for layer in model_of(base).get_layer("cnn_15").layers]
    pools = [place for place, kind in enumerate(kinds) if kind == "MaxPooling2D"]
    options = "--epochs", 1, "--batch-size", 24
    keras.backend.clear_session()
    cases = (("--blocks", 1), pools[-1] + 1), (("--blocks", 2), pools[-2] + 1), (("--all",), 0)
    for number, (option, gamma) in enumerate(cases):
        bccli("finetune", base, tmp_path / f"out{number}", *option, *options)
        assert settings_of(tmp_path / f"out{number}")["from_layer"] == gamma
    bccli("finetune", base, tmp_path / "named", "--from-layer", names[GAMMA], *options)
    assert settings_of(tmp_path / "named")["from_layer"] == GAMMA


# The run that comes of it


@pytest.mark.slow
def test_a_fine_tuned_run_is_a_run(bccli: Bccli, base: Path, prepared: Path, tmp_path: Path) -> None:
    """It is continued, repeated, told apart, evaluated, and fine-tuned once more."""
    out, again = tmp_path / "out", tmp_path / "again"
    command = "finetune", base, out, "--from-layer", GAMMA, "--batch-size", 8, "--layer-decay", 0.9
    bccli(*command, "--epochs", 1)
    assert "nothing to do" in bccli(*command, "--epochs", 1).stderr
    assert "continuing after 1 epochs" in bccli(*command, "--epochs", 2).stderr
    bccli("finetune", base, again, "--recipe", out / "recipe.toml")
    for name in ("predictions.csv", "history.csv", "recipe.toml"):
        assert (again / name).read_bytes() == (out / name).read_bytes()
    refused(bccli(*command, "--epochs", 2, "--train-batch-norm", exit=3), "train-batch-norm False, now True")
    other = [word if word != GAMMA else 5 for word in command]
    refused(bccli(*other, "--epochs", 2, exit=3), f"from-layer {GAMMA}, now 5")
    assert len(rows_of(bccli("evaluate", out).stdout)) == 1
    bccli("finetune", out, tmp_path / "third", "--from-layer", 30, "--epochs", 1)
    moved = Path(shutil.copytree(base, tmp_path / "elsewhere" / "base"))
    result = bccli("finetune", moved, tmp_path / "fourth", "--from-layer", 30, exit=3)
    refused(result, str(tmp_path / "elsewhere" / "data"), "--data DATA")


def test_several_layers_make_a_sweep(bccli: Bccli, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    command = "finetune", base, out, "--batch-size", 8, "--epochs", 1, "--lr", 0.01
    rows = rows_of(bccli(*command, "--from-layer", 20, "--from-layer", 33).stdout)
    assert {row["name"] for row in rows} == {"cnn-15-20-FT", "cnn-15-33-FT"}
    assert read_rows(out / "leaderboard.csv") == rows
    for row in rows:
        (val, test) = json.loads((out / row["name"] / "metrics.json").read_text())["runs"]
        assert float(row["val_accuracy"]) == val["accuracy"]
        assert float(row["test_auc_paper"]) == test["auc_paper"]
        assert float(row["beta_paper"] or 0) == (test["beta_paper"] or 0)
    assert [row["chosen"] for row in rows] == ["True", "False"]
    said = bccli(*command, "--from-layer", 20, "--from-layer", 34)
    assert said.stderr.count("nothing to do") == 1
    assert {row["name"] for row in rows_of(said.stdout)} == {f"cnn-15-{gamma}-FT" for gamma in (20, 33, 34)}
    refused(bccli("predict", out, out, exit=3), "sweep", "cnn-15-20-FT")


@pytest.mark.slow
def test_a_member_that_fails_is_a_row_and_the_others_finish(
    bccli: Bccli, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bccli.core.errors import TrainingError
    from bccli.core.sweeps import finetune as finetuning

    train = finetuning.train

    def failing(design: Any, *args: Any, **options: Any) -> Any:
        if design.tuning.from_layer == 20:
            raise TrainingError("out of memory with batches of 8 images; try --batch-size 4")
        return train(design, *args, **options)

    monkeypatch.setattr(finetuning, "train", failing)
    command = "finetune", base, tmp_path / "out", "--epochs", 1, "--from-layer", 20, "--from-layer", 34
    rows = rows_of(bccli(*command, exit=4).stdout)
    assert [(row["name"], row["status"]) for row in rows] == [
        ("cnn-15-34-FT", "complete"),
        ("cnn-15-20-FT", "failed"),
    ]
    assert "out of memory" in rows[1]["reason"]
    bccli(*command, "--skip-bad", exit=0)


# Sweeps


@pytest.fixture(scope="module")
def two(place: Path) -> Path:
    """A sweep of two networks, two seeds of each, and of classifiers that nothing can be learned from."""
    options = "--backbone", "cnn-15", "--backbone", "cnn-16", "--trainable", "none", "--epochs", 1
    more = "--seeds", 2, "--classifier", "dense", "--classifier", "logistic"
    bccli_in("train", place / "data", place / "two", *options, *more)
    return place / "two"


def test_each_network_of_a_sweep_is_fine_tuned(bccli: Bccli, two: Path, tmp_path: Path) -> None:
    """By a layer for all, and by one for a single backbone; each seed starts from the run of its own."""
    out = tmp_path / "out"
    layers = "--from-layer", 34, "--from-layer", "cnn-16:36"
    said = bccli("finetune", two, out, *layers, "--epochs", 1)
    rows = rows_of(said.stdout)
    groups = {"cnn-15-34-FT": (15, 34), "cnn-16-34-FT": (16, 34), "cnn-16-36-FT": (16, 36)}
    assert {row["name"] for row in rows} == {f"{name}-seed{seed}" for name in groups for seed in (0, 1)}
    for row in rows:
        group, _, seed = row["name"].partition("-seed")
        depth, gamma = groups[group]
        base = two / f"cnn-{depth}-seed{seed}" / "model.keras"
        settings = settings_of(out / row["name"])
        assert (settings["from_layer"], settings["seed"]) == (gamma, int(seed))
        assert settings["weights_hash"] == hashlib.sha256(base.read_bytes()).hexdigest()
        assert (row["backbone"], row["from_layer"], row["seed"]) == (f"cnn-{depth}", str(gamma), seed)
        assert row["trials"] == "2"
    assert "cnn-15-logistic-seed0: has no backbone to train" in said.stderr


def test_layers_of_one_backbone_leave_the_others_alone(bccli: Bccli, two: Path, tmp_path: Path) -> None:
    """And of three seeds, the third has no run of its own to start from."""
    out = tmp_path / "out"
    said = bccli("finetune", two, out, "--from-layer", "cnn-16:36", "--seeds", 3, "--epochs", 1)
    assert {row["name"] for row in rows_of(said.stdout)} == {f"cnn-16-36-FT-seed{seed}" for seed in range(3)}
    assert "cnn-15-seed0: is left out" in said.stderr
    hashes = [settings_of(out / f"cnn-16-36-FT-seed{seed}")["weights_hash"] for seed in range(3)]
    assert hashes[2] == hashes[0] != hashes[1]


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (("--from-layer", 36), ("--from-layer 36", "cnn-15 has the layers 0 … 34")),
        (("--from-layer", 34, "--from-layer", "cnn-16:40"), ("--from-layer 40", "cnn-16", "0 … 37")),
        (("--from-layer", "vgg16:10"), ("has no vgg16", "cnn-15, cnn-16")),
        (("--from-layer", "vgg6:10"), ("no backbone is called 'vgg6'", "did you mean")),
    ],
)
def test_layers_are_checked_for_all_members_first(
    bccli: Bccli, two: Path, tmp_path: Path, options: tuple[object, ...], fragments: tuple[str, ...]
) -> None:
    refused(bccli("finetune", two, tmp_path / "out", *options, exit=2), *fragments)
    assert not (tmp_path / "out").exists()


def test_a_recipe_has_layers_for_more_backbones_than_are_there(
    bccli: Bccli, base: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text('[finetune]\nfrom-layer = ["vgg16:10", "cnn-15:34"]\nepochs = 1\n')
    bccli("finetune", base, tmp_path / "out", "--recipe", recipe)
    assert settings_of(tmp_path / "out")["from_layer"] == 34


# What is refused


@pytest.mark.parametrize(
    ("options", "exit", "fragments"),
    [
        ((), 2, ("--from-layer GAMMA", "--blocks N", "--all")),
        (("--all", "--blocks", 1), 2, ("one of them",)),
        (("--from-layer", 35), 2, ("--from-layer 35", "0 … 34")),
        (("--from-layer", -1), 2, ("--from-layer -1", "0 … 34")),
        (("--from-layer", "max_pooling2"), 2, ("max_pooling2", "did you mean 'max_pooling2d'?")),
        (("--blocks", 9), 2, ("--blocks 9", "5 blocks")),
        (("--all", "--fold", "all"), 2, ("--fold all",)),
        (("--all", "--output", "sigmoid", "--loss", "categorical_crossentropy"), 2, ("--loss",)),
        (("--all", "--data", "nowhere"), 3, ("nowhere", "no such folder")),
        (("--all", "--augment", "flips", "--views", 2), 2, ("--views",)),
    ],
)
def test_what_cannot_be_meant_is_refused(
    bccli: Bccli,
    base: Path,
    tmp_path: Path,
    options: tuple[object, ...],
    exit: int,
    fragments: tuple[str, ...],
) -> None:
    refused(bccli("finetune", base, tmp_path / "out", *options, exit=exit), *fragments)
    assert not (tmp_path / "out" / "run.json").exists()


def test_data_of_other_classes_is_refused(
    bccli: Bccli, base: Path, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    raw = make_folder("other", classes=("benign", "normal"))
    bccli("prepare", "folder", raw, tmp_path / "data2", *PATIENT, "--ratios", "1/1/1")
    result = bccli("finetune", base, tmp_path / "out", "--all", "--data", tmp_path / "data2", exit=3)
    refused(result, "normal, benign", "benign, malignant")


@pytest.mark.slow
def test_what_the_first_run_has_seen_is_no_test(
    bccli: Bccli, place: Path, base: Path, tmp_path: Path
) -> None:
    """The same images in another split: patients of train would become test."""
    raw, other = place / "raw", tmp_path / "other"
    bccli("prepare", "folder", raw, other, *PATIENT, "--ratios", "1/1/1", "--seed", 5)
    splits = [
        {row["patient"]: row["split"] for row in read_rows(data / "manifest.csv")}
        for data in (place / "data", other)
    ]
    moved = [patient for patient, split in splits[1].items() if split == "test" != splits[0][patient]]
    assert moved
    command = "finetune", base, tmp_path / "out", "--from-layer", 34, "--epochs", 1, "--data", other
    refused(bccli(*command, exit=3), str(base), "is test here", "--allow-leakage")
    said = bccli(*command, "--allow-leakage").stderr
    assert f"{base} was trained on what is test here" in said
    seen = read_rows(tmp_path / "out" / "seen.csv")
    assert {row["patient"] for row in seen} == set(splits[0])


def test_what_has_no_backbone_is_refused(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    bccli("train", prepared, tmp_path / "run", "--classifier", "bovw")
    result = bccli("finetune", tmp_path / "run", tmp_path / "out", "--all", exit=3)
    refused(result, "is a classifier without a backbone")
    refused(
        bccli("finetune", prepared, tmp_path / "out", "--all", exit=3), "is a prepared dataset, not a run"
    )
