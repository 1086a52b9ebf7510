"""What `evaluate` says against a dataset: traits that give labels away, and doubtful labels."""

import json
from pathlib import Path

import numpy as np
import pytest

from bccli.core.data.dataset import load_dataset
from bccli.core.evaluation.cautions import shortcuts
from tests.conftest import PATIENT, Bccli, read_rows, save
from tests.library import bccli_in

TRAITS = "size", "aspect", "border", "mean colour", "scanner marks", "file size"


def films(root: Path, trait: str = "", *, patients: int = 40) -> Path:
    """Noise of 40 patients, two images each; with a trait, malignant ones have it."""
    for patient in range(patients):
        for number in range(2):
            rng = np.random.default_rng([patient, number])
            label, height, width = ("benign", "malignant")[patient % 2], 48, 48
            has = trait if label == "malignant" else ""
            if has == "size":
                height, width = 60, 60
            if has == "aspect":
                width = 60
            pixels = rng.integers(60, 160, (height, width, 3)).astype(np.uint8)
            if has == "border":
                pixels[:3] = 0
            if has == "mean colour":
                pixels[..., 0] += 30
            if has == "scanner marks":
                pixels[4:9, 4:20] = 255
            if has == "file size":
                pixels[::2] = pixels[1::2]
            save(root / label / f"p{patient}_{number}.png", pixels)
    return root


def probed(bccli: Bccli, data: Path) -> list[dict]:
    """What is said of each trait."""
    found: list[dict] = json.loads(bccli("evaluate", data, "--audit", "--format", "json").stdout)["shortcuts"]
    return found


@pytest.mark.parametrize("trait", [*TRAITS, ""])
def test_a_planted_trait_is_found_and_others_are_not(bccli: Bccli, tmp_path: Path, trait: str) -> None:
    bccli("prepare", "folder", films(tmp_path / "raw", trait), tmp_path / "data", *PATIENT)
    out = tmp_path / "out"
    result = bccli("evaluate", tmp_path / "data", "--audit", "--format", "json", "--output", out)
    found = {row["trait"]: row for row in json.loads(result.stdout)["shortcuts"]}
    assert list(found) == list(TRAITS)
    for name, row in found.items():
        if name == trait:
            assert row["auc"] > 0.95
            assert f"{name} alone predicts" in result.stderr
        elif not trait:
            assert row["auc_low"] <= 0.5 <= row["auc_high"]
    if not trait:
        assert "alone predicts" not in result.stderr
    table = read_rows(out / "shortcuts.csv")
    assert [row["trait"] for row in table] == list(TRAITS)
    assert table[0]["data"] == str(tmp_path / "data")


def test_too_few_patients_say_nothing(bccli: Bccli, tmp_path: Path) -> None:
    bccli("prepare", "folder", films(tmp_path / "raw", patients=8), tmp_path / "data", *PATIENT)
    found = probed(bccli, tmp_path / "data")
    assert {row["reason"] for row in found} == {"a class has 4 patients, and it takes 10"}
    assert all(row["auc"] is None for row in found)


def test_of_many_images_some_are_enough(
    bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortcuts, "MOST_IMAGES", 45)
    bccli("prepare", "folder", films(tmp_path / "raw", "border"), tmp_path / "data", *PATIENT)
    found = probed(bccli, tmp_path / "data")
    assert {row["n"] for row in found} == {45}


def test_an_image_that_is_gone_is_passed_over(bccli: Bccli, tmp_path: Path) -> None:
    bccli("prepare", "folder", films(tmp_path / "raw", "border"), tmp_path / "data", *PATIENT)
    bccli("evaluate", tmp_path / "data", "--audit")
    first = read_rows(tmp_path / "data" / "manifest.csv")[0]["path"]
    (tmp_path / "data" / first).unlink()
    found = probed(bccli, tmp_path / "data")
    assert {row["n"] for row in found} == {79}


# Labels that out-of-fold answers speak against


PLANTED = ("p3_0.png", "p10_1.png", "p21_0.png")


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all folds on dark and bright images, of which three have the label of the others."""
    root = tmp_path_factory.mktemp("suspects")
    for patient in range(24):
        for number in range(2):
            rng = np.random.default_rng([patient, number])
            true, name = patient % 2, f"p{patient}_{number}.png"
            pixels = rng.integers(20, 60, (32, 32, 3)) + 150 * true
            label = ("benign", "malignant")[true ^ (name in PLANTED)]
            save(root / "raw" / label / name, pixels.astype(np.uint8))
    bccli_in("prepare", "folder", root / "raw", root / "data", *PATIENT, "--folds", 3)
    quick = "--classifier", "logistic", "--weights", "none"
    bccli_in("train", root / "data", root / "run", *quick, "--fold", "all")
    return root / "run"


def test_planted_labels_are_the_most_doubtful(bccli: Bccli, folds: Path, tmp_path: Path) -> None:
    before = json.loads(bccli("evaluate", folds, "--format", "json").stdout)
    result = bccli("evaluate", folds, "--output", tmp_path / "out", "--format", "json")
    assert json.loads(result.stdout) == before
    rows = read_rows(tmp_path / "out" / "suspects.csv")
    assert len(rows) == 48
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 49)]
    assert {Path(row["source"]).name for row in rows[:3]} == set(PLANTED)
    for row in rows[:3]:
        assert row["likely"] == "True"
        assert row["suggested"] != row["label"]
        assert float(row["margin"]) == pytest.approx(float(row["p_label"]) - float(row["p_suggested"]))
    likely = sum(row["likely"] == "True" for row in rows)
    assert f"{likely} of 48 labels are doubtful" in result.stderr


def test_a_run_that_has_seen_its_images_names_no_suspects(bccli: Bccli, folds: Path, tmp_path: Path) -> None:
    one = folds / json.loads((folds / "run.json").read_text())["parts"][0]
    result = bccli("evaluate", one, "--output", tmp_path / "out")
    assert not (tmp_path / "out" / "suspects.csv").exists()
    assert "doubtful" not in result.stderr


@pytest.mark.parametrize("name", ["suspects.csv", "shortcuts.csv"])
def test_files_of_others_are_left_alone(bccli: Bccli, folds: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    bccli("evaluate", folds, "--output", tmp_path, exit=3)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("gone", [("benign",), ("malignant",), ("benign", "malignant")])
def test_images_that_are_gone_are_no_crash(bccli: Bccli, tmp_path: Path, gone: tuple[str, ...]) -> None:
    bccli("prepare", "folder", films(tmp_path / "raw"), tmp_path / "data", *PATIENT)
    dataset = load_dataset(tmp_path / "data")
    for sample in dataset.samples:
        if sample.label in gone:
            (dataset.root / sample.path).unlink()
    for found in shortcuts.probe(dataset):
        assert found.auc is None
        assert found.reason == "of the images that can be read, a class has 0 patients, and it takes 10"
