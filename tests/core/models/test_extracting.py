"""Features of an image are the same to the bit, whatever other images are computed with it."""

from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import find_backbone
from bccli.core.models import backend
from bccli.core.models.devices.sharing import devices_here, placed
from bccli.core.models.engines import LITERT, OPENVINO, TENSORFLOW
from bccli.core.models.extracting import Extracting, batch_size_of
from bccli.core.models.extractors import build_features
from tests.core.models.networks import Pixels, build


@pytest.mark.parametrize("engine", [TENSORFLOW, LITERT, OPENVINO])
@pytest.mark.parametrize(
    "name", ["mobilenet-0.25", "densenet121", pytest.param("efficientnet-b0", marks=pytest.mark.slow)]
)
def test_any_division_gives_the_same_bits(name: str, engine: str) -> None:
    if engine == OPENVINO:
        pytest.importorskip("openvino")
    backbone = find_backbone(name)
    network = build(backbone, (backbone.smallest, backbone.smallest))
    maker = Extracting(build_features(backbone, network, "average"), engine, batch_size=8)
    rng = np.random.default_rng(0)
    images = Pixels(rng.integers(0, 256, (21, backbone.smallest, backbone.smallest, 3), np.uint8))
    whole = np.concatenate([*maker.vectors(images, np.arange(21))])
    assert whole.shape == (21, maker.width)
    shuffled = rng.permutation(21)
    for sizes in ((21,), (1, 20), (8, 1, 12), (7, 7, 7), (2, 3, 4, 5, 6, 1)):
        for part in np.split(shuffled, np.cumsum(sizes)[:-1]):
            np.testing.assert_array_equal(np.concatenate([*maker.vectors(images, part)]), whole[part])


@pytest.mark.parametrize(
    ("gigabytes", "size", "expected"),
    [
        (0, (224, 224), 32),  # a CPU, or a GPU whose driver says nothing
        (4, (224, 224), 32),
        (8, (224, 224), 64),
        (16, (224, 224), 128),
        (24, (224, 224), 128),
        (80, (224, 224), 512),
        (16, (460, 700), 32),
        (80, (460, 700), 128),
        (16, (50, 50), 512),
        (4, (50, 50), 512),
        (141, (8, 8), 512),
    ],
)
def test_a_gpu_with_more_memory_has_larger_batches(
    gigabytes: int, size: tuple[int, int], expected: int
) -> None:
    assert batch_size_of(gigabytes << 30, size[0] * size[1]) == expected


def test_what_computes_decides_batches_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(find_backbone("cnn-15"), (24, 24))
    extractor = build_features(find_backbone("cnn-15"), network, "average")
    monkeypatch.setattr(backend, "gpu_memory", lambda: 16 << 30)
    found = Extracting(extractor)
    assert (found.device, found.precision, found.batch_size) == ("cpu", "float32", 32)
    monkeypatch.setattr(backend, "device_class", lambda: "gpu")
    found = Extracting(extractor)
    assert (found.device, found.precision, found.batch_size) == ("gpu", "float32", 512)
    monkeypatch.setattr("bccli.core.models.extracting.multiplies_in_tf32", lambda tf: False)
    assert Extracting(extractor).precision == "float32 without TF32"
    monkeypatch.setattr(backend, "gpu_memory", lambda: 256 << 20)
    assert [Extracting(extractor, views=views).batch_size for views in (1, 2)] == [128, 64]


def test_batches_that_lie_on_a_device_already_have_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those for a GPU do, here on the CPU."""
    network = build(find_backbone("cnn-15"), (24, 24))
    extractor = build_features(find_backbone("cnn-15"), network, "average")
    images = Pixels(np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), np.uint8))
    expected = np.concatenate([*Extracting(extractor, batch_size=2).vectors(images, np.arange(5))])
    lie: list[list[str]] = []
    monkeypatch.setattr(backend, "device_class", lambda: "gpu")

    def noted(pixels: np.ndarray, devices: list[str]) -> list[Any]:
        lie.append(devices)
        return placed(pixels, devices)

    monkeypatch.setattr("bccli.core.models.extracting.placed", noted)
    found = np.concatenate([*Extracting(extractor, batch_size=2).vectors(images, np.arange(5))])
    np.testing.assert_array_equal(found, expected)
    assert lie == [devices_here()] * 3


def test_without_a_driver_no_memory_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(backend.ctypes, "CDLL", missing)
    assert backend.gpu_memory() == 0
