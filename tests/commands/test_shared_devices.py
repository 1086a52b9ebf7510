"""`train`, `predict` and `evaluate` where several devices share what a network is asked."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import draw, rows_of, save

DIVIDED = """
import sys
from bccli.core.models import backend
tf = backend.start("cpu")
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1]))
from bccli.cli import cli
cli(sys.argv[2:])
"""


def on(devices: int, *words: object) -> str:
    """What `bccli WORDS…` prints in a process whose CPU is so many devices."""
    command = [sys.executable, "-c", DIVIDED, *map(str, (devices, *words))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """29 images of two classes, and a run on them that has no .tflite."""
    from bccli.cli import cli

    place = tmp_path_factory.mktemp("shared")
    for number in range(29):
        save(place / "raw" / f"class{number % 2}" / f"{number}.png", draw(number % 2, number, (32, 32)))
    for words in (
        ["prepare", "folder", place / "raw", place / "data", "--size", "32x32"],
        ["train", place / "data", place / "run", "--epochs", 1],
    ):
        assert CliRunner().invoke(cli, [*map(str, words)]).exit_code == 0
    file = place / "run" / "run.json"
    info = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**info, "litert": {"error": "no"}}), "utf-8")
    return place


def probabilities(text: str) -> tuple[list[str], np.ndarray]:
    """The images of a table of predictions, and their probabilities (n,)."""
    rows = rows_of(text)
    return [row["path"] for row in rows], np.array([float(row["p_class1"]) for row in rows])


@pytest.mark.slow
def test_predictions_are_those_of_one_device(place: Path) -> None:
    """To the bit, as each takes as many images at a time: of 29, three by three, the last step has five."""
    words = "predict", place / "run", place / "raw", "--batch-size", 3, "--tta"
    (paths, one), (of_two, two) = (probabilities(on(devices, *words)) for devices in (1, 2))
    assert of_two == paths
    assert len(set(one)) > 20
    np.testing.assert_array_equal(two, one)


@pytest.mark.slow
def test_figures_are_those_of_one_device(place: Path) -> None:
    words = "evaluate", place / "run", "--data", place / "data", "--format", "json"
    one, two = (json.loads(on(devices, *words))["runs"][0] for devices in (1, 2))
    assert one["n"] == 29
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-6)
    assert (two["roc_auc"], two["confusion_matrix"]) == (one["roc_auc"], one["confusion_matrix"])


@pytest.mark.slow
def test_features_are_those_of_one_device(place: Path) -> None:
    """A frozen network's, in a cache of its own each, to the bit."""
    frozen = "--backbone", "cnn-15", "--weights", "none", "--trainable", "none", "--epochs", 1
    for devices in (1, 2):
        run = place / f"frozen{devices}"
        on(devices, "train", place / "data", run, *frozen, "--cache", place / f"cache{devices}")
    tables = [(place / f"frozen{devices}" / "predictions.csv").read_bytes() for devices in (1, 2)]
    assert tables[0] == tables[1]
    stores = [sorted((place / f"cache{devices}" / "features").iterdir()) for devices in (1, 2)]
    assert [store.name for store in stores[0]] == [store.name for store in stores[1]]
