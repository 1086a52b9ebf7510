"""A home folder that cannot be written makes no words and no second search for fonts."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bccli.core.metrics.font_cache import ensure_cache

# Draws a picture, and says where matplotlib keeps its fonts and whether it has found them there.
DRAW = """
import io
from bccli.core.metrics.plots import add_axes, new_figure, write_figure
figure = new_figure()
add_axes(figure, 0, 1, 1)
write_figure(figure, io.BytesIO())
import matplotlib
print(matplotlib.get_cachedir())
"""


def draw(home: str, place: Path, **environment: str) -> Path:
    """Draw with a home folder; returns where fonts are kept."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "XDG_"))}
    ended = subprocess.run(
        [sys.executable, "-c", DRAW], capture_output=True, text=True, check=True,
        env={**known, "HOME": home, "TMPDIR": str(place), **environment},
    )  # fmt: skip
    assert ended.stderr == ""
    return Path(ended.stdout.strip())


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The folder for all processes of this user, which is not there yet."""
    return tmp_path / f"bccli-matplotlib-{os.getuid()}"


def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path: Path, shared: Path) -> None:
    assert draw("/dev/null", tmp_path) == shared
    assert stat.S_IMODE(shared.stat().st_mode) == 0o700
    before = {path: path.stat().st_mtime_ns for path in shared.glob("fontlist*")}
    assert before
    assert draw("/dev/null", tmp_path) == shared
    assert {path: path.stat().st_mtime_ns for path in shared.glob("fontlist*")} == before


def test_a_folder_that_others_may_write_is_not_trusted(tmp_path: Path, shared: Path) -> None:
    shared.mkdir()
    shared.chmod(0o777)
    found = draw("/dev/null", tmp_path)
    assert found != shared
    assert found.name.startswith("matplotlib-")


def test_who_imported_matplotlib_already_keeps_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    assert matplotlib
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    ensure_cache()
    assert "MPLCONFIGDIR" not in os.environ


@pytest.mark.parametrize("mode", [0o700, 0o720, 0o702])
def test_a_folder_of_somebody_else_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    owner = os.getuid() + (mode == 0o700)
    monkeypatch.setattr("os.getuid", lambda: owner)
    shared = tmp_path / f"bccli-matplotlib-{owner}"
    shared.mkdir()
    shared.chmod(mode)
    ensure_cache()
    found = Path(os.environ["MPLCONFIGDIR"])
    assert found.parent == tmp_path
    assert found.name.startswith("matplotlib-")


def test_a_home_that_can_be_written_is_used(tmp_path: Path, shared: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert draw(str(home), tmp_path).is_relative_to(home)
    assert draw("/dev/null", tmp_path, MPLCONFIGDIR=str(tmp_path / "mine")) == tmp_path / "mine"
    assert not shared.exists()
