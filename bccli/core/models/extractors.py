"""What a head sees of a backbone: its maps' global average, those of all its blocks, or the maps themselves.

Each kind of features is a vector of numbers without weights of its own, so that those of a frozen
backbone can be computed once and kept.
"""

from collections.abc import Callable
from typing import Any

from bccli.core.catalog import Backbone
from bccli.core.errors import DataError
from bccli.core.models.backbones import average, build_extractor


def build_features(backbone: Backbone, network: Any, kind: str, **options: Any) -> Any:
    """A Keras model from RGB 0–255 to the features (batch, width) of a row of `EXTRACTORS`.

    `options` are those of `build_extractor`. Raises DataError where the images are too small for that kind.
    """
    return build_extractor(backbone, network, EXTRACTORS[kind], **options)


def _pooled(network: Any, x: Any, training: bool | None = None) -> Any:
    """The maps after 2×2 max-pooling, flattened."""
    import keras

    height, width = network.output_shape[1:3]
    if min(height, width) < 2:
        raise DataError(
            f"--head thesis pools 2×2, and {network.name} makes maps of {width}×{height} from images of "
            f"{network.input_shape[2]}×{network.input_shape[1]}; prepare them with a larger --size"
        )
    return keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(network(x, training=training)))


def _blocks(network: Any, x: Any, training: bool | None = None) -> Any:
    """The global averages of all blocks (see `block_outputs`), joined."""
    import keras

    outputs = block_outputs(network)
    if len(outputs) == 1:
        return average(network, x, training)
    # Named like the backbone, whose layers it shares.
    maps = keras.Model(network.input, outputs, name=network.name)(x, training=training)
    return keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(each) for each in maps])


EXTRACTORS: dict[str, Callable[..., Any]] = {
    "average": average,
    "blocks": _blocks,
    "pooled": _pooled,
}


def block_outputs(network: Any) -> list[Any]:
    """The tensors in which the blocks of a functional Keras backbone end, the backbone's output last.

    A block ends where the maps get smaller by a third or more: with the pooling layer that does it (VGG's
    `block1_pool` … `block5_pool`), else with the last layer before (ResNet's `conv2_block3_out` …). Only
    the trunk counts, the layers through which everything flows; padding and what comes before the first
    convolution do not. NASNet's cells, each of which also sees the one before the last, leave it two blocks.
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
    nodes = [
        node
        for depth in sorted(network._nodes_by_depth, reverse=True)
        for node in network._nodes_by_depth[depth]
    ]
    places = {id(node): place for place, node in enumerate(nodes)}
    reach = list(range(len(nodes)))  # the last node that uses what a node makes
    for place, node in enumerate(nodes):
        for parent in node.parent_nodes:
            reach[places[id(parent)]] = max(reach[places[id(parent)]], place)
    trunk, furthest = [], 0
    for place, node in enumerate(nodes):
        if furthest <= place:
            trunk.append(node)
        furthest = max(furthest, reach[place])
    return trunk
