"""A frozen MobileNet's features computed once by hand, and a small Keras model fitted to them.

Usage: python -m tests.benchmarks.rivals.cached_features DATA MODEL.keras EPOCHS imagenet|none
Prints {"val_accuracy": …} as its last line. Like bccli it takes the features of all images, test ones
included.
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


def main(data: Path, model_file: Path, epochs: int, weights: str | None) -> None:
    """Compute the features, train, save, and print the validation accuracy."""
    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=weights, pooling="avg", input_shape=(SIDE, SIDE, 3)
    )
    read = {split: read_split(data, split) for split in SPLITS}
    features = features_of(base, [path for paths, _ in read.values() for path in paths])
    ends = np.cumsum([len(labels) for _, labels in read.values()])[:-1]
    x = dict(zip(SPLITS, np.split(features, ends), strict=True))
    head = keras.Sequential([keras.Input((features.shape[1],)), keras.layers.Dense(2, activation="softmax")])
    head.compile(
        optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = head.fit(
        x["train"],
        read["train"][1],
        validation_data=(x["val"], read["val"][1]),
        batch_size=BATCH,
        epochs=epochs,
        verbose=2,
    )
    head.predict(np.concatenate([x["val"], x["test"]]), verbose=0)
    keras.Sequential([base, head]).save(model_file)
    print(json.dumps({"val_accuracy": best_accuracy(history.history)}))


if __name__ == "__main__":
    _, _data, _model, _epochs, _weights = sys.argv
    main(Path(_data), Path(_model), int(_epochs), None if _weights == "none" else _weights)
