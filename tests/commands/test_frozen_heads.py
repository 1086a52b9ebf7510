"""The dense head of a frozen backbone: standardised features, a weight decay that suits patients left out."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PATIENT, Bccli, draw_folder, read_rows, rows_of
from tests.library import Library, bccli_in
from tests.sentences import refused

FROZEN = "--weights", "none", "--trainable", "none", "--batch-size", 8
SHORT = *FROZEN, "--epochs", 2


def fill(place: Path) -> None:
    raw = draw_folder(place / "raw", patients=8, images=3, size=(32, 32))
    bccli_in("prepare", "folder", raw, place / "data", *PATIENT, "--ratios", "2/1/1")
    bccli_in("prepare", "folder", raw, place / "folds", *PATIENT, "--folds", 4)
    bccli_in("train", place / "data", place / "run", *SHORT, "--head", "blocks")


@pytest.fixture(scope="module")
def place(library: Library) -> Path:
    """Prepared data with splits and with folds, and a run of the defaults; nobody changes them."""
    return library.folder("frozen_heads", fill)


def info_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def model_of(run: Path) -> Any:
    import keras

    return keras.saving.load_model(run / "model.keras")


def statistics_in(run: Path) -> list[np.ndarray]:
    """The mean and the variance in a run's head."""
    return model_of(run).get_layer("head").get_layer("norm").get_weights()


def features_of_train(run: Path, data: Path) -> np.ndarray:
    from bccli.core.models.graph import extractor_and_head

    extractor, _ = extractor_and_head(model_of(run))
    paths = [data / row["path"] for row in read_rows(data / "manifest.csv") if row["split"] == "train"]
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    return np.asarray(extractor(pixels.astype(np.float32), training=False))


def same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(left, right, strict=True))


CHOSEN = {
    "feature_norm": "train", "weight_decay": "held-out", "lr": 0.02, "schedule": "exponential", "decay": 0.1,
    "decay_epochs": 12.0, "monitor": "last", "steps_per_epoch": 80, "epochs": 2,
}  # fmt: skip
PLAIN = {
    "feature_norm": "none", "weight_decay": 0.0, "lr": 0.001, "schedule": "constant", "decay": None,
    "decay_epochs": None, "monitor": "val_loss", "steps_per_epoch": None, "epochs": 2,
}  # fmt: skip


def settings_of(run: Path) -> dict[str, Any]:
    return {name: info_of(run)["settings"][name] for name in CHOSEN}


def test_what_was_chosen_stands_in_the_run(place: Path) -> None:
    info = info_of(place / "run")
    assert settings_of(place / "run") == CHOSEN
    assert (info["kept_epoch"], info["fitted"]["folds"]) == (2, "groups")
    train = sum(row["split"] == "train" for row in read_rows(place / "data" / "manifest.csv"))
    assert info["fitted"]["weight_decay"] == pytest.approx(2 / (train * info["fitted"]["C"]))
    recipe = (place / "run" / "recipe.toml").read_text()
    assert 'feature-norm = "train"' in recipe
    assert 'weight-decay = "held-out"' in recipe


def test_the_head_takes_trains_mean_and_deviation_out(place: Path) -> None:
    mean, variance = statistics_in(place / "run")
    features = features_of_train(place / "run", place / "data")
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-4, atol=1e-6)
    deviation = features.std(axis=0)
    varying = deviation > 0.02 * deviation.mean()
    np.testing.assert_allclose(np.sqrt(variance)[varying], deviation[varying], rtol=2e-3)
    assert (variance > 0).all()


