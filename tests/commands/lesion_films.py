"""Small films with masks: dark noise, and a bright disc where there is a lesion."""

import csv
from pathlib import Path

import numpy as np

from tests.conftest import save

WIDTH, HEIGHT = 48, 64
STATUSES = "normal", "benign", "cancer"
TRAIN = (
    *("--head", "detector", "--backbone", "cnn-15", "--trainable", "all", "--dense", 16, "--epochs", 8),
    *("--lr", 0.003, "--batch-size", 8),
)
"""A detector that finds the discs, trained within seconds."""


def draw_lesion_films(
    root: Path,
    *,
    patients: int = 18,
    seed: int = 0,
    masks: bool = True,
    folds: bool = False,
) -> Path:
    """Two films for each patient, on two scanners, every third patient without lesions; returns the table,
    whose column `mask` is empty for normal films, or without `masks` for all. With `folds`, it has no splits.
    """
    rows = []
    for patient in range(patients):
        rng = np.random.default_rng(1000 * seed + patient)
        label = STATUSES[patient % 3]
        for scanner in ("old", "new"):
            film, mask = rng.integers(10, 40, (HEIGHT, WIDTH)), ""
            name = f"p{seed}-{patient}_{scanner}.png"
            if label != "normal":
                x, y = rng.integers(12, WIDTH - 12), rng.integers(12, HEIGHT - 12)
                ys, xs = np.mgrid[:HEIGHT, :WIDTH]
                disc = np.hypot(ys - y, xs - x) <= rng.integers(5, 10)
                film = np.where(disc, rng.integers(170, 250), film)
                mask = f"masks/{name}" if masks else ""
                save(root / f"masks/{name}", np.where(disc, 255, 0).astype(np.uint8))
            save(root / "films" / name, film.astype(np.uint8))
            split = "" if folds else ("train", "val", "test")[patient // 3 % 3]
            rows.append((f"films/{name}", label, f"p{seed}-{patient}", split, scanner, mask))
    with (root / "films.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "patient", "split", "scanner", "mask"))
        writer.writerows(rows)
    return root / "films.csv"
