"""What every rival reads: the images and classes of a prepared dataset, by split."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def read_split(data: Path, split: str) -> tuple[list[str], np.ndarray]:
    """The paths of a split's images, and their classes (images,) as numbers in alphabetical order."""
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    classes = sorted({row["label"] for row in rows})
    chosen = [row for row in rows if row["split"] == split]
    paths = [str(data / row["path"]) for row in chosen]
    return paths, np.array([classes.index(row["label"]) for row in chosen])


def best_accuracy(history: dict[str, Sequence[float]]) -> float:
    """The validation accuracy of the epoch with the lowest validation loss, the one that bccli keeps."""
    return float(history["val_accuracy"][int(np.argmin(history["val_loss"]))])
