"""`bccli evaluate`: figures of runs and of anybody's predictions, and refusals of what is neither."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PATIENT, Bccli, draw, rows_of, save
from tests.sentences import refused

GOOD = "path,label,p_a,p_b\n1.png,a,0.9,0.1\n2.png,b,0.2,0.8\n3.png,b,0.6,0.4\n4.png,a,0.7,0.3\n"

# The contract's keys, in its order.
KEYS = [
    "name", "kind", "backbone", "dataset", "protocol", "split", "level", "n", "patients", "classes",
    "positive", "accuracy", "balanced_accuracy", "f1", "roc_auc", "auc_paper", "tpr", "fpr", "tnr",
    "loss", "majority_accuracy", "train_accuracy", "val_accuracy", "beta", "beta_paper", "overfit",
    "overfit_paper", "patient_accuracy", "confusion_matrix", "per_class", "ci", "calibration",
    "leakage",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run, to be copied before it is changed."""
    from click.testing import CliRunner

    from bccli.cli import cli

    root = tmp_path_factory.mktemp("evaluate")
    for patient in range(6):
        for number in range(3):
            label = ("benign", "malignant")[patient % 2]
            save(root / "raw" / label / f"p{patient}_{number}.png", draw(patient % 2, patient * 10 + number))
    for command in (
        ("prepare", "folder", root / "raw", root / "data", *PATIENT, "--ratios", "1/1/1"),
        ("train", root / "data", root / "run", "--epochs", 1, "--batch-size", 8),
    ):
        assert CliRunner().invoke(cli, [str(part) for part in command]).exit_code == 0
    return root / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run of one's own."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def figures(bccli: Bccli, *arguments: object, **options: object) -> list[dict]:
    """The contract's JSON."""
    printed = json.loads(bccli("evaluate", *arguments, "--format", "json", **options).stdout)
    assert list(printed)[:2] == ["format", "runs"]
    assert printed["format"] == 1
    return printed["runs"]


