"""What the tests share: the command line in this process, tiny images, real images where there are some."""

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import settings
from PIL import Image

from bccli.cli import cli
from tests import placeholders
from tests.library import Library, bccli_in
from tests.needs import mark_tensorflow

REPOSITORY = Path(__file__).parent.parent
REAL_DATA = Path(os.environ.get("BCCLI_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
REAL_WEIGHTS = Path(os.environ.get("BCCLI_REAL_WEIGHTS", REPOSITORY.parent / "shared" / "keras"))

Bccli = Callable[..., Result]

# No test measures time, as other programs may be busy; and a change is judged by the same examples as the one
# before it. `--hypothesis-profile explore` draws others each time.
settings.register_profile("bccli", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("bccli")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that need TensorFlow, which takes seconds, where somebody asks for the mark."""
    if "tensorflow" in config.getoption("markexpr"):
        mark_tensorflow(items)


@pytest.fixture
def stand_ins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures and .tflite files are stand-ins, unless the test is marked `pictures` or `exports`."""
    if not request.node.get_closest_marker("pictures"):
        placeholders.no_pictures(monkeypatch)
    if not request.node.get_closest_marker("exports"):
        placeholders.no_exports(monkeypatch)
    placeholders.nobody_opens_them(monkeypatch)


@pytest.fixture
def bccli(stand_ins: None) -> Bccli:
    """Run `bccli ARGS…` in this process; `exit` is the exit code that is expected, None for any.

    The result has `stdout`, `stderr` and `exit_code`. TensorFlow is imported once for all tests.
    """

    def run(*args: object, exit: int | None = 0, **options: object) -> Result:
        result = CliRunner().invoke(cli, [str(arg) for arg in args], **options)
        if exit is not None:
            assert result.exit_code == exit, f"exit {result.exit_code}\n{result.stderr}"
        return result

    return run


@pytest.fixture
def bccli_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `bccli ARGS…` in a process of its own and return it with its output as text."""

    def run(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bccli", *(str(arg) for arg in args)]
        return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]

    return run


def rows_of(text: str) -> list[dict[str, str]]:
    """The rows of CSV text."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return rows_of(path.read_text(encoding="utf-8"))


def draw(label: int, seed: int, size: tuple[int, int] = (24, 24)) -> np.ndarray:
    """A small noisy image (height, width, 3) whose class shows: stripes along or across."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (size[1], size[0], 3))
    stripes = slice(None, None, 4)
    if label:
        image[stripes] += 100
    else:
        image[:, stripes] += 100
    return image.astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels as an image file, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def draw_folder(
    root: Path,
    *,
    classes: Sequence[str] = ("benign", "malignant"),
    patients: int = 6,
    images: int = 4,
    size: tuple[int, int] = (24, 24),
) -> Path:
    """A raw dataset `root/CLASS/patient_number.png`, each patient with images of one class."""
    for patient in range(patients):
        label = patient % len(classes)
        for number in range(images):
            pixels = draw(label, patient * 1000 + number, size)
            save(root / classes[label] / f"p{patient}_{number}.png", pixels)
    return root


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a raw dataset `raw/CLASS/patient_number.png`, each patient with images of one class."""

    def make(name: str = "raw", **options: Any) -> Path:
        return draw_folder(tmp_path / name, **options)

    return make


PATIENT = "--patient-regex", r"/(p\d+)_"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Datasets and runs that are made once for all workers."""
    return Library(tmp_path_factory, shared="PYTEST_XDIST_WORKER" in os.environ)


def fill_prepared(place: Path, *, size: tuple[int, int] = (24, 24)) -> None:
    """`raw`, and `data` prepared of it with splits 2/2/2 patients."""
    raw = draw_folder(place / "raw", size=size)
    bccli_in("prepare", "folder", raw, place / "data", *PATIENT, "--ratios", "1/1/1")


@pytest.fixture
def prepared(library: Library, tmp_path: Path) -> Path:
    """A small prepared dataset with splits 2/2/2 patients, beside its raw images."""
    return library.copy("prepared", fill_prepared, tmp_path) / "data"


def fill_finished(place: Path) -> None:
    """What `fill_prepared` makes, and `run`, whose head was trained on it for one epoch."""
    fill_prepared(place)
    head = "--epochs", 1, "--batch-size", 8, "--trainable", "none"
    bccli_in("train", place / "data", place / "run", *head)


@pytest.fixture
def finished(library: Library, tmp_path: Path) -> Path:
    """A complete run on what `prepared` gives: `--epochs 1 --batch-size 8 --trainable none`."""
    return library.copy("finished", fill_finished, tmp_path) / "run"


@pytest.fixture
def real_data() -> Path:
    """The folder with real images; the test is skipped where there is none."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real images at {REAL_DATA}")
    return REAL_DATA


@pytest.fixture
def real_weights(monkeypatch: pytest.MonkeyPatch) -> Path:
    """KERAS_HOME with MobileNet's ImageNet weights; the test is skipped where there are none."""
    if not REAL_WEIGHTS.is_dir():
        pytest.skip(f"no weights at {REAL_WEIGHTS}")
    monkeypatch.setenv("KERAS_HOME", str(REAL_WEIGHTS))
    return REAL_WEIGHTS


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, hidden ones left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def forget(*folders: Path) -> None:
    """Remove folders, if they are there."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
