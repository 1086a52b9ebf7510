"""A frozen MobileNet's features computed once by hand, and a small Keras model fitted to them, or several.

Usage: python -m tests.benchmarks.rivals.cached_features DATA MODEL.keras EPOCHS imagenet|none [HEADS]
Of several heads, each with a seed of its own, MODEL.keras is the last one's. Prints {"val_accuracy": …}, that
of the last one, as its last line. Like bccli it takes the features of all images, test ones included.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from tests.benchmarks.rivals.prepared import best_accuracy, read_split

BATCH, SIDE, SPLITS = 32, 224, ("train", "val", "test")


def features_of(base: Any, paths: list[str]) -> np.ndarray:
    """The backbone's features (images, width)."""
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    return base.predict(pixels.astype(np.float32) / 127.5 - 1, batch_size=BATCH, verbose=0)


def fit_head(x: dict[str, np.ndarray], y: dict[str, np.ndarray], epochs: int) -> tuple[Any, float]:
    """A trained head, and its validation accuracy."""
    width = x["train"].shape[1]
    head = keras.Sequential([keras.Input((width,)), keras.layers.Dense(2, activation="softmax")])
    head.compile(
        optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = head.fit(
        x["train"],
        y["train"],
        validation_data=(x["val"], y["val"]),
        batch_size=BATCH,
        epochs=epochs,
        verbose=2,
    )
    head.predict(np.concatenate([x["val"], x["test"]]), verbose=0)
    return head, best_accuracy(history.history)


def main(data: Path, model_file: Path, epochs: int, weights: str | None, heads: int = 1) -> None:
    """Compute the features, train, save, and print the validation accuracy."""
    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=weights, pooling="avg", input_shape=(SIDE, SIDE, 3)
    )
    read = {split: read_split(data, split) for split in SPLITS}
    features = features_of(base, [path for paths, _ in read.values() for path in paths])
    ends = np.cumsum([len(labels) for _, labels in read.values()])[:-1]
    x = dict(zip(SPLITS, np.split(features, ends), strict=True))
    for seed in range(heads):
        if seed:
            keras.utils.set_random_seed(seed)
        head, accuracy = fit_head(x, {split: labels for split, (_, labels) in read.items()}, epochs)
        keras.Sequential([base, head]).save(model_file)
    print(json.dumps({"val_accuracy": accuracy}))


if __name__ == "__main__":
    _, _data, _model, _epochs, _weights, *_heads = sys.argv
    main(Path(_data), Path(_model), int(_epochs), None if _weights == "none" else _weights, *map(int, _heads))
