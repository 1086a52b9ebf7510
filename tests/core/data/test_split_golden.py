"""Splits and folds of small datasets, to the image.

Whoever prepares a dataset again gets the splits that are published with it, so a change of these needs a
reason. `python -m tests.core.data.test_split_golden` writes them anew.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.data.split_solver import Goal
from bccli.core.data.split_table import SplitTable, Subtypes
from bccli.core.data.splits import Assignment, assign_folds, assign_splits, split_images
from tests import golden

GOLDEN = Path(__file__).with_name("golden.json")


def patients(count: int, classes: int, seed: int, most: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Groups and labels: patients with up to so many images, of whom some have images of several classes."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), rng.integers(1, most + 1, count))
    own, any_class = rng.integers(0, classes, count)[groups], rng.integers(0, classes, len(groups))
    return groups, np.where(rng.random(len(groups)) < 0.8, own, any_class)


def subtypes(groups: np.ndarray, seed: int) -> Subtypes:
    return Subtypes(np.random.default_rng(seed).integers(-1, 5, groups.max() + 1)[groups], tuple("abcde"))


def split(count: int, classes: int, seed: int, *ratios: int, known: bool = False, **options: Any) -> dict:
    groups, labels = patients(count, classes, seed)
    kinds = subtypes(groups, seed) if known else None
    return told(assign_splits(groups, labels, ratios, seed=seed, subtypes=kinds, **options))


def folded(count: int, classes: int, seed: int, folds: int, *, known: bool = False) -> dict:
    groups, labels = patients(count, classes, seed)
    found = assign_folds(groups, labels, folds, seed=seed, subtypes=subtypes(groups, seed) if known else None)
    return {"folds": "".join(map(str, found.folds.tolist())), "notes": list(found.notes)}


def told(found: Assignment) -> dict:
    splits = "".join(map(str, found.splits.tolist()))
    return {"splits": splits, "notes": list(found.notes), "shared": found.val_from_training_patients}


def prices() -> dict:
    """The parts of what is minimised."""
    table = SplitTable.of(
        np.array([0, 0, 1, 1, 1, 2, 3, 3, 3, 3]), np.array([0, 1, 0, 0, 1, 1, 0, 0, 0, 0]), "xy",
        Subtypes(np.array([0, 1, 1, 0, -1, 1, 2, 2, 0, 0]), tuple("abc")),
    )  # fmt: skip
    goal = Goal.of(
        table.counts, np.array([0.5, 0.3, 0.2]), np.array([100.0, 1.0, 2.0]),
        needed=np.array([True, False, False]), spread=np.array([False, False, True]), kinds=table.kinds,
    )  # fmt: skip
    parts = {name: getattr(goal, name).tolist() for name in ("targets", "weights", "due", "own", "values")}
    return {
        **parts,
        "costs": [goal.cost(np.array(way)) for way in ([0, 0, 1, 2], [0, 1, 1, 2], [2, 2, 2, 2])],
    }


CASES: dict[str, Callable[[], dict]] = {
    **{f"{count} patients, seed {seed}": lambda count=count, seed=seed: split(count, 3, seed, 70, 20, 10)
       for count in (3, 5, 12, 40, 150) for seed in (0, 1)},
    "450 patients, of whom none are swapped": lambda: split(450, 4, 0, 60, 20, 20),
    "subtypes": lambda: split(60, 2, 0, 70, 20, 10, known=True),
    "subtypes of few patients": lambda: split(15, 2, 1, 60, 20, 20, known=True),
    "chosen test patients": lambda: split(20, 2, 2, 80, 20, 0, test_groups={3, 7, 8}),
    "chosen test patients and subtypes": lambda: split(20, 2, 2, 80, 20, 0, test_groups={3, 7}, known=True),
    "two patients": lambda: split(2, 1, 3, 70, 20, 10),
    "two patients without test": lambda: split(2, 2, 3, 80, 20, 0),
    "five folds": lambda: folded(40, 3, 0, 5),
    "three folds of few": lambda: folded(5, 3, 1, 3),
    "folds of subtypes": lambda: folded(30, 2, 1, 4, known=True),
    "images": lambda: told(split_images(patients(30, 3, 0)[1], (70, 20, 10), seed=0)),
    "prices": prices,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_splits_are_as_they_were(name: str) -> None:
    golden.check(GOLDEN, name, CASES[name]())


if __name__ == "__main__":
    golden.write(GOLDEN, CASES)
