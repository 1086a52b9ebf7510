"""`--strategy multiworker`: two processes that train one network come to what one comes to."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.commands.test_mirrored import CASES, FIT, TWO, Process, data, history, trained, weights
from tests.conftest import Bccli, read_rows

__all__ = ["data"]  # a fixture
PATIENCE = 600
ACROSS = "--strategy", "multiworker"
OF_TWO = {case: (*options, *FIT) for case, options in CASES.items()} | {
    "a last batch of one image": ("--optimizer", "sgd", "--lr", 0.003, "--epochs", 1, "--batch-size", 16),
    "augmented val": (*CASES["live augmentation"], "--augment-val", "--epochs", 1, "--batch-size", 33),
}


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as one:
        one.bind(("", 0))
        port: int = one.getsockname()[1]
    return port


class Workers:
    """Processes that train together, the first of which leads; their output is in files of `place`."""

    def __init__(self, place: Path, *args: object, more: tuple[object, ...] = ()) -> None:
        self.place = place
        place.mkdir(exist_ok=True)
        addresses = [f"localhost:{free_port()}" for _ in range(2)]
        self.processes: list[subprocess.Popen[bytes]] = []
        for index in range(2):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
            command = [sys.executable, "-m", "bccli", *map(str, (*args, *ACROSS, *(more if index else ())))]
            with (place / f"{index}.out").open("wb") as out, (place / f"{index}.err").open("wb") as err:
                self.processes.append(subprocess.Popen(command, stdout=out, stderr=err, env=environment))

    def said(self, index: int) -> str:
        """What one has written to stderr so far."""
        return (self.place / f"{index}.err").read_text("utf-8")

    def wait_for(self, text: str, index: int = 0) -> None:
        """Wait until one has said something."""
        limit = time.monotonic() + PATIENCE
        while text not in self.said(index):
            assert time.monotonic() < limit, self.said(index)
            assert self.processes[index].poll() is None, self.said(index)
            time.sleep(0.02)

    def codes(self) -> list[int]:
        """The exit codes of all, once they have ended."""
        return [process.wait(PATIENCE) for process in self.processes]


@contextmanager
def workers(place: Path, *args: object, more: tuple[object, ...] = ()) -> Iterator[Workers]:
    """Two of them, which do not outlive the block."""
    both = Workers(place, *args, more=more)
    try:
        yield both
    finally:
        for process in both.processes:
            process.kill()
            process.wait()


def together(data: Path, run: Path, *options: object, command: str = "train") -> Path:
    """A run of two workers; the second one says and prints nothing."""
    with workers(run.parent / f"{run.name}-said", command, data, run, *options) as both:
        assert both.codes() == [0, 0], both.said(0) + both.said(1)
        assert both.said(1) == ""
        assert (both.place / "1.out").read_bytes() == b""
        assert (both.place / "0.out").read_bytes() != b""
    return run


@pytest.mark.slow
@pytest.mark.parametrize("case", OF_TWO)
def test_two_workers_learn_what_one_process_learns(
    case: str, bccli_process: Process, data: Path, tmp_path: Path
) -> None:
    options = *OF_TWO[case], "--monitor", "last"
    one = trained(bccli_process, data, tmp_path / "one", *options)
    two = together(data, tmp_path / "two", *options)
    bound = 1e-6 if case == "a frozen head" else 1e-4
    np.testing.assert_allclose(history(two), history(one), rtol=0, atol=bound)
    for several, single in zip(weights(two), weights(one), strict=True):
        np.testing.assert_allclose(several, single, rtol=0, atol=bound)
    assert json.loads((two / "run.json").read_text("utf-8"))["replicas"] == 2


DROPPING = "--dropout", 0.5, "--batch-size", 7, "--monitor", "last", "--lr", 0.003, "--epochs", 10
"""Long enough for a signal after the first epoch to come before the last, on a busy machine, too."""


@pytest.mark.slow
def test_dropouts_are_those_of_two_devices(
    bccli_process: Process, data: Path, whole: Path, tmp_path: Path
) -> None:
    mirrored = trained(bccli_process, data, tmp_path / "mirrored", *DROPPING, *TWO)
    assert (whole / "history.csv").read_bytes() == (mirrored / "history.csv").read_bytes()
    for one, other in zip(weights(whole), weights(mirrored), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two workers whom nobody stopped."""
    return together(data, tmp_path_factory.mktemp("whole") / "run", *DROPPING)


STOPS = [
    (signal.SIGTERM, 0), (signal.SIGTERM, 1), (signal.SIGTERM, None), (signal.SIGUSR2, 1),
    (signal.SIGKILL, 0), (signal.SIGKILL, 1), (signal.SIGKILL, None),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("number", "index"), STOPS)
