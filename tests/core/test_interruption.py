"""Signals as requests: which are obeyed, which act at once, and that nothing interrupts a save."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bccli.core import interruption
from bccli.core.errors import Stopped
from bccli.core.training.checkpoint import Checkpoint, Progress
from bccli.core.training.parallel.replicas import ONE_DEVICE

BATCH = tuple(number for number in interruption.SIGNALS if number != signal.SIGINT)
"""The signals that batch systems send."""


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    """Every signal is a request, and none is left over."""
    interruption.forget()
    before = [signal.signal(number, lambda number, _: interruption.request(number)) for number in BATCH]
    yield
    for number, handler in zip(BATCH, before, strict=True):
        signal.signal(number, handler)
    interruption.forget()


def defer(*numbers: signal.Signals, heard: list[signal.Signals] | None = None) -> None:
    """Ask for a stop by each signal while that is deferred, and note those that let the work go on."""
    with interruption.deferred():
        for number in numbers:
            interruption.request(number)
            if heard is not None:
                heard.append(number)


@pytest.mark.parametrize("number", interruption.SIGNALS)
def test_the_first_signal_acts_at_once_where_nobody_has_deferred_it(number: signal.Signals) -> None:
    with pytest.raises(Stopped) as stopped:
        interruption.request(number)
    assert stopped.value.exit_code == (130 if number == signal.SIGINT else 75)


@pytest.mark.parametrize("first", interruption.SIGNALS)
@pytest.mark.parametrize("then", BATCH)
def test_a_signal_after_another_is_the_same_request(first: signal.Signals, then: signal.Signals) -> None:
    with pytest.raises(Stopped) as stopped:
        defer(first, then, then)
    assert ("Ctrl-C" if first == signal.SIGINT else first.name) in str(stopped.value)
    interruption.request(then)  # while the program is ending


@pytest.mark.parametrize("before", [(), (signal.SIGTERM,)])
def test_only_a_second_ctrl_c_acts_at_once(before: tuple[signal.Signals, ...]) -> None:
    heard: list[signal.Signals] = []
    with pytest.raises(Stopped, match=r"Ctrl-C") as stopped:
        defer(*before, signal.SIGINT, signal.SIGINT, signal.SIGTERM, heard=heard)
    assert heard == [*before, signal.SIGINT]
    assert stopped.value.exit_code == 130


@pytest.mark.parametrize("deferred", [False, True])
def test_a_second_ctrl_c_waits_for_the_end_of_a_save(deferred: bool) -> None:
    steps: list[int] = []

    def save_inside() -> None:
        with interruption.deferred() if deferred else interruption.saving():
            with interruption.saving():
                for step in range(3):
                    interruption.request(signal.SIGINT)
                    steps.append(step)
            steps.append(3)
        steps.append(4)

    with pytest.raises(Stopped, match=r"Ctrl-C"):
        save_inside()
    assert steps == ([0, 1, 2] if deferred else [0, 1, 2, 3])


class Network:
    """A network without TensorFlow: a few weights, all of them the number of the epoch."""

    def __init__(self) -> None:
        self.optimizer, self.replicas = SimpleNamespace(variables=[]), ONE_DEVICE
        self.network, self.sums = self, SimpleNamespace(numpy=lambda: np.zeros(4))
        self.weights = self.best_weights = [np.zeros((4, 5)), np.zeros(5)]

    def get_weights(self) -> list[np.ndarray]:
        return self.weights


@contextmanager
def at_lines(moments: set[int], act: Any) -> Iterator[list[int]]:
    """Call `act` in so many-th lines of Python that are run inside the block, in whatever module.

    Yields a list whose only item counts them.
    """
    count = [0]

    def trace(frame: Any, event: str, _: Any) -> Any:
        if event == "line" and frame.f_code.co_filename != __file__:
            count[0] += 1
            if count[0] in moments:
                act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)


def train(checkpoint: Checkpoint, named: list[int], epochs: int = 3) -> None:
    """Epochs as `Fit` has them: each is named first and then saved, and a signal is obeyed between them."""
    network, progress = Network(), Progress()
    with interruption.deferred():
        for epoch in range(1, epochs + 1):
            progress.epoch = epoch
            network.weights = [np.full_like(weight, epoch) for weight in network.weights]
            named.append(epoch)
            checkpoint.save(network, progress)  # type: ignore[arg-type]
            interruption.stop_if_requested()
    checkpoint.save(network, progress)  # type: ignore[arg-type]


def check_state(path: Path, named: list[int]) -> None:
    """The state is whole, and not older than the last epoch that was named."""
    with np.load(path) as content:
        assert json.loads(str(content["progress"]))["epoch"] == named[-1]
        assert (content["weight_0"] == named[-1]).all()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def lines_of_a_training(place: Path) -> int:
    """How many lines of Python are run in it, but for those that only the first one of a process needs."""
    train(Checkpoint(place / "whole.npz", lambda progress: None), [])
    (place / "whole.npz").unlink()
    with at_lines(set(), lambda: None) as count:
        train(Checkpoint(place / "whole.npz", lambda progress: None), [])
    (place / "whole.npz").unlink()
    return count[0]


def test_bursts_of_signals_at_random_lines_never_interrupt_a_save(tmp_path: Path) -> None:
    """200 bursts of 2 to 6 signals: all close to each other, or anywhere."""
    lines, rng, stopped = lines_of_a_training(tmp_path), random.Random(0), 0
    path = tmp_path / "state.npz"
    for burst in range(200):
        interruption.forget()
        path.unlink(missing_ok=True)
        first, count = rng.randrange(1, lines), rng.randint(2, 6)
        reach = 30 if burst % 2 else lines - first
        moments = {first, *(first + rng.randint(0, reach) for _ in range(count - 1))}
        named: list[int] = []
        with suppress(Stopped), at_lines(moments, lambda: signal.raise_signal(rng.choice(BATCH))):
            train(Checkpoint(path, lambda progress: None), named)
        stopped += interruption.stop_requested()
        if named:
            check_state(path, named)
    assert stopped > 150


# A program that says when it works, and is bccli otherwise.
WORK = """
import time
from bccli import cli
from bccli.core import interruption
def work(self, *args):
    with interruption.deferred():
        print("working", flush=True)
        while True:
            interruption.stop_if_requested()
            time.sleep(0.01)
cli.BccliGroup.invoke = work
cli.run()
"""


# Becomes another program, which inherits that the signal is ignored.
NOHUP = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


def stopped_by(*numbers: signal.Signals, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
    """Send signals to that program once it works; its exit code and what it says."""
    command = [*prefix, sys.executable, "-c", WORK, "evaluate", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "working\n"
        for number in numbers:
            process.send_signal(number)
        said = process.stderr.read()
    return process.returncode, said


@pytest.mark.parametrize("number", BATCH)
def test_every_signal_of_a_batch_system_stops_a_command(number: signal.Signals) -> None:
    code, said = stopped_by(number, number, number)
    assert code == 75
    assert said == f"stopped by {number.name}; run the same command again to continue\n"


def test_a_hangup_that_is_ignored_stays_so() -> None:
    """As `nohup` has it: its signal comes first, and is not heard."""
    code, said = stopped_by(signal.SIGHUP, signal.SIGUSR2, prefix=(sys.executable, "-c", NOHUP))
    assert code == 75
    assert said == "stopped by SIGUSR2; run the same command again to continue\n"
