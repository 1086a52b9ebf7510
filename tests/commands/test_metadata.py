"""Columns of metadata from the source to the breakdown of figures."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bccli.core.evaluation.strata import in_order
from bccli.core.preparation import stats_png
from tests import drawn
from tests.conftest import Bccli, read_rows


@pytest.fixture
def table(make_folder: Callable[..., Path]) -> Path:
    """A table of 8 patients with 3 images each, their density and age, and the scanner of each image."""
    raw = make_folder(patients=8, images=3)
    path = raw / "list.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "patient", "Breast Density", "age", "scanner", "note"])
        for number, image in enumerate(sorted(raw.rglob("*.png"))):
            patient = image.stem.split("_")[0]
            who = int(patient[1:])
            name = image.relative_to(raw)
            row = [
                name,
                image.parent.name,
                patient,
                1 + who % 3,
                35 + 7 * who,
                "AB"[number % 2],
                "two\nlines",
            ]
            writer.writerow(row)
    return path


def test_columns_of_a_table_reach_the_figures(table: Path, bccli: Bccli, tmp_path: Path) -> None:
    data, more, run = tmp_path / "data", tmp_path / "more", tmp_path / "run"
    bccli("prepare", "csv", table, data, "--ratios", "1/1/2")
    rows = read_rows(data / "manifest.csv")
    assert {row["breast_density"] for row in rows} == {"1", "2", "3"}
    assert {row["note"] for row in rows} == {"two lines"}
    counts = json.loads((data / "dataset.json").read_text())["metadata"]
    assert counts["scanner"] == {"A": 12, "B": 12}
    assert sum(counts["breast_density"].values()) == 24
    bccli("augment", data, more, "--policy", "flips", "--per-image", 1)
    copies = [row for row in read_rows(more / "manifest.csv") if row["parent"]]
    known = {row["path"]: row for row in rows}
    assert copies
    assert all(row["age"] == known[row["parent"]]["age"] for row in copies)
    bccli("train", more, run, "--epochs", 1, "--trainable", "none", "--batch-size", 8)
    predictions = read_rows(run / "predictions.csv")
    assert all(row["breast_density"] and row["age"] and row["scanner"] for row in predictions)
    told = json.loads(bccli("evaluate", run, "--by", "breast_density,scanner", "--format", "json").stdout)[
        "runs"
    ]
    groups = [row["group"] for row in told[1:]]
    assert groups == in_order(groups)
    assert sum(row["n"] for row in told[1:]) == told[0]["n"]
    by_hand = [row for row in predictions if row["split"] == "test" and row["scanner"] == "A"]
    by_hand = [row for row in by_hand if f"breast_density {row['breast_density']}, scanner A" == groups[0]]
    (first,) = (row for row in told if row["group"] == groups[0])
    assert first["n"] == len(by_hand)
    assert first["accuracy"] == pytest.approx(np.mean([row["label"] == row["predicted"] for row in by_hand]))
    assert told[0]["heterogeneity"]["by"] == "breast_density,scanner"


@pytest.mark.parametrize("by", ["density", "density,view", "view,density"])
def test_what_is_unknown_is_no_group_that_is_tested(bccli: Bccli, by: str) -> None:
    rng = np.random.default_rng(0)
    lines = ["path,label,patient,p_benign,p_malignant,density,view"]
    for number in range(80):
        who, share = number // 2, rng.random()
        density = "123"[who % 3] if who % 4 else ""
        lines.append(
            f"{number}.png,{('benign', 'malignant')[who % 2]},p{who},{share},{1 - share},{density},"
            f"{('CC', 'MLO')[number % 2]}"
        )
    told = bccli("evaluate", "-", "--by", by, "--bootstrap", 0, "--format", "json", input="\n".join(lines))
    test = json.loads(told.stdout)["runs"][0]["heterogeneity"]["accuracy"]
    assert (test["groups"], test["patients"]) == (3 if by == "density" else 6, 30)


@pytest.mark.pictures
@pytest.mark.parametrize("images", ["--images", "--no-images"])
def test_the_statistics_show_them_with_the_positive_class(
    table: Path, bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: str
) -> None:
    figures = drawn.figures_of(monkeypatch, stats_png)
    first = sorted({row["label"] for row in read_rows(table)})[0]
    bccli("prepare", "csv", table, tmp_path / "data", "--positive", first, images)
    (figure,) = figures
    words = drawn.words(figure)
    assert f"images by their metadata, and the share of {first} among them (purple)" in words
    assert "not shown: note (one value)" in words
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    labels = [row["label"] for row in read_rows(table) if row["scanner"] == "A"]
    share = 100 * labels.count(first) / len(labels)
    assert panels["scanner"].texts[0].get_text() == f"{len(labels)} ({share:.0f}%)"


def test_ages_are_shown_in_bands(table: Path, bccli: Bccli, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    bccli("prepare", "csv", table, data, "--folds", 4)
    bccli("train", data, run, "--epochs", 1, "--trainable", "none", "--fold", "all", "--batch-size", 8)
    found = bccli("evaluate", run, "--by", "AGE", "--format", "json")
    told = json.loads(found.stdout)["runs"]
    assert [row["group"] for row in told] == [
        None, "age below 40", "age 40–49", "age 50–59", "age 60–69", "age 70 and over"
    ]  # fmt: skip
    test = told[0]["heterogeneity"]["accuracy"]
    assert (test["groups"], test["patients"], test["within"]) == (5, 8, False)
    assert (
        "differences among groups of age"
        in bccli("evaluate", run, "--by", "age", "--format", "markdown").stdout
    )


def test_a_column_that_is_not_there_names_those_that_are(table: Path, bccli: Bccli, tmp_path: Path) -> None:
    bccli("prepare", "csv", table, tmp_path / "data", "--ratios", "1/1/2")
    bccli("train", tmp_path / "data", tmp_path / "run", "--epochs", 1, "--trainable", "none")
    said = bccli("evaluate", tmp_path / "run", "--by", "age,densty", exit=3).stderr
    assert "does not say the densty" in said
    assert "breast_density" in said


def test_two_columns_of_one_name_and_names_with_a_meaning(table: Path, bccli: Bccli, tmp_path: Path) -> None:
    text = table.read_text().replace("scanner", "p_malignant", 1).replace("note", "sha256", 1)
    table.write_text(text)
    bccli("prepare", "csv", table, tmp_path / "data", "--ratios", "1/1/2")
    header = (tmp_path / "data" / "manifest.csv").read_text().splitlines()[0].split(",")
    assert header.count("sha256") == 1
    assert "p_malignant" not in header
