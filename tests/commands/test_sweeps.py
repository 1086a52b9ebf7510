"""Several backbones, seeds and folds in one `bccli train`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import BACKBONES
from tests.conftest import PATIENT, Bccli, read_rows, rows_of, tree
from tests.core.models.networks import build
from tests.sentences import refused

QUICK = "--weights", "none", "--trainable", "none", "--epochs", 2, "--batch-size", 8, "--lr", 0.01
TWO = "--backbone", "mobilenet-0.25", "--backbone", "cnn-15"


@pytest.fixture
def sweep(bccli: Bccli, make_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    """Train a sweep `name` on small prepared images with the options given."""
    raw, data = make_folder(size=(32, 32)), tmp_path / "data"
    bccli("prepare", "folder", raw, data, *PATIENT, "--ratios", "1/1/1")

    def train(*options: object, name: str = "sweep", **keywords: object) -> Any:
        return bccli("train", data, tmp_path / name, *QUICK, *options, **keywords)

    return train


def by_name(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in rows}


@pytest.mark.pictures
def test_backbones_and_seeds_make_a_leaderboard_in_the_order_of_val(
    sweep: Callable[..., Any], tmp_path: Path
) -> None:
    root = tmp_path / "sweep"
    rows = rows_of(sweep(*TWO, "--seeds", 2).stdout)
    assert read_rows(root / "leaderboard.csv") == rows
    names = {f"{name}-seed{seed}" for name in ("mobilenet-0.25", "cnn-15") for seed in (0, 1)}
    assert set(by_name(rows)) == names
    order = [(-float(row["val_accuracy"]), float(row["val_loss"])) for row in rows]
    assert order == sorted(order)
    assert [row["chosen"] for row in rows] == ["True", "False", "False", "False"]
    for row in rows:
        val, test = json.loads((root / row["name"] / "metrics.json").read_text())["runs"]
        assert float(row["test_roc_auc"]) == test["roc_auc"]
        assert float(row["val_accuracy"]) == val["accuracy"]
        assert float(row["seconds"]) > 0
        assert (row["backbone"], row["seed"]) == tuple(row["name"].split("-seed"))
    for name in ("mobilenet-0.25", "cnn-15"):
        trials = [row for row in rows if row["backbone"] == name]
        values = [float(row["test_roc_auc"]) for row in trials]
        for row in trials:
            assert row["trials"] == "2"
            assert float(row["test_roc_auc_mean"]) == pytest.approx(np.mean(values))
            assert float(row["test_roc_auc_sd"]) == pytest.approx(np.std(values, ddof=1))
    assert (root / "plots" / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_members_are_runs_like_any_other(sweep: Callable[..., Any], bccli: Bccli, tmp_path: Path) -> None:
    sweep(*TWO)
    sweep("--backbone", "cnn-15", name="alone")
    inside, alone = (tree(tmp_path / name) for name in ("sweep/cnn-15", "alone"))
    same = "history.csv", "predictions.csv", "recipe.toml", "seen.csv"
    assert {name: inside[name] for name in same} == {name: alone[name] for name in same}
    table = bccli("evaluate", tmp_path / "sweep", "--bootstrap", 0, "--format", "csv").stdout
    assert {row["name"] for row in rows_of(table)} == {"mobilenet-0.25", "cnn-15"}
    refused(
        bccli("predict", tmp_path / "sweep", tmp_path / "data" / "images", exit=3), "sweep", "mobilenet-0.25"
    )


@pytest.mark.parametrize("head", [(), ("--dense", 4, "--dropout", 0.5)], ids=["plain", "hidden"])
def test_heads_on_one_network_are_those_of_runs_alone(
    sweep: Callable[..., Any], tmp_path: Path, head: tuple[object, ...]
) -> None:
    """They share their compiled steps and what is the same in their files."""
    plain = BACKBONES["cnn-15"]
    weights = tmp_path / "cnn.weights.h5"
    build(plain, (32, 32)).save_weights(weights)
    options = "--backbone", "cnn-15", "--weights", weights, *head
    sweep(*options, "--seeds", 3)
    sweep(*options, "--seed", 2, name="alone")
    member, alone = (tree(tmp_path / name) for name in ("sweep/cnn-15-seed2", "alone"))
    same = "history.csv", "predictions.csv", "model.keras", "model.png", "state.npz"
    assert {name: member[name] for name in same} == {name: alone[name] for name in same}


def test_images_are_decoded_once_for_all_backbones_and_only_where_they_are_wanted(
    sweep: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bccli.core.data.image_batches import HeldImages

    decoded: list[int] = []
    decode = HeldImages._decode

    def counted(self: HeldImages, missing: list[int]) -> None:
        decoded.extend(missing)
        decode(self, missing)

    monkeypatch.setattr(HeldImages, "_decode", counted)
    sweep(*TWO)
    images = len(read_rows(tmp_path / "data" / "manifest.csv"))
    assert sorted(decoded) == [*range(images)]
    decoded.clear()
    sweep(*TWO, name="again")
    assert len(decoded) < images / 2  # those that an exported network is checked on; all features are stored


@pytest.mark.slow
def test_too_many_pixels_are_decoded_for_each(
    sweep: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(*TWO, name="held")
    shutil.rmtree(tmp_path / "data" / ".cache")
    monkeypatch.setattr("bccli.core.data.image_batches.HELD", 0)
    sweep(*TWO, name="streamed")
    for name in ("mobilenet-0.25", "cnn-15"):
        held, streamed = (tree(tmp_path / place / name) for place in ("held", "streamed"))
        assert held["predictions.csv"] == streamed["predictions.csv"]


@pytest.mark.slow
def test_another_list_adds_to_a_sweep_and_keeps_the_old(sweep: Callable[..., Any], tmp_path: Path) -> None:
    sweep("--backbone", "mobilenet-0.25", "--backbone", "mobilenet-0.25", "--seeds", 1)
    before = tree(tmp_path / "sweep" / "mobilenet-0.25-seed0")
    again = sweep("--backbone", "cnn-15", "--seeds", 1)
    assert set(by_name(rows_of(again.stdout))) == {"mobilenet-0.25-seed0", "cnn-15-seed0"}
    assert tree(tmp_path / "sweep" / "mobilenet-0.25-seed0") == before
    added = sweep("--backbone", "cnn-16")  # a single one, as it goes into a sweep
    assert set(by_name(rows_of(added.stdout))) == {"mobilenet-0.25-seed0", "cnn-15-seed0", "cnn-16"}
    refused(sweep(*TWO, "--dropout", 0.5, exit=3), "dropout")
    longer = sweep(*TWO, "--epochs", 3)
    assert by_name(rows_of(longer.stdout))["cnn-15"]["epochs_trained"] == "3"


@pytest.mark.exports
def test_only_the_chosen_network_is_kept_where_that_is_asked_for(
    sweep: Callable[..., Any], bccli: Bccli, tmp_path: Path
) -> None:
    rows = rows_of(sweep(*TWO, "--seeds", 2, "--save", "best").stdout)
    root, image = tmp_path / "sweep", next((tmp_path / "data" / "images").rglob("*.png"))
    for row in rows:
        kept = row["chosen"] == "True"
        assert (root / row["name"] / "model.keras").exists() == kept
        assert (root / row["name"] / "model.tflite").exists() == kept
        bccli("evaluate", root / row["name"], "--bootstrap", 0)
        result = bccli("predict", root / row["name"], image, exit=0 if kept else 3)
        if not kept:
            refused(result, "its network was not kept", "--save all")
    again = sweep(*TWO, "--seeds", 2, "--save", "best")
    assert again.stderr.count("nothing to do") == 4
    chosen = rows[0]["name"]
    shutil.rmtree(root / chosen)
    said = sweep("--backbone", rows[1]["backbone"], "--seeds", 1 + int(rows[1]["seed"]), "--save", "best")
    best = rows_of(said.stdout)[0]
    assert f"{best['name']} is chosen: its network is kept" in said.stderr
    assert (root / best["name"] / "model.keras").exists()


def test_a_member_that_fails_is_a_row_and_the_others_finish(
    sweep: Callable[..., Any], bccli: Bccli, tmp_path: Path
) -> None:
    (tmp_path / "sweep" / "cnn-15").mkdir(parents=True)
    (tmp_path / "sweep" / "cnn-15" / "notes.txt").write_text("mine")
    refused(sweep(*TWO, exit=3), "is not empty")
    shutil.rmtree(tmp_path / "sweep")
    sweep(*TWO)
    (tmp_path / "sweep" / "cnn-15" / "run.json").write_text("{")
    result = sweep(*TWO, exit=4)
    rows = by_name(rows_of(result.stdout))
    assert rows["cnn-15"]["status"] == "failed"
    assert "not valid JSON" in rows["cnn-15"]["reason"]
    assert (rows["mobilenet-0.25"]["status"], rows["mobilenet-0.25"]["chosen"]) == ("complete", "True")
    sweep(*TWO, "--skip-bad")
    only = sweep("--backbone", "mobilenet-0.25", exit=4)  # the damaged one is not asked for, but is there
    assert by_name(rows_of(only.stdout))["cnn-15"]["status"] == "failed"


def test_a_network_without_weights_fails_alone(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bccli.core.errors import WeightsError
    from bccli.core.training import design as designs

    find = designs.find_weights

    def lacking(backbone: Any, choice: str) -> Any:
        if backbone.name == "cnn-16":
            raise WeightsError("there are no weights of cnn-16")
        return find(backbone, choice)

    monkeypatch.setattr("bccli.core.training.design.find_weights", lacking)
    options = "--epochs", 1, "--batch-size", 8
    two = "--backbone", "cnn-15", "--backbone", "cnn-16"
    rows = by_name(rows_of(bccli("train", prepared, tmp_path / "out", *two, *options, exit=4).stdout))
    assert (rows["cnn-15"]["status"], rows["cnn-16"]["status"]) == ("complete", "failed")
    assert rows["cnn-16"]["reason"] == "there are no weights of cnn-16"
    result = bccli("train", prepared, tmp_path / "none", "--backbone", "cnn-16", *options, exit=3)
    refused(result, "no weights of cnn-16")


@pytest.mark.slow
def test_folds_and_seeds_are_trials_of_the_same_thing(
    bccli: Bccli, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    bccli("prepare", "folder", make_folder(patients=8), tmp_path / "data", *PATIENT, "--folds", 3)
    options = "--fold", "all", "--seeds", 2, "--epochs", 1, "--batch-size", 8
    rows = rows_of(bccli("train", tmp_path / "data", tmp_path / "out", *options).stdout)
    assert {row["trials"] for row in rows} == {"6"}
    figures = [
        json.loads((tmp_path / "out" / f"cnn-15-seed{seed}" / f"fold-{fold}" / "metrics.json").read_text())
        for seed in range(2)
        for fold in range(3)
    ]
    accuracies = [run["accuracy"] for one in figures for run in one["runs"] if run["split"] == "test"]
    assert float(rows[0]["test_accuracy_mean"]) == pytest.approx(np.mean(accuracies))
    assert float(rows[0]["test_accuracy_sd"]) == pytest.approx(np.std(accuracies, ddof=1))


def test_bad_input(sweep: Callable[..., Any], tmp_path: Path) -> None:
    wrong = sweep(*TWO, "--backbone", "resnet5", exit=2)
    refused(wrong, "no backbone is called 'resnet5'", "did you mean")
    assert not (tmp_path / "sweep").exists()
    file = tmp_path / "weights.h5"
    file.write_bytes(b"")
    refused(sweep(*TWO, "--weights", file, exit=2), "one file cannot fit 2 backbones")


def test_a_set_stands_for_its_backbones(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    from bccli.core.sweeps.grid import expand

    assert len(expand(["cbis-20"])) == 20
    assert expand(["vgg19", "cbis-20", "vgg16"])[0] == "vgg19"
    assert set(expand(["cbis-20"])) <= set(BACKBONES)


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the n-th member of a sweep end as after a signal."""
    from bccli.core.errors import Stopped
    from bccli.core.sweeps import grid as grids

    train, made = grids.train, []

    def stop_at(number: int) -> None:
        made.clear()

        def stopped(*arguments: Any, **options: Any) -> Any:
            made.append(1)
            if len(made) == number:
                raise Stopped("stopped")
            return train(*arguments, **options)

        monkeypatch.setattr(grids, "train", stopped)

    return stop_at


