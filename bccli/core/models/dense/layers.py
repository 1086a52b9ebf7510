"""The layers of a dense head in NumPy, float32 as in Keras."""

from collections.abc import Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]


def dense(x: np.ndarray, arrays: Arrays, name: str) -> np.ndarray:
    """A dense layer (n, width) → (n, units) before its activation; without a bias where there is none."""
    scores: np.ndarray = x @ arrays[f"{name}/kernel"]
    return scores + arrays[f"{name}/bias"] if f"{name}/bias" in arrays else scores


def head_scores(features: np.ndarray, arrays: Arrays, layers: Sequence[str]) -> np.ndarray:
    """The scores (n, units) that a head gives to features (n, width).

    `layers` has what each layer is: `norm`, `dense` with ReLU behind it, or `scores`, the last one.
    """
    x = features
    for number, kind in enumerate(layers):
        x = LAYERS[kind](x, arrays, f"{PREFIX}{number}")
    return x


def _norm(x: np.ndarray, arrays: Arrays, name: str) -> np.ndarray:
    result: np.ndarray = x * arrays[f"{name}/scale"] + arrays[f"{name}/shift"]
    return result


def _relu(x: np.ndarray, arrays: Arrays, name: str) -> np.ndarray:
    return np.maximum(dense(x, arrays, name), np.float32(0))


def finite_rows(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, width) with 0 for each row that has something else than numbers, and which rows (n,) these
    are: what answers for them would be sure of something that nobody computed."""
    lacking = ~np.isfinite(features).all(axis=1)
    return np.where(
        lacking[:, None], features.dtype.type(0), features
    ) if lacking.any() else features, lacking


PREFIX = "patch/"
"""How the names of a head's arrays begin."""

LAYERS = {"norm": _norm, "dense": _relu, "scores": dense}
