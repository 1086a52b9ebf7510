"""Runs commands in forks of one process that has imported everything: `python -m tests.faults.server`.

A line of JSON on stdin is a command, a line on stdout its exit code, or the negative number of the signal
that ended it. Each has a session of its own, of which nothing is left when its line comes.
"""

import ctypes
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import bccli

_SUBREAPER = 36
_TOO_LONG = -99


class Server:
    """A process that runs commands for us, with the shim in it."""

    def __init__(self, shim: Path, log: Path) -> None:
        environment = {**os.environ, "LD_PRELOAD": str(shim), "TF_CPP_MIN_LOG_LEVEL": "3"}
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                cwd=Path(__file__).parents[2],
            )

    def run(self, words: list[str], place: Path, *, plan: Path | None = None, limit: float = 300) -> int:
        """Run `bccli WORDS…` in a folder; beside it lie its `out` and `err` afterwards."""
        job = {"words": words, "place": str(place), "plan": plan and str(plan), "limit": limit}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def _serve() -> None:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    _import_all()
    for line in sys.stdin:
        job = json.loads(line)
        if not (child := os.fork()):
            _run(job)
        print(_end_of(child, time.monotonic() + job["limit"]), flush=True)


def _import_all() -> None:
    """All modules of bccli, and those of others that it imports where it needs them."""
    for name in _HEAVY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(bccli.__path__, "bccli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


_HEAVY = (
    *("tensorflow", "keras", "ai_edge_litert.interpreter", "pandas", "jinja2", "tabulate", "imagecodecs"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "sklearn.cluster", "sklearn.svm"),
    *("sklearn.linear_model", "sklearn.ensemble", "sklearn.calibration", "PIL.PngImagePlugin"),
)


def _run(job: dict[str, Any]) -> None:
    """Be the command, and end."""
    code = 1
    try:
        os.setsid()
        place = Path(job["place"])
        os.chdir(place)
        for number, (name, flags) in enumerate((("", os.O_RDONLY), ("out", 0), ("err", 0))):
            file = str(place.parent / name) if name else os.devnull
            opened = os.open(file, flags or os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, number)
            os.close(opened)
        if job["plan"]:
            os.environ["BCCLI_FAULTS"] = job["plan"]
            ctypes.CDLL(None).faults_arm(os.fsencode(job["plan"]))
        from bccli.cli import cli

        cli.main(job["words"], afterwards=signal.SIG_IGN)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _end_of(child: int, limit: float) -> int:
    """Wait for the end of a command, and of all that it has started."""
    status = None
    while status is None:
        ended, found = os.waitpid(child, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(found)
        elif time.monotonic() > limit:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            status = _TOO_LONG
        else:
            time.sleep(0.002)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-child, 0)
    return status


if __name__ == "__main__":
    _serve()
