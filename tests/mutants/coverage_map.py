"""Which quick tests run which lines of the modules, and how long each takes."""

import importlib
import json
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.mutants.modules import Module
from tests.mutants.mutations import Mutant
from tests.mutants.trial import QUICK, end_of, run_pytest, start

_AT_IMPORT = ""
_LONGEST = 3600.0


@dataclass(frozen=True)
class CoverageMap:
    """The tests of each line of a file, and each test's seconds."""

    tests: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    def tests_of(self, mutant: Mutant, module: Module) -> tuple[str, ...]:
        """Those that run a mutant's lines, the fastest first.

        Of what runs at import they are all that run any line of the module; where none does in this process,
        those of the files that are about the module.
        """
        lines = self.tests.get(str(module.path), {})
        found = {test for line in range(mutant.first, mutant.last + 1) for test in lines.get(line, ())}
        if _AT_IMPORT in found:
            found = {test for tests in lines.values() for test in tests}
        found = found - {_AT_IMPORT} or set(module.nearest_first(list(self.seconds))[0])
        guards = (test for test in found if test.startswith(module.tests))
        return tuple(sorted(guards, key=lambda test: (self.seconds[test], test)))

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps({"tests": self.tests, "seconds": self.seconds})

    @classmethod
    def from_json(cls, text: str) -> "CoverageMap":
        """The map in a text."""
        found = json.loads(text)
        lines = {
            path: {int(line): tests for line, tests in of.items()} for path, of in found["tests"].items()
        }
        return cls(lines, found["seconds"])


@dataclass
class _Tracer:
    """A plugin that tells coverage which test runs, and measures it."""

    coverage: object
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failed: set[str] = field(default_factory=set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.coverage.switch_context(item.nodeid)  # type: ignore[attr-defined]
        began = time.monotonic()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] += time.monotonic() - began
            self.coverage.switch_context(_AT_IMPORT)  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.failed.add(report.nodeid)


def measure(modules: Sequence[Module], folder: Path) -> CoverageMap:
    """Run the tests of all modules once, in a fork; those that fail guard nothing."""
    child = start(lambda: _measure(modules, folder), folder / "log")
    deadline = time.monotonic() + _LONGEST
    while (status := end_of(child, deadline)) is None:
        time.sleep(0.01)
    if status not in (int(pytest.ExitCode.OK), int(pytest.ExitCode.TESTS_FAILED)):
        raise SystemExit((folder / "log").read_text(encoding="utf-8")[-2000:])
    return CoverageMap.from_json((folder / "map.json").read_text(encoding="utf-8"))


def _measure(modules: Sequence[Module], folder: Path) -> int:
    from coverage import Coverage

    coverage = Coverage(data_file=None, config_file=False, include=[str(module.path) for module in modules])
    coverage.start()
    for module in modules:
        importlib.import_module(module.name)
    tracer = _Tracer(coverage)
    files = sorted({test for module in modules for test in module.tests})
    words = ["-m", QUICK, "--maxfail", "0", *files]
    code = run_pytest(words, [tracer], place=str(folder / "tests"))
    coverage.stop()
    data = coverage.get_data()
    lines = {
        str(module.path): {
            line: sorted(set(tests) - tracer.failed)
            for line, tests in data.contexts_by_lineno(str(module.path)).items()
        }
        for module in modules
    }
    (folder / "map.json").write_text(CoverageMap(lines, tracer.seconds).to_json(), encoding="utf-8")
    return code
