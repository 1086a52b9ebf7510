"""`bccli evaluate`: figures of runs and of anybody's predictions, and refusals of what is neither."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bccli.core.files import file_hash
from tests import drawn
from tests.conftest import PATIENT, Bccli, draw, rows_of, save, tree
from tests.library import Library, bccli_in
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
def finished(library: Library) -> Path:
    """A complete run, to be copied before it is changed."""
    return library.folder("evaluate", fill) / "run"


def fill(root: Path) -> None:
    for patient in range(6):
        for number in range(3):
            label = ("benign", "malignant")[patient % 2]
            save(root / "raw" / label / f"p{patient}_{number}.png", draw(patient % 2, patient * 10 + number))
    for command in (
        ("prepare", "folder", root / "raw", root / "data", *PATIENT, "--ratios", "1/1/1"),
        ("train", root / "data", root / "run", "--epochs", 1, "--batch-size", 8),
    ):
        bccli_in(*command)
    fill_others(root)


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
    for text in (GOOD, "\ufeff" + GOOD.replace("\n", "\r\n"), GOOD.encode().replace(b"1.png", b"1\xff.png")):
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
    leading = bccli("evaluate", run, tmp_path / "p.csv", run, "--format", "table").stdout
    assert all(name in leading for name in ("run test (2)", "accuracy", "majority", "AUC", "val"))
    table = bccli("evaluate", run, tmp_path / "p.csv", "--format", "table").stdout
    assert {"majority", "accuracy"} <= set(table.split())
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


def test_a_run_without_test_says_what_it_has(bccli: Bccli, run: Path) -> None:
    table = run / "predictions.csv"
    head, *rows = table.read_text().splitlines()
    place = head.split(",").index("split")
    kept = [row for row in rows if row.split(",")[place] == "val"]
    assert kept
    before = file_hash(table)
    table.write_text("\n".join([head, *kept]) + "\n")
    info = (run / "run.json").read_text()
    (run / "run.json").write_text(info.replace(before, file_hash(table)))
    refused(bccli("evaluate", run, exit=3), "has no images of test; it has val; add --split val")
    assert bccli("evaluate", run, "--split", "val").stdout


def test_a_run_can_be_moved_and_renamed(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    (before,) = figures(bccli, run)
    (after,) = figures(bccli, run.rename(tmp_path / "renamed"))
    assert after == {**before, "name": "renamed"}


# Another dataset


@pytest.fixture(scope="module")
def others(finished: Path) -> Path:
    """The folder of `finished` with more datasets: other patients, other sizes, other classes."""
    return finished.parent


def fill_others(root: Path) -> None:
    for patient in range(6, 9):
        for number in range(3):
            label = ("benign", "malignant")[patient % 2]
            save(root / "new" / label / f"p{patient}_{number}.png", draw(patient % 2, patient * 10 + number))
            save(root / "large" / label / f"p{patient}_{number}.png", draw(0, patient, (30, 30)))
            save(
                root / "third" / ("normal", label)[number % 2] / f"p{patient}_{number}.png", draw(0, patient)
            )
    for name in ("new", "large", "third"):
        bccli_in("prepare", "folder", root / name, root / f"{name}_data", *PATIENT, "--ratios", "1/0/0")


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
    for format in ("csv", "markdown", "latex"):
        text = bccli("evaluate", run, "--data", others / "data", "--format", format).stdout
        assert "data shares 4 patients" in text
    (row,) = rows_of(bccli("evaluate", run, "--data", others / "data").stdout)
    assert (row["leakage_patients"], row["leakage_identical"]) == ("4", "12")
    assert row["positive"] == "malignant"


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


# What a reviewer asks for


def table_of(
    *,
    seed: int = 0,
    patients: int = 24,
    images: int = 4,
    apart: float = 2.0,
    columns: str = "",
) -> str:
    """A made-up tool's predictions: half of the patients are val, half test, every other one malignant."""
    rng = np.random.default_rng(seed)
    lines = ["path,label,split,patient,p_benign,p_malignant" + (columns and f",{columns}")]
    for patient in range(patients):
        for number in range(images):
            label = patient % 2
            score = apart * (label - 0.5) + rng.normal()
            positive = round(float(1 / (1 + np.exp(-score))), 6)
            split = ("val", "test")[patient // 2 % 2]
            row = [f"{patient}_{number}.png", ("benign", "malignant")[label], split, f"p{patient}"]
            extra = [f",{(40, 100)[number % 2]}"] if columns else []
            lines.append(",".join([*row, f"{1 - positive:.6f}", f"{positive:.6f}"]) + "".join(extra))
    return "\n".join(lines) + "\n"


def test_figures_have_intervals_over_patients(bccli: Bccli) -> None:
    (entry,) = figures(bccli, "-", input=table_of())
    assert (entry["n"], entry["patients"], entry["resampled"]) == (48, 12, "patients")
    for name in ("accuracy", "roc_auc", "pr_auc", "mcc", "kappa", "log_loss", "sensitivity.malignant"):
        low, high = entry["ci"][name]
        assert low < high
    assert entry["ci"]["accuracy"][0] <= entry["accuracy"] <= entry["ci"]["accuracy"][1]
    (again,) = figures(bccli, "-", input=table_of())
    assert again == entry
    (without,) = figures(bccli, "-", "--bootstrap", 0, input=table_of())
    assert without["ci"] is None
    assert without["accuracy"] == entry["accuracy"]


def test_why_there_are_no_intervals_is_said(bccli: Bccli) -> None:
    text = table_of(patients=8)
    (entry,) = figures(bccli, "-", input=text)
    assert entry["ci"] is None
    assert entry["reasons"]["ci"] == "only 4 patients; intervals need 5"
    shown = bccli("evaluate", "-", "--format", "table", input=text).stdout
    assert "no intervals (only 4 patients; intervals need 5)" in shown
    (unknown,) = figures(bccli, "-", input=GOOD + "5.png,a,0.8,0.2\n")
    assert unknown["resampled"] == "images, as patients are unknown"
    assert unknown["ci"]


@pytest.mark.parametrize("format", ["table", "csv", "markdown", "latex"])
def test_every_format_says_what_its_figures_rest_on(bccli: Bccli, tmp_path: Path, format: str) -> None:
    lines = GOOD + "5.png,a,0.8,0.2\n"
    shown = bccli("evaluate", "-", "--format", format, "--output", tmp_path / "out", input=lines).stdout
    written = {"csv": "csv", "markdown": "md", "latex": "tex"}.get(format)
    for text in (shown, (tmp_path / "out" / f"figures.{written}").read_text() if written else shown):
        assert "patients unknown" in text
        assert "images, as patients are unknown" in text
        assert "positive class: b (the last one, as the names do not say" in text
        assert "interval of tpr" in text
        assert "rests on 2 images; its interval needs 5" in text


def test_folds_stand_beside_the_pooled_figures_in_every_format(bccli: Bccli) -> None:
    header, *rows = table_of().splitlines()
    text = "\n".join([header + ",fold", *(f"{row},{number % 3}" for number, row in enumerate(rows))])
    (entry,) = figures(bccli, "-", input=text)
    spread = entry["folds"]["measures"]["accuracy"]
    assert entry["folds"]["names"] == ["0", "1", "2"]
    assert spread["mean"] == pytest.approx(np.mean(spread["values"]))
    for format, plus in (("table", "±"), ("markdown", "±"), ("latex", r"$\pm$")):
        shown = bccli("evaluate", "-", "--format", format, input=text).stdout
        assert re.search(rf"{spread['mean']:.4f} {re.escape(plus)}\s", shown)
        assert "3 folds" in " ".join(shown.split())
    (row,) = rows_of(bccli("evaluate", "-", input=text).stdout)
    assert float(row["accuracy_fold_mean"]) == pytest.approx(spread["mean"])
    assert float(row["accuracy_fold_sd"]) == pytest.approx(spread["sd"])


def test_one_class_only_has_reasons(bccli: Bccli) -> None:
    (entry,) = figures(bccli, "-", input="path,label,p_a,p_b\n1,a,0.9,0.1\n2,a,0.4,0.6\n")
    assert entry["roc_auc"] is entry["tpr"] is None
    assert entry["accuracy"] == 0.5
    for name in ("roc_auc", "pr_auc", "tpr"):
        assert entry["reasons"][name] == "there is no image of b"


def test_rows_without_truth_are_left_out_and_named(bccli: Bccli) -> None:
    text = GOOD + "5.png,,0.1,0.9\n6.png\n"
    result = bccli("evaluate", "-", "--format", "json", exit=4, input=text)
    (entry,) = json.loads(result.stdout)["runs"]
    (expected,) = figures(bccli, "-", input=GOOD)
    assert entry == expected
    assert "2 rows have no label and were left out (5.png, 6.png)" in result.stderr
    bccli("evaluate", "-", "--skip-bad", input=text)
    refused(bccli("evaluate", "-", exit=3, input="path,label,p_a,p_b\n1,,0.9,0.1\n"), "no row has a label")


@pytest.mark.parametrize(
    ("rows", "fragments"),
    [
        ("5.png,a,0.6,0.6\n", ("row 6", "sum to 1.2", "predicted")),
        ("5.png,a,0.2,0.2\n", ("row 6", "sum to 0.4")),
        ("2.png,a,0.6,0.4\n", ("2.png", "row 3", "again in row 6")),
    ],
)
def test_probabilities_and_paths_that_cannot_be_meant_are_refused(
    bccli: Bccli, rows: str, fragments: tuple[str, ...]
) -> None:
    refused(bccli("evaluate", "-", exit=3, input=GOOD + rows), *fragments)


def test_two_decimals_are_precise_enough(bccli: Bccli) -> None:
    text = "path,label,p_a,p_b,p_c\n1,a,0.33,0.33,0.33\n2,b,0.17,0.67,0.17\n"
    assert figures(bccli, "-", input=text)[0]["accuracy"] == 1.0


def test_levels_count_images_and_patients(bccli: Bccli) -> None:
    text = table_of()
    (images,) = figures(bccli, "-", input=text)
    (patients,) = figures(bccli, "-", "--level", "patient", input=text)
    assert (patients["level"], patients["n"], patients["patients"]) == ("patient", 12, 12)
    assert patients["accuracy"] > images["accuracy"]  # the mean of four looks is surer than one
    rows = rows_of(text)
    right = 0
    for number in range(24):
        own = [row for row in rows if row["patient"] == f"p{number}" and row["split"] == "test"]
        mean = np.mean([float(row["p_malignant"]) for row in own]) if own else None
        right += mean is not None and (mean > 0.5) == (own[0]["label"] == "malignant")
    assert patients["accuracy"] == pytest.approx(right / 12)
    refused(bccli("evaluate", "-", "--level", "patch", exit=2, input=text), "--level patch", "whole images")


def test_a_table_of_patches_is_one_of_images_unless_asked(bccli: Bccli) -> None:
    text = "path,label,source,row,col,p_a,p_b\n" + "".join(
        f"{image}{patch},{'ab'[image % 2]},{image}.png,0,{patch},{p:.2f},{1 - p:.2f}\n"
        for image in range(6)
        for patch, p in enumerate((0.9, 0.4, 0.4))
    )
    (images,) = figures(bccli, "-", input=text)
    (pieces,) = figures(bccli, "-", "--level", "patch", input=text)
    assert (images["level"], images["n"]) == ("image", 6)
    assert (pieces["level"], pieces["n"]) == ("patch", 18)
    assert images["confusion_matrix"] == [[3, 0], [3, 0]]  # the mean probability of a is 0.57
    assert images["fusion"]["vote"]["accuracy"] == images["fusion"]["mean"]["accuracy"] == 0.5
    assert pieces["fusion"] is None


def test_a_threshold_is_chosen_on_val_and_nowhere_else(bccli: Bccli) -> None:
    text = table_of(apart=1.0)
    rows = rows_of(text)
    (entry,) = figures(bccli, "-", "--threshold", "sensitivity=0.9", input=text)
    threshold = entry["threshold"]["value"]
    val = [float(row["p_malignant"]) for row in rows if (row["split"], row["label"]) == ("val", "malignant")]
    assert np.mean(np.array(val) >= threshold) >= 0.9
    assert threshold in val
    test = [
        float(row["p_malignant"]) for row in rows if (row["split"], row["label"]) == ("test", "malignant")
    ]
    assert entry["tpr"] == pytest.approx(np.mean(np.array(test) >= threshold))
    assert entry["threshold"]["chosen_on"] == "val"
    flipped = "".join(
        line.replace("malignant,test", "benign,test") + "\n" for line in text.splitlines()
    )  # another truth in test
    (other,) = figures(bccli, "-", "--threshold", "sensitivity=0.9", input=flipped)
    assert other["threshold"] == entry["threshold"]
    (fixed,) = figures(bccli, "-", "--threshold", "0.9", input=text)
    assert fixed["threshold"] == {"rule": "fixed=0.9", "value": 0.9, "chosen_on": None}


def test_a_threshold_needs_val_two_classes_and_sense(bccli: Bccli) -> None:
    refused(bccli("evaluate", "-", "--threshold", "youden", exit=3, input=GOOD), "val", "a number instead")
    three = "path,label,p_a,p_b,p_c\n1,a,1,0,0\n"
    refused(bccli("evaluate", "-", "--threshold", "0.5", exit=2, input=three), "--threshold", "3 classes")
    refused(bccli("evaluate", "-", "--threshold", "yuden", exit=2, input=GOOD), "--threshold", "'youden'")
    refused(bccli("evaluate", "-", "--threshold", "1.5", exit=2, input=GOOD), "--threshold", "from 0 to 1")
    assert figures(bccli, "-", "--threshold", "0.5", input=GOOD)[0]["accuracy"] == 0.75


def test_breakdowns_follow_the_whole(bccli: Bccli) -> None:
    text = table_of(columns="magnification")
    whole, low, high = figures(bccli, "-", "--by", "magnification", input=text)
    assert [entry["group"] for entry in (whole, low, high)] == [None, "magnification 40", "magnification 100"]
    assert whole["n"] == low["n"] + high["n"]
    assert whole["confusion_matrix"] == np.add(low["confusion_matrix"], high["confusion_matrix"]).tolist()
    refused(
        bccli("evaluate", "-", "--by", "view", exit=3, input=text), "does not say the view", "magnification"
    )


def write_tables(folder: Path, **tables: str) -> list[Path]:
    paths = []
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
        paths.append(folder / f"{name}.csv")
    return paths


def test_two_are_compared(bccli: Bccli, tmp_path: Path) -> None:
    paths = write_tables(tmp_path, good=table_of(apart=4), bad=table_of(seed=1, apart=0.2))
    result = json.loads(bccli("evaluate", *paths, "--format", "json").stdout)
    versus = result["comparison"]
    assert versus["first"] == result["runs"][0]["name"]
    assert versus["n"] == 48
    for name in ("accuracy", "roc_auc"):
        difference = result["runs"][0][name] - result["runs"][1][name]
        assert versus["differences"][name]["difference"] == pytest.approx(difference)
        low, high = versus["differences"][name]["ci"]
        assert 0 < low < high
        assert versus["differences"][name]["p"] < 0.05
    assert versus["mcnemar"]["naive"]
    assert versus["delong"]["method"] == "Obuchowski 1997"
    shown = bccli("evaluate", *paths, "--format", "table").stdout
    assert "swapping the two within whole patients" in shown
    assert "Obuchowski 1997, p = " in shown
    assert "McNemar" not in shown  # it takes the images of a patient as independent
    (other,) = write_tables(tmp_path, other=table_of().replace(".png", ".jpg"))
    result = bccli("evaluate", paths[0], other, "--format", "table").stdout
    assert "cannot be compared: they have no image in common" in result


def test_a_leaderboard_is_sorted_by_val_and_cannot_be_by_test(bccli: Bccli, tmp_path: Path) -> None:
    """Of three tools, each is better on test the worse it is on val."""

    def joined(val: float, test: float) -> str:
        header, *first = table_of(apart=val).splitlines()
        second = table_of(seed=1, apart=test).splitlines()[1:]
        own = [line for line in first if ",val," in line] + [line for line in second if ",test," in line]
        return "\n".join([header, *own]) + "\n"

    paths = write_tables(tmp_path, a=joined(0.2, 6), b=joined(6, 0.2), c=joined(2, 2))
    for options in (
        (),
        ("--split", "test"),
        ("--split", "val"),
        ("--threshold", "0.4"),
        ("--level", "patient"),
    ):
        for order in (paths, paths[::-1]):
            entries = figures(bccli, *order, "--bootstrap", 0, *options)
            assert [Path(entry["name"]).stem for entry in entries] == ["b", "c", "a"], options
    tested = [entry["accuracy"] for entry in figures(bccli, *paths, "--bootstrap", 0)]
    assert tested == sorted(tested)  # worst first: nobody sorted by test
    for attempt in (("--sort", "test"), ("--rank", "accuracy"), ("--sort-by", "test_accuracy")):
        refused(bccli("evaluate", *paths, *attempt, exit=2), "no such option")


def test_tables_for_papers(bccli: Bccli, tmp_path: Path) -> None:
    paths = write_tables(tmp_path, one_tool=table_of(), two=table_of(seed=1))
    markdown = bccli("evaluate", *paths, "--format", "markdown").stdout
    lines = markdown.splitlines()
    assert re.sub(" +", " ", lines[0]).startswith("| run | split | level | n |")
    assert set(lines[1]) <= set("|-: ")
    assert re.search(r"0\.\d{4} \(0\.\d{2}–[01]\.\d{2}\)", lines[2])
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert "* 95 % intervals over patients" in lines
    assert any("positive class: malignant (known" in line for line in lines)
    latex = bccli("evaluate", *paths, "--format", "latex").stdout
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    assert r"one\_tool" in latex
    assert not re.search(r"(?<!\\)[_%]", latex)


@pytest.mark.pictures
def test_output_holds_tables_and_plots_twice(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    bccli("evaluate", run, "--output", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {f"figures.{ending}" for ending in ("json", "csv", "md", "tex")}
    plots = ("confusion", "roc", "precision_recall", "calibration", "beta")
    assert names == tables | {f"{plot}.{ending}" for plot in plots for ending in ("png", "svg")}
    for name in names - tables:
        start = (tmp_path / "out" / name).read_bytes()[:5]
        assert start in (b"\x89PNG\r", b"<?xml")
    stored = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert stored["runs"] == figures(bccli, run)
    before = tree(tmp_path / "out")
    bccli("evaluate", run, "--output", tmp_path / "out")
    assert tree(tmp_path / "out") == before
    (several,) = write_tables(tmp_path, t=table_of())
    bccli("evaluate", several, run, "--output", tmp_path / "two")
    assert all((tmp_path / "two" / place / "roc.png").exists() for place in ("01", "02"))
    assert len(list((tmp_path / "two").rglob("beta.svg"))) == 1  # a table has no epochs


@pytest.mark.pictures
def test_a_run_of_any_name_is_in_the_legend_of_its_plots(
    bccli: Bccli, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bccli.core.evaluation import plots
    from bccli.core.metrics import plots as plots_of_runs

    figures = drawn.figures_of(monkeypatch, plots, plots_of_runs)
    run.rename(tmp_path / "_run $x^{$")
    bccli("evaluate", tmp_path / "_run $x^{$", "--output", tmp_path / "out")
    *others, beta = figures[::2]
    assert beta.axes[0].get_legend().get_texts()[0].get_text() == r"_run \$x^{\$"
    for figure in (*others, beta):
        assert any("_run $x^{$" in text for text in drawn.words(figure))
        assert drawn.formulas(figure) == []
        assert drawn.overlapping(figure) == []


def test_a_temperature_is_stored_and_predict_uses_it(bccli: Bccli, run: Path, others: Path) -> None:
    data = others / "data"
    (before,) = figures(bccli, run)
    assert before["temperature"] is None
    (after,) = figures(bccli, run, "--calibrate")
    temperature = after["temperature"]
    assert after["confusion_matrix"] == before["confusion_matrix"]
    assert after["log_loss"] != before["log_loss"]
    assert figures(bccli, run) == [after]
    assert figures(bccli, run, "--no-calibrate") == [before]
    assert json.loads((run / "metrics.json").read_text())["runs"][1] == after
    stored = {
        row["path"]: float(row["p_malignant"]) for row in rows_of((run / "predictions.csv").read_text())
    }
    rows = rows_of(bccli("predict", run, *(data / path for path in stored)).stdout)
    for row in rows:
        plain = stored[str(Path(row["path"]).relative_to(data))]
        odds = (plain / (1 - plain)) ** (1 / temperature)
        assert float(row["p_malignant"]) == pytest.approx(odds / (1 + odds), abs=1e-4)
    (elsewhere,) = figures(bccli, run, "--data", data)
    assert elsewhere["temperature"] == temperature
    (val,) = figures(bccli, run, "--split", "val")
    (plain_val,) = figures(bccli, run, "--split", "val", "--no-calibrate")
    assert val["log_loss"] <= plain_val["log_loss"]
    assert json.loads((run / "metrics.json").read_text())["runs"] == [val, after]


@pytest.mark.parametrize("further", [[], ["--by", "group"]], ids=["plain", "by"])
def test_calibrating_reads_the_predictions_once(
    bccli: Bccli, run: Path, monkeypatch: pytest.MonkeyPatch, further: list[str]
) -> None:
    from bccli.core.runs import predictions

    reads = []
    read = predictions.read_predictions
    for module in ("subjects", "run_figures"):
        monkeypatch.setattr(
            f"bccli.core.evaluation.{module}.read_predictions",
            lambda *arguments: reads.append(arguments[0].name) or read(*arguments),
        )
    bccli("evaluate", run, "--calibrate", *further)
    assert reads == ["predictions.csv"]


def test_what_calibrating_stores_does_not_depend_on_what_is_shown(bccli: Bccli, run: Path) -> None:
    bccli("evaluate", run, "--calibrate")
    stored = (run / "metrics.json").read_bytes()
    for others in (["--split", "val"], ["--level", "patient"], ["--bootstrap", 0], ["--threshold", "youden"]):
        (run / "metrics.json").write_bytes(stored.replace(b"0", b"1"))
        bccli("evaluate", run, "--calibrate", *others)
        assert (run / "metrics.json").read_bytes() == stored


def test_a_tables_temperature_is_for_its_figures_only(bccli: Bccli) -> None:
    text = table_of(apart=0.5)
    (plain,), (calibrated,) = figures(bccli, "-", input=text), figures(bccli, "-", "--calibrate", input=text)
    assert calibrated["accuracy"] == plain["accuracy"]
    assert calibrated["temperature"] > 1
    assert calibrated["calibration"]["ece"] < plain["calibration"]["ece"]
    refused(bccli("evaluate", "-", "--calibrate", exit=3, input=GOOD), "no probabilities of val")


def test_the_papers_figures_stand_beside_those_of_its_recipe(bccli: Bccli, run: Path) -> None:
    assert figures(bccli, run)[0]["paper"] is None
    change(run, recipe="resnet50-breakhis")
    assert figures(bccli, run)[0]["paper"] is None  # a small network of another kind
    settings = json.loads((run / "run.json").read_text())["settings"]
    settings |= {"dense": [1024], "dropout": 0.4, "output": "sigmoid", "trainable": "all"}
    change(run, backbone="resnet50", settings=settings)
    (entry,) = figures(bccli, run)
    best, average = entry["paper"]
    assert (best["measure"], best["paper"], best["where"]) == ("accuracy", 0.991, "table II")
    assert average["paper"] == 0.99
    assert best["n"] == 1995
    assert best["measured"] == entry["accuracy"]
    shown = bccli("evaluate", run, "--format", "table").stdout
    assert "0.9910" in shown
    assert "honest" in shown
    assert figures(bccli, run, "--level", "patient")[0]["paper"] is None
    settings |= {"dense": [4096], "dropout": 0.2, "trainable": "none"}
    change(run, recipe="cbis-ddsm-tl", backbone="vgg16", settings=settings)
    rows = figures(bccli, run)[0]["paper"]
    assert {row["measure"]: row["paper"] for row in rows if row["where"] == "table 7"} == {
        "auc_paper": 0.644,
        "f1": 0.654,
        "accuracy": 0.644,
    }
    change(run, settings={**settings, "from_layer": 10, "dense": []})
    assert {row["paper"] for row in figures(bccli, run)[0]["paper"] if row["measure"] == "auc_paper"} == {
        0.816
    }
    change(run, settings={**settings, "from_layer": 11, "dense": []})
    assert figures(bccli, run)[0]["paper"] is None


def test_a_sweep_is_a_leaderboard_of_its_members(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for name in ("a", "b", "c"):
        shutil.copytree(run, sweep / name)
    (sweep / "run.json").write_text(json.dumps({"format": 1, "tool": "bccli", "kind": "sweep"}))
    change(sweep / "a", val_accuracy=0.25)
    change(sweep / "b", val_accuracy=0.75)
    change(sweep / "c", status="running")
    result = bccli("evaluate", sweep, "--format", "json", exit=4)
    assert [entry["name"] for entry in json.loads(result.stdout)["runs"]] == ["b", "a"]
    assert f"{sweep / 'c'}: is unfinished and was left out" in result.stderr
    bccli("evaluate", sweep, "--skip-bad")
    for name in ("a", "b"):
        change(sweep / name, status="running")
    refused(bccli("evaluate", sweep, exit=3), "no member", "bccli train")


def test_too_few_rounds_for_an_interval_are_refused(bccli: Bccli) -> None:
    for rounds in (1, 2, 39):
        refused(
            bccli("evaluate", "-", "--bootstrap", rounds, exit=2, input=GOOD),
            "--bootstrap", f"{rounds} rounds are too few", "40 or more", "0 for no intervals",
        )  # fmt: skip
    (entry,) = figures(bccli, "-", "--bootstrap", 40, input=table_of())
    assert entry["rounds"] == 40
    assert entry["ci"]["accuracy"]


@pytest.mark.parametrize("option", ["--by", "--positive"])
@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_refused(bccli: Bccli, option: str, name: str) -> None:
    refused(bccli("evaluate", "-", option, name, exit=2, input=GOOD), option, "is empty")


def test_columns_to_break_down_by_are_known_whatever_their_capitals(bccli: Bccli) -> None:
    for column, asked in (("magnification", "Magnification"), ("Scanner", "scanner"), ("SITE", " Site")):
        entries = figures(bccli, "-", "--bootstrap", 0, "--by", asked, input=table_of(columns=column))
        assert [entry["group"] for entry in entries] == [None, f"{column} 40", f"{column} 100"]
    text = table_of(columns="Scanner")
    refused(bccli("evaluate", "-", "--by", "scaner", exit=3, input=text), "did you mean 'Scanner'")
    both = "path,label,p_a,p_b,Site,site\n1,a,1,0,x,y\n2,b,0,1,z,y\n"
    assert figures(bccli, "-", "--by", "site", input=both)[1]["group"] == "site y"
    refused(bccli("evaluate", "-", "--by", "SITE", exit=3, input=both), "SITE", "--by can be Site")


@pytest.mark.parametrize("format", ["table", "csv", "json", "markdown", "latex"])
def test_tables_of_other_images_are_told_apart(bccli: Bccli, tmp_path: Path, format: str) -> None:
    paths = write_tables(
        tmp_path,
        one=GOOD,
        two=GOOD,
        other=GOOD.replace(".png", ".jpg"),
        third=GOOD.replace(".png", ".tif"),
    )
    shown = bccli("evaluate", paths[0], paths[2], "--bootstrap", 0, "--format", format).stdout
    assert "no image in common" in shown
    shown = bccli("evaluate", *paths, "--bootstrap", 0, "--format", format).stdout
    assert shown.count("has no image in common with") == 4
    same = bccli("evaluate", *paths[:2], paths[0], "--bootstrap", 0, "--format", format).stdout
    assert "in common" not in same


@pytest.mark.parametrize(
    "name",
    ["figures.json", "figures.csv", "figures.md", "figures.tex", "roc.png", "confusion.svg", "01/roc.svg"],
)
def test_output_overwrites_nothing_of_others(bccli: Bccli, tmp_path: Path, name: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    for content in ("", "[1, 2]", '{"runs": []}', '{"runs": "mine"}', "anything"):
        path.write_text(content)
        refused(
            bccli("evaluate", "-", "--bootstrap", 0, "--output", tmp_path / "out", exit=3, input=GOOD),
            str(path), "evaluate did not write it", "--output",
        )  # fmt: skip
        assert tree(tmp_path / "out") == {name: content.encode()}


def test_output_goes_beside_files_of_other_names(bccli: Bccli, tmp_path: Path) -> None:
    save(tmp_path / "out" / "figure.png", draw(0, 0))
    for _ in range(2):
        bccli("evaluate", "-", "--bootstrap", 0, "--output", tmp_path / "out", input=GOOD)
    assert (tmp_path / "out" / "figures.json").exists()


def test_an_audit_overwrites_nothing_of_others(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    data = prepared
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "audit.csv").write_text("image,finding\n")
    (data / "audit.csv").write_text("the dataset's own\n")
    for folder in (tmp_path / "out", data):
        refused(
            bccli("evaluate", data, data, "--audit", "--output", folder, exit=3),
            str(folder / "audit.csv"), "evaluate did not write it",
        )  # fmt: skip
    for _ in range(2):
        bccli("evaluate", data, data, "--audit", "--output", tmp_path / "new")


MARKS = r"a&b%c$d#e_f{g}h~i^j\k|l"


def test_every_name_is_safe_in_latex(bccli: Bccli, tmp_path: Path) -> None:
    """Names of runs, classes and groups, in tables and below them, with every mark that means something."""
    paths = write_tables(
        tmp_path, **{f"{start}{MARKS}{number}": (
            f"path,label,p_{MARKS},p_[x],{MARKS}\n1,{MARKS},0.9,0.1,*{MARKS}\n2,[x],0.2,0.8,[{MARKS}\n"
        ) for number, start in enumerate("[*")}
    )  # fmt: skip
    for level in ("image", "patient"):
        printed = bccli("evaluate", *paths, "--by", MARKS, "--level", level, "--format", "latex").stdout
        bare = re.sub(
            r"\\[&%$#_{}]|\\text[a-z]+\{\}|\$[-<>]\$|\\(begin|end)\{tabular\}(\{[lr]+\})?", "", printed
        )
        bare = re.sub(r"\\\\$|\\hline|\\par\\noindent |\{\}| & |\$\\[a-z]+\$", "", bare, flags=re.MULTILINE)
        assert not set("&%$#_{}~^\\") & set(bare)
        assert not re.search(r"\\\\\n\s*[\[*]", printed)
