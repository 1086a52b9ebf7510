"""What many tests start from, made once for all workers of a session and copied by whoever changes it."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from bccli.cli import cli
from tests import placeholders


def bccli_in(*args: object, pictures: bool = False) -> str:
    """Run `bccli ARGS…` in this process where no test has begun; it has to end well. Returns stdout.

    .tflite files are real ones, pictures are stand-ins unless they are asked for.
    """
    with pytest.MonkeyPatch.context() as patch:
        placeholders.real_exports(patch)  # the test that asks first may have stand-ins
        if not pictures:
            placeholders.no_pictures(patch)
        result = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert result.exit_code == 0, f"{args}: exit {result.exit_code}\n{result.stderr}"
    return result.stdout


class Library:
    """Folders by name below one that all workers share; each is filled by the first who asks for it."""

    def __init__(self, factory: pytest.TempPathFactory, *, shared: bool) -> None:
        base = factory.getbasetemp()
        self._root = (base.parent if shared else base) / "library"
        self._root.mkdir(exist_ok=True)

    def folder(self, name: str, fill: Callable[[Path], object]) -> Path:
        """The folder of this name, which nobody may change. What `fill` left unfinished is made anew."""
        place, done = self._root / name, self._root / f"{name}.done"
        with (self._root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                fill(place)
                done.touch()
        return place

    def copy(self, name: str, fill: Callable[[Path], object], to: Path) -> Path:
        """A copy of that folder at `to`, times of files and all, which may be changed."""
        shutil.copytree(self.folder(name, fill), to, dirs_exist_ok=True)
        return to
