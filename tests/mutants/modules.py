"""The modules whose tests are tried, and the tests that guard each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_EVERYWHERE = ("tests/core/test_examples.py",)
"""The worked examples of all docstrings."""


@dataclass(frozen=True)
class Guarded:
    """A module, or all of a room, and the files or folders of tests that guard it."""

    source: str
    tests: tuple[str, ...]


_FIGURES = (
    *_EVERYWHERE, "tests/core/metrics", "tests/core/evaluation", "tests/commands/test_evaluate.py",
    "tests/commands/test_overfitting.py", "tests/commands/test_watched_test.py",
    "tests/commands/test_columns.py",
)  # fmt: skip
_SPLITS = *_EVERYWHERE, "tests/core/data", "tests/core/datasets", "tests/commands/test_prepare.py"

GUARDED = (
    Guarded("bccli/core/metrics", _FIGURES),
    *(
        Guarded(f"bccli/core/data/{name}.py", _SPLITS)
        for name in ("splits", "split_solver", "split_table", "split_codes")
    ),
    Guarded("bccli/core/data/leakage.py", (*_EVERYWHERE, "tests/core/data", "tests/commands/test_audit.py")),
    Guarded(
        "bccli/core/data/label_tree.py",
        (*_EVERYWHERE, "tests/core/data", "tests/core/evaluation", "tests/commands/test_hierarchy.py"),
    ),
)


@dataclass(frozen=True)
class Module:
    """A module by its name, its file, and the files and folders of tests that guard it."""

    name: str
    path: Path
    tests: tuple[str, ...]

    def nearest_first(self, tests: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The tests of files that are about it, or about all figures of its room, and the others."""
        names = f"/test_{self.path.stem}.py::", "golden.py::"
        near = tuple(test for test in tests if any(name in f"/{test}" for name in names))
        return near, tuple(test for test in tests if test not in near)

    @property
    def source(self) -> str:
        """Its text."""
        return self.path.read_text(encoding="utf-8")


def modules(guarded: tuple[Guarded, ...] = GUARDED, root: Path = ROOT) -> list[Module]:
    """The modules of the table, in its order."""
    return [
        Module(_name(path.relative_to(root)), path, row.tests)
        for row in guarded
        for path in _files(root / row.source)
    ]


def _files(source: Path) -> list[Path]:
    return sorted(source.glob("*.py")) if source.is_dir() else [source]


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")
