"""The Keras models of a job: the whole network, and the layers of it that are trained."""

import gc
import hashlib
import math
import random
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.catalog import Backbone
from bccli.core.errors import DataError
from bccli.core.models import backend
from bccli.core.models.backbones import PREPROCESSING, build_backbone, build_extractor, standardising
from bccli.core.models.detectors.heat_head import build_heat_head
from bccli.core.models.extractors import EXTRACTORS, build_features, map_shapes
from bccli.core.models.graph import reserve_names
from bccli.core.models.heads import HEADS, assemble, build_head
from bccli.core.models.inference_mode import in_inference_mode, set_batch_norm_momentum
from bccli.core.models.splitting import Halves, split
from bccli.core.models.views.two_views import VIEWS, in_two_views, of_two_views
from bccli.core.runs.run_folder import MODEL_FILE, load_run
from bccli.core.training.design import Design, Job, Tuning
from bccli.core.training.input_norm import Norm
from bccli.core.training.trainee import CompiledBefore
from bccli.core.weights.copying import copy_weights, put_weights
from bccli.core.weights.keras_files import load_model
from bccli.core.weights.keras_saving import HeadSaver
from bccli.core.weights.pretrained import Weights


@dataclass(frozen=True)
class Built:
    """Models that share their layers.

    `maps` is the backbone, `extractor` goes from RGB 0–255 to the features of `head`, `scoring` to scores:
    what is saved. `live` is `scoring` as it is trained, the layers that stay as they are in inference mode.
    Where some do, `stored` goes from RGB 0–255 to what they make of it, and `tail` from there to scores.
    `depths` has for variables of the backbone, by their id, how many layers with weights are above.
    `compiled` are the steps of `tail`, and `saver` stores one network after another that has these layers.
    """

    maps: Any
    extractor: Any
    head: Any
    scoring: Any
    live: Any
    stored: Any
    tail: Any
    depths: dict[int, int]
    output: str
    compiled: CompiledBefore = field(default_factory=dict)
    saver: HeadSaver = field(default_factory=HeadSaver)

    @cached_property
    def whole(self) -> Any:
        """The whole network, from RGB 0–255 to probabilities."""
        return assemble(self.extractor, self.head, self.output)


@dataclass(frozen=True)
class _Base:
    """The network below a head: the backbone, its maps, and the way from RGB 0–255 to features."""

    network: Any
    maps: Any
    extractor: Any


class ModelCache:
    """Keras models for runs that follow in the same process: the frozen base that was built last, and what
    was built last on it; or, by the folders of runs, the extractors and heads of those on a frozen backbone
    where `networks` is given."""

    def __init__(self, networks: dict[Path, tuple[Any, Any]] | None = None) -> None:
        self._bases: dict[Any, _Base] = {}
        self._built: dict[Any, Built] = {}
        self._networks = networks

    def base(self, key: Any) -> _Base | None:
        """The base under a key, if it was the last one."""
        return self._bases.get(key)

    def forget_base(self) -> None:
        """Free the memory of the last base."""
        self._bases.clear()
        self._built.clear()

    def keep_base(self, key: Any, base: _Base) -> None:
        """Remember a base."""
        self._bases[key] = base

    def built(self, key: Any) -> Built | None:
        """What was built last, if it has this key; its weights are those of the run before."""
        return self._built.get(key)

    def keep_built(self, key: Any, built: Built) -> None:
        """Remember what was built, unless other runs need its weights."""
        if self._networks is None:
            self._built = {key: built}

    def keep_network(self, root: Path, extractor: Any, head: Any) -> None:
        """Remember the extractor and the head of a run where that is wanted."""
        if self._networks is not None:
            self._networks[root] = extractor, head


