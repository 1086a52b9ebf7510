"""Six networks × four heads under `model.fit`, each combination for itself.

Usage: python -m tests.benchmarks.rivals.grid_fit DATA SIDE EPOCHS HEADS fit|features

With `fit`, every epoch sends every image through the frozen network; only one head and two epochs of each
network are run, and what all would take is worked out from them: the first epoch, which compiles, and the
other one for each of the rest. With `features`, a script such as one writes by hand: the features of each
network once, then all heads on them. Decoded images stay in memory. Prints {"seconds": …}, without the
imports.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from tests.benchmarks.rivals.networks import NETWORKS, build
from tests.benchmarks.rivals.prepared import read_split

BATCH = 32


def fit_head(head: Any, x: dict[str, np.ndarray], y: dict[str, np.ndarray], epochs: int) -> list[float]:
    """Train and return the seconds of each epoch."""
    ends: list[float] = [time.perf_counter()]
    head.compile(
        optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    head.fit(
        x["train"], y["train"], validation_data=(x["val"], y["val"]), batch_size=BATCH, epochs=epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
        ],
    )  # fmt: skip
    return np.diff(ends).tolist()


def dense(inputs: Any, outputs: Any) -> Any:
    """A softmax on a network's features."""
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(outputs))


def whole(network: Any, x: dict[str, np.ndarray], y: dict[str, np.ndarray], epochs: int, heads: int) -> float:
    """The seconds that all heads would take, each with the network in every step."""
    model = dense(network.input, network.output)
    first, other = fit_head(model, x, y, 2)
    began = time.perf_counter()
    model.predict(np.concatenate([x["val"], x["test"]]), batch_size=BATCH, verbose=0)
    save(model)
    return heads * (first + other * (epochs - 1) + time.perf_counter() - began)


def by_hand(
    network: Any, x: dict[str, np.ndarray], y: dict[str, np.ndarray], epochs: int, heads: int
) -> float:
    """The seconds that the features and all heads on them take."""
    began = time.perf_counter()
    parts = {split: network.predict(images, batch_size=BATCH, verbose=0) for split, images in x.items()}
    for seed in range(heads):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input(parts["train"].shape[1:])
        head = dense(inputs, inputs)
        fit_head(head, parts, y, epochs)
        head.predict(np.concatenate([parts["val"], parts["test"]]), verbose=0)
        save(keras.Model(network.input, head(network.output)))
    return time.perf_counter() - began


def save(model: Any) -> None:
    """As bccli does."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))


def main(data: Path, side: int, epochs: int, heads: int, how: str) -> None:
    """Measure and print."""
    began = time.perf_counter()
    x, y = {}, {}
    for split in ("train", "val", "test"):
        paths, y[split] = read_split(data, split)
        x[split] = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    seconds = time.perf_counter() - began
    for name in NETWORKS:
        keras.backend.clear_session()
        began = time.perf_counter()
        network = build(name, side)
        seconds += time.perf_counter() - began
        seconds += (whole if how == "fit" else by_hand)(network, x, y, epochs, heads)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), sys.argv[5])
