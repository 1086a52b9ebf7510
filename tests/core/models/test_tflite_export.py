"""Exports: heads are put on an extractor that is converted once, and each makes Keras's numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.models import tflite_export
from bccli.core.models.heads import Head, build_head
from bccli.core.models.runtimes import LiteRT
from bccli.core.models.tflite_export import Parts, export
from bccli.core.models.tflite_joining import joined

SIZE = (32, 32, 3)


@pytest.fixture
def extractor() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input(SIZE)
    x = keras.layers.Conv2D(8, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, *SIZE)).astype(np.uint8)


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One entry for each time the converter is called."""
    calls: list[Any] = []
    convert = tflite_export.convert

    def counted(function: Any) -> bytes:
        calls.append(function)
        return convert(function)

    monkeypatch.setattr(tflite_export, "convert", counted)
    return calls


def made(extractor: Any, head: Head, seed: int, classes: int = 3) -> Any:
    """A head whose every weight is random, biases included."""
    import keras

    model = build_head(head, extractor.output_shape[-1], classes)
    rng = np.random.default_rng(seed)
    model.set_weights([np.abs(rng.normal(size=weight.shape)) for weight in model.weights])
    assert isinstance(model, keras.Model)
    return model


def exported(extractor: Any, head: Any, images: np.ndarray, folder: Path) -> np.ndarray:
    """The scores that the stored .tflite makes of the images; they are Keras's."""
    import keras

    folder.mkdir()
    model = keras.Model(extractor.input, head(extractor.output))
    features = extractor(images.astype(np.float32)).numpy()
    result = export(model, images, folder, parts=Parts(extractor, head, features))
    assert not result.error
    assert result.difference <= tflite_export.TOLERANCE
    scores = LiteRT(folder / "model.tflite", 1).scores(images)
    expected = head(features).numpy()
    assert tflite_export.largest_difference(scores, expected) <= tflite_export.TOLERANCE
    return scores


HEADS = [Head(), Head((16, 4), 0.5), Head(output="sigmoid"), Head((10,), kind="thesis")]


@pytest.mark.parametrize("head", HEADS, ids=["linear", "dense", "sigmoid", "normalised"])
def test_heads_are_put_on_an_extractor_that_is_converted_once(
    extractor: Any, images: np.ndarray, conversions: list[Any], tmp_path: Path, head: Head
) -> None:
    classes = 2 if head.output == "sigmoid" else 3
    heads = [made(extractor, head, seed, classes) for seed in range(3)]
    scores = [exported(extractor, one, images, tmp_path / str(number)) for number, one in enumerate(heads)]
    assert len(conversions) == 1 + len(heads)
    assert np.abs(scores[0] - scores[1]).max() > 0.1


def test_a_head_of_zeros_is_a_head(extractor: Any, images: np.ndarray, tmp_path: Path) -> None:
    head = made(extractor, Head(), 0)
    head.set_weights([np.zeros(weight.shape) for weight in head.weights])
    assert not exported(extractor, head, images, tmp_path / "run").any()


def test_what_is_put_together_is_what_the_converter_makes_of_the_whole(
    extractor: Any, images: np.ndarray, tmp_path: Path
) -> None:
    """To the bit: neither part is computed in another way."""
    import keras

    head = made(extractor, Head((16,)), 0)
    parts = exported(extractor, head, images, tmp_path / "parts")
    whole = export(keras.Model(extractor.input, head(extractor.output)), images, tmp_path, "whole")
    assert not whole.error
    np.testing.assert_array_equal(LiteRT(tmp_path / "whole.tflite", 1).scores(images), parts)


def test_a_model_with_two_outputs_takes_no_head(extractor: Any) -> None:
    import keras

    two = keras.Model(extractor.input, [extractor.output, 2 * extractor.output])
    function, _ = tflite_export._traced(two)
    head, _ = tflite_export._traced(made(extractor, Head(), 0))
    with pytest.raises(ValueError, match="unpack"):
        joined(tflite_export.convert(function), tflite_export.convert(head))


def test_an_extractor_that_changes_is_not_exported_with_what_it_was(
    extractor: Any, images: np.ndarray, tmp_path: Path
) -> None:
    """Whoever breaks the promise that it is frozen has no file, and not a wrong one."""
    import keras

    clone = keras.models.clone_model(extractor)
    head = made(clone, Head(), 0)
    exported(clone, head, images, tmp_path / "before")
    clone.set_weights([2 * weight + 1 for weight in clone.get_weights()])
    model = keras.Model(clone.input, head(clone.output))
    parts = Parts(clone, head, clone(images.astype(np.float32)).numpy())
    assert "differ from Keras's" in export(model, images, tmp_path, parts=parts).error
    assert not (tmp_path / "model.tflite").exists()
