"""`bccli train` on data, options and folders that do not fit."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.test_prepare import in_small_file_system
from tests.conftest import PATIENT, Bccli, draw, read_rows, rows_of, save, tree
from tests.sentences import refused

MakeFolder = Callable[..., Path]
SHORT = "--epochs", 1, "--batch-size", 8
FROZEN = "--trainable", "none"
HEAD = *SHORT, *FROZEN
"""What takes a third of the time, where it does not matter what is trained."""


def rewrite(data: Path, change: Callable[[list[dict[str, str]]], object], *, forget: bool = False) -> None:
    """Change the rows of a manifest; `forget` also removes what was computed from them."""
    rows = read_rows(data / "manifest.csv")
    change(rows)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (data / "manifest.csv").write_text(stream.getvalue(), encoding="utf-8")
    if forget:
        shutil.rmtree(data / ".cache", ignore_errors=True)


def rewrite_info(path: Path, **changes: object) -> None:
    """Change keys of a JSON file; None removes them."""
    info = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in info.items() if value is not None}))


def first_of(rows: list[dict[str, str]], split: str) -> dict[str, str]:
    """The first row of a split."""
    return next(row for row in rows if row["split"] == split)


# Data that is none


def test_what_is_no_prepared_dataset_is_refused(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    refused(bccli("train", tmp_path / "nowhere", run, exit=3), "nowhere", "bccli prepare")
    refused(bccli("train", make_folder(), run, exit=3), "not a prepared dataset", "bccli prepare")
    assert not run.exists()


def test_an_unfinished_dataset_is_refused(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    (prepared / "dataset.json").unlink()
    (prepared / ".unfinished").mkdir()
    refused(bccli("train", prepared, tmp_path / "run", exit=3), "unfinished", "the same bccli prepare again")


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"format": 2}, "newer bccli"),
        ({"format": "one"}, "no format number"),
        ({"tool": "other"}, "not written by bccli"),
        ({"classes": None}, "no 'classes'"),
        ({"preparation": None}, "no 'preparation'"),
    ],
)
def test_a_dataset_json_that_cannot_be_understood_is_refused(
    bccli: Bccli, prepared: Path, tmp_path: Path, changes: dict[str, object], fragment: str
) -> None:
    rewrite_info(prepared / "dataset.json", **changes)
    result = bccli("train", prepared, tmp_path / "run", exit=3)
    refused(result, str(prepared / "dataset.json"), fragment)


def test_a_torn_dataset_json_is_refused(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    (prepared / "dataset.json").write_text('{"tool":')
    refused(bccli("train", prepared, tmp_path / "run", exit=3), "dataset.json", "not valid JSON", "restore")


@pytest.mark.parametrize(
    ("column", "value", "fragment"),
    [
        ("split", "trian", "'trian'"),
        ("label", "begnin", "'begnin'"),
        ("fold", "x", "fold 'x' is not a whole number"),
        ("fold", "-3", "fold -3"),
        ("variant", "?", "variant '?'"),
        ("width", "", "size None×24"),
        ("width", "wide", "width 'wide'"),
        ("height", "0", "size 24×0"),
        ("sha256", "zz", "64 hexadecimal digits"),
        ("path", "", "empty"),
        ("path", "/etc/passwd", "leaves the dataset"),
        ("path", "images/../../x.png", "leaves the dataset"),
        ("path", "images/000/000001.png", "twice"),
    ],
)
def test_a_row_edited_to_junk_is_named(
    bccli: Bccli, prepared: Path, tmp_path: Path, column: str, value: str, fragment: str
) -> None:
    rewrite(prepared, lambda rows: rows[0].update({column: value}))
    result = bccli("train", prepared, tmp_path / "run", exit=3)
    refused(result, str(prepared / "manifest.csv"), fragment, "prepare the dataset again")
    assert not (tmp_path / "run").exists()


def test_a_manifest_without_a_column_is_refused(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    (prepared / "manifest.csv").write_text("path,label\n")
    refused(bccli("train", prepared, tmp_path / "run", exit=3), "column 'split' is missing")


def test_columns_of_other_tools_are_no_obstacle(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    planned = bccli("train", prepared, tmp_path / "run", "--dry-run").stdout
    rewrite(prepared, lambda rows: [row.update(stain="H&E") for row in rows])
    assert bccli("train", prepared, tmp_path / "run", "--dry-run").stdout == planned
    assert {row["part"] for row in rows_of(planned)} == {"train", "val", "test"}


def test_a_class_without_training_images_is_named(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    def move(rows: list[dict[str, str]]) -> None:
        for row in rows:
            if row["label"] == "benign" and row["split"] == "train":
                row["split"] = ""

    rewrite(prepared, move)
    refused(bccli("train", prepared, tmp_path / "run", exit=3), "train has no image of class benign", "add")
    rewrite(prepared, lambda rows: [row.update(split="test") for row in rows])
    refused(bccli("train", prepared, tmp_path / "run", exit=3), "no image is in train")


def test_images_of_several_sizes_are_refused(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw = make_folder()
    save(raw / "benign" / "p0_9.png", draw(0, 9, (30, 20)))
    bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT)
    result = bccli("train", tmp_path / "data", tmp_path / "run", exit=3)
    refused(result, "2 sizes (24×24, 30×20)", "--size")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("backbone", "needs"), [("cnn-15", "16×16"), ("vgg16", "32×32")])
def test_images_too_small_for_the_backbone_are_refused(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, backbone: str, needs: str
) -> None:
    bccli("prepare", "folder", make_folder(size=(12, 40)), tmp_path / "data", *PATIENT)
    arguments = tmp_path / "data", tmp_path / "run", "--backbone", backbone, "--weights", "none"
    refused(bccli("train", *arguments, exit=3), "12×40", backbone, needs, "--size")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("harm", "fragment"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b"junk"), "not an image"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "truncated"),
        (lambda path: save(path, draw(0, 0, (10, 10))), "is 10×10, not 24×24"),
    ],
)
def test_a_damaged_image_is_named(
    bccli: Bccli, prepared: Path, tmp_path: Path, harm: Callable[[Path], object], fragment: str
) -> None:
    """The hashes of the audit are in the cache, so that only training itself reads the image."""
    victim = prepared / first_of(read_rows(prepared / "manifest.csv"), "train")["path"]
    harm(victim)
    result = bccli("train", prepared, tmp_path / "run", *SHORT, exit=3)
    refused(result, str(victim), fragment, "prepare the dataset again")


def test_training_continues_once_a_missing_image_is_back(
    bccli: Bccli, prepared: Path, tmp_path: Path
) -> None:
    victim = prepared / first_of(read_rows(prepared / "manifest.csv"), "test")["path"]
    away = victim.rename(tmp_path / "away.png")
    refused(bccli("train", prepared, tmp_path / "run", *SHORT, exit=3), str(victim), "does not exist")
    away.rename(victim)
    assert "continuing after 1 epochs" in bccli("train", prepared, tmp_path / "run", *SHORT).stderr


def test_a_damaged_image_is_named_by_the_audit_too(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    victim = prepared / read_rows(prepared / "manifest.csv")[-1]["path"]
    victim.unlink()
    shutil.rmtree(prepared / ".cache", ignore_errors=True)
    refused(bccli("train", prepared, tmp_path / "run", exit=3), str(victim), "does not exist", "restore")


# Leakage


def cross_patients(rows: list[dict[str, str]]) -> None:
    """One image of a test patient goes to train."""
    first_of(rows, "test")["split"] = "train"


def cross_pixels(rows: list[dict[str, str]]) -> None:
    """A test image gets the pixels' hash of a training image."""
    first_of(rows, "test")["sha256"] = first_of(rows, "train")["sha256"]


