"""A detector's head, and the maps that it stands on."""

import keras
import numpy as np
import pytest

from bccli.core.catalog import find_backbone
from bccli.core.models.backbones import build_backbone
from bccli.core.models.detectors.heat_head import build_heat_head, grid_of
from bccli.core.models.extractors import EXTRACTORS, FINEST, build_features, map_shapes
from bccli.core.weights.pretrained import Weights


@pytest.mark.parametrize(
    ("name", "size"), [("cnn-15", (64, 64)), ("mobilenet-0.25", (96, 64)), ("vgg16", (64, 96))]
)
def test_cells_are_of_eight_pixels_or_more_and_scales_keep_their_places(
    name: str, size: tuple[int, int]
) -> None:
    backbone = find_backbone(name)
    network = build_backbone(backbone, size, Weights("none"))
    maps = EXTRACTORS["scales"].maps(network)
    shapes = map_shapes(maps)
    rows, columns = grid_of(shapes)
    assert rows <= size[1] // FINEST + 1
    assert columns <= size[0] // FINEST + 1
    assert shapes[-1][:2] == tuple(network.output_shape[1:3])
    extractor = build_features(backbone, network, "scales")
    images = np.random.default_rng(0).integers(0, 256, (2, size[1], size[0], 3)).astype(np.float32)
    flat = extractor(images, training=False).numpy()
    assert flat.shape[1] == sum(np.prod(shape) for shape in shapes)
    head = build_heat_head(shapes)
    assert head(flat).shape == (2, rows * columns)


def test_a_head_without_training_finds_little_anywhere() -> None:
    head = build_heat_head([(8, 8, 4), (4, 4, 8)])
    scores = head(np.zeros((1, 8 * 8 * 4 + 4 * 4 * 8), np.float32)).numpy()
    assert keras.ops.sigmoid(scores).numpy() == pytest.approx(0.01)


def test_a_coarse_map_lies_where_the_fine_one_does() -> None:
    keras.utils.set_random_seed(0)
    head = build_heat_head([(8, 8, 1), (4, 4, 1)])
    fine, coarse = np.zeros((8, 8)), np.zeros((4, 4))
    coarse[1, 2] = 9
    flat = np.concatenate([fine.ravel(), coarse.ravel()])[None].astype(np.float32)
    enlarged = keras.Model(head.input, head.get_layer("enlarged_1").output)(flat).numpy()[0, ..., 0]
    rows, columns = np.indices((8, 8))
    total = enlarged.sum()
    assert (rows * enlarged).sum() / total == pytest.approx(2.5, abs=0.01)
    assert (columns * enlarged).sum() / total == pytest.approx(4.5, abs=0.01)
