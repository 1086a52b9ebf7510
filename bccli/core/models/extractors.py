"""A head's input from a backbone: its maps' global average, those of all its blocks, or the maps themselves.

Each kind of features is a vector of numbers without weights of its own, so that those of a frozen
backbone can be computed once and stored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bccli.core.catalog import Backbone
from bccli.core.errors import DataError
from bccli.core.models.backbones import build_extractor
from bccli.core.models.graph import nodes_of
from bccli.core.models.heads import HEADS
from bccli.core.models.inference_mode import in_inference_mode
from bccli.core.models.views.two_views import in_two_views


@dataclass(frozen=True)
class Extractor:
    """A kind of features: which maps of a backbone it takes, and how it makes one vector of them.

    `maps` gives a Keras model from preprocessed images to one or several maps, of the backbone's own
    layers; `join` makes (batch, width) of them. With `surroundings`, it does so of an image and of its middle
    part, both side by side.
    """

    maps: Callable[[Any], Any]
    join: Callable[[Any], Any]
    surroundings: bool = False


def build_features(
    backbone: Backbone,
    network: Any,
    kind: str,
    *,
    context: float = 0.0,
    preprocess: Callable[[Any], Any] | None = None,
    frozen: bool = False,
) -> Any:
    """A Keras model from RGB 0–255 to the features (batch, width) of a row of `EXTRACTORS`.

    `context` is the share of a lesion's size that is around it, where features are those of two views.
    `preprocess` replaces what the backbone's row wants. A `frozen` network runs in inference mode also where
    the model is trained, which cannot be saved then. Raises DataError where the images are too small for that
    kind.
    """
    row = EXTRACTORS[kind]
    maps = row.maps(network)

    def features(x: Any) -> Any:
        return row.join(in_inference_mode(maps, x) if frozen else maps(x))

    return build_extractor(backbone, network, in_two_views(features, context), preprocess=preprocess)


def _pooled_maps(network: Any) -> Any:
    height, width = network.output_shape[1:3]
    if min(height, width) < 2:
        raise DataError(
            f"--head thesis pools 2×2, and {network.name} makes maps of {width}×{height} from images of "
            f"{network.input_shape[2]}×{network.input_shape[1]}; prepare them with a larger --size"
        )
    return network


def _pooled(maps: Any) -> Any:
    """The maps after 2×2 max-pooling, flattened."""
    import keras

    return keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(maps))


def _block_maps(network: Any) -> Any:
    """The last maps of all blocks, see `block_outputs`."""
    import keras

    outputs = block_outputs(network)
    if len(outputs) == 1:
        return network
    # Named like the backbone, whose layers it shares.
    return keras.Model(network.input, outputs, name=network.name)


def _averages(maps: Any) -> Any:
    """The global averages of one or several maps, joined."""
    import keras

    averages = [keras.layers.GlobalAveragePooling2D()(each) for each in keras.tree.flatten(maps)]
    return averages[0] if len(averages) == 1 else keras.layers.Concatenate()(averages)


def _scale_maps(network: Any) -> Any:
    """The maps of the blocks whose cells are of `FINEST` pixels or more, the finest first."""
    import keras

    height, width = network.input_shape[1:3]
    outputs = block_outputs(network)
    most = height // FINEST + 1, width // FINEST + 1
    fit = [maps for maps in outputs if maps.shape[1] <= most[0] and maps.shape[2] <= most[1]]
    chosen = fit or outputs[-1:]
    if len(chosen) == 1 and chosen[0] is outputs[-1]:
        return network
    # Named like the backbone, whose layers it shares.
    return keras.Model(network.input, chosen, name=network.name)


FINEST = 8
"""The side in pixels of a detector's smallest cells: finer maps know too little of what they see."""


def map_shapes(maps: Any) -> list[tuple[int, int, int]]:
    """Rows, columns and channels of each map that a Keras model has as outputs."""
    return [(each.shape[1], each.shape[2], each.shape[3]) for each in maps.outputs]


def _flat(maps: Any) -> Any:
    """One or several maps, flat and joined."""
    import keras

    flat = [keras.layers.Flatten()(each) for each in keras.tree.flatten(maps)]
    return flat[0] if len(flat) == 1 else keras.layers.Concatenate()(flat)


EXTRACTORS = {
    "average": Extractor(lambda network: network, _averages),
    "blocks": Extractor(_block_maps, _averages),
    "views": Extractor(lambda network: network, _averages, surroundings=True),
    "pooled": Extractor(_pooled_maps, _pooled),
    "scales": Extractor(_scale_maps, _flat),
}


def sees_surroundings(head: str) -> bool:
    """Whether a kind of head sees a lesion and what is around it."""
    return head in HEADS and EXTRACTORS[HEADS[head].features].surroundings


def block_outputs(network: Any) -> list[Any]:
    """The tensors in which the blocks of a functional Keras backbone end, the backbone's output last.

    A block ends where the maps get smaller by a third or more: with the pooling layer that does it (VGG's
    `block1_pool` … `block5_pool`), else with the last layer before (ResNet's `conv2_block3_out` …). Only
    the trunk counts, the layers through which everything flows; padding and what comes before the first
    convolution do not. NASNet's cells, each of which also takes the one before the last, leave it two blocks.
    """
    blocks: list[Any] = []
    before = None
    for node in _trunk(network):
        tensor = node.outputs[0]
        kind = type(node.operation).__name__
        if "Padding" in kind or len(tensor.shape) != 4:
            continue
        if before is not None and _halved(before, tensor):
            ends_with = tensor if "Pooling" in kind else before
            if ends_with is not (blocks[-1] if blocks else None):
                blocks.append(ends_with)
        if before is not None or any(len(weight.shape) == 4 for weight in node.operation.weights):
            before = tensor
    (last,) = network.outputs
    return [*(tensor for tensor in blocks if tensor is not last), last]


def _halved(before: Any, after: Any) -> bool:
    """Whether maps get smaller by more than what a convolution without padding takes from their edges."""
    return any(3 * new <= 2 * old for old, new in zip(before.shape[1:3], after.shape[1:3], strict=True))


def _trunk(network: Any) -> list[Any]:
    """The nodes of a graph that lie on every way from its input to its output, in their order."""
    nodes = nodes_of(network)
    indices = {id(node): index for index, node in enumerate(nodes)}
    reach = list(range(len(nodes)))  # the last node that uses what a node makes
    for index, node in enumerate(nodes):
        for parent in node.parent_nodes:
            reach[indices[id(parent)]] = max(reach[indices[id(parent)]], index)
    trunk, furthest = [], 0
    for index, node in enumerate(nodes):
        if furthest <= index:
            trunk.append(node)
        furthest = max(furthest, reach[index])
    return trunk
