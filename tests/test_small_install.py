"""Machines that only predict and evaluate do without TensorFlow, and what they lack is a sentence."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bccli.core.reading.texts import read_toml
from tests.conftest import REPOSITORY

LEAVING_OUT = """
import sys


class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Nowhere())
"""
# What pip calls them, where Python says otherwise.
MODULES = {
    "scikit-learn": "sklearn", "pillow": "PIL", "ai-edge-litert": "ai_edge_litert",
    "opencv-python": "cv2", "opencv-python-headless": "cv2",
}  # fmt: skip
FILES = ("predict-only.txt", "explain-and-report.txt")


def packages_in(*files: str) -> set[str]:
    """The names of what requirements files ask for."""
    lines = [line for file in files for line in (REPOSITORY / "examples" / file).read_text().splitlines()]
    return {re.split(r"[<>=; ]", line)[0] for line in lines if line and not line.startswith(("#", "-"))}


def left_out(*files: str) -> set[str]:
    """The modules that bccli depends on and that are not in requirements files."""
    project = read_toml(REPOSITORY / "pyproject.toml")["project"]
    all_of_them = {re.split(r"[<>=; \[]", line)[0] for line in project["dependencies"]}
    names = {MODULES.get(name, name) for name in all_of_them}
    return names - {MODULES.get(name, name) for name in packages_in(*files)} - {"tomli"}


def run_without(place: Path, modules: set[str], *words: object) -> subprocess.CompletedProcess[str]:
    """Run `bccli WORDS…` where modules cannot be imported."""
    (place / "small").mkdir(exist_ok=True)
    (place / "small" / "sitecustomize.py").write_text(LEAVING_OUT.format(names=sorted(modules)))
    path = os.pathsep.join((str(place / "small"), str(REPOSITORY)))
    command = [sys.executable, "-m", "bccli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})


def test_files_name_only_what_the_package_depends_on() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    for name in packages_in(*FILES) - {"opencv-python-headless"}:
        assert f'"{name}>=' in text or f'"{name}==' in text, name
    assert "tensorflow" in left_out(*FILES)


@pytest.mark.exports
def test_predict_and_evaluate_work_with_few_packages(finished: Path) -> None:
    raw, few = finished.parent / "raw", left_out("predict-only.txt")
    assert {"tensorflow", "keras", "imgaug", "matplotlib"} <= few
    labelled = run_without(finished.parent, few, "predict", finished, raw, "--format", "csv")
    assert labelled.returncode == 0, labelled.stderr
    assert labelled.stdout.count("\n") == 25
    for words in (["--data", finished.parent / "data"], []):
        measured = run_without(finished.parent, few, "evaluate", finished, *words)
        assert measured.returncode == 0, measured.stderr
        assert "accuracy" in measured.stdout


@pytest.mark.exports
def test_explaining_and_reporting_work_with_some_more(finished: Path) -> None:
    place, some = finished.parent, left_out(*FILES)
    explained = run_without(place, some, "predict", finished, place / "raw", "--explain", place / "shown")
    assert explained.returncode == 0, explained.stderr
    reported = run_without(place, some, "evaluate", finished, "--report", place / "report.html")
    assert reported.returncode == 0, reported.stderr


def test_what_is_missing_is_one_sentence(prepared: Path) -> None:
    few, place = left_out("predict-only.txt"), prepared.parent
    trained = run_without(place, few, "train", prepared, place / "run", "--epochs", 1)
    assert trained.returncode == 3
    assert trained.stderr.splitlines()[-1] == "Error: train needs TensorFlow: pip install tensorflow"
    augmented = run_without(place, few, "augment", prepared, place / "more", "--policy", "flips")
    assert augmented.returncode == 3
    assert augmented.stderr.splitlines()[-1].startswith("Error: augment needs ")
    assert ": pip install " in augmented.stderr