def build(
    job: Job, size: tuple[int, int], weights: Weights, norm: Norm | None, models: ModelCache | None = None
) -> Built:
    """The models for images of `size` (width, height), in the precision that Keras is set to.

    A frozen backbone that is in `models` is not built again, and neither is the same head on it, which gets
    the first weights of the job's seed.
    """
    if models and (known := models.built(built_key(job, size, norm))):
        put_weights(known.head, _first_weights(job, known.extractor))
        return known
    built = _build(job, size, weights, norm, models)
    if (momentum := job.design.schedule.batch_norm_momentum) is not None:
        set_batch_norm_momentum(built.maps, momentum)
        set_batch_norm_momentum(built.head, momentum)
    return built


def _build(
    job: Job, size: tuple[int, int], weights: Weights, norm: Norm | None, models: ModelCache | None
) -> Built:
    import keras

    design, kind = job.design, HEADS[job.design.head.kind].features
    frozen = not design.tuning and design.trainable == "none"
    preprocess = (
        standardising(norm.mean, norm.deviation) if norm else PREPROCESSING[job.backbone.preprocessing]
    )
    base_key = _base_key(job, size, norm)
    base = models.base(base_key) if models and frozen else None
    if base is None:
        if models is not None:
            models.forget_base()
        gc.collect()  # networks refer to themselves; it takes a quarter of a second, too much for each head
        base = _build_base(job, size, weights, preprocess, frozen=frozen)
    else:
        reserve_names(base.extractor)
    if models is not None and frozen:
        models.keep_base(base_key, base)
    # So that the head's first weights are the same on a backbone that was built now or before.
    keras.utils.set_random_seed(design.schedule.seed)
    head = _head_on(job, base)
    if not design.tuning:
        built = _with_head(job, base, head, preprocess, frozen=frozen)
        if models is not None and frozen:
            models.keep_built(built_key(job, size, norm), built)
        return built
    network, maps, extractor = base.network, base.maps, base.extractor
    scoring = keras.Model(extractor.input, head(extractor.output), name="scoring")
    depths = _free(network, design.tuning)
    halves = split(maps, network.layers[: design.tuning.from_layer])
    join, context = EXTRACTORS[kind].join, design.head.context

    def trained(x: Any) -> Any:
        return join(halves.finish(keras.tree.flatten(in_inference_mode(halves.front, x))))

    live = build_extractor(job.backbone, network, in_two_views(trained, context), preprocess=preprocess)
    stored = build_extractor(job.backbone, network, in_two_views(halves.flat, context), preprocess=preprocess)
    return Built(
        maps=maps,
        extractor=extractor,
        head=head,
        scoring=scoring,
        live=keras.Model(live.input, head(live.output), name="live"),
        stored=stored if halves.front.weights else None,
        tail=_tail(halves, join, head, context),
        depths=depths,
        output=design.head.output,
    )


def _head_on(job: Job, base: _Base) -> Any:
    """The head of a job with its first weights."""
    head = job.design.head
    if HEADS[head.kind].locates:
        return build_heat_head(map_shapes(base.maps), filters=head.dense, dropout=head.dropout)
    return build_head(head, base.extractor.output_shape[-1], len(job.dataset.classes))


def _base_key(job: Job, size: tuple[int, int], norm: Norm | None) -> tuple[Any, ...]:
    """What the network below the head depends on where it is frozen."""
    head = job.design.head
    return job.backbone.name, job.weights_identity, size, HEADS[head.kind].features, head.context, norm


def built_key(job: Job, size: tuple[int, int], norm: Norm | None) -> Any:
    """What the models of a job depend on, but for the head's weights."""
    design, classes = job.design, len(job.dataset.classes)
    momentum = design.schedule.batch_norm_momentum
    learning = design.classifier, design.tuning, design.trainable, job.fixed, momentum
    return _base_key(job, size, norm), design.head, classes, learning


def _first_weights(job: Job, extractor: Any) -> list[np.ndarray]:
    """A head's weights at its start, as `_build` makes them.

    Keras draws them by seeds from Python's generator; to seed TensorFlow's would have it prepare all compiled
    steps again.
    """
    random.seed(job.design.schedule.seed)
    head = build_head(job.design.head, extractor.output_shape[-1], len(job.dataset.classes))
    weights: list[np.ndarray] = head.get_weights()
    return weights