def test_predict_in_a_fresh_process_gives_what_is_stored(
    place: Path, bccli_process: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    stored = {row["path"]: row for row in read_rows(place / "run" / "predictions.csv")}
    asked = [place / "data" / path for path in stored]
    for row in rows_of(bccli_process("predict", place / "run", *asked).stdout):
        expected = stored[str(Path(row["path"]).relative_to(place / "data"))]
        assert float(row["p_malignant"]) == pytest.approx(float(expected["p_malignant"]), abs=1e-4)
    assert info_of(place / "run")["litert"]["file"] == "model.tflite"


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (("--feature-norm", "none"), PLAIN),
        (("--lr", 0.002, "--schedule", "constant"), {"lr": 0.002, **dict.fromkeys(("decay", "decay_epochs")),
                                                     "schedule": "constant", "monitor": "val_loss"}),
        (("--patience", 1, "--steps-per-epoch", 3), {"monitor": "val_loss", "steps_per_epoch": 3}),
        pytest.param(("--weight-decay", 0.5), {"weight_decay": 0.5}, marks=pytest.mark.slow),
        pytest.param(
            ("--weight-decay", 0), {**PLAIN, "feature_norm": "train"}, marks=pytest.mark.slow
        ),
        (("--dense", 4), {**PLAIN, "feature_norm": "train"}),
        pytest.param(("--loss", "mse"), {**PLAIN, "feature_norm": "train"}, marks=pytest.mark.slow),
        pytest.param(("--head", "thesis"), PLAIN, marks=pytest.mark.slow),
        pytest.param(("--trainable", "all"), PLAIN, marks=pytest.mark.slow),
        (("--optimizer", "sgd"), {**PLAIN, "lr": 0.01, "feature_norm": "train"}),
        pytest.param(
            ("--optimizer", "sgd", "--weight-decay", "held-out"), {"lr": 0.01}, marks=pytest.mark.slow
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_is_given_wins_and_other_heads_keep_their_defaults(
    bccli: Bccli, place: Path, tmp_path: Path, options: tuple[object, ...], changed: dict[str, object]
) -> None:
    bccli("train", place / "data", tmp_path / "run", *SHORT, "--cache", tmp_path / "cache", *options)
    assert settings_of(tmp_path / "run") == {**CHOSEN, **changed}
    bccli("train", place / "data", tmp_path / "again", "--recipe", tmp_path / "run" / "recipe.toml")
    for name in ("predictions.csv", "recipe.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (("--feature-norm", "train", "--trainable", "all"), ("--feature-norm train", "--trainable none")),
        (("--weight-decay", "held-out", "--dense", 4), ("--weight-decay held-out", "single dense layer")),
        (("--weight-decay", "held-out", "--loss", "mse"), ("--weight-decay held-out", "cross-entropy")),
        (("--weight-decay", "much"), ("'much'", "auto, held-out", "number from 0 on")),
        (("--weight-decay", "-1"), ("number from 0 on",)),
        (("--patience", 3, "--monitor", "last"), ("--patience", "--monitor val_loss")),
        (("--schedule", "plateau", "--monitor", "last"), ("--schedule plateau", "--monitor val_loss")),
        (("--classifier", "svm", "--feature-norm", "train"), ("--feature-norm", "no use for it")),
    ],
)
def test_what_does_not_fit_is_refused(
    bccli: Bccli, place: Path, tmp_path: Path, options: tuple[object, ...], fragments: tuple[str, ...]
) -> None:
    refused(bccli("train", place / "data", tmp_path / "run", *SHORT, *options, exit=2), *fragments)


def test_a_finished_run_is_extended_to_what_more_epochs_make(
    bccli: Bccli, place: Path, tmp_path: Path
) -> None:
    command = "train", place / "data", tmp_path / "run", *FROZEN, "--cache", tmp_path / "cache"
    bccli(*command, "--epochs", 1)
    assert "continuing after 1 epochs" in bccli(*command, "--epochs", 3).stderr
    bccli("train", place / "data", tmp_path / "whole", *FROZEN, "--epochs", 3, "--cache", tmp_path / "cache")
    for name in ("predictions.csv", "history.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("views", [(), ("--views", 2)], ids=["live", "views"])
def test_augmentation_leaves_the_statistics_to_images_as_they_are(
    bccli: Bccli, place: Path, tmp_path: Path, views: tuple[object, ...]
) -> None:
    cache = "--cache", tmp_path / "cache"
    augment = "--augment", "flips", *views
    bccli("train", place / "data", tmp_path / "run", *SHORT, "--head", "blocks", *cache, *augment)
    for found, expected in zip(statistics_in(tmp_path / "run"), statistics_in(place / "run"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert info_of(tmp_path / "run")["settings"]["steps_per_epoch"] == (80 if views else None)


def test_folds_that_share_their_models_have_statistics_and_decays_of_their_own(
    bccli: Bccli, place: Path, tmp_path: Path
) -> None:
    cache = "--cache", tmp_path / "cache"
    bccli("train", place / "folds", tmp_path / "all", "--fold", "all", *SHORT, *cache)
    for fold in (0, 1):
        bccli("train", place / "folds", tmp_path / f"{fold}", "--fold", fold, *SHORT, *cache)
        own = tmp_path / "all" / f"fold-{fold}"
        assert (own / "predictions.csv").read_bytes() == (tmp_path / f"{fold}/predictions.csv").read_bytes()
        assert info_of(own)["fitted"] == info_of(tmp_path / f"{fold}")["fitted"]
    assert not same(statistics_in(tmp_path / "0"), statistics_in(tmp_path / "1"))


@pytest.mark.parametrize("fresh", [False, True])
def test_a_head_that_goes_on_keeps_its_statistics_and_a_fresh_one_has_none(
    bccli: Bccli, place: Path, tmp_path: Path, fresh: bool
) -> None:
    out, head = tmp_path / "out", ("--head", "gap", "--dense", 4) if fresh else ()
    bccli("finetune", place / "run", out, "--blocks", 1, "--epochs", 1, "--cache", tmp_path / "cache", *head)
    settings = info_of(out)["settings"]
    assert (settings["feature_norm"], settings["weight_decay"]) == ("none" if fresh else "train", 0.0)
    if fresh:
        names = [layer.name for layer in model_of(out).get_layer("head").layers]
        assert "norm" not in names
    else:
        assert same(statistics_in(out), statistics_in(place / "run"))


def test_sixteen_bits_have_the_same_statistics(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bccli("train", place / "data", run, *SHORT, "--head", "blocks", "--mixed-precision",
          "--cache", tmp_path / "cache")  # fmt: skip
    assert same(statistics_in(run), statistics_in(place / "run"))
    stored = [float(row["p_malignant"]) for row in read_rows(run / "predictions.csv")]
    full = [float(row["p_malignant"]) for row in read_rows(place / "run" / "predictions.csv")]
    assert stored == pytest.approx(full, abs=0.05)
