"""A frozen MobileNet under `model.fit`: every epoch sends every image through the backbone.

Usage: python -m tests.benchmarks.rivals.keras_fit DATA MODEL.keras EPOCHS imagenet|none cache|decode
Prints {"val_accuracy": …} as its last line. With `cache`, decoded images stay in memory. The
test images are never looked at.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tests.benchmarks.rivals.prepared import best_accuracy, read_split

BATCH, SIDE = 32, 224


def images_of(data: Path, split: str, *, cached: bool) -> Any:
    """Decoded images (SIDE, SIDE, 3) and their classes, as a tf.data.Dataset."""
    paths, labels = read_split(data, split)

    def load(path: Any, label: Any) -> tuple[Any, Any]:
        pixels = tf.io.decode_png(tf.io.read_file(path), channels=3)
        return tf.ensure_shape(pixels, (SIDE, SIDE, 3)), label

    images = tf.data.Dataset.from_tensor_slices((paths, labels))
    if cached:
        images = images.map(load, num_parallel_calls=tf.data.AUTOTUNE).cache()
    if split == "train":
        images = images.shuffle(len(paths))
    if not cached:
        images = images.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return images.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def main(data: Path, model_file: Path, epochs: int, weights: str | None, *, cached: bool) -> None:
    """Train, save, and print the validation accuracy."""
    keras.utils.set_random_seed(0)
    train, val = (images_of(data, split, cached=cached) for split in ("train", "val"))
    base = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=weights, pooling="avg", input_shape=(SIDE, SIDE, 3)
    )
    base.trainable = False
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    outputs = keras.layers.Dense(2, activation="softmax")(base(x, training=False))
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(train, validation_data=val, epochs=epochs, verbose=2)
    model.save(model_file)
    print(json.dumps({"val_accuracy": best_accuracy(history.history)}))


if __name__ == "__main__":
    _, _data, _model, _epochs, _weights, _images = sys.argv
    _known = None if _weights == "none" else _weights
    main(Path(_data), Path(_model), int(_epochs), _known, cached=_images == "cache")