def test_workers_stop_and_go_on_together(
    number: signal.Signals, index: int | None, data: Path, whole: Path, tmp_path: Path
) -> None:
    """Whichever gets the signal, or both; the run is to the byte that of workers whom nobody stopped."""
    run = tmp_path / "run"
    with workers(tmp_path / "first", "train", data, run, *DROPPING) as both:
        both.wait_for("epoch 1/")
        hit = (0, 1) if index is None else (index,)
        for one in hit:
            both.processes[one].send_signal(number)
        codes = both.codes()
        killed = number == signal.SIGKILL
        assert codes == [-9 if killed and one in hit else 75 for one in (0, 1)], both.said(0) + both.said(1)
        if killed:
            for one in {0, 1} - {*hit}:
                assert "another worker is lost (" in both.said(one)
        elif index is not None:
            assert (f"stopped by {number.name}", "stopped with another worker")[index] in both.said(0)
        assert "Traceback" not in both.said(0) + both.said(1)
    together(data, run, *DROPPING)
    for name in ("history.csv", "predictions.csv"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_one_process_goes_on_where_two_were_and_says_so(
    bccli_process: Process, data: Path, tmp_path: Path
) -> None:
    run = together(data, tmp_path / "run", "--epochs", 1, "--batch-size", 7)
    ended = bccli_process("train", data, run, "--epochs", 2, "--batch-size", 7)
    assert ended.returncode == 0
    assert "2 replicas before" in ended.stderr
    again = together(data, run, "--epochs", 2, "--batch-size", 7)
    assert (again / "history.csv").read_text("utf-8").count("\n") == 3


@pytest.mark.slow
def test_a_fine_tuning_is_the_same_in_two_processes(
    bccli_process: Process, data: Path, tmp_path: Path
) -> None:
    base = trained(bccli_process, data, tmp_path / "base", *CASES["a frozen head"], "--epochs", 1)
    options = "--optimizer", "sgd", "--lr", 0.003, *FIT, "--monitor", "last", "--from-layer", 70
    for name, more in {"stored": (), "live": ("--layer-decay", 0.7, "--augment", "flips")}.items():
        one, two = tmp_path / f"{name}1", tmp_path / f"{name}2"
        ended = bccli_process("finetune", base, one, *options, *more)
        assert ended.returncode == 0, ended.stderr
        together(base, two, *options, *more, command="finetune")
        np.testing.assert_allclose(history(two), history(one), rtol=0, atol=1e-4)
        for several, single in zip(weights(two), weights(one), strict=True):
            np.testing.assert_allclose(several, single, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["a frozen head", "batch norms"])
def test_one_worker_of_one_device_learns_as_without(
    case: str, bccli_process: Process, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trained(bccli_process, data, tmp_path / "one", *CASES[case], *FIT)
    task = {"cluster": {"worker": [f"localhost:{free_port()}"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    alone = trained(bccli_process, data, tmp_path / "alone", *CASES[case], *FIT, *ACROSS)
    assert (alone / "history.csv").read_bytes() == (one / "history.csv").read_bytes()


@pytest.mark.slow
def test_workers_that_are_told_unlike_things_end(data: Path, tmp_path: Path) -> None:
    with workers(tmp_path / "said", "train", data, tmp_path / "run", more=("--lr", 0.5)) as both:
        assert both.codes() == [2, 2]
        for index in (0, 1):
            assert "worker 1 has settings, a dataset or a run that worker 0 does not have" in both.said(index)
    with workers(tmp_path / "said", "train", data, tmp_path / "run", "--batch-size", 1) as both:
        assert both.codes() == [2, 2]
        for index in (0, 1):
            assert "--batch-size 1: has no image for each of 2 devices" in both.said(index)


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["the run's folder", "an image"])
def test_workers_end_as_the_one_that_fails(damaged: str, data: Path, tmp_path: Path) -> None:
    """With its code and its sentence: whoever came back with 75 would start the same again for ever."""
    mine, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(data, mine)
    if damaged == "an image":
        image = next(
            mine / row["path"] for row in read_rows(mine / "manifest.csv") if row["split"] == "train"
        )
        image.write_bytes(image.read_bytes()[:90])
    else:
        run.mkdir()
        (run / "notes.txt").touch()
    with workers(tmp_path / "said", "train", mine, run, *DROPPING) as both:
        assert both.codes() == [3, 3], both.said(0) + both.said(1)
        sentence = "is not empty and holds no run" if damaged == "the run's folder" else "is damaged"
        for index in (0, 1):
            assert sentence in both.said(index)
            assert "Traceback" not in both.said(index)
        assert "Error: another worker has failed: " in both.said(0) + both.said(1)


WRONG = {
    (): "no cluster is here; start the same command on each node by srun",
    ("--devices", 2): "--devices is the number of --strategy mirrored",
    ("--seeds", 2): "trains one network; give each fold, seed, backbone or node a job of its own",
}


@pytest.mark.parametrize("options", WRONG)
def test_what_several_processes_cannot_do_is_said(
    options: tuple[object, ...], bccli: Bccli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task) if options else "")
    monkeypatch.delenv("SLURM_STEP_NODELIST", raising=False)
    ended = bccli("train", data, tmp_path / "run", *ACROSS, *options, exit=2)
    assert WRONG[options] in ended.stderr
    assert not (tmp_path / "run").exists()
