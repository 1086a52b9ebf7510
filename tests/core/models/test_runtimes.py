"""LiteRT against Keras: the same scores for every kind of network that bccli knows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import BACKBONES, Backbone
from bccli.core.models.runtimes import OUTPUTS, LiteRT
from tests.conftest import draw
from tests.core.models.networks import FAMILIES

TOLERANCE = 1e-4
QUICK = ("cnn-15", "mobilenet-0.25")
# Larger networks of a family have more of the same layers.
BETWEEN = tuple(f"cnn-{layers}" for layers in range(16, 30))
KINDS = (*(f"cnn-{layers}" for layers in range(15, 31)), *(name for name in FAMILIES if name != "resnext50"))


def scoring(backbone: Backbone, size: tuple[int, int], weights: Any) -> Any:
    """The Keras model from RGB 0–255 to two scores, its weights away from their start."""
    import keras

    from bccli.core.models import backend
    from bccli.core.models.backbones import build_backbone, build_extractor
    from bccli.core.models.heads import Head, build_head

    backend.start("cpu")
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    network = build_backbone(backbone, size, weights)
    extractor = build_extractor(backbone, network)
    head = build_head(Head((8,)), extractor.output_shape[-1], 2)
    return keras.Model(extractor.input, head(extractor.output))


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in QUICK
        else pytest.param(name, marks=pytest.mark.full if name in BETWEEN else pytest.mark.slow)
        for name in KINDS
    ],
)
def test_scores_are_those_of_keras(name: str, tmp_path: Path) -> None:
    from bccli.core.models.tflite_export import export
    from bccli.core.weights.pretrained import Weights

    backbone = BACKBONES[name]
    size = (max(48, backbone.smallest), max(40, backbone.smallest))
    network = scoring(backbone, size, Weights("none"))
    images = np.stack([draw(number % 2, number, size) for number in range(6)]).astype(np.float32)
    made = export(network, images, tmp_path)
    assert not made.error
    assert made.difference <= TOLERANCE
    expected = network(images, training=False).numpy()
    assert np.ptp(expected, axis=0).max() > 1e-9 * np.abs(expected).max()
    for packed in (True, False):
        for count in (6, 1):
            engine = LiteRT(tmp_path / "model.tflite", 2, packed=packed)
            scores = np.concatenate([engine.scores(images[at : at + count]) for at in range(0, 6, count)])
            assert np.abs(scores - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_a_network_on_which_litert_never_ends_is_not_exported(tmp_path: Path) -> None:
    from bccli.core.models.tflite_export import export
    from bccli.core.weights.pretrained import Weights

    network = scoring(BACKBONES["resnext50"], (48, 40), Weights("none"))
    made = export(network, np.zeros((1, 40, 48, 3), np.float32), tmp_path)
    assert "LiteRT cannot compute conv5_block3_2_conv, a depthwise convolution to 32,768" in made.error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mobilenet-0.25", "mobilenet-0.75"])
def test_scores_of_trained_weights_on_real_images(
    name: str, real_data: Path, real_weights: Path, tmp_path: Path
) -> None:
    from bccli.core.imaging.fitting import stretch
    from bccli.core.imaging.formats.decoding import decode
    from bccli.core.models.tflite_export import export
    from bccli.core.weights.pretrained import find_weights

    backbone = BACKBONES[name]
    network = scoring(backbone, (160, 112), find_weights(backbone, "imagenet"))
    files = sorted(real_data.glob("breakhis/**/*.png"))[::8]
    images = np.stack([stretch(decode(file), (160, 112)) for file in files]).astype(np.float32)
    made = export(network, images, tmp_path)
    assert not made.error
    assert made.difference <= TOLERANCE
    scores = LiteRT(tmp_path / "model.tflite", 2).scores(images)
    assert np.ptp(scores, axis=0).max() > 0.01 * np.abs(scores).max()


def test_probabilities_are_those_of_the_heads_outputs() -> None:
    from bccli.core.models.heads import OUTPUTS as THEIRS

    scores = np.array([[0.3, -2.0, 5.0], [700.0, -700.0, 0.0]], np.float32)
    for output, given in (("softmax", scores), ("sigmoid", scores.reshape(-1, 1))):
        ours = OUTPUTS[output](given)
        np.testing.assert_allclose(ours, THEIRS[output](given), atol=1e-6)
        np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-6)


def test_multiply_adds_are_those_of_the_literature() -> None:
    """15.3 billion for the thirteen convolutions of VGG16 at 224×224 (Simonyan & Zisserman 2015)."""
    from bccli.core.models.tflite_export import multiply_adds
    from bccli.core.weights.pretrained import Weights

    network = scoring(BACKBONES["vgg16"], (224, 224), Weights("none"))
    assert multiply_adds(network) == pytest.approx(15.35e9, rel=0.01)


def test_a_probability_near_one_leaves_its_complement_as_small_as_it_is() -> None:
    """Both for Keras and for arrays: from a score of 17 on, 1 - p of a sigmoid would be 0 in float32."""
    from bccli.core.models import backend

    backend.start("cpu")
    from bccli.core.models import heads

    scores = np.linspace(-80, 80, 33, dtype=np.float32)[:, None]
    exact = np.exp(-np.logaddexp(0, np.concatenate([scores, -scores], axis=1).astype(np.float64)))
    both = np.concatenate([np.zeros_like(scores), scores], axis=1)
    for output, given in (("sigmoid", scores), ("softmax", both)):
        np.testing.assert_allclose(OUTPUTS[output](given), exact, rtol=1e-12)
        np.testing.assert_allclose(heads.OUTPUTS[output](given), exact, rtol=1e-4)