@pytest.mark.parametrize(
    ("cross", "kind", "fragment"),
    [
        (cross_patients, "patients", "1 patient"),
        pytest.param(cross_pixels, "identical", "1 image", marks=pytest.mark.slow),
    ],
)
def test_leakage_into_test_is_refused_and_counted_where_it_is_allowed(
    bccli: Bccli,
    prepared: Path,
    tmp_path: Path,
    cross: Callable[[list[dict[str, str]]], None],
    kind: str,
    fragment: str,
) -> None:
    rewrite(prepared, cross, forget=True)
    run = tmp_path / "run"
    result = bccli("train", prepared, run, *SHORT, exit=3)
    refused(result, "test shares", fragment, "images/000/", "--allow-leakage")
    assert not run.exists()
    bccli("train", prepared, run, *HEAD, "--allow-leakage")
    (test,) = [
        row for row in json.loads((run / "metrics.json").read_text())["runs"] if row["split"] == "test"
    ]
    assert test["leakage"][kind] == 1
    printed = json.loads(bccli("evaluate", run, "--format", "json").stdout)["runs"][0]
    assert printed["leakage"] == test["leakage"]
    assert "allow-leakage = true" in (run / "recipe.toml").read_text()


# Options


@pytest.mark.parametrize(
    ("options", "code", "fragments"),
    [
        (("--backbone", "mobilnet"), 2, ("'mobilnet'", "did you mean 'mobilenet'?")),
        (("--output", "sigmoid", "--loss", "categorical_crossentropy"), 2, ("--loss", "binary_crossentropy")),
        (("--loss", "hinge"), 2, ("--loss", "'hinge'")),
        (("--stop-at", "soon"), 2, ("--stop-at", "val_accuracy=0.88")),
        (("--stop-at", "val_acuracy=0.9"), 2, ("--stop-at", "did you mean 'val_accuracy'?")),
        (("--stop-at", "val_accuracy=high"), 2, ("--stop-at", "val_accuracy=0.88")),
        (("--stop-at", "val_accuracy=nan"), 2, ("--stop-at",)),
        (("--lr", "0"), 2, ("--lr",)),
        (("--lr", "nan"), 2, ("--lr",)),
        (("--dropout", "1"), 2, ("--dropout",)),
        (("--dropout", "nan"), 2, ("--dropout",)),
        (("--dense", "0"), 2, ("--dense", "1024,1024")),
        (("--dense", "many"), 2, ("--dense", "1024,1024")),
        (("--epochs", "0"), 2, ("--epochs",)),
        (("--batch-size", "0"), 2, ("--batch-size",)),
        (("--seed", "-1"), 2, ("--seed",)),
        (("--monitor", "val_los"), 2, ("--monitor", "did you mean 'val_loss'?")),
        (("--fold", "0"), 2, ("--fold", "prepare", "--folds")),
        (("--fold", "all"), 2, ("--fold all", "prepare", "--folds")),
        (("--fold", "-1"), 2, ("--fold",)),
        (("--weights", "missing.h5"), 3, ("missing.h5", "no such file", "imagenet or none")),
        (("--weights", "imagenet"), 3, ("cnn-15", "--weights none", "--weights FILE")),
        (("--device", "gpu"), 3, ("--device gpu", "no GPU", "--device cpu")),
    ],
)
def test_options_that_do_not_fit_are_refused(
    bccli: Bccli,
    prepared: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    code: int,
    fragments: tuple[str, ...],
) -> None:
    refused(bccli("train", prepared, tmp_path / "run", *options, exit=code), *fragments)


