"""Fine-tuning as Keras's guide has it: layers before γ are frozen and run in every step.

Usage: python -m tests.benchmarks.rivals.frozen_every_time DATA MODEL.keras EPOCHS GAMMA
Prints {"val_accuracy": …} as its last line.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from tests.benchmarks.rivals.prepared import best_accuracy, read_split

BATCH = 32


def main(data: Path, model_file: Path, epochs: int, gamma: int) -> None:
    """Train and print the validation accuracy."""
    keras.utils.set_random_seed(0)
    model = keras.saving.load_model(model_file)
    for number, layer in enumerate(model.get_layer("vgg16").layers):
        layer.trainable = number >= gamma
    read = {split: read_split(data, split) for split in ("train", "val")}
    images = {
        split: np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths]).astype(np.float32)
        for split, (paths, _) in read.items()
    }
    model.compile(
        optimizer=keras.optimizers.Adam(1e-5), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(
        images["train"],
        read["train"][1],
        validation_data=(images["val"], read["val"][1]),
        batch_size=BATCH,
        epochs=epochs,
        verbose=2,
    )
    print(json.dumps({"val_accuracy": best_accuracy(history.history)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
