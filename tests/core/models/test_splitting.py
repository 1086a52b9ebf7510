"""A network cut before a layer: both halves together are the whole, and only the second one learns."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import find_backbone
from bccli.core.models.extractors import EXTRACTORS
from bccli.core.models.heads import Head
from bccli.core.models.splitting import split
from bccli.core.training.assembly import Built
from bccli.core.training.assembly import build as build_models
from bccli.core.training.design import Design, Tuning
from bccli.core.training.loop import Examples, Fit
from bccli.core.training.settings import Schedule
from bccli.core.weights.pretrained import Weights
from tests.core.models.networks import FAMILIES, build, difference, disturb, pixels, start

QUICK = ("cnn-15", "mobilenet-0.25")


# Each joins its branches in a way of its own; the others do as one of these.
BRANCHED = ("resnet50", "densenet121", "nasnet-mobile", "efficientnet-b0", "convnext-tiny")


def marked(*names: str, slow: tuple[str, ...]) -> list[Any]:
    """All names as parameters: the quick ones always, `slow` ones in CI, the others on demand."""
    return [
        name
        if name in QUICK
        else pytest.param(name, marks=pytest.mark.slow if name in slow else pytest.mark.full)
        for name in names
    ]


@pytest.mark.parametrize("name", marked("cnn-15", *FAMILIES, slow=BRANCHED))
def test_both_halves_are_the_whole(name: str) -> None:
    """Also through residual blocks, where several tensors cross."""
    backbone = find_backbone(name)
    network = build(backbone, (backbone.smallest, backbone.smallest))
    for kind in ("average", "blocks") if name in (*QUICK, "resnet50") else ("average",):
        check_halves(network, EXTRACTORS[kind].maps(network), pixels((backbone.smallest, backbone.smallest)))


def check_halves(network: Any, maps: Any, images: np.ndarray) -> None:
    import keras

    images = images / 255
    expected = keras.tree.flatten(maps(images, training=False))
    layers = len(network.layers)
    for gamma in (0, 1, layers // 3, 2 * layers // 3, layers - 1):
        halves = split(maps, network.layers[:gamma])
        found = keras.tree.flatten(halves.finish(halves.unflat(halves.flat(images))))
        assert len(found) == len(expected)
        for ours, whole in zip(found, expected, strict=True):
            assert difference(np.asarray(ours), np.asarray(whole)) < 1e-4
        before = {id(layer) for layer in network.layers[:gamma]}
        assert {id(layer) for layer in halves.front.layers if layer.weights} <= before
        if halves.back is not None:
            assert not {id(layer) for layer in halves.back.layers if layer.weights} & before


class Noise:
    """Random images as inputs of a training."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.images = pixels(size)

    def batches(self, order: np.ndarray, batch_size: int) -> Any:
        yield self.images[order]

    def training_batches(self, order: np.ndarray, turns: np.ndarray, batch_size: int) -> Any:
        return self.batches(order, batch_size)

    def signature(self) -> Any:
        import tensorflow as tf

        return tf.TensorSpec((None, *self.images.shape[1:]), tf.float32)

    def steps_per_call(self, batch_size: int) -> int:
        return 1


def tuned(name: str, size: tuple[int, int], tuning: Tuning) -> Built:
    """The models of a fine-tuning, without a dataset."""
    start()
    # Without hidden layers: units that rest for all images would let no gradient through.
    design = Design(backbone=name, head=Head(), tuning=tuning)
    job: Any = SimpleNamespace(
        design=design,
        backbone=find_backbone(name),
        dataset=SimpleNamespace(classes=("a", "b")),
        weights_identity="random",
    )
    return build_models(job, size, Weights("none"), None)


