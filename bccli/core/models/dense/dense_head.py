"""A dense head as plain arrays: taken out of Keras, stored in head.npz, computed in NumPy."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from bccli.core.errors import DataError
from bccli.core.files import replacing
from bccli.core.models.dense.layers import LAYERS, finite_rows, head_scores
from bccli.core.models.inference_mode import scale_and_shift
from bccli.core.models.runtimes import OUTPUTS
from bccli.core.reading.archives import read_arrays
from bccli.core.reading.json_types import Count, misfit
from bccli.core.reading.texts import parse_json

FORMAT = 1


@dataclass(frozen=True)
class DenseHead:
    """A head from features to class probabilities: its `layers` (see `layers.head_scores`), the last
    activation, softmax or sigmoid, and its weights."""

    layers: tuple[str, ...]
    output: str
    arrays: Mapping[str, np.ndarray]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes) of features (n, width), NaN where a feature is no number."""
        rows, lacking = finite_rows(features)
        answers = OUTPUTS[self.output](head_scores(rows, self.arrays, self.layers))
        answers[lacking] = np.nan
        return answers


def head_of(head: Any, output: str) -> DenseHead:
    """The same of a Keras model that `models.heads` built."""
    layers, arrays = head_arrays(head)
    return DenseHead(tuple(layers), output, arrays)


def head_arrays(head: Any) -> tuple[list[str], dict[str, np.ndarray]]:
    """The layers and weights of a head that `models.heads` built."""
    kinds: list[str] = []
    arrays: dict[str, np.ndarray] = {}
    for layer in head.layers:
        kind = type(layer).__name__
        name = f"patch/{len(kinds)}"
        if kind == "Dense":
            arrays[f"{name}/kernel"], arrays[f"{name}/bias"] = layer.get_weights()
            kinds.append("scores" if layer.name == "scores" else "dense")
        elif kind == "BatchNormalization":
            arrays[f"{name}/scale"], arrays[f"{name}/shift"] = scale_and_shift(layer)
            kinds.append("norm")
    return kinds, arrays


class _Facts(TypedDict):
    """What stands beside the arrays."""

    format: Count
    layers: list[str]
    output: Literal["softmax", "sigmoid"]


def save_head(path: Path, head: DenseHead) -> None:
    """Write a head as one .npz file of plain arrays."""
    facts = {"format": FORMAT, "layers": list(head.layers), "output": head.output}
    arrays: dict[str, Any] = {name: np.asarray(values, np.float32) for name, values in head.arrays.items()}
    with replacing(path) as stream:
        np.savez(stream, head=np.array(json.dumps(facts)), **arrays)


def load_head(path: Path) -> DenseHead:
    """Read what `save_head` wrote. Raises DataError where it is damaged or too new."""
    try:
        arrays = read_arrays(path)
        facts = parse_json(str(arrays.pop("head")).encode())
        if wrong := misfit(facts, _Facts, "head"):
            raise ValueError(f"{wrong} is of another kind")
        if facts["format"] > FORMAT:
            raise DataError(f"{path}: was made by a newer bccli; update bccli to read it")
        head = DenseHead(tuple(facts["layers"]), facts["output"], arrays)
        _check(head)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); copy the whole folder again") from None
    return head


def width_of(head: DenseHead) -> int:
    """How many features a head takes."""
    first = next(name for name in ("patch/0/kernel", "patch/0/scale") if name in head.arrays)
    return int(head.arrays[first].shape[0])


def _check(head: DenseHead) -> None:
    """Raises ValueError, KeyError or TypeError where the arrays are no head."""
    if not head.layers or not set(head.layers) <= LAYERS.keys():
        raise ValueError("its layers are unknown")
    if any(values.dtype.kind != "f" for values in head.arrays.values()):
        raise ValueError("an array is of another kind")
    head(np.zeros((1, width_of(head)), np.float32))
