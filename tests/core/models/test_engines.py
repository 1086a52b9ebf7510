"""Which engine computes a network's features, that their numbers agree, and what happens where one fails."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import BACKBONES
from bccli.core.models import backend, engines
from bccli.core.models.engines import LITERT, OPENVINO, TENSORFLOW, engines_of, start_engine
from bccli.core.models.runtimes import LiteRT, OpenVino, TfliteRuntime, faster_engine
from bccli.core.models.tflite_export import converted, largest_difference
from bccli.core.progress import Watcher
from bccli.core.training.features import FeatureKey, compute_features
from tests.core.models.networks import Pixels

SIZE, BATCH = (24, 32, 3), 8


@pytest.fixture(scope="module")
def extractor() -> Any:
    import keras

    backend.start("cpu")
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SIZE)
    x = keras.layers.DepthwiseConv2D(3, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 1)(x)))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (BATCH, *SIZE), np.uint8)


def without_openvino(patch: pytest.MonkeyPatch, there: bool = False) -> None:
    patch.setattr(engines, "has_openvino", lambda: there)
    patch.setattr("bccli.core.models.runtimes.has_openvino", lambda: there)


def test_an_engine_is_taken_for_networks_that_it_computes_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    without_openvino(monkeypatch)
    chosen = {name for name in BACKBONES if engines_of(name, "cpu", "float32")[0] == LITERT}
    assert {"mobilenet-0.25", "mobilenet-v3-large", "efficientnet-b0", "efficientnet-v2-s"} <= chosen
    assert not chosen & {"vgg16", "resnet50", "resnext50", "densenet121", "cnn-15", "nasnet-mobile"}
    without_openvino(monkeypatch, there=True)
    by_name = {name: engines_of(name, "cpu", "float32") for name in BACKBONES}
    assert {found[-1] for found in by_name.values()} == {TENSORFLOW}
    for name in ("resnet50", "resnet152v2", "vgg16", "efficientnet-b0", "cnn-15", "inception-resnet-v2"):
        assert by_name[name] == (OPENVINO, TENSORFLOW)
    assert by_name["xception"] == by_name["mobilenet-0.25"] == (LITERT, TENSORFLOW)
    for name in ("nasnet-large", "resnext50", "densenet121", "inception-v3"):
        assert by_name[name] == (TENSORFLOW,)


@pytest.mark.parametrize(("device", "precision"), [("gpu", "float32"), ("cpu", "mixed_float16")])
def test_tensorflow_alone_has_gpus_and_16_bits(
    monkeypatch: pytest.MonkeyPatch, device: str, precision: str
) -> None:
    without_openvino(monkeypatch, there=True)
    assert engines_of("mobilenet", device, precision) == (TENSORFLOW,)


@pytest.mark.parametrize("engine", [LITERT, OPENVINO])
def test_engines_agree(extractor: Any, images: np.ndarray, engine: str) -> None:
    if engine == OPENVINO:
        pytest.importorskip("openvino")
    found, expected = (start_engine(name, extractor, images)(images) for name in (engine, TENSORFLOW))
    assert largest_difference(found, expected) < 3e-5


def test_openvino_takes_any_number_of_images(extractor: Any, images: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    file = tmp_path / "model.tflite"
    file.write_bytes(converted(extractor, images))
    expected, runtime = LiteRT(file, 1).scores(images), OpenVino(file, 2)
    for count in (*range(1, BATCH + 1), 3, 1):
        found = runtime.scores(images[:count])
        np.testing.assert_allclose(found, expected[:count], atol=3e-5 * np.abs(expected).max())


class Noted(Watcher):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_features_of_two_engines_are_stored_apart(
    extractor: Any, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = FeatureKey("mobilenet", "w", "p", (32, 24))
    for chosen in (LITERT, TENSORFLOW):
        monkeypatch.setattr("bccli.core.training.features.engines_of", lambda *_, engine=chosen: (engine,))
        compute_features(Pixels(images), extractor, key, tmp_path)
    stores = {path.name for path in (tmp_path / "features").iterdir()}
    assert stores == {key.name, replace(key, engine=LITERT).name}


def test_where_an_engine_fails_tensorflow_computes_and_says_so(
    extractor: Any, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_openvino(monkeypatch)

    def fail(*_: Any) -> Any:
        raise RuntimeError("no kernel\nand more")

    monkeypatch.setitem(engines._START, LITERT, fail)
    watcher, key = Noted(), FeatureKey("mobilenet", "w", "p", (32, 24))
    found = compute_features(Pixels(images), extractor, key, tmp_path, watcher=watcher)
    expected = start_engine(TENSORFLOW, extractor, images)(images)
    assert largest_difference(found[np.arange(BATCH)], expected) < 1e-6
    (note,) = (text for text in watcher.notes if "cannot compute" in text)
    assert note.startswith("litert cannot compute")
    assert note.endswith("(no kernel); tensorflow does")
    assert [path.name for path in (tmp_path / "features").iterdir() if list(path.glob("*.npy"))] == [key.name]


def test_openvino_is_worth_its_start_for_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def at_least(count: int) -> bool:
        asked.append(count)
        return count <= 1000

    monkeypatch.setattr("bccli.core.models.runtimes.gpu_engine", lambda *_: None)
    without_openvino(monkeypatch)
    assert faster_engine(TfliteRuntime(costs=[4e9]), at_least, Noted()) is None
    assert not asked
    without_openvino(monkeypatch, there=True)
    found = faster_engine(TfliteRuntime(costs=[4e9]), at_least, Noted())
    assert isinstance(found, TfliteRuntime)
    assert found.device.startswith("OpenVINO on CPU")
    assert faster_engine(TfliteRuntime(costs=[4e6]), at_least, Noted()) is None
