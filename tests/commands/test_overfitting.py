"""β through the command line: chance labels cannot be learned, only remembered; easy ones can be learned."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Bccli, draw, save

TRAIN, VAL = 90, 150
# The last epoch is kept, as the best by train's loss.
REMEMBER = "--lr", 0.003, "--batch-size", 30, "--epochs", 60, "--monitor", "loss"


def table(folder: Path, label_of: Callable[[int], int]) -> Path:
    """A table of images that show stripes along or across, each of a patient of its own."""
    path = folder / "table.csv"
    rows = []
    for number in range(TRAIN + VAL):
        save(folder / f"{number}.png", draw(number % 2, number))
        split = "train" if number < TRAIN else "val"
        rows.append([f"{number}.png", "ab"[label_of(number)], f"p{number}", split])
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path", "label", "patient", "split"], *rows])
    return path


def figures(bccli: Bccli, place: Path, label_of: Callable[[int], int], *options: object) -> dict:
    bccli("prepare", "csv", table(place / "raw", label_of), place / "data")
    bccli("train", place / "data", place / "run", *REMEMBER, *options)
    (val,) = json.loads((place / "run" / "metrics.json").read_text())["runs"]
    return val


def test_labels_of_chance_are_remembered_but_not_learned(bccli: Bccli, tmp_path: Path) -> None:
    chance = np.random.default_rng(0).integers(2, size=TRAIN + VAL)
    val = figures(bccli, tmp_path, lambda number: int(chance[number]))
    assert val["beta"] >= 1.5
    assert 0.4 <= val["val_accuracy"] <= 0.6
    assert val["overfit"] is True


@pytest.mark.slow
def test_easy_labels_are_learned(bccli: Bccli, tmp_path: Path) -> None:
    val = figures(bccli, tmp_path, lambda number: number % 2, "--epochs", 20)
    assert 0.95 <= val["beta"] <= 1.05
    assert val["accuracy"] > 0.9
    assert val["overfit"] is False
