"""`evaluate --columns`: which columns a table has, and in which order."""

import csv
import io
import json
from pathlib import Path

import pytest

from bccli.core.metrics.figures import Figures
from bccli.core.metrics.watched_test import watched_test
from bccli.terminal.figure_columns import SETS, known_columns
from bccli.terminal.figure_rows import NESTED, flat_rows
from tests.conftest import Bccli, rows_of
from tests.sentences import refused

CHOSEN = "auc_paper", "name", "accuracy_high", "test_accuracy", "n", "beta"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Predictions of twelve patients, on val and test."""
    lines = ["path,label,split,patient,p_benign,p_malignant"]
    for number in range(48):
        malignant = number % 2
        chance = 0.9 if number % 7 else 0.3
        shares = (1 - chance, chance) if malignant else (chance, 1 - chance)
        split = "test" if number % 4 else "val"
        label = ("benign", "malignant")[malignant]
        lines.append(f"{number}.png,{label},{split},p{number % 12},{shares[0]:.2f},{shares[1]:.2f}")
    path = tmp_path / "answers.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def evaluated(bccli: Bccli, table: Path, *options: object) -> str:
    """What evaluate prints of the table."""
    return bccli("evaluate", table, *options).stdout


def test_columns_are_chosen_and_ordered_and_keep_their_values(bccli: Bccli, table: Path) -> None:
    (everything,) = rows_of(evaluated(bccli, table))
    (chosen,) = rows_of(evaluated(bccli, table, "--columns", ",".join(CHOSEN)))
    assert list(chosen) == list(CHOSEN)
    same = {**everything, "test_accuracy": everything["accuracy"]}
    assert chosen == {name: same[name] for name in CHOSEN}
    printed = json.loads(evaluated(bccli, table, "--columns", "n", "--format", "json"))
    assert printed == json.loads(evaluated(bccli, table, "--format", "json"))


@pytest.mark.parametrize("format", ["table", "markdown", "latex"])
def test_tables_have_the_same_columns_with_intervals_and_remarks(
    bccli: Bccli, table: Path, format: str
) -> None:
    text = evaluated(bccli, table, "--columns", "name,accuracy,beta", "--format", format)
    head = next(line for line in text.splitlines() if "accuracy" in line)
    assert head.index("name") < head.index("accuracy")
    assert "majority" not in head
    (everything,) = rows_of(evaluated(bccli, table))
    assert f"{float(everything['accuracy']):.4f}" in text
    assert "–" in text or "--" in text  # no run has a β, and the column is there all the same
    assert "95 " in text


def test_a_set_has_the_columns_of_the_papers_tables(bccli: Bccli, table: Path) -> None:
    (row,) = rows_of(evaluated(bccli, table, "--columns", "cbis-ddsm,n,n"))
    assert list(row) == [*SETS["cbis-ddsm"], "n"]


def test_files_have_them_too(bccli: Bccli, table: Path, tmp_path: Path) -> None:
    bccli("evaluate", table, "--columns", "f1,name", "--output", tmp_path / "figures", "--bootstrap", 0)
    with (tmp_path / "figures" / "figures.csv").open() as stream:
        assert next(csv.reader(stream)) == ["f1", "name"]
    heading = (tmp_path / "figures" / "figures.md").read_text().splitlines()[0]
    assert [name.strip() for name in heading.strip("|").split("|")] == ["f1", "name"]


def test_an_unknown_name_is_refused_with_the_nearest(bccli: Bccli, table: Path) -> None:
    refused(
        bccli("evaluate", table, "--columns", "name,acuracy", exit=2), "'acuracy'", "did you mean 'accuracy'?"
    )
    refused(bccli("evaluate", table, "--columns", "Accuracy,ROC_AUC", exit=2), "did you mean 'accuracy'?")
    refused(bccli("evaluate", table, "--columns", "CBIS-DDSM", exit=2), "did you mean 'cbis-ddsm'?")
    refused(bccli("evaluate", table, "--columns", "confusion_matrix", exit=2), "'confusion_matrix'")
    refused(bccli("evaluate", table, "--audit", "--columns", "n", exit=2), "--columns", "--audit")


def test_every_cell_of_the_csv_and_every_scalar_of_the_json_is_a_column(bccli: Bccli, table: Path) -> None:
    (row,) = rows_of(evaluated(bccli, table))
    assert set(row) <= set(known_columns())
    figures = Figures().to_json()
    assert {key for key in figures if key not in NESTED} <= set(known_columns())
    names = ",".join(known_columns())
    text = evaluated(bccli, table, "--columns", names, "--bootstrap", 0)
    assert next(csv.reader(io.StringIO(text))) == list(known_columns())
    curve = watched_test([{"epoch": 1, "test_accuracy": 0.75}])
    (watched,) = flat_rows([{**figures, "watched_test": curve}])
    assert set(watched) <= set(known_columns())
    assert watched["watched_test_mean_accuracy"] == 0.75
