"""A network cut in two before a layer: what comes before it stays as it is, what comes from it on is trained.

Layers are counted as Keras lists them (`model.layers`), the input layer being 0; this is the γ of Falconí
et al. 2020, DOI 10.25046/aj050220, section 2.3. A cut inside a residual block goes through several
tensors, the frontier.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bccli.core.models.graph import nodes_of


@dataclass(frozen=True)
class Halves:
    """Two Keras models that share a network's layers: `front` from its input to the frontier's tensors,
    `back` from there on to those outputs of the network that are not in the frontier.

    `order` has for each output of the network its index among the frontier's tensors or, behind them,
    among `back`'s outputs. `back` is None where nothing comes after the cut.
    """

    front: Any
    back: Any
    order: tuple[int, ...]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the frontier's tensors, without the batch."""
        return [tuple(tensor.shape[1:]) for tensor in self.front.outputs]

    @property
    def width(self) -> int:
        """How many numbers the frontier has for one image."""
        return sum(math.prod(shape) for shape in self.shapes)

    def finish(self, frontier: Sequence[Any]) -> Any:
        """The network's outputs from the frontier's tensors, one tensor or a list of them."""
        import keras

        behind = [] if self.back is None else keras.tree.flatten(self.back(list(frontier)))
        found = [*frontier, *behind]
        outputs = [found[index] for index in self.order]
        return outputs[0] if len(outputs) == 1 else outputs

    def flat(self, x: Any) -> Any:
        """What comes before the cut, in inference mode, as one vector (batch, width)."""
        import keras

        tensors = keras.tree.flatten(self.front(x, training=False))
        vectors = [keras.layers.Flatten()(tensor) for tensor in tensors]
        return vectors[0] if len(vectors) == 1 else keras.layers.Concatenate()(vectors)

    def unflat(self, x: Any) -> list[Any]:
        """The frontier's tensors from a vector that `flat` made."""
        import keras

        tensors, start = [], 0
        for shape in self.shapes:
            end = start + math.prod(shape)
            tensors.append(keras.ops.reshape(x[:, start:end], (-1, *shape)))
            start = end
        return tensors


def split(maps: Any, before: Sequence[Any]) -> Halves:
    """Cut a functional Keras model behind the layers `before`, the first ones of its backbone."""
    import keras

    first = {id(layer) for layer in before}
    front = {id(tensor) for tensor in maps.inputs}
    crossing: dict[int, Any] = {}
    for node in nodes_of(maps):
        inside = all(id(tensor) in front for tensor in node.input_tensors)
        # What is no layer, such as a reshape, has no weights and goes with what it is made of.
        if node.is_input or (
            inside and (id(node.operation) in first or not isinstance(node.operation, keras.Layer))
        ):
            front |= {id(tensor) for tensor in node.outputs}
        else:
            crossing |= {id(tensor): tensor for tensor in node.input_tensors if id(tensor) in front}
    crossing |= {id(tensor): tensor for tensor in maps.outputs if id(tensor) in front}
    behind = [tensor for tensor in maps.outputs if id(tensor) not in front]
    indices = {key: index for index, key in enumerate([*crossing, *(id(tensor) for tensor in behind)])}
    frontier = list(crossing.values())
    return Halves(
        front=keras.Model(maps.input, frontier, name="front"),
        back=keras.Model(frontier, behind, name="back") if behind else None,
        order=tuple(indices[id(tensor)] for tensor in maps.outputs),
    )
