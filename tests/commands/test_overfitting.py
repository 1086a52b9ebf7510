"""β through the command line: chance labels cannot be learned, only remembered; easy ones can be learned."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Bccli, draw, read_rows, rows_of, save

TRAIN, VAL = 90, 150
# The last epoch is kept, as the best by train's loss.
REMEMBER = "--lr", 0.003, "--batch-size", 30, "--epochs", 60, "--monitor", "loss"


def table(folder: Path, label_of: Callable[[int], int], *, train: int = TRAIN, val: int = VAL) -> Path:
    """A table of images that show stripes along or across, each of a patient of its own."""
    path = folder / "table.csv"
    rows = []
    for number in range(train + val):
        save(folder / f"{number}.png", draw(number % 2, number))
        split = "train" if number < train else "val"
        rows.append([f"{number}.png", "ab"[label_of(number)], f"p{number}", split])
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path", "label", "patient", "split"], *rows])
    return path


def figures(bccli: Bccli, place: Path, label_of: Callable[[int], int], *options: object) -> dict:
    bccli("prepare", "csv", table(place / "raw", label_of), place / "data")
    bccli("train", place / "data", place / "run", *REMEMBER, *options)
    (val,) = json.loads((place / "run" / "metrics.json").read_text())["runs"]
    return val


@pytest.mark.slow
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


# Where `augment` stored copies


@pytest.fixture
def remembered(bccli: Bccli, tmp_path: Path) -> tuple[Path, Path]:
    """Images with labels of chance, and the same with copies in train."""
    chance = np.random.default_rng(1).integers(2, size=50)
    path = table(tmp_path / "raw", lambda number: int(chance[number]), train=30, val=20)
    (tmp_path / "policy.toml").write_text('[[operations]]\naugmenter = "GaussianBlur"\nsigma = 2.0\n')
    bccli("prepare", "csv", path, tmp_path / "data")
    bccli(
        *("augment", tmp_path / "data", tmp_path / "more"),
        *("--policy", tmp_path / "policy.toml", "--per-image", 2),
    )
    return tmp_path / "data", tmp_path / "more"


def stored(run: Path) -> dict:
    """The figures of val in a run."""
    return json.loads((run / "metrics.json").read_text())["runs"][0]


def share_told_right(bccli: Bccli, run: Path, data: Path, rows: list[dict[str, str]]) -> float:
    """The accuracy of what `predict` says of some images of a prepared dataset."""
    answers = rows_of(bccli("predict", run, *(data / row["path"] for row in rows)).stdout)
    return sum(a["predicted"] == row["label"] for a, row in zip(answers, rows, strict=True)) / len(rows)


def test_train_accuracy_is_that_of_the_originals(
    bccli: Bccli, remembered: tuple[Path, Path], tmp_path: Path
) -> None:
    """A bag of words has seen originals and copies, and knows them to different degrees."""
    data, run = remembered[1], tmp_path / "sweep" / "bovw-seed0"
    bccli("train", data, tmp_path / "sweep", "--classifier", "bovw", "--seeds", 1)
    rows = [row for row in read_rows(data / "manifest.csv") if row["split"] == "train"]
    originals, copies = ([row for row in rows if bool(row["parent"]) == copy] for copy in (False, True))
    assert (len(originals), len(copies)) == (30, 60)
    figures = stored(run)
    assert figures["train_accuracy"] == share_told_right(bccli, run, data, originals)
    assert figures["train_accuracy"] != share_told_right(bccli, run, data, copies)
    assert figures["beta"] == figures["train_accuracy"] / figures["val_accuracy"]
    assert figures["beta_rows"] == "originals"
    (row,) = read_rows(tmp_path / "sweep" / "leaderboard.csv")
    assert (float(row["beta"]), row["beta_rows"]) == (figures["beta"], "originals")
    shown = bccli("evaluate", run, "--split", "val", "--bootstrap", 0, "--format", "table").stdout
    assert "β measured on" in shown


def test_the_same_weights_have_the_same_beta_with_and_without_copies(
    bccli: Bccli, remembered: tuple[Path, Path], tmp_path: Path
) -> None:
    data, more = remembered
    bccli("train", data, tmp_path / "run", "--classifier", "bovw")
    for name, place in (("plain", data), ("augmented", more)):
        bccli(
            *("hierarchy", place, tmp_path / name),
            *("--tree", "a, b", "--compose", f"root={tmp_path / 'run'}"),
        )
    figures = [stored(tmp_path / name) for name in ("run", "plain", "augmented")]
    assert len({one["train_accuracy"] for one in figures}) == 1
    assert len({one["beta"] for one in figures}) == 1
    assert [one["beta_rows"] for one in figures] == [None, None, "originals"]


def test_the_papers_protocol_counts_all_rows_and_says_so(
    bccli: Bccli, remembered: tuple[Path, Path], tmp_path: Path
) -> None:
    joined, run = tmp_path / "joined", tmp_path / "run"
    bccli(
        *("augment", remembered[0], joined, "--policy", tmp_path / "policy.toml", "--per-image", 1),
        *("--protocol", "paper"),
    )
    bccli("train", joined, run, "--classifier", "bovw")
    rows = [row for row in read_rows(joined / "manifest.csv") if row["split"] == "train"]
    figures = stored(run)
    assert figures["train_accuracy"] == share_told_right(bccli, run, joined, rows)
    assert figures["beta_rows"] == "originals and augmented copies"
