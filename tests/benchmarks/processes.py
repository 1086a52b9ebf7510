"""Whole processes, measured: wall time, CPU time, and where asked the peak memory of the process tree."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

INTERVAL = 0.05
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Measurement:
    """One process from its start to its end; CPU time counts its children, `peak` is bytes.

    `output` is what it wrote to stdout, `notes` what it wrote to stderr.
    """

    seconds: float
    cpu_seconds: float
    peak: int | None
    output: str
    notes: str = ""


def measure(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, memory: bool = False
) -> Measurement:
    """Run a command to its end. Raises RuntimeError with the end of its stderr if it fails."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, env={**os.environ, **(env or {})}, start_new_session=True
        )
        try:
            peak = _watch_memory(process.pid) if memory else None
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{errors.read()[-2000:]}")
        return Measurement(seconds, usage.ru_utime + usage.ru_stime, peak, output.read(), errors.read())


def _watch_memory(pid: int) -> int:
    """The largest sum over a process and its descendants, until it ends; it is left for `wait4`."""
    root = psutil.Process(pid)
    peak = alone = 0
    looked = -INTERVAL
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        alone = max(alone, _high_water(pid))
        if time.monotonic() - looked >= INTERVAL:
            looked = time.monotonic()
            with suppress(psutil.NoSuchProcess):
                peak = max(peak, sum(_memory(process) for process in [root, *root.children(recursive=True)]))
        time.sleep(INTERVAL / 20)
    return max(peak, alone)


def _high_water(pid: int) -> int:
    """Bytes that a process took at most, as the kernel keeps them: no look comes too late for its peak."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as stream:
            return next(int(line.split()[1]) * 1024 for line in stream if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0


def _memory(process: psutil.Process) -> int:
    """Bytes that a process takes, with its part of what it shares; 0 for one that has just ended.

    Where the kernel does not tell parts, what is shared is left out.
    """
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as stream:
            return next(int(line.split()[1]) * 1024 for line in stream if line.startswith("Pss:"))
    except (OSError, StopIteration):
        pass
    try:
        info = process.memory_info()
    except psutil.Error:
        return 0
    return max(0, info.rss - getattr(info, "shared", 0))
