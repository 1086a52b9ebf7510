"""GPUs that are here and that TensorFlow cannot use, and the reason that it gives."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

_DEVICES = Path("/dev")

# What TensorFlow says of a GPU that it leaves alone, what tells most first.
_REASONS = ("failed call to cuInit", "Cannot dlopen", "Could not load dynamic library", "Could not find cuda")
_PREFIX = re.compile(r"^\S.*?\.(?:cc|cu|h):\d+\] ")
_ASK = "import tensorflow as tf; tf.config.list_physical_devices('GPU')"


def gpus_are_hidden() -> bool:
    """Whether this process has been told to leave GPUs alone."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1", "NoDevFiles")


def gpu_is_visible(devices: Path = _DEVICES) -> bool:
    """Whether a GPU of NVIDIA is here that this process may open and that it has not been told to leave."""
    return not gpus_are_hidden() and any(map(_can_be_opened, devices.glob("nvidia[0-9]*")))


def _can_be_opened(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError:
        return False  # such as one of another job on this node
    return True


@cache
def reason_for_none() -> str:
    """Why TensorFlow uses no GPU though one is visible, in its own words; empty where none is.

    Another process asks it, so that what it says later is not more than what it says without.
    """
    if not gpu_is_visible():
        return ""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    asked = subprocess.run(
        [sys.executable, "-c", _ASK], capture_output=True, text=True, errors="replace", env=environment
    )
    return reason_in(asked.stderr.splitlines()) or "it does not say why"


def reason_in(lines: Iterable[str]) -> str:
    """The sentence about GPUs in what TensorFlow says at its start, without time and place; or nothing."""
    said = list(_sentences(lines))
    found = (sentence for start in _REASONS for sentence in said if sentence.startswith(start))
    return next(found, "")


def _sentences(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if match := _PREFIX.match(line):
            yield line[match.end() :].partition(". ")[0].rstrip(".")
