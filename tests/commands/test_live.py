"""`train` with augmentation, input normalisation, and what it tells while it works."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bccli.core.augmentation import augmented_copy, find_policy
from bccli.core.data.dataset import load_dataset
from bccli.core.data.image_batches import open_images
from bccli.core.training.live_augmentation import add_augmented_copies, live_images, raw_image
from bccli.core.training.loop import Fit
from tests.conftest import PATIENT, Bccli, draw, read_rows, save
from tests.sentences import refused

FROZEN = "--backbone", "mobilenet-0.25", "--weights", "none", "--trainable", "none"


@pytest.fixture
def larger(bccli: Bccli, make_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """Prepared images of 32×32, which MobileNet takes."""
    raw = make_folder("raw32", size=(32, 32))
    bccli("prepare", "folder", raw, tmp_path / "data32", *PATIENT, "--ratios", "1/1/1")
    return tmp_path / "data32"


def settings_of(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())["settings"]


# What training sees


def test_each_turn_is_a_child_of_its_own(prepared: Path) -> None:
    dataset, policy = load_dataset(prepared), find_policy("zoom")
    images = open_images(dataset.root, dataset.samples)
    order, turns = np.array([3, 0, 3, 5, 1]), np.array([0, 0, 1, 1, 1])
    for workers in (1, 2):
        with live_images(images, policy, seed=7, workers=workers) as live:
            found = np.concatenate(list(live.training_batches(order, turns, 2)))
            plain = np.concatenate([batch.numpy() for batch in live.batches(order, 2)])
        for place, (position, turn) in enumerate(zip(order.tolist(), turns.tolist(), strict=True)):
            sample = dataset.samples[position]
            pixels = np.asarray(Image.open(prepared / sample.path))
            expected = augmented_copy(policy, pixels, seed=7, image=raw_image(sample), number=turn + 1)
            np.testing.assert_array_equal(found[place], expected)
            np.testing.assert_array_equal(plain[place], pixels)
    assert (found[0] != found[2]).any()


def test_views_are_images_and_then_their_children(prepared: Path) -> None:
    dataset, policy = load_dataset(prepared), find_policy("zoom")
    images = open_images(dataset.root, dataset.samples)
    with live_images(images, policy, seed=7, workers=1) as live:
        views, first = add_augmented_copies(live, np.array([4, 1]), 3)
        made = np.concatenate(list(views.batches(np.arange(len(views.samples)), 5)))
    count = len(dataset.samples)
    assert first.tolist() == [-1, count + 3, -1, -1, count, *[-1] * (count - 5)]
    assert len({sample.sha256 for sample in views.samples}) == len(made) == count + 6
    pixels = np.asarray(Image.open(prepared / dataset.samples[1].path))
    for number in (1, 2, 3):
        expected = augmented_copy(policy, pixels, seed=7, image=raw_image(dataset.samples[1]), number=number)
        np.testing.assert_array_equal(made[count + 2 + number], expected)
    np.testing.assert_array_equal(made[1], pixels)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--trainable", "all"), marks=pytest.mark.slow),
        pytest.param(FROZEN, marks=pytest.mark.slow),
        (*FROZEN, "--views", 3),
    ],
    ids=["whole", "frozen", "views"],
)
def test_augmented_runs_can_be_repeated_extended_and_told_apart(
    bccli: Bccli, larger: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    options = *options, "--batch-size", 3, "--augment", "flips", "--dense", 6
    bccli("train", larger, first, *options, "--epochs", 1)
    bccli("train", larger, first, *options, "--epochs", 3, "--workers", 1)
    bccli("train", larger, second, "--recipe", first / "recipe.toml")
    for name in ("history.csv", "predictions.csv", "recipe.toml"):
        assert (second / name).read_bytes() == (first / name).read_bytes(), name
    plain = bccli("train", larger, tmp_path / "plain", "--recipe", first / "recipe.toml", "--augment", "zoom")
    assert plain.stdout
    losses = [read_rows(run / "history.csv")[-1]["loss"] for run in (first, tmp_path / "plain")]
    assert losses[0] != losses[1]
    result = bccli("train", larger, first, *options, "--epochs", 3, "--augment", "zoom", exit=3)
    refused(result, "augment flips, now zoom")


@pytest.mark.slow
def test_a_policy_file_counts_by_its_content(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    file, recipe, run = folder / "policy.toml", folder / "recipe.toml", tmp_path / "run"
    file.write_text('[[operations]]\naugmenter = "Fliplr"\nprobability = 0.5\n')
    recipe.write_text('[train]\naugment = "policy.toml"\nepochs = 1\nbatch-size = 4\n')
    bccli("train", prepared, run, "--recipe", recipe)
    (folder / "same.toml").write_text(f"# the same\n{file.read_text()}")
    same = bccli("train", prepared, run, "--recipe", recipe, "--augment", folder / "same.toml")
    assert "nothing to do" in same.stderr
    assert "nothing to do" in bccli("train", prepared, run, "--recipe", run / "recipe.toml").stderr
    file.write_text('[[operations]]\naugmenter = "Fliplr"\nprobability = 0.4\n')
    refused(bccli("train", prepared, run, "--recipe", recipe, exit=3), "augment of the content")


@pytest.mark.slow
def test_val_is_augmented_only_where_that_is_said(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    """The figures of the finished run are of images as they are in any case."""
    options = "--epochs", 1, "--batch-size", 8, "--augment", "zoom"
    plain = bccli("train", prepared, tmp_path / "plain", *options)
    augmented = bccli("train", prepared, tmp_path / "augmented", *options, "--augment-val")
    assert "val is augmented" not in plain.stderr
    assert "Warning: val is augmented, too: val_loss and val_accuracy of history.csv" in augmented.stderr
    histories = [read_rows(tmp_path / name / "history.csv")[0] for name in ("plain", "augmented")]
    assert histories[0]["loss"] == histories[1]["loss"]
    assert histories[0]["val_loss"] != histories[1]["val_loss"]
    tables = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("plain", "augmented")]
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (("--views", 2), ("--views", "--augment")),
        (("--augment-val",), ("--augment-val", "--augment POLICY")),
        (("--augment", "flips", "--views", 2), ("--views", "frozen")),
        (("--augment", "flisp"), ("'flisp'", "did you mean 'flips'?")),
        (("--augment", "flips", "--views", 0), ("--views",)),
    ],
)
def test_options_of_augmentation_that_contradict_are_refused(
    bccli: Bccli, prepared: Path, tmp_path: Path, options: tuple[object, ...], fragments: tuple[str, ...]
) -> None:
    refused(bccli("train", prepared, tmp_path / "run", *options, exit=2), *fragments)
    assert not (tmp_path / "run").exists()


def test_a_damaged_image_is_named_from_a_worker(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    options = "--epochs", 2, "--batch-size", 4, "--augment", "flips"
    bccli("train", prepared, tmp_path / "none", "--device", "gpu", exit=3)  # and the audit's looks are kept
    chosen = next(row["path"] for row in read_rows(prepared / "manifest.csv") if row["split"] == "train")
    (prepared / chosen).write_bytes((prepared / chosen).read_bytes()[:60])
    refused(bccli("train", prepared, tmp_path / "run", *options, exit=3), chosen)


# The norm of the input


@pytest.mark.exports
def test_the_norm_is_that_of_the_training_pixels_and_inside_the_model(
    bccli: Bccli, prepared: Path, tmp_path: Path
) -> None:
    import keras

    run = tmp_path / "run"
    bccli("train", prepared, run, "--epochs", 1, "--batch-size", 8, "--input-norm", "train")
    rows = [row for row in read_rows(prepared / "manifest.csv") if row["split"] == "train"]
    pixels = np.stack([np.asarray(Image.open(prepared / row["path"])) for row in rows]).reshape(-1, 3)
    (kept,) = (prepared / ".cache" / "norms").iterdir()
    norm = json.loads(kept.read_text())
    np.testing.assert_allclose(norm["mean"], pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(norm["deviation"], pixels.std(axis=0), rtol=1e-12)
    model = keras.saving.load_model(run / "model.keras")
    node = model.get_layer("cnn_15")._inbound_nodes[-1]  # its call within the whole model
    images = pixels.reshape(len(rows), 24, 24, 3).astype("float32")
    seen = np.asarray(keras.Model(model.input, node.input_tensors[0])(images)).reshape(-1, 3)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(axis=0), 1, rtol=1e-4)
    stored = read_rows(run / "predictions.csv")
    answers = bccli("predict", run, *(prepared / row["path"] for row in stored[:3]), "--format", "json")
    for row, answer in zip(stored, json.loads(answers.stdout), strict=False):
        assert answer["p_malignant"] == pytest.approx(float(row["p_malignant"]), abs=1e-5)
    assert json.loads((run / "run.json").read_text())["recipe"] is None
    result = bccli("train", prepared, run, "--epochs", 1, "--batch-size", 8, exit=3)
    refused(result, "input-norm train, now backbone")


@pytest.mark.slow
def test_a_norm_of_one_colour_divides_by_one(bccli: Bccli, tmp_path: Path) -> None:
    """Features of a constant channel stay numbers."""
    for number in range(9):
        pixels = draw(number % 2, number)
        pixels[..., 2] = 200
        save(tmp_path / "raw" / "ab"[number % 2] / f"p{number}_0.png", pixels)
    bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", *PATIENT, "--ratios", "1/1/1")
    bccli("train", tmp_path / "data", tmp_path / "run", "--epochs", 1, "--input-norm", "train")
    (kept,) = (tmp_path / "data" / ".cache" / "norms").iterdir()
    norm = json.loads(kept.read_text())
    assert (norm["mean"][2], norm["deviation"][2]) == (200, 1)


# What is said


def test_a_training_says_beta_its_time_and_its_pace_and_tensorboard_gets_its_history(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bccli.core.training.pace._WORTH_SAYING", 0)
    run = tmp_path / "run"
    options = "--epochs", 3, "--batch-size", 4, "--patience", 3, "--tensorboard"
    said = bccli("train", prepared, run, *options).stderr
    check_pace(said)
    check_foretold(said.splitlines())
    check_tensorboard(run)


def check_pace(said: str) -> None:
    lines = re.findall(
        r"^epoch \d/3 .* accuracy ([\d.]+) .* val_accuracy ([\d.]+)  beta~ ([\d.]+)$", said, re.M
    )
    assert len(lines) == 3
    for accuracy, val_accuracy, beta in lines:
        assert float(beta) == pytest.approx(float(accuracy) / float(val_accuracy), abs=1e-3)
    assert re.search(r"^trained [\d,.]+ images a second$", said, re.M)


def check_foretold(said: list[str]) -> None:
    """How long the other epochs take is said after the first one."""
    foretold = re.compile(r"(about \d.* an epoch; the other 2|the other 2 epochs) take \d.* at most")
    (place,) = [number for number, line in enumerate(said) if foretold.fullmatch(line)]
    assert said[place - 1].startswith("epoch 1/3")


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """What is in TensorBoard's event files, read as TensorFlow itself reads them."""
    import tensorflow as tf

    found = []
    for file in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found.append((value.tag, event.step, struct.unpack("<f", value.tensor.tensor_content)[0]))
    return found