def test_a_sweep_goes_on_where_it_was_stopped(
    sweep: Callable[..., Any], stopping: Callable[[int], None], tmp_path: Path
) -> None:
    three = *TWO, "--backbone", "cnn-16"
    for number in (2, 3):
        stopping(number)
        result = sweep(*three, exit=75)
        assert result.stdout == ""
        assert len(read_rows(tmp_path / "sweep" / "leaderboard.csv")) == number - 1
    stopping(0)
    said = sweep(*three)
    assert said.stderr.count("nothing to do") == 2
    assert len(rows_of(said.stdout)) == 3


# Dry runs


@pytest.fixture
def nothing_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A KERAS_HOME without weights."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


def test_the_dry_run_of_a_sweep_checks_every_member(
    bccli: Bccli, prepared: Path, tmp_path: Path, nothing_cached: Path
) -> None:
    """Each network chooses its weights and what learns for itself; of one of them they are missing."""
    command = "train", prepared, tmp_path / "sweep", "--dry-run", "--seeds", 2, *TWO
    auto = *command, "--weights", "auto", "--trainable", "auto"
    wanted = bccli(*command, exit=4)
    assert bccli(*auto, exit=4).stdout == wanted.stdout
    assert bccli(*auto, "--skip-bad").stdout == wanted.stdout
    rows = by_name(rows_of(wanted.stdout))
    assert set(rows) == {f"{name}-seed{seed}" for name in ("mobilenet-0.25", "cnn-15") for seed in (0, 1)}
    missing, there = rows["mobilenet-0.25-seed0"], rows["cnn-15-seed1"]
    assert missing["weights"] == "imagenet"
    assert missing["weights_file"].startswith(str(nothing_cached))
    assert "--weights none" in missing["problem"]
    assert (there["weights"], there["layer"] != "", there["problem"]) == ("none", True, "")
    assert "2 of 4 members would fail" in wanted.stderr
    counts = dict.fromkeys(("train", "val", "test"), 0)
    for row in rows_of(bccli("train", prepared, tmp_path / "run", "--dry-run").stdout):
        counts[row["part"]] += int(row["images"])
    assert {part: int(there[part]) for part in counts} == counts
    assert not (tmp_path / "sweep").exists()


