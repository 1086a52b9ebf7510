"""Commands whose standard streams are closed, as some schedulers and daemons start them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import tree

MAKE = ("phantom", "histology")
SIZE = ("--count", 12, "--patients", 6, "--size", "24x24", "--workers", 2)


def ended(closed: str, *args: object) -> subprocess.CompletedProcess[str]:
    """`bccli ARGS…` with some of its streams closed, such as `>&- 2>&-`."""
    words = [sys.executable, "-m", "bccli", *map(str, args)]
    return subprocess.run(
        ["bash", "-c", f'exec "$@" {closed}', "bash", *words], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that was prepared with all streams open."""
    out = tmp_path_factory.mktemp("streams") / "data"
    assert ended("", "prepare", *MAKE, out, *SIZE).returncode == 0
    return out


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_results_on_the_disk_are_those_of_open_streams(closed: str, whole: Path, tmp_path: Path) -> None:
    result = ended(closed, "prepare", *MAKE, tmp_path / "data", *SIZE)
    assert result.returncode == 0, result.stderr
    assert tree(tmp_path / "data") == tree(whole)


@pytest.mark.parametrize("words", [("train", "--list-backbones"), ("--help",), ("--version",)])
def test_a_closed_stdout_ends_quietly(words: tuple[str, ...]) -> None:
    result = ended(">&-", *words)
    assert (result.returncode, result.stderr) == (0, "")


def test_what_goes_wrong_keeps_its_exit_code() -> None:
    assert ended(">&- 2>&-", "evaluate", "/nowhere").returncode == 3
    assert ended(">&- 2>&-", "evaluate", "--nonsense").returncode == 2


def test_paths_from_a_closed_stdin_are_none(finished: Path) -> None:
    result = ended("<&-", "predict", finished, "-")
    assert result.returncode == 3
    assert result.stderr.startswith("Error: standard input names no images")