def check_tensorboard(run: Path) -> None:
    history = read_rows(run / "history.csv")
    expected = [
        (name, int(row["epoch"]), pytest.approx(float(value), rel=1e-6))
        for row in history
        for name, value in row.items()
        if name != "epoch"
    ]
    assert scalars(run / "tensorboard") == expected
    assert any(
        name.startswith("tensorboard/") for name in json.loads((run / "run.json").read_text())["files"]
    )


def test_the_built_in_recipe_is_named(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bccli("train", prepared, run, "--recipe", "quickstart", "--epochs", 1)
    assert json.loads((run / "run.json").read_text())["recipe"] == "quickstart"


# What goes wrong


def test_too_little_memory_is_told_with_what_helps(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    def exhausted(fit: Fit, *_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape [9]")

    monkeypatch.setattr(Fit, "_train_epoch", exhausted)
    command = "train", prepared, tmp_path / "run", "--epochs", 1
    refused(
        bccli(*command, "--batch-size", 24, exit=3), "batches of 24", "--batch-size 12", "--mixed-precision"
    )
    assert "--size" in refused(bccli(*command, "--batch-size", 1, exit=3), "batches of 1 images")


@pytest.mark.slow
def test_a_loss_that_is_no_number_leaves_the_best_weights_before(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three epochs the third fails: model.keras is that of a run of two."""
    import keras

    rate, run, two = Fit._rate, tmp_path / "run", tmp_path / "two"
    options = "--batch-size", 4, "--monitor", "loss"
    bccli("train", prepared, two, *options, "--epochs", 2)
    with monkeypatch.context() as patches:
        patches.setattr(Fit, "_rate", lambda fit, *now: 1e30 if fit.progress.epoch == 2 else rate(fit, *now))
        result = bccli("train", prepared, run, *options, "--epochs", 3, exit=3)
    refused(result, str(run), "epoch 3, step 2", "smaller --lr", "model.keras has the weights of epoch 2")
    models = [keras.saving.load_model(folder / "model.keras") for folder in (run, two)]
    for left, right in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(left, right)
    refused(bccli("predict", run, prepared, exit=3), "unfinished")


@pytest.mark.slow
def test_fewer_images_than_a_batch_are_one_batch(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    bccli("train", prepared, tmp_path / "run", "--epochs", 2, "--batch-size", 500, "--augment", "flips")
    assert len(read_rows(tmp_path / "run" / "history.csv")) == 2


@pytest.mark.exports
def test_images_of_train_alone_make_a_run_without_figures(
    bccli: Bccli, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    bccli("prepare", "folder", make_folder(), data, *PATIENT, "--ratios", "1/0/0")
    result = bccli("train", data, run, "--epochs", 1, "--batch-size", 8, "--trainable", "none")
    assert result.stdout == ""
    assert "no val images" in result.stderr
    assert json.loads((run / "metrics.json").read_text())["runs"] == []
    image = next(data.glob("images/*/*.png"))
    assert "benign" in bccli("predict", run, image).stdout
    refused(bccli("evaluate", run, exit=3), "no rows")
