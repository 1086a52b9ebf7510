"""Which class is positive, from the folders' names to what `evaluate` asks for."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PATIENT, Bccli, rows_of
from tests.sentences import refused

QUICK = "--epochs", 1, "--batch-size", 8, "--trainable", "none"
MakeFolder = Callable[..., Path]


def described(out: Path) -> tuple[list[str], str, str]:
    info = json.loads((out / "dataset.json").read_text())
    return info["classes"], info["positive"], info["positive_origin"]


@pytest.mark.parametrize(
    ("classes", "expected", "said"),
    [
        (("Tumour", "no_tumour"), (["no_tumour", "Tumour"], "Tumour", "known"), "known to be the graver"),
        (("benign", "atypical"), (["benign", "atypical"], "atypical", "known"), "positive class: atypical"),
        (("abnormal", "normal"), (["normal", "abnormal"], "abnormal", "known"), "positive class: abnormal"),
        (("0", "1"), (["0", "1"], "1", "unknown"), "the names do not say"),
        (("carcinoma", "stroma"), (["carcinoma", "stroma"], "stroma", "unknown"), "--positive NAME"),
        (
            ("IDC", "DCIS", "Healthy"),
            (["Healthy", "DCIS", "IDC"], "IDC", "known"),
            "Healthy, DCIS, IDC (in the order of their severity)",
        ),
        (
            ("grade 10", "grade 2", "grade 1"),
            (["grade 1", "grade 2", "grade 10"], "grade 10", "unknown"),
            "in alphabetical order",
        ),
    ],
)
def test_prepare_orders_classes_and_says_which_is_positive(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path,
    classes: tuple[str, ...], expected: tuple[list[str], str, str], said: str,
) -> None:  # fmt: skip
    raw = make_folder(classes=classes, patients=3 * len(classes), images=1)
    dry = bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT, "--ratios", "1/1/1", "--dry-run")
    assert said in dry.stderr
    done = bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT, "--ratios", "1/1/1")
    assert said in done.stderr
    assert described(tmp_path / "data") == expected
    assert list(dict.fromkeys(row["label"] for row in rows_of(done.stdout))) == expected[0]


def test_a_table_of_images_is_ordered_like_a_folder(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw = make_folder(classes=("tumor", "negative"), patients=6, images=1)
    paths = sorted(raw.rglob("*.png"))
    lines = [f"{path.relative_to(tmp_path)},{path.parent.name},{path.stem}" for path in paths]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,patient", *lines]))
    bccli("prepare", "csv", tmp_path / "list.csv", tmp_path / "data", "--ratios", "1/1/1")
    assert described(tmp_path / "data") == (["negative", "tumor"], "tumor", "known")


def test_a_known_dataset_and_a_given_class_say_so(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    known = bccli("prepare", "phantom", "histology", tmp_path / "phantom", "--count", 24, "--patients", 6)
    assert "positive class: malignant (known" in known.stderr
    assert described(tmp_path / "phantom") == (["benign", "malignant"], "malignant", "known")
    given = bccli("prepare", "folder", make_folder(), tmp_path / "data", *PATIENT, "--positive", "benign")
    assert "positive class: benign (given by --positive)" in given.stderr
    assert described(tmp_path / "data") == (["benign", "malignant"], "benign", "given")


@pytest.fixture
def unnamed(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> Path:
    """A prepared dataset whose classes are called 0 and 1."""
    raw = make_folder(classes=("0", "1"), images=2)
    bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT, "--ratios", "1/1/1")
    return tmp_path / "data"


def test_rules_that_need_the_positive_class_ask_for_it(bccli: Bccli, unnamed: Path, tmp_path: Path) -> None:
    trained = bccli("train", unnamed, tmp_path / "run", *QUICK)
    assert "positive class: 1 (the last one" in trained.stderr
    run = tmp_path / "run"
    for rule in ("sensitivity=0.9", "specificity=0.9", "0.4"):
        said = refused(bccli("evaluate", run, "--threshold", rule, exit=2), "run", "--positive 0")
        assert "--positive 1" in said
        bccli("evaluate", run, "--threshold", rule, "--positive", "0", "--bootstrap", 0)
    bccli("evaluate", run, "--threshold", "youden", "--bootstrap", 0)
    assert rows_of(bccli("evaluate", run, "--bootstrap", 0).stdout)[0]["positive"] == "1"


def test_what_is_given_to_prepare_is_enough(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw, data = make_folder(classes=("0", "1"), images=2), tmp_path / "data"
    bccli("prepare", "folder", raw, data, *PATIENT, "--folds", 3, "--positive", "0")
    bccli("augment", data, tmp_path / "more", "--policy", "flips", "--per-image", 1)
    assert described(tmp_path / "more") == (["0", "1"], "0", "given")
    bccli("train", tmp_path / "more", tmp_path / "run", "--fold", 0, *QUICK)
    bccli("evaluate", tmp_path / "run", "--threshold", "sensitivity=0.9", "--bootstrap", 0)