@pytest.mark.parametrize("fold", [(), ("--fold", 3)])
def test_a_fold_has_to_be_one_of_the_folds(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, fold: tuple[object, ...]
) -> None:
    bccli("prepare", "folder", make_folder(), tmp_path / "data", *PATIENT, "--folds", 3)
    refused(bccli("train", tmp_path / "data", tmp_path / "run", *fold, exit=2), "0 … 2")


def test_sigmoid_is_for_two_classes(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw = make_folder(classes=("normal", "benign", "malignant"), patients=9)
    bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT)
    result = bccli("train", tmp_path / "data", tmp_path / "run", "--output", "sigmoid", exit=3)
    refused(result, "--output sigmoid", "3", "--output softmax")


@pytest.mark.parametrize(("batch", "where"), [(8, "epoch 1, step 1"), (4, "epoch 1, step 2")])
def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_folder_usable(
    bccli: Bccli, prepared: Path, tmp_path: Path, batch: int, where: str
) -> None:
    """With one step it is val's loss that shows it, with two the second step's own."""
    command = "train", prepared, tmp_path / "run", "--epochs", 1, "--batch-size", batch
    refused(bccli(*command, "--lr", "1e30", exit=3), where, "smaller --lr")
    if batch == 8:
        bccli(*command)


def test_weights_that_are_nowhere_fail_at_once(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    """Without a network, in a process of its own: TensorFlow must not even be imported."""
    home = tmp_path / "keras"
    code = "import sys; sys.modules['tensorflow'] = None; from bccli.cli import cli; cli.main(sys.argv[1:])"
    words = "train", prepared, tmp_path / "run", "--backbone", "mobilenet-0.25"
    ended = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_HOME": str(home)},
        check=False,
    )
    assert ended.returncode == 3
    place = home / "models" / "mobilenet_2_5_224_tf_no_top.h5"
    refused(ended, "mobilenet-0.25", "https://", str(place), "--weights FILE", "--weights none")
    assert not (tmp_path / "run").exists()


