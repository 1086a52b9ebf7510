"""A training that goes on elsewhere says so; determinism and cores are what was asked for and is there."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core import interruption
from bccli.core.models import backend
from bccli.core.runs.provenance import change_of, hardware
from bccli.core.training import checkpoint
from bccli.core.training.loop import Fit
from tests.conftest import Bccli

HERE = {"machine": "x86_64", "cores": 2, "cpu": "AMD EPYC", "gpus": []}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cores": 1}, "2 cores of AMD EPYC before, 1 core of AMD EPYC now"),
        ({"gpus": ["H100", "H100"]}, "2 cores of AMD EPYC before, 2 cores of AMD EPYC and 2 × H100 now"),
        ({"cpu": "Xeon"}, "2 cores of AMD EPYC before, 2 cores of Xeon now"),
        ({"cores_of_machine": 64}, ""),
        ({}, ""),
    ],
)
def test_what_computes_is_compared(change: dict[str, Any], words: str) -> None:
    assert change_of(HERE, {**HERE, **change}) == words
    assert change_of({}, HERE) == ""


def stopping_in(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for a stop in the first step of an epoch."""
    seeds = Fit._seeds

    def requesting(fit: Fit, now: int) -> np.ndarray:
        if fit.progress.epoch == epoch:
            interruption.request(signal.SIGTERM)
        return seeds(fit, now)

    monkeypatch.setattr(Fit, "_seeds", requesting)


@pytest.mark.slow
def test_going_on_with_other_hardware_is_said(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "train", prepared, tmp_path / "run", "--epochs", 3, "--batch-size", 8
    for epoch, cores in ((1, 1000), (2, None), (None, None)):
        with monkeypatch.context() as patch:
            if epoch is not None:
                stopping_in(epoch, patch)
            if cores is not None:
                patch.setattr(checkpoint, "hardware", lambda cores=cores: {**hardware(), "cores": cores})
            said = bccli(*command, exit=0 if epoch is None else 75).stderr
        assert ("1000 cores of" in said) == ("not to the byte" in said) == (epoch == 2)
        assert ("continuing after" in said) == (epoch != 1)


@pytest.mark.parametrize("option", ["--deterministic", "--no-deterministic", None])
def test_determinism_is_what_was_asked_for(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str | None
) -> None:
    starts, start = [], backend.start
    monkeypatch.setattr(
        backend, "start", lambda *args, **options: starts.append(options) or start(*args, **options)
    )
    given = () if option is None else (option,)
    head = "--epochs", 1, "--batch-size", 8, "--trainable", "none"
    said = bccli("train", prepared, tmp_path / "run", *head, *given).stderr
    assert {options["deterministic"] for options in starts} == {option != "--no-deterministic"}
    assert ("without determinism" in said) == (option == "--no-deterministic")


@pytest.mark.parametrize(
    ("option", "override", "expected"),
    [
        (None, None, True),
        ("--no-tf32", None, False),
        ("--tf32", None, True),
        ("--tf32", "0", False),
        (None, "1", True),
    ],
)
def test_tf32_is_what_was_asked_for_and_nvidia_forbids_it(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    option: str | None, override: str | None, expected: bool,
) -> None:  # fmt: skip
    """On a CPU, where it is nothing, nothing is said about it."""
    import tensorflow as tf

    enabled: list[bool] = []
    monkeypatch.setattr(tf.config.experimental, "enable_tensor_float_32_execution", enabled.append)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    if override:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    head = "--epochs", 1, "--batch-size", 8, "--trainable", "none"
    said = bccli("train", prepared, tmp_path / "run", *head, *([option] if option else [])).stderr
    assert set(enabled) == {expected}
    assert "TF32" not in said
    assert "tf32" not in (tmp_path / "run" / "run.json").read_text("utf-8")


# Starts TensorFlow with a quota of one core.
ONE_CORE = """
from bccli.core import cores
cores.cpu_quota = lambda: 1.0
from bccli.core.models.backend import describe_device, start
tf = start("cpu")
print(describe_device(tf), tf.config.threading.get_intra_op_parallelism_threads())
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is only one core")
def test_tensorflow_takes_no_more_threads_than_the_container_has_cores() -> None:
    ended = subprocess.run([sys.executable, "-c", ONE_CORE], capture_output=True, text=True, check=True)
    assert ended.stdout == "CPU (1 cores) 1\n"
