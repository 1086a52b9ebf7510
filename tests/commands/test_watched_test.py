"""`--watch-test`: the curve of test is reported, and nothing is decided by it."""

import json
from pathlib import Path

import numpy as np
import pytest

from bccli.core.metrics.watched_test import watched_test
from tests.conftest import PATIENT, Bccli, draw_folder, read_rows
from tests.library import Library, bccli_in
from tests.sentences import refused

SHORT = "--batch-size", 8, "--dropout", 0.3, "--augment", "flips", "--patience", 2, "--lr", 0.01
WATCHED = "test_loss", "test_accuracy"


def fill_paper(place: Path) -> None:
    """`data`, prepared by the paper's protocol, and two runs on it: `plain`, and `watched` with its test."""
    data = place / "data"
    bccli_in(
        *("prepare", "folder", draw_folder(place / "raw"), data, *PATIENT),
        *("--ratios", "1/1/1", "--protocol", "paper"),
    )
    for name, more in (("plain", ()), ("watched", ("--watch-test",))):
        bccli_in("train", data, place / name, *SHORT, "--epochs", 4, "--workers", 1, *more)


@pytest.fixture
def runs(library: Library, tmp_path: Path) -> Path:
    """The folder of `fill_paper`."""
    return library.copy("watched", fill_paper, tmp_path)


def test_a_training_is_the_same_to_the_byte_whether_test_is_watched_or_not(runs: Path) -> None:
    plain, watched = (read_rows(runs / name / "history.csv") for name in ("plain", "watched"))
    assert list(watched[0]) == [*plain[0], *WATCHED]
    assert [{key: row[key] for key in plain[0]} for row in watched] == plain
    first, second = (np.load(runs / name / "state.npz") for name in ("plain", "watched"))
    arrays = [name for name in first.files if name != "progress"]
    assert sorted(second.files) == sorted(first.files)
    assert all(first[name].tobytes() == second[name].tobytes() for name in arrays)
    states = [json.loads(str(one["progress"])) for one in (first, second)]
    assert {key for key in states[0] if states[0][key] != states[1][key]} == {"history"}
    answers = [(runs / name / "predictions.csv").read_bytes() for name in ("plain", "watched")]
    assert answers[0] == answers[1]
    facts = [json.loads((runs / name / "run.json").read_text()) for name in ("plain", "watched")]
    assert facts[0]["kept_epoch"] == facts[1]["kept_epoch"]


def test_the_curve_of_test_is_that_of_its_images(runs: Path) -> None:
    """The row of the kept epoch agrees with the figures of the finished run."""
    facts = json.loads((runs / "watched" / "run.json").read_text())
    row = read_rows(runs / "watched" / "history.csv")[facts["kept_epoch"] - 1]
    (figures,) = (
        one
        for one in json.loads((runs / "watched" / "metrics.json").read_text())["runs"]
        if one["split"] == "test"
    )
    assert float(row["test_accuracy"]) == figures["accuracy"]
    assert float(row["test_loss"]) == pytest.approx(figures["loss"], rel=1e-5)


def test_figures_say_that_test_was_watched_and_what_late_epochs_came_to(bccli: Bccli, runs: Path) -> None:
    history = [
        {key: float(value) for key, value in row.items()}
        for row in read_rows(runs / "watched" / "history.csv")
    ]
    late = [row["test_accuracy"] for row in history[len(history) // 2 :]]
    found = json.loads(bccli("evaluate", runs / "watched", "--format", "json").stdout)["runs"][0]
    assert found["watched_test"]["mean_accuracy"] == pytest.approx(np.mean(late))
    assert found["watched_test"]["best_accuracy"] == max(late)
    for format in ("csv", "table", "markdown", "latex"):
        text = bccli("evaluate", runs / "watched", "--format", format).stdout
        assert "test was watched in each epoch of training, and nothing was chosen by it" in text
        assert "watched" not in bccli("evaluate", runs / "plain", "--format", format).stdout.replace(
            "run", ""
        )
    val = json.loads(bccli("evaluate", runs / "watched", "--split", "val", "--format", "json").stdout)
    assert val["runs"][0]["watched_test"] is None


def test_the_line_of_an_epoch_has_test_as_well(runs: Path) -> None:
    lines = [line for line in (runs / "watched" / "log.txt").read_text().splitlines() if "epoch 1/" in line]
    assert all(f"{name} 0." in lines[0] or f"{name} 1." in lines[0] for name in WATCHED)


def test_a_watched_training_repeats_by_its_recipe(bccli: Bccli, runs: Path) -> None:
    run, again = runs / "watched", runs / "again"
    bccli("train", runs / "data", again, "--recipe", run / "recipe.toml")
    assert (again / "history.csv").read_bytes() == (run / "history.csv").read_bytes()
    unwatched = *SHORT, "--epochs", 4
    assert "watch" in refused(bccli("train", runs / "data", run, *unwatched, exit=3))


def test_test_is_watched_under_the_papers_protocol_only(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    for more in ((), ("--dry-run",), ("--seeds", 2)):
        result = bccli("train", prepared, tmp_path / "run", "--watch-test", *more, exit=2)
        refused(result, "--watch-test", "looked at once", "--protocol paper")


def test_what_is_fitted_and_not_trained_has_nothing_to_watch(
    bccli: Bccli, prepared: Path, tmp_path: Path
) -> None:
    result = bccli("train", prepared, tmp_path / "run", "--watch-test", "--classifier", "svm", exit=2)
    refused(result, "--watch-test", "no use for it")


def test_late_epochs_are_the_second_half() -> None:
    history = [
        {"epoch": number + 1, "test_accuracy": value} for number, value in enumerate((1, 0, 0.5, 0.75))
    ]
    assert watched_test(history) == {
        "first_epoch": 3,
        "last_epoch": 4,
        "mean_accuracy": 0.625,
        "best_accuracy": 0.75,
        "best_epoch": 4,
    }
    assert watched_test([{"epoch": 1, "accuracy": 1.0}]) is None
