"""`--strategy mirrored`: on two logical devices a training comes to what it comes to on one."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from bccli.core.errors import UsageError
from bccli.core.progress import SILENT
from bccli.core.training.parallel.choice import Strategy
from tests.conftest import Bccli, draw, save

Process = Callable[..., CompletedProcess[str]]

TWO = "--strategy", "mirrored", "--devices", 2
FIT = "--epochs", 2, "--batch-size", 33  # all of train, of which one device has 16


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images of two classes, 33 of them in train."""
    from click.testing import CliRunner

    from bccli.cli import cli

    place = tmp_path_factory.mktemp("mirrored")
    for number in range(48):
        save(place / "raw" / f"class{number % 2}" / f"{number}.png", draw(number % 2, number, (32, 32)))
    words = ["prepare", "folder", place / "raw", place / "data", "--size", "32x32"]
    assert CliRunner().invoke(cli, [*map(str, words)]).exit_code == 0
    return place / "data"


def trained(bccli: Process, data: Path, run: Path, *options: object) -> Path:
    """A run, made in a process of its own, as TensorFlow divides its CPU only before it computes."""
    ended = bccli("train", data, run, *options)
    assert ended.returncode == 0, ended.stderr
    return run


def history(run: Path) -> np.ndarray:
    """Loss and accuracy of train and val (epochs, 4)."""
    with (run / "history.csv").open(encoding="utf-8", newline="") as stream:
        return np.array([[*map(float, row.values())][1:5] for row in csv.DictReader(stream)])


def weights(run: Path) -> list[np.ndarray]:
    """Those of the network that is stored."""
    import keras

    model = keras.models.load_model(run / "model.keras", compile=False)
    found: list[np.ndarray] = model.get_weights()
    return found