def test_the_dry_run_counts_what_a_run_trains(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    from bccli.core.weights.keras_files import load_model

    options = "--weights", "none", "--epochs", 1, "--batch-size", 8, "--dense", "7"
    for trainable in ("none", "all"):
        row, *_ = rows_of(
            bccli(
                *("train", prepared, tmp_path / "sweep", "--dry-run", "--backbone", "cnn-15", "--seeds", 1),
                *(*options, "--trainable", trainable),
            ).stdout
        )
        run = tmp_path / trainable
        bccli("train", prepared, run, *options, "--trainable", trainable)
        whole = load_model(run / "model.keras")
        models = [whole] if trainable == "all" else [whole.get_layer("head")]
        learning = sum(int(np.prod(v.shape)) for model in models for v in model.trainable_variables)
        assert int(row["trainable_parameters"]) == learning


def test_auto_is_the_default_and_takes_the_place_of_a_recipes_choice(
    bccli: Bccli, prepared: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[train]\nweights = "imagenet"\ntrainable = "none"\nepochs = 1\nbatch-size = 8\n')
    command = "train", prepared, tmp_path / "run", "--recipe", recipe
    refused(bccli(*command, exit=3), "cnn-15 has no ImageNet weights")
    bccli(*command, "--weights", "auto", "--trainable", "auto")
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert (settings["weights"], settings["trainable"]) == ("none", "all")
    bccli("train", prepared, tmp_path / "plain", "--epochs", 1, "--batch-size", 8)
    assert (tmp_path / "plain" / "predictions.csv").read_bytes() == (
        tmp_path / "run" / "predictions.csv"
    ).read_bytes()
