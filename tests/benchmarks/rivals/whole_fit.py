"""A whole ResNet-50 under `model.fit`, its images in memory.

Usage: python -m tests.benchmarks.rivals.whole_fit DATA EPOCHS
Prints {"images_per_second": …} as its last line; the first epoch, in which the step is compiled, is left out.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from tests.benchmarks.rivals.prepared import read_split

BATCH, SIZE = 32, (96, 144)


class Clock(keras.callbacks.Callback):
    """The seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._began)


def main(data: Path, epochs: int) -> None:
    """Train and print the pace."""
    keras.utils.set_random_seed(0)
    paths, labels = read_split(data, "train")
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths]).astype(np.float32)
    base = keras.applications.ResNet50(include_top=False, weights=None, pooling="avg", input_shape=(*SIZE, 3))
    inputs = keras.Input((*SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    outputs = keras.layers.Dense(2, activation="softmax")(base(x))
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    clock = Clock()
    model.fit(images, labels, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[clock])
    print(json.dumps({"images_per_second": len(images) * (epochs - 1) / sum(clock.seconds[1:])}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