CASES = {
    "a frozen head": ("--backbone", "mobilenet-0.25", "--weights", "none", "--trainable", "none"),
    "batch norms": ("--optimizer", "sgd", "--lr", 0.003),
    "a short gradient": ("--optimizer", "sgd", "--lr", 0.003, "--clip-norm", 0.3),
    "weight decay": ("--optimizer", "sgd", "--lr", 0.003, "--weight-decay", 0.05),
    "live augmentation": ("--optimizer", "sgd", "--lr", 0.003, "--augment", "flips"),
    "unlike classes": ("--optimizer", "sgd", "--lr", 0.003, "--class-weights", "balanced"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_devices_learn_what_one_learns(
    case: str, bccli_process: Process, data: Path, tmp_path: Path
) -> None:
    """In two steps, as rounding alone may send a later one over the edge of a ReLU or a maximum."""
    options = *CASES[case], *FIT, "--monitor", "last"
    one = trained(bccli_process, data, tmp_path / "one", *options)
    two = trained(bccli_process, data, tmp_path / "two", *options, *TWO)
    bound = 1e-6 if case == "a frozen head" else 1e-4
    np.testing.assert_allclose(history(two), history(one), rtol=0, atol=bound)
    for mirrored, single in zip(weights(two), weights(one), strict=True):
        np.testing.assert_allclose(mirrored, single, rtol=0, atol=bound)
    assert json.loads((two / "run.json").read_text("utf-8"))["replicas"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_mixed_precision_learns_on_two_devices(
    kind: str, bccli_process: Process, data: Path, tmp_path: Path
) -> None:
    options = "--mixed-precision", "--mixed-type", kind, "--optimizer", "sgd", "--lr", 0.003, *FIT
    one = trained(bccli_process, data, tmp_path / "one", *options)
    two = trained(bccli_process, data, tmp_path / "two", *options, *TWO)
    np.testing.assert_allclose(history(two)[:, 0], history(one)[:, 0], rtol=0, atol=0.1)


@pytest.mark.slow
def test_a_batch_may_have_fewer_images_than_devices(
    bccli_process: Process, data: Path, tmp_path: Path
) -> None:
    """The last one of 33 by 16 has one, and all three devices take it."""
    options = "--optimizer", "sgd", "--lr", 0.003, "--epochs", 1, "--batch-size", 16, "--monitor", "last"
    one = trained(bccli_process, data, tmp_path / "one", *options)
    three = trained(
        bccli_process, data, tmp_path / "three", *options, "--strategy", "mirrored", "--devices", 3
    )
    np.testing.assert_allclose(history(three), history(one), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_dropouts_differ_between_devices_and_continue(
    bccli_process: Process, data: Path, tmp_path: Path
) -> None:
    """What is drawn is a replica's own; the same again is the same, and so is what is continued."""
    options = "--dropout", 0.5, "--batch-size", 7, "--monitor", "last", "--lr", 0.003
    whole = trained(bccli_process, data, tmp_path / "whole", *options, "--epochs", 3, *TWO)
    parts = trained(bccli_process, data, tmp_path / "parts", *options, "--epochs", 2, *TWO)
    assert trained(bccli_process, data, parts, *options, "--epochs", 3, *TWO) == parts
    assert (parts / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
    for one, other in zip(weights(parts), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    single = trained(bccli_process, data, tmp_path / "single", *options, "--epochs", 3)
    assert not np.allclose(history(single), history(whole), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_another_number_of_devices_goes_on_and_is_said(
    bccli_process: Process, data: Path, tmp_path: Path
) -> None:
    run = trained(bccli_process, data, tmp_path / "run", "--epochs", 2, "--batch-size", 7, *TWO)
    assert "2 devices share each batch\n" in (run / "log.txt").read_text("utf-8")
    ended = bccli_process("train", data, run, "--epochs", 3, "--batch-size", 7, "--strategy", "mirrored")
    assert ended.returncode == 0
    assert "only one device is here: it trains as without --strategy\n" in ended.stderr
    assert "2 replicas before" in ended.stderr
    assert "the result is not to the byte that of equal machines" in ended.stderr


WRONG = {
    ("--devices", 2): "--devices is the number of --strategy mirrored; add that, or leave it out",
    (
        *TWO[:3],
        8,
        "--batch-size",
        7,
    ): "--devices 8: a batch of 7 has no image for each; try a larger --batch-size, which is that of all "
    "devices together",
}


@pytest.mark.parametrize("options", WRONG)
def test_wrong_numbers_of_devices_are_said(
    options: tuple[object, ...], bccli: Bccli, data: Path, tmp_path: Path
) -> None:
    ended = bccli("train", data, tmp_path / "run", *options, exit=2)
    assert ended.stderr.endswith(f"Error: {WRONG[options]}\n")
    assert not (tmp_path / "run").exists()


def test_what_one_device_trains_refuses_several(bccli: Bccli, data: Path, tmp_path: Path) -> None:
    frozen = "--backbone", "mobilenet-0.25", "--weights", "none", "--classifier", "svm"
    ended = bccli("train", data, tmp_path / "run", *frozen, *TWO, exit=2)
    assert "is a classifier, which one device trains: leave it out" in ended.stderr


class Gpus:
    """What a strategy asks of TensorFlow, where there are so many GPUs."""

    def __init__(self, count: int) -> None:
        self.config, self.count = self, count
        self.visible = self.list_physical_devices("GPU")

    def list_physical_devices(self, kind: str) -> list[str]:
        """Names of the devices."""
        return [f"{kind}:{number}" for number in range(self.count if kind == "GPU" else 1)]

    def set_visible_devices(self, devices: list[str], kind: str) -> None:
        """Hide the others."""
        self.visible = devices


def test_more_devices_than_gpus_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^--devices 4: here are 2 GPUs; say --devices 2$"):
        Strategy("mirrored", 4).prepare(Gpus(2), SILENT)
    two = Gpus(4)
    Strategy("mirrored", 2).prepare(two, SILENT)
    assert two.visible == ["GPU:0", "GPU:1"]
    Strategy("mirrored", 2).prepare(Gpus(2), SILENT)
    Strategy("mirrored").prepare(Gpus(8), SILENT)


@pytest.mark.slow
def test_a_fine_tuning_is_the_same_on_two_devices(bccli_process: Process, data: Path, tmp_path: Path) -> None:
    """From stored activations, and with frozen layers in each step, whose rates fall with the depth."""
    base = trained(bccli_process, data, tmp_path / "base", *CASES["a frozen head"], "--epochs", 1)
    options = "--optimizer", "sgd", "--lr", 0.003, *FIT, "--monitor", "last", "--from-layer", 70
    for name, more in {"stored": (), "live": ("--layer-decay", 0.7, "--augment", "flips")}.items():
        runs = [tmp_path / f"{name}{devices}" for devices in (1, 2)]
        for run, strategy in zip(runs, ((), TWO), strict=True):
            ended = bccli_process("finetune", base, run, *options, *more, *strategy)
            assert ended.returncode == 0, ended.stderr
        np.testing.assert_allclose(*map(history, runs), rtol=0, atol=1e-4)
        for single, mirrored in zip(*map(weights, runs), strict=True):
            np.testing.assert_allclose(mirrored, single, rtol=0, atol=1e-4)
