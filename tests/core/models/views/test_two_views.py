"""Two views of an image against two calls of the backbone, in Keras and in LiteRT, whole and cut in two."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import find_backbone
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.regions import middle_of
from bccli.core.models.class_maps import with_maps
from bccli.core.models.extractors import build_features
from bccli.core.models.heads import Head
from bccli.core.models.runtimes import LiteRT
from bccli.core.models.tflite_export import converted
from bccli.core.training.assembly import Built, build
from bccli.core.training.design import Design, Tuning
from bccli.core.weights.pretrained import Weights
from tests.core.models import networks

SIZE, CONTEXT = (44, 36), 0.5
MIDDLE = Box(7, 6, 37, 30)


@pytest.fixture
def images() -> np.ndarray:
    """Coloured tiles, of which the middle part has others than the edge."""
    tiles = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    return tiles.repeat(SIZE[1] // 4, axis=1).repeat(SIZE[0] // 4, axis=2)


def close(found: Any, expected: Any, tolerance: float) -> bool:
    """Whether two arrays differ by less than a share of the largest value."""
    return bool(np.abs(found - expected).max() <= tolerance * np.abs(expected).max())


def enlarged(images: np.ndarray) -> np.ndarray:
    """The middle parts at the size of the images, by TensorFlow."""
    import tensorflow as tf

    inner = images[:, MIDDLE.top : MIDDLE.bottom, MIDDLE.left : MIDDLE.right].astype(np.float32)
    return np.asarray(tf.image.resize(inner, SIZE[::-1]))


@pytest.mark.exports
@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["cnn-15", "mobilenet-0.25"])
def test_features_are_those_of_two_calls_and_litert_has_the_same(name: str, images: np.ndarray) -> None:
    backbone = find_backbone(name)
    network = networks.build(backbone, SIZE)
    assert middle_of(SIZE, CONTEXT) == MIDDLE
    once, twice = (
        build_features(backbone, network, "average"),
        build_features(backbone, network, "views", context=CONTEXT),
    )
    calls = [once(each, training=False) for each in (images.astype(np.float32), enlarged(images))]
    expected = np.concatenate([np.asarray(each) for each in calls], axis=1)
    found = twice(images.astype(np.float32), training=False).numpy()
    assert not close(expected[:, : once.output_shape[-1]], expected[:, once.output_shape[-1] :], 1e-2)
    assert close(found, expected, 1e-5)
    assert twice.count_params() == once.count_params()
    litert = LiteRT(converted(twice, images), 1)
    for part in (images, images[:1]):
        assert close(litert.scores(part), expected[: len(part)], 1e-4)


def test_maps_of_both_views_are_there_one_after_the_other(images: np.ndarray) -> None:
    backbone = find_backbone("cnn-15")
    network = networks.build(backbone, SIZE)
    model, shapes = with_maps(build_features(backbone, network, "views", context=CONTEXT))
    one, (shape,) = with_maps(build_features(backbone, network, "average"))
    assert shapes == [shape, shape]
    width = shape[-1]
    found = model(images.astype(np.float32)).numpy()
    for number, view in enumerate((images.astype(np.float32), enlarged(images))):
        expected = one(view).numpy()
        length = expected.shape[1] - width
        assert close(found[:, number * width : (number + 1) * width], expected[:, :width], 1e-5)
        maps = found[:, 2 * width + number * length :][:, :length]
        assert close(maps, expected[:, width:], 1e-5)


def built(**choices: Any) -> Built:
    """The models of a design, without a dataset."""
    networks.start()
    design = Design(backbone="cnn-15", head=Head(kind="two-views", context=CONTEXT), **choices)
    job: Any = SimpleNamespace(
        design=design,
        backbone=find_backbone("cnn-15"),
        dataset=SimpleNamespace(classes=("a", "b")),
        weights_identity="random",
        fixed=False,
    )
    return build(job, SIZE, Weights("none"), None)


@pytest.mark.parametrize("gamma", [0, 7, 30])
def test_a_network_that_is_cut_in_two_sees_both_views(gamma: int, images: np.ndarray) -> None:
    models = built(tuning=Tuning(Path("base"), "", gamma))
    x = images.astype(np.float32)
    expected = models.scoring(x, training=False).numpy()
    assert close(models.live(x, training=False).numpy(), expected, 1e-4)
    if models.stored is not None:
        stored = models.stored(x, training=False)
        assert stored.shape == (len(images), models.tail.input_shape[-1])
        assert close(models.tail(stored, training=False).numpy(), expected, 1e-4)


@pytest.mark.parametrize("trainable", ["all", "none"])
def test_what_is_trained_sees_what_is_saved(trainable: str, images: np.ndarray) -> None:
    models = built(trainable=trainable)
    x = images.astype(np.float32)
    assert close(models.live(x, training=False).numpy(), models.scoring(x, training=False).numpy(), 1e-5)
    assert (models.stored is not None) == (trainable == "none")
    assert [layer.name for layer in models.whole.layers].count("cnn_15") == 1