def one_step(built: Built, size: tuple[int, int], place: Path, **settings: Any) -> Fit:
    inputs = Noise(size)
    labels = np.arange(len(inputs.images)) % 2
    examples = Examples(inputs, labels, 2, np.arange(len(labels)), np.arange(0))
    schedule = Schedule(
        optimizer="adam", lr=1e-2, batch_size=len(labels), epochs=1, monitor="loss", **settings
    )
    depths = [built.depths.get(id(variable), 0) for variable in built.live.trainable_variables]
    fit = Fit(built.live, examples, schedule, place / "state.npz", depths=depths)
    fit._train_epoch()
    return fit


def with_a_gradient(built: Built, size: tuple[int, int]) -> set[str]:
    """The variables that a first step moves by more than the smallest difference of two numbers."""
    import tensorflow as tf

    images = Noise(size).images
    truth = np.eye(2, dtype=np.float32)[np.arange(len(images)) % 2]
    with tf.GradientTape() as tape:
        scores = built.live(images, training=True)
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(truth, scores))
    variables = built.live.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    return {
        variable.path
        for variable, gradient in zip(variables, gradients, strict=True)
        if gradient is not None and np.abs(gradient).max() > 1e-6
    }


def changed(layers: list[Any], before: dict[str, np.ndarray]) -> set[str]:
    return {
        weight.path
        for layer in layers
        for weight in layer.weights
        if weight.numpy().tobytes() != before[weight.path].tobytes()
    }


@pytest.mark.parametrize("name", marked("cnn-15", *FAMILIES, slow=("resnet50", "efficientnet-b0")))
def test_a_step_changes_nothing_before_gamma_and_what_learns_behind_it(name: str, tmp_path: Path) -> None:
    """Before γ not a bit, moving averages included; behind it every weight that has a gradient."""
    check_a_step(name, False, tmp_path)
    if name in ("cnn-15", "resnet50"):
        check_a_step(name, True, tmp_path)


def check_a_step(name: str, train_batch_norm: bool, place: Path) -> None:
    import keras

    backbone = find_backbone(name)
    size, gamma = (backbone.smallest, backbone.smallest), 2 * backbone.layers // 3
    built = tuned(name, size, Tuning(place, "", gamma, train_batch_norm=train_batch_norm))
    network = disturb(built.maps)
    before = {weight.path: weight.numpy() for weight in network.weights}
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # a dropped branch has no gradient, and each step drops others
    steep = with_a_gradient(built, size)
    one_step(built, size, place)
    first, second = network.layers[:gamma], network.layers[gamma:]
    assert changed(first, before) == set()
    norms = [layer for layer in second if isinstance(layer, keras.layers.BatchNormalization)]
    others = [layer for layer in second if layer not in norms]
    learning = {weight.path for layer in others for weight in layer.trainable_weights}
    assert learning & steep
    assert learning & steep <= changed(others, before) <= learning
    moved = changed(norms, before)
    statistics = {weight.path for layer in norms for weight in layer.non_trainable_weights}
    assert moved >= statistics if train_batch_norm else not moved


@pytest.mark.slow
def test_rates_fall_with_depth_and_the_head_may_go_first(tmp_path: Path) -> None:
    size, places = (24, 24), (tmp_path / "a", tmp_path / "b", tmp_path / "c")
    lengths = []
    for place, settings in zip(places, ({}, {"layer_decay": 0.5}, {"head_epochs": 1}), strict=True):
        place.mkdir()
        built = tuned("cnn-15", size, Tuning(place, "", 26))
        variables = built.live.trainable_variables
        before = [variable.numpy() for variable in variables]
        one_step(built, size, place, **settings)
        depths = [built.depths.get(id(variable), 0) for variable in variables]
        moves = [np.abs(v.numpy() - old).max() for v, old in zip(variables, before, strict=True)]
        lengths.append(dict(zip(depths, moves, strict=True)))
    even, falling, head_first = lengths
    assert sorted(even) == [0, 1, 2, 3]
    for depth, length in even.items():
        assert falling[depth] == pytest.approx(length * 0.5**depth, rel=1e-3)
        assert head_first[depth] == (pytest.approx(length, rel=1e-3) if depth == 0 else 0)
