"""A tree of three classifiers on one frozen backbone against one flat classifier of the same labels."""

import csv
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.comparing import Row, Side, compare, of_processors, ratio_at_most
from tests.benchmarks.processes import measure
from tests.conftest import REAL_WEIGHTS, read_rows

IMAGES, SIDE, EPOCHS, LIMIT = 900, "224x224", 50, 1.5
TREE = "benign(benign a, benign b), malignant(malignant a, malignant b)"


def trees(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield a row for the time that passes and one for that of the processors."""
    known = REAL_WEIGHTS.is_dir()
    env = {"KERAS_HOME": str(REAL_WEIGHTS)} if known else {}
    weights = "imagenet" if known else "none"
    note(f"trees: {IMAGES} phantom images of {SIDE}, MobileNet 0.25 ({weights}), {EPOCHS} epochs")
    data = _four_classes(folder)
    options = (
        "--backbone", "mobilenet-0.25", "--weights", weights, "--trainable", "none", "--epochs", str(EPOCHS),
    )  # fmt: skip

    def side(name: str, *more: str) -> Side:
        run = folder / name

        def forget() -> None:
            shutil.rmtree(run, ignore_errors=True)
            shutil.rmtree(data / ".cache", ignore_errors=True)

        command = [sys.executable, "-m", "bccli", name, str(data), str(run), *options, *more]
        return Side(f"bccli {name}", command, forget, env)

    target = ratio_at_most(LIMIT)
    outcome = compare(
        "a tree of three nodes against one classifier",
        side("hierarchy", "--tree", TREE),
        side("train"),
        rounds=rounds or 5,
        target=target,
    )
    yield outcome.row
    yield of_processors(outcome, target)


def _four_classes(folder: Path) -> Path:
    """A prepared dataset whose two classes are two each, by the patient."""
    first, table, data = folder / "two", folder / "four.csv", folder / "four"
    prepare = [sys.executable, "-m", "bccli", "prepare"]
    measure([*prepare, "phantom", "histology", str(first), "--count", str(IMAGES), "--size", SIDE])
    rows = read_rows(first / "manifest.csv")
    kinds = {patient: "ab"[place % 2] for place, patient in enumerate(dict.fromkeys(_by_label(rows)))}
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "patient"))
        writer.writerows(
            (f"{first.name}/{row['path']}", f"{row['label']} {kinds[row['patient']]}", row["patient"])
            for row in rows
        )
    measure([*prepare, "csv", str(table), str(data)])
    return data


def _by_label(rows: list[dict[str, str]]) -> list[str]:
    return [row["patient"] for row in sorted(rows, key=lambda row: row["label"])]