def test_weights_are_asked_for_before_the_data(
    bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    result = bccli("train", tmp_path / "nowhere", tmp_path / "run", "--backbone", "vgg16", exit=3)
    refused(result, "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")


def test_a_damaged_weights_file_is_named(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    data, run, weights = tmp_path / "data", tmp_path / "run", tmp_path / "weights.h5"
    bccli("prepare", "folder", make_folder(size=(32, 32)), data, *PATIENT)
    weights.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    result = bccli("train", data, run, "--backbone", "mobilenet-0.25", "--weights", weights, exit=3)
    refused(result, str(weights), "does not fit", "complete")


def test_a_cache_that_is_a_file_is_refused(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    bccli("prepare", "folder", make_folder(size=(32, 32)), tmp_path / "data", *PATIENT)
    options = "--backbone", "mobilenet-0.25", "--weights", "none", "--trainable", "none"
    command = "train", tmp_path / "data", tmp_path / "run", *SHORT, *options
    refused(bccli(*command, "--cache", tmp_path / "file", exit=3), str(tmp_path / "file"), "choose")
    bccli(*command, "--cache", tmp_path / "cache")
    assert any((tmp_path / "cache" / "features").rglob("*.npy"))
    assert "12 of 12" not in bccli(*command, "--cache", tmp_path / "cache").stderr


# The run's folder


@pytest.fixture
def run(prepared: Path, finished: Path) -> Path:
    """A complete run of one epoch on the prepared dataset."""
    return finished


def test_a_run_is_done_continued_refused_or_replaced(
    bccli: Bccli, prepared: Path, run: Path, tmp_path: Path
) -> None:
    before = tree(run)
    again = bccli("train", prepared, run, *HEAD)
    assert "nothing to do" in again.stderr
    assert len(rows_of(again.stdout)) == 2
    result = bccli("train", prepared, run, *FROZEN, "--epochs", 1, "--batch-size", 4, exit=3)
    refused(result, str(run), "batch-size 8, now 4", "--overwrite")
    manifest = (prepared / "manifest.csv").read_text()
    rewrite(prepared, lambda rows: rows[0].update(split=""))
    refused(bccli("train", prepared, run, *HEAD, exit=3), str(run), "other images than there are now")
    assert tree(run) == before
    (prepared / "manifest.csv").write_text(manifest)
    assert (
        "continuing after 1 epochs"
        in bccli("train", prepared, run, *FROZEN, "--epochs", 2, "--batch-size", 8).stderr
    )
    assert len(read_rows(run / "history.csv")) == 2
    refused(bccli("train", prepared, run, *HEAD, exit=3), "epochs 2, now 1")
    (run / "notes.txt").write_text("mine")
    bccli("train", prepared, run, *HEAD, "--overwrite")
    assert len(read_rows(run / "history.csv")) == 1
    assert (run / "notes.txt").read_text() == "mine"


def test_a_foreign_folder_is_left_alone(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "thesis.txt").write_text("mine")
    for option in ((), ("--overwrite",)):
        refused(bccli("train", prepared, run, *option, exit=3), str(run), "thesis.txt", "another folder")
    (run / "run.json").write_text('{"tool": "other"}')
    refused(
        bccli("train", prepared, run, "--overwrite", exit=3), str(run / "run.json"), "not written by bccli"
    )
    assert tree(run) == {"thesis.txt": b"mine", "run.json": b'{"tool": "other"}'}
    refused(bccli("train", prepared, run / "thesis.txt", exit=3), "thesis.txt", "is not a folder")


def test_a_run_of_a_newer_format_is_left_alone(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    text = json.dumps({"tool": "bccli", "format": 9, "version": "9.0"})
    (run / "run.json").write_text(text)
    refused(bccli("train", prepared, run, "--overwrite", exit=3), "newer bccli", "update")
    assert (run / "run.json").read_text() == text


@pytest.mark.slow
def test_a_full_disk_leaves_what_the_same_command_continues(
    bccli: Bccli, prepared: Path, tmp_path: Path
) -> None:
    """Room for the settings and the log, but not for a state."""
    (tmp_path / "disk").mkdir()
    script = f"""
        mount -t tmpfs -o size=60k none disk
        bccli train {prepared.name} disk/run --epochs 1 --batch-size 8; echo "exit $?"
        cp -r disk/run run
    """
    ended = in_small_file_system(script, tmp_path)
    assert ended.stdout == "exit 3\n", ended.stderr
    error = ended.stderr.splitlines()[-1]
    assert error == (
        "Error: disk/run/state.npz: the disk is full; free some space and run the same command again"
    )
    assert len(rows_of(bccli("train", prepared, tmp_path / "run", *SHORT).stdout)) == 2
    assert not list((tmp_path / "run").glob("*.tmp*"))


@pytest.mark.slow
def test_a_run_killed_while_it_was_cleared_is_made_anew(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = "--backbone", "cnn-15", "--batch-size", 4, *FROZEN
    bccli("train", prepared, run, *options, "--epochs", 1)
    marker = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**marker, "status": "clearing"}))
    (run / "metrics.json").unlink()
    assert "unfinished" in bccli("evaluate", run, exit=3).stderr
    bccli("train", prepared, run, *options, "--epochs", 1, "--seed", 5)
    assert json.loads((run / "run.json").read_text())["seed"] == 5


# Heads, losses, learning rates, precision, and the length of epochs


@pytest.fixture
def larger(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> Path:
    """Prepared images of 32×32, which cnn-15 makes maps of 2×2 from."""
    bccli("prepare", "folder", make_folder(size=(32, 32)), tmp_path / "data", *PATIENT, "--ratios", "1/1/1")
    return tmp_path / "data"


def check_predicts_as_stored(bccli: Bccli, data: Path, run: Path) -> None:
    """`predict` gives the images of val and test the probabilities that training wrote down."""
    stored = {row["path"]: row for row in read_rows(run / "predictions.csv")}
    asked = [data / path for path in stored]
    for row in rows_of(bccli("predict", run, *asked).stdout):
        expected = stored[str(Path(row["path"]).relative_to(data))]
        assert row["predicted"] == expected["predicted"]
        for column in ("p_benign", "p_malignant"):
            assert float(row[column]) == pytest.approx(float(expected[column]), abs=1e-4)
    assert json.loads((run / "run.json").read_text())["litert"]["file"] == "model.tflite"


@pytest.mark.parametrize(
    ("head", "trainable"),
    [
        ("blocks", "none"),
        ("thesis", "none"),
        pytest.param("thesis", "all", marks=pytest.mark.slow),
        pytest.param("blocks", "all", marks=pytest.mark.slow),
    ],
)
@pytest.mark.exports
def test_every_head_learns_and_predicts(
    bccli: Bccli, larger: Path, tmp_path: Path, head: str, trainable: str
) -> None:
    run = tmp_path / "run"
    epochs = 12 if trainable == "all" else 60
    command = "train", larger, run, "--head", head, "--trainable", trainable, "--batch-size", 4
    rows = rows_of(bccli(*command, "--epochs", epochs, "--lr", 0.003).stdout)
    assert [float(row["accuracy"]) for row in rows] == [1.0, 1.0]
    check_predicts_as_stored(bccli, larger, run)
    said = bccli(*command, "--epochs", epochs + 1, "--lr", 0.003).stderr
    assert f"continuing after {epochs} epochs" in said
    assert bccli("evaluate", run).stdout
    recipe = (run / "recipe.toml").read_text()
    assert f'head = "{head}"' in recipe
    assert ("dense = [10]\ndropout = 0.2" in recipe) == (head == "thesis")


@pytest.mark.slow
def test_features_of_several_heads_share_a_cache_but_never_mix(
    bccli: Bccli, larger: Path, tmp_path: Path
) -> None:
    command = "train", larger, tmp_path / "run", *SHORT, "--trainable", "none", "--overwrite"
    for head in ("gap", "thesis"):
        assert "were in the cache" not in bccli(*command, "--head", head).stderr
    assert "24 of 24 images were in the cache" in bccli(*command, "--head", "gap").stderr
    assert len(list((larger / ".cache" / "features").iterdir())) == 2


def test_the_thesis_head_wants_maps_that_it_can_pool(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    result = bccli("train", prepared, tmp_path / "run", "--head", "thesis", exit=3)
    refused(result, "--head thesis", "1×1", "24×24", "--size")


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (("--warmup", 50), ("--warmup 50", "--epochs 50")),
        (("--decay", 0.5), ("--decay", "--schedule constant", "exponential or step")),
        (("--schedule", "cosine", "--decay-epochs", 3), ("--decay-epochs", "--schedule cosine")),
        (("--schedule", "cosin"), ("--schedule", "did you mean 'cosine'?")),
        (("--head", "thesys"), ("--head", "did you mean 'thesis'?")),
        (("--label-smoothing", 1), ("--label-smoothing",)),
        (("--clip-norm", 0), ("--clip-norm",)),
        (("--decay", 1, "--schedule", "step"), ("--decay",)),
        (("--steps-per-epoch", 0), ("--steps-per-epoch",)),
    ],
)
def test_training_options_that_contradict_are_refused(
    bccli: Bccli, prepared: Path, tmp_path: Path, options: tuple[object, ...], fragments: tuple[str, ...]
) -> None:
    refused(bccli("train", prepared, tmp_path / "run", *options, exit=2), *fragments)
    assert not (tmp_path / "run").exists()


def test_the_choices_are_those_of_the_tables() -> None:
    from bccli.core.classifiers.fitting import CLASSIFIERS
    from bccli.core.fusion.methods import FUSIONS
    from bccli.options import training as options

    assert tuple(FUSIONS) == options.FUSIONS
    assert {"dense", "bovw", *CLASSIFIERS} == set(options.CLASSIFIERS)


FULL = (
    *("--loss", "focal", "--output", "sigmoid", "--label-smoothing", 0.1, "--schedule", "step"),
    *("--decay", 0.5, "--decay-epochs", 1, "--warmup", 1, "--clip-norm", 1, "--steps-per-epoch", 3),
    *("--batch-size", 5, "--lr", 0.004, "--trainable", "none"),
)


def test_a_run_with_all_of_it_can_be_repeated_extended_and_told_apart(
    bccli: Bccli, prepared: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    bccli("train", prepared, first, *FULL, "--epochs", 2)
    bccli("train", prepared, first, *FULL, "--epochs", 4)
    bccli("train", prepared, second, "--recipe", first / "recipe.toml")
    for name in ("predictions.csv", "history.csv", "recipe.toml"):
        assert (second / name).read_bytes() == (first / name).read_bytes(), name
    history = read_rows(first / "history.csv")
    assert [float(row["lr"]) for row in history] == pytest.approx([0.004, 0.004, 0.002, 0.001])
    info = json.loads((first / "run.json").read_text())
    (val,) = [
        row for row in json.loads((first / "metrics.json").read_text())["runs"] if row["split"] == "val"
    ]
    assert val["loss"] == pytest.approx(float(history[info["kept_epoch"] - 1]["val_loss"]), rel=1e-4)
    for option, value, before in (
        ("--clip-norm", 2, "clip-norm 1.0, now 2.0"),
        ("--label-smoothing", 0, "label-smoothing 0.1, now 0.0"),
        ("--warmup", 2, "warmup 1.0, now 2.0"),
        ("--steps-per-epoch", 4, "steps-per-epoch 3, now 4"),
        ("--head", "blocks", "head gap, now blocks"),
    ):
        refused(bccli("train", prepared, first, *FULL, "--epochs", 4, option, value, exit=3), before)


def test_a_cosine_knows_its_end_and_is_not_extended(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    command = "train", prepared, tmp_path / "run", "--batch-size", 8, "--schedule", "cosine", *FROZEN
    bccli(*command, "--epochs", 1)
    refused(bccli(*command, "--epochs", 2, exit=3), "epochs 1, now 2", "--overwrite")
    assert "nothing to do" in bccli(*command, "--epochs", 1).stderr


def test_a_run_says_with_what_it_was_made_and_is_the_same_whatever_that_was(
    bccli: Bccli, prepared: Path, run: Path
) -> None:
    info = json.loads((run / "run.json").read_text())
    used = {"python", "numpy", "tensorflow", "keras", "pillow", "opencv", "litert", "imagecodecs"}
    assert used <= set(info["versions"])
    assert info["hardware"]["cores"] <= info["hardware"]["cores_of_machine"]
    if (Path(__file__).parents[2] / ".git").exists():
        assert re.fullmatch("[0-9a-f]{40}", info["commit"])
    rewrite_info(run / "run.json", commit="0" * 40, versions={"python": "2"}, hardware={"cores": 1000})
    assert "nothing to do" in bccli("train", prepared, run, *HEAD).stderr


@pytest.mark.parametrize("trainable", ["all", pytest.param("none", marks=pytest.mark.slow)])
@pytest.mark.exports
def test_mixed_precision_ends_in_32_bits(
    bccli: Bccli, prepared: Path, tmp_path: Path, trainable: str
) -> None:
    import keras

    run = tmp_path / "run"
    options = "--mixed-precision", "--trainable", trainable, "--dense", 8
    bccli("train", prepared, run, "--epochs", 1, "--batch-size", 4, *options)
    check_predicts_as_stored(bccli, prepared, run)
    whole = keras.saving.load_model(run / "model.keras")
    assert {str(layer.compute_dtype) for layer in whole._flatten_layers()} == {"float32"}
    assert keras.mixed_precision.dtype_policy().name == "float32"
