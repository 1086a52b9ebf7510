"""Runs tests on a mutant, in a fork of a process that has imported what they need, but nothing of bccli."""

import importlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.hook import install_everywhere
from tests.mutants.modules import Module
from tests.mutants.mutations import Mutant

QUICK = "not slow and not full and not slurm and not tensorflow"
_HEAVY = (
    *("numpy", "pandas", "scipy.optimize", "scipy.stats", "sklearn.metrics", "hypothesis", "PIL.Image"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "click.testing", "rich.console", "pydicom"),
    *("jinja2", "tabulate", "openpyxl", "_pytest.assertion.rewrite", "xdist"),
)
_MEMORY = 8 << 30
_SURVIVED, _KILLED = int(pytest.ExitCode.OK), int(pytest.ExitCode.TESTS_FAILED)


@dataclass(frozen=True)
class Trial:
    """A mutant, the tests that are to see it, and for how many seconds they may run."""

    mutant: Mutant
    module: Module
    tests: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: `killed` by a test, by the `late` end of its time, or not at all."""

    mutant: Mutant
    killed: bool
    late: bool = False


class _Chosen:
    """A plugin that runs some tests only, the first named first."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._order = {test: index for index, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order),
            key=lambda item: self._order[item.nodeid],
        )


def warm_up() -> None:
    """Import what tests take long to import, and settle what hypothesis does for all forks."""
    for name in _HEAVY:
        with suppress(ImportError):
            importlib.import_module(name)
    from hypothesis import Phase, settings

    settings.register_profile(
        "mutants", deadline=None, database=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
    )


def run_pytest(words: Sequence[str], plugins: Sequence[object], *, place: str) -> int:
    """Run tests in this process, without xdist and without what other runs left behind."""
    return int(
        pytest.main(
            [
                *("-x", "-q", "--tb", "no", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="),
                *("--hypothesis-profile", "mutants", "--basetemp", place),
                *words,
            ],
            plugins=list(plugins),
        )
    )


def start(work: Any, log: Path) -> int:
    """Do some work in a fork that has a session of its own, and ends with what it returns; its number."""
    if child := os.fork():
        return child
    code = _KILLED
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        for number, name in enumerate((os.devnull, str(log), str(log))):
            opened = os.open(name, os.O_RDONLY if not number else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, number)
            os.close(opened)
        code = work()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def end_of(child: int, deadline: float) -> int | None:
    """The exit status of a fork that has ended, minus 1 where its time is over, None while it runs."""
    ended, found = os.waitpid(child, os.WNOHANG)
    if not ended and time.monotonic() < deadline:
        return None
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
        return -1
    return abs(os.waitstatus_to_exitcode(found))


def attempt_all(trials: Sequence[Trial], jobs: int) -> Iterator[Verdict]:
    """Try mutants, so many at once; the verdicts as they come."""
    waiting, running = list(reversed(trials)), dict[int, tuple[Trial, float]]()
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < jobs:
                trial = waiting.pop()
                if not trial.tests:
                    yield Verdict(trial.mutant, killed=False)
                    continue
                child = start(lambda trial=trial: _attempt(trial), Path(folder, "log"))
                running[child] = trial, time.monotonic() + trial.seconds
            for child, (trial, deadline) in list(running.items()):
                if (status := end_of(child, deadline)) is not None:
                    del running[child]
                    yield Verdict(trial.mutant, killed=status != _SURVIVED, late=status < 0)
            time.sleep(0.01)


def _attempt(trial: Trial) -> int:
    """Run the tests of a trial on its mutant: first those that are about its module, then the others."""
    with tempfile.TemporaryDirectory() as folder:
        install_everywhere(trial.module.name, trial.module.path, trial.mutant.number, Path(folder))
        importlib.import_module(trial.module.name)  # before pytest, which loads what is called …_test itself
        for tests in filter(None, trial.module.nearest_first(trial.tests)):
            files = dict.fromkeys(test.partition("::")[0] for test in tests)
            status = run_pytest([*files], [_Chosen(tests)], place=f"{folder}/tests")
            if status != _SURVIVED:
                return status
    return _SURVIVED
