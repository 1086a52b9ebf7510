"""`--batch-norm-momentum`: how fast the statistics of batch norms follow the images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.models.inference_mode import set_batch_norm_momentum
from bccli.core.weights.copying import layers_in
from bccli.core.weights.keras_files import load_model
from tests.conftest import Bccli

SHORT = "--batch-size", 8


def norms(root: Path) -> list[Any]:
    """The batch norms in the saved network of a run."""
    import keras

    layers = layers_in(load_model(root / "model.keras"))
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_what_learns_has_the_momentum_in_training_and_in_what_is_saved(
    bccli: Bccli, prepared: Path, tmp_path: Path
) -> None:
    """After one step without any memory, the statistics are those of the batch."""
    once = *SHORT, "--epochs", 1, "--steps-per-epoch", 1
    for name, more in (("own", ()), ("none", ("--batch-norm-momentum", 0))):
        bccli("train", prepared, tmp_path / name, *once, *more)
    assert {layer.momentum for layer in norms(tmp_path / "own")} == {0.9}
    assert {layer.momentum for layer in norms(tmp_path / "none")} == {0}
    for own, none in zip(norms(tmp_path / "own"), norms(tmp_path / "none"), strict=True):
        means = [np.asarray(layer.moving_mean) for layer in (own, none)]
        np.testing.assert_allclose(means[0], means[1] * 0.1, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.exports
def test_it_survives_an_extension_a_recipe_and_a_fine_tuning(
    bccli: Bccli, prepared: Path, tmp_path: Path
) -> None:
    momentum = "--batch-norm-momentum", 0.5
    whole, twice, again = tmp_path / "whole", tmp_path / "twice", tmp_path / "again"
    bccli("train", prepared, whole, *SHORT, *momentum, "--epochs", 2)
    for epochs in (1, 2):
        bccli("train", prepared, twice, *SHORT, *momentum, "--epochs", epochs)
    assert (twice / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    bccli("train", prepared, again, "--recipe", whole / "recipe.toml")
    assert (again / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    tuned = tmp_path / "tuned"
    options = "--all", "--epochs", 1, "--train-batch-norm", "--batch-norm-momentum", 0.25
    bccli("finetune", whole, tuned, *SHORT, *options)
    assert {layer.momentum for layer in norms(tuned)} == {0.25}


def test_what_rests_keeps_its_own() -> None:
    import keras

    resting = keras.layers.BatchNormalization()
    resting.trainable = False
    model = keras.Sequential([keras.Input((3,)), resting, keras.layers.BatchNormalization()])
    set_batch_norm_momentum(model, 0.5)
    assert [layer.momentum for layer in model.layers] == [0.99, 0.5]
