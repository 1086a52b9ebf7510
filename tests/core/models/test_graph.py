"""Keras models taken apart: the halves make what the whole makes, and one module knows Keras's own names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bccli
from bccli.core.models.graph import (
    extractor_and_head,
    inputs_of,
    nodes_of,
    operation_of,
    scoring_of,
)
from bccli.core.models.heads import Head, assemble, build_head
from bccli.core.weights.copying import layers_in
from bccli.core.weights.keras_files import load_model

CORE = Path(__file__).parents[3] / "bccli" / "core"
KERAS_ROOMS = ("models", "prediction", "evaluation", "training", "sweeps", "trees", "fusion")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network as train stores it: a backbone inside an extractor, and a head."""
    import keras

    keras.utils.set_random_seed(0)
    inner = keras.Input((8, 8, 3))
    backbone = keras.Model(inner, keras.layers.Conv2D(4, 3, name="convolution")(inner), name="backbone")
    inputs = keras.Input((8, 8, 3), name="rgb")
    features = keras.layers.GlobalAveragePooling2D(name="average")(backbone(inputs))
    extractor = keras.Model(inputs, features, name="extractor")
    file = tmp_path_factory.mktemp("graph") / "model.keras"
    assemble(extractor, build_head(Head((5,)), 4, 3), "softmax").save(file)
    return load_model(file)


IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)


def test_extractor_and_head_make_the_scores_of_the_whole(network: Any) -> None:
    extractor, head = extractor_and_head(network)
    features = np.asarray(extractor(IMAGES))
    scores = np.asarray(scoring_of(network)(IMAGES))
    assert features.shape == (2, 4)
    assert scores.shape == (2, 3)
    np.testing.assert_allclose(np.asarray(head(features)), scores, rtol=1e-6)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(network(IMAGES), powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)


def test_nodes_come_behind_what_they_use(network: Any) -> None:
    nodes = nodes_of(network)
    seen: set[int] = set()
    for node in nodes:
        assert {id(parent) for parent in node.parent_nodes} <= seen
        seen.add(id(node))
    assert nodes[0].is_input


def test_layers_in_a_model_are_itself_and_those_of_the_models_inside(network: Any) -> None:
    layers = layers_in(network)
    assert layers[0] is network
    assert {"backbone", "convolution", "average", "head", "scores"} <= {layer.name for layer in layers}


def test_a_tensor_knows_what_it_was_made_of(network: Any) -> None:
    extractor, _ = extractor_and_head(network)
    assert operation_of(extractor.output).name == "average"
    (maps,) = inputs_of(extractor.output)
    assert operation_of(maps).name == "backbone"


def private_attributes(path: Path) -> Iterator[str]:
    """What a module uses of other objects although its name begins with an underscore."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
            text = ast.unparse(node)
            if not re.match(r"(self|cls)\.\w+$", text):
                yield f"{path.relative_to(CORE)}:{node.lineno}: {text}"


def test_only_this_module_uses_names_that_keras_keeps_to_itself() -> None:
    paths = [path for room in KERAS_ROOMS for path in (CORE / room).rglob("*.py") if path.name != "graph.py"]
    assert [found for path in paths for found in private_attributes(path)] == []


def test_every_model_has_a_name_that_does_not_depend_on_those_before_it() -> None:
    """Keras numbers the others, and the number ends in `model.tflite`: another task would have another."""
    nameless = [
        f"{path}:{node.lineno}"
        for path in Path(bccli.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("keras.Model", "keras.Sequential")
        and "name" not in [word.arg for word in node.keywords]
    ]
    assert nameless == []