def _with_head(job: Job, base: _Base, head: Any, preprocess: Any, *, frozen: bool) -> Built:
    """The models of a head on a base that learns as a whole, or not at all if it is `frozen`."""
    import keras

    extractor, live = base.extractor, None
    scoring = keras.Model(extractor.input, head(extractor.output), name="scoring")
    if frozen and not job.fixed:
        kind, context = HEADS[job.design.head.kind].features, job.design.head.context
        features = build_features(
            job.backbone, base.network, kind, context=context, preprocess=preprocess, frozen=True
        )
        live = keras.Model(features.input, head(features.output), name="live")
    return Built(
        maps=base.maps,
        extractor=extractor,
        head=head,
        scoring=scoring,
        live=live or scoring,
        stored=extractor if frozen else None,
        tail=head,
        depths={},
        output=job.design.head.output,
    )


def _build_base(job: Job, size: tuple[int, int], weights: Weights, preprocess: Any, *, frozen: bool) -> _Base:
    kind = HEADS[job.design.head.kind].features
    network = build_backbone(job.backbone, size, weights)
    maps = EXTRACTORS[kind].maps(network)
    context = job.design.head.context
    extractor = build_features(job.backbone, network, kind, context=context, preprocess=preprocess)
    network.trainable = not frozen
    return _Base(network, maps, extractor)


def _tail(halves: Halves, join: Any, head: Any, context: float) -> Any:
    import keras

    views = VIEWS if context else 1
    inputs = keras.Input((views * halves.width,), name="activations")
    features = of_two_views(lambda x: join(halves.finish(halves.unflat(x))), halves.width, context)
    return keras.Model(inputs, head(features(inputs)), name="tail")


def _free(network: Any, tuning: Tuning) -> dict[int, int]:
    """Let the layers from γ on learn, batch norms only where that is wanted; returns their depths."""
    import keras

    learning = []
    for number, layer in enumerate(network.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = number >= tuning.from_layer and (tuning.train_batch_norm or not is_norm)
        if layer.trainable_variables:
            learning.append(layer)
    return {
        id(variable): above
        for above, layer in enumerate(reversed(learning), 1)
        for variable in layer.trainable_variables
    }


def count_learning(
    design: Design, backbone: Backbone, size: tuple[int, int], classes: int
) -> tuple[str | None, int]:
    """The name of the first layer of a resolved design's backbone that learns, None where only the head does,
    and how many parameters learn.

    The network is built with random weights for images of `size` (width, height), on the CPU.
    """
    backend.start("cpu")
    import keras

    keras.backend.clear_session()  # or layers without names of their own would have others than in a run
    network = build_backbone(backbone, size, Weights("none"))
    if design.tuning:
        _free(network, design.tuning)
    else:
        network.trainable = design.trainable != "none"
    kind, context = HEADS[design.head.kind].features, design.head.context
    width = build_features(backbone, network, kind, context=context).output_shape[-1]
    head = build_head(design.head, width, classes)
    first = next((layer.name for layer in network.layers if layer.trainable_weights), None)
    if design.tuning:
        first = network.layers[design.tuning.from_layer].name
    learning = [*network.trainable_weights, *head.trainable_weights]
    return first, sum(math.prod(weight.shape) for weight in learning)


def take_over(tuning: Tuning, built: Built) -> None:
    """Give the models the weights of the run that is fine-tuned; a fresh head keeps its own.

    Raises DataError where the run's network is another one.
    """
    run = load_run(tuning.base)
    whole = load_model(run.file(MODEL_FILE))
    pairs = [(built.maps, whole.get_layer(built.maps.name))]
    if not tuning.fresh_head:
        pairs.append((built.head, whole.get_layer("head")))
    for ours, theirs in pairs:
        shapes = [[tuple(weight.shape) for weight in model.weights] for model in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise DataError(
                f"{run.root}: its {ours.name} has other weights than this bccli makes; train it again"
            )
        copy_weights(theirs, ours)


def weights_hash(model: Any) -> str:
    """SHA-256 of all weights of a Keras model, in order, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(array.tobytes())
    return digest.hexdigest()