def test_the_keys_are_the_contracts_in_its_order(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    for entry in figures(bccli, run, tmp_path / "p.csv"):
        assert list(entry)[: len(KEYS)] == KEYS
        assert list(entry["calibration"]) == ["ece", "brier"]
        for row in entry["per_class"].values():
            assert list(row)[:6] == ["n", "sensitivity", "specificity", "precision", "f1", "roc_auc"]
    assert list(figures(bccli, run)[0]["leakage"]) == ["patients", "identical", "near_duplicates", "children"]


def test_figures_of_a_run_say_what_it_was(bccli: Bccli, run: Path) -> None:
    (entry,) = figures(bccli, run)
    expected = {"name": "run", "kind": "network", "backbone": "cnn-15", "dataset": "folder", "split": "test",
                "protocol": "honest", "level": "image", "n": 6, "patients": 2, "positive": "malignant",
                "classes": ["benign", "malignant"], "majority_accuracy": 0.5}  # fmt: skip
    assert {key: entry[key] for key in expected} == expected
    (val,) = figures(bccli, run, "--split", "val")
    assert val["split"] == "val"
    assert val["accuracy"] == val["val_accuracy"]
    stored = json.loads((run / "metrics.json").read_text())["runs"]
    assert stored == [val, entry]


def test_figures_of_a_foreign_table_are_what_they_should_be(bccli: Bccli, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    (entry,) = figures(bccli, tmp_path / "p.csv")
    expected = {"n": 4, "accuracy": 0.75, "tpr": 0.5, "fpr": 0.0, "roc_auc": 1.0, "positive": "b",
                "confusion_matrix": [[2, 0], [1, 1]]}  # fmt: skip
    assert {key: entry[key] for key in expected} == expected
    for key in (
        "kind",
        "backbone",
        "dataset",
        "protocol",
        "split",
        "patients",
        "patient_accuracy",
        "leakage",
    ):
        assert entry[key] is None


def test_another_positive_class_turns_the_rates_round(bccli: Bccli, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    (entry,) = figures(bccli, tmp_path / "p.csv", "--positive", "a")
    assert (entry["positive"], entry["tpr"], entry["fpr"]) == ("a", 1.0, 0.5)


def test_a_table_comes_from_standard_input(bccli: Bccli, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    (expected,) = figures(bccli, tmp_path / "p.csv")
    for text in (GOOD, "\ufeff" + GOOD.replace("\n", "\r\n"), GOOD.encode().replace(b"1.png", b"\xff.png")):
        (entry,) = figures(bccli, "-", input=text)
        assert entry == {**expected, "name": "-"}


def test_classes_alone_are_enough(bccli: Bccli) -> None:
    (entry,) = figures(bccli, "-", input="path,label,predicted\n1,a,a\n2,b,a\n")
    assert entry["accuracy"] == 0.5
    assert entry["roc_auc"] is entry["loss"] is entry["calibration"] is None


def test_only_the_split_that_is_asked_for_counts(bccli: Bccli) -> None:
    text = "path,label,split,p_a,p_b\n1,a,test,1,0\n2,b,test,0,1\n3,a,val,0,1\n"
    assert figures(bccli, "-", input=text)[0]["n"] == 2
    assert figures(bccli, "-", "--split", "val", input=text)[0]["accuracy"] == 0.0
    refused(
        bccli("evaluate", "-", input="path,label,split,p_a,p_b\n1,a,train,1,0\n", exit=3), "no images of test"
    )


def test_several_runs_are_one_table(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    rows = rows_of(bccli("evaluate", run, tmp_path / "p.csv", run).stdout)
    assert [row["name"] for row in rows] == ["run", "run", str(tmp_path / "p.csv")]  # p.csv has no val
    table = bccli("evaluate", run, tmp_path / "p.csv", "--format", "table").stdout
    assert "majority accuracy" in table
    assert not table.startswith("name,")


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("", ("no column 'path'", "path,label")),
        ("path,label,p_a,p_b\n", ("no rows",)),
        ("label,p_a,p_b\na,1,0\n", ("no column 'path'",)),
        ("path,p_a,p_b\n1,1,0\n", ("no column 'label'",)),
        ("path,label\n1,a\n", ("p_<class>", "predicted")),
        ("path,label,p_a,p_a\n1,a,1,0\n", ("'p_a' twice",)),
        (GOOD + "5,c,0.1,0.9\n", ("label 'c'", "row 6", "a, b")),
        (GOOD + "5,a,nan,0.9\n", ("p_a", "row 6", "nan")),
        (GOOD + "5,a,0.1,inf\n", ("p_b", "row 6", "inf")),
        (GOOD + "5,a,high,0.9\n", ("p_a", "row 6", "high")),
        (GOOD + "5,a,,0.9\n", ("p_a", "row 6", "empty")),
        (GOOD + "5,a\n", ("p_a", "row 6", "empty")),
        (GOOD + "5,a,-1,2\n", ("p_a", "row 6", "-1")),
        ("path,label,predicted\n1,a,\n2,b,b\n", ("predicted (empty)", "row 2")),
        ("path,label,predicted,p_a,p_b\n1,a,c,1,0\n", ("predicted 'c'", "row 2")),
        ("\x89PNG\r\n\x1a\n\0\0", ("binary file", "path,label")),
        (GOOD + "x" * 200_000 + ",a,1,0\n", ("not valid CSV",)),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(
    bccli: Bccli, tmp_path: Path, text: str, fragments: tuple[str, ...]
) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(text.encode("latin-1"))
    refused(bccli("evaluate", path, exit=3), str(path), *fragments)


def test_an_unknown_positive_class_is_refused(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    refused(bccli("evaluate", run, "--positive", "begnin", exit=2), "'begnin'", "benign, malignant")
    refused(bccli("evaluate", tmp_path / "p.csv", "--positive", "c", exit=2), "'c'", "a, b")


def test_what_is_no_run_is_refused(bccli: Bccli, tmp_path: Path) -> None:
    for name in ("nowhere", "nowhere.csv"):
        refused(bccli("evaluate", tmp_path / name, exit=3), name, "no such file or folder", "bccli train")
    refused(bccli("evaluate", tmp_path, exit=3), str(tmp_path), "is not a run", "bccli train")
    refused(bccli("evaluate", exit=2), "missing", "bccli evaluate --help")


@pytest.mark.parametrize(
    ("harm", "fragments"),
    [
        (lambda run: (run / "run.json").write_text("{"), ("run.json", "not valid JSON")),
        (lambda run: change(run, status="running"), ("unfinished", "the same bccli train again")),
        (lambda run: change(run, format=9), ("newer bccli", "update")),
        (lambda run: change(run, format="1"), ("no format number",)),
        (lambda run: change(run, tool="other"), ("not written by bccli",)),
        (lambda run: change(run, classes=None), ("no 'classes'",)),
        (lambda run: change(run, files=None), ("no 'files'",)),
        (lambda run: change(run, settings=None), ("no 'settings'",)),
        (lambda run: (run / "predictions.csv").unlink(), ("predictions.csv", "is missing", "copy")),
        (lambda run: (run / "predictions.csv").write_text(GOOD), ("predictions.csv", "has changed", "copy")),
    ],
)
def test_a_run_that_is_not_whole_is_refused(
    bccli: Bccli, run: Path, harm: Callable[[Path], object], fragments: tuple[str, ...]
) -> None:
    harm(run)
    refused(bccli("evaluate", run, exit=3), str(run), *fragments)


def change(run: Path, **changes: object) -> None:
    """Change keys of run.json; None removes them."""
    info = {**json.loads((run / "run.json").read_text()), **changes}
    (run / "run.json").write_text(
        json.dumps({key: value for key, value in info.items() if value is not None})
    )


def test_a_run_can_be_moved_and_renamed(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    (before,) = figures(bccli, run)
    (after,) = figures(bccli, run.rename(tmp_path / "renamed"))
    assert after == {**before, "name": "renamed"}


# Another dataset


@pytest.fixture(scope="module")
def others(finished: Path) -> Path:
    """The folder of `finished` with more datasets: other patients, other sizes, other classes."""
    from click.testing import CliRunner

    from bccli.cli import cli

    root = finished.parent
    for patient in range(6, 9):
        for number in range(3):
            label = ("benign", "malignant")[patient % 2]
            save(root / "new" / label / f"p{patient}_{number}.png", draw(patient % 2, patient * 10 + number))
            save(root / "large" / label / f"p{patient}_{number}.png", draw(0, patient, (30, 30)))
            save(
                root / "third" / ("normal", label)[number % 2] / f"p{patient}_{number}.png", draw(0, patient)
            )
    for name in ("new", "large", "third"):
        command = ("prepare", "folder", root / name, root / f"{name}_data", *PATIENT, "--ratios", "1/0/0")
        assert CliRunner().invoke(cli, [str(part) for part in command]).exit_code == 0
    return root


def test_other_data_is_taken_whole_and_computed_anew(bccli: Bccli, run: Path, others: Path) -> None:
    data = others / "new_data"
    (entry,) = figures(bccli, run, "--data", data)
    assert list(entry)[: len(KEYS)] == KEYS
    expected = {"n": 9, "patients": 3, "split": None, "dataset": "folder", "protocol": "honest",
                "leakage": {"patients": 0, "identical": 0, "near_duplicates": 0, "children": 0}}  # fmt: skip
    assert {key: entry[key] for key in expected} == expected
    rows = rows_of(bccli("predict", run, data / "images").stdout)
    manifest = rows_of((data / "manifest.csv").read_text())
    labels = {str(data / row["path"]): row["label"] for row in manifest}
    hits = [labels[row["path"]] == row["predicted"] for row in rows]
    assert entry["accuracy"] == pytest.approx(sum(hits) / 9)
    assert "accuracy" in bccli("evaluate", run, "--data", data, "--format", "table").stdout


def test_other_data_is_audited_against_what_the_run_has_seen(bccli: Bccli, run: Path, others: Path) -> None:
    result = bccli("evaluate", run, "--data", others / "data", "--format", "json")
    leakage = json.loads(result.stdout)["runs"][0]["leakage"]
    assert (leakage["patients"], leakage["identical"]) == (4, 12)
    assert "4 patients, 12 images with identical pixels" in result.stderr
    table = bccli("evaluate", run, "--data", others / "data", "--format", "table").stdout
    assert "data shares 4 patients" in table


def test_the_runs_own_data_gives_its_own_figures(
    bccli: Bccli, run: Path, others: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(others / "data", tmp_path / "data"))
    lines = (data / "manifest.csv").read_text().splitlines(keepends=True)
    (data / "manifest.csv").write_text("".join([lines[0], *(line for line in lines if ",test," in line)]))
    (whole,), (entry,) = figures(bccli, run), figures(bccli, run, "--data", data)
    assert entry["leakage"] == {"patients": 0, "identical": 0, "near_duplicates": 0, "children": 0}
    for key in ("n", "accuracy", "f1", "roc_auc", "confusion_matrix", "beta"):
        assert entry[key] == whole[key]
    assert entry["loss"] == pytest.approx(whole["loss"], abs=1e-5)


def test_other_data_that_does_not_fit_is_refused(
    bccli: Bccli, run: Path, others: Path, tmp_path: Path
) -> None:
    refused(bccli("evaluate", run, "--data", others / "large_data", exit=3), "30×30", "--size 24x24")
    refused(bccli("evaluate", run, "--data", others / "third_data", exit=3), "normal", "benign, malignant")
    refused(bccli("evaluate", run, "--data", tmp_path / "none", exit=3), "no such folder", "prepare")
    refused(
        bccli("evaluate", run, "--data", others / "new_data", "--split", "val", exit=2), "--split", "--data"
    )
    (tmp_path / "p.csv").write_text(GOOD)
    refused(
        bccli("evaluate", tmp_path / "p.csv", "--data", others / "new_data", exit=3), "p.csv", "not a run"
    )
    data = Path(shutil.copytree(others / "new_data", tmp_path / "data"))
    next((data / "images").rglob("*.png")).write_bytes(b"")
    refused(bccli("evaluate", run, "--data", data, exit=3), ".png", "0 bytes", "restore")
