"""Exports: heads on the same extractor share one template, and each makes Keras's numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.models import tflite_export
from bccli.core.models.heads import Head, build_head
from bccli.core.models.runtimes import LiteRT
from bccli.core.models.tflite_export import HeadTemplates, ReplaceableHead, export
from bccli.core.weights.head_templates import HeadTemplate

SIZE = (32, 32, 3)


@pytest.fixture(scope="module")
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


def exported(
    extractor: Any, head: Any, images: np.ndarray, folder: Path, templates: HeadTemplates
) -> np.ndarray:
    """The scores that the stored .tflite makes of the images; they are Keras's."""
    import keras

    folder.mkdir()
    model = keras.Model(extractor.input, head(extractor.output))
    features = extractor(images.astype(np.float32)).numpy()
    result = export(model, images, folder, replaceable=ReplaceableHead(head, features, templates))
    assert not result.error
    assert result.difference <= tflite_export.TOLERANCE
    scores = LiteRT(folder / "model.tflite", 1).scores(images)
    expected = head(features).numpy()
    assert tflite_export.largest_difference(scores, expected) <= tflite_export.TOLERANCE
    return scores


HEADS = [Head(), Head((16, 4), 0.5), Head(output="sigmoid")]


@pytest.mark.parametrize("head", HEADS, ids=["linear", "dense", "sigmoid"])
def test_a_second_head_of_the_same_shapes_is_put_into_the_template(
    extractor: Any, images: np.ndarray, conversions: list[Any], tmp_path: Path, head: Head
) -> None:
    templates: HeadTemplates = {}
    classes = 2 if head.output == "sigmoid" else 3
    heads = [made(extractor, head, seed, classes) for seed in range(3)]
    first, second, _ = (
        exported(extractor, one, images, tmp_path / str(number), templates)
        for number, one in enumerate(heads)
    )
    assert len(conversions) == 1
    assert np.abs(first - second).max() > 0.1


def test_heads_of_other_shapes_have_templates_of_their_own(
    extractor: Any, images: np.ndarray, conversions: list[Any], tmp_path: Path
) -> None:
    templates: HeadTemplates = {}
    for number, head in enumerate((Head(), Head((5,)), Head(), Head((5,)))):
        exported(extractor, made(extractor, head, number), images, tmp_path / str(number), templates)
    assert len(conversions) == len(templates) == 2


@pytest.mark.parametrize("what", ["normalised", "zeros"])
def test_what_cannot_be_found_in_a_tflite_is_converted_each_time(
    extractor: Any, images: np.ndarray, conversions: list[Any], tmp_path: Path, what: str
) -> None:
    """Batch norms become parts of dense layers; zeros are everywhere."""
    templates: HeadTemplates = {}
    for number in range(2):
        head = made(extractor, Head((10,), kind="thesis") if what == "normalised" else Head(), number)
        if what == "zeros":
            head.set_weights([head.get_weights()[0], np.zeros(3)])
        exported(extractor, head, images, tmp_path / str(number), templates)
    assert len(conversions) == 2
    assert not templates


def test_a_template_that_makes_other_numbers_is_thrown_away(
    extractor: Any, images: np.ndarray, conversions: list[Any], tmp_path: Path
) -> None:
    templates: HeadTemplates = {}
    exported(extractor, made(extractor, Head(), 0), images, tmp_path / "0", templates)
    ((shapes, template),) = templates.items()
    kernel, bias = template.slices
    templates[shapes] = HeadTemplate(
        template.content, (kernel, slice(kernel.start, kernel.start + bias.stop - bias.start))
    )
    exported(extractor, made(extractor, Head(), 1), images, tmp_path / "1", templates)
    assert len(conversions) == 2
    exported(extractor, made(extractor, Head(), 2), images, tmp_path / "2", templates)
    assert len(conversions) == 2
