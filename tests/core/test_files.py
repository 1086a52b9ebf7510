"""What killed processes leave half-written, and what a failing disk leaves of a write."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bccli.core import files
from bccli.core.files import remove_folder, replacing, replacing_file, settle, sweep, write_into, write_text


@pytest.fixture(autouse=True)
def a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been swept yet."""
    monkeypatch.setattr(files, "_SWEPT", set())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def left_by(node: int, name: str) -> str:
    """The name of a temporary file as a process of a node gives it, such as `.a.csv.17.tmp`."""
    return name.replace(".17.", f".{node << 48 | 17}.")


@pytest.mark.parametrize("left", [".a.csv.17.tmp", ".model.17.tmp.keras"])
def test_what_a_killed_process_left_goes_when_somebody_writes_there(tmp_path: Path, left: str) -> None:
    (tmp_path / left_by(files._node(), left)).write_text("half")
    others = {".somebody.tmp", ".somebody.17.tmp", left_by(files._node() ^ 1, ".a.csv.17.tmp")}
    for name in others:
        (tmp_path / name).write_text("of another program, or perhaps being written on another node")
    write_text(tmp_path / "b.csv", "whole")
    assert names(tmp_path) == sorted({*others, "b.csv"})
    for name in others:
        os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path)
    assert names(tmp_path) == [".somebody.tmp", "b.csv"]


# A program that begins to write a file, and waits for a line on stdin.
WRITING = """
import sys
from collections.abc import Callable
from pathlib import Path
from bccli.core.files import replacing, replacing_file
if sys.argv[2] == "stream":
    with replacing(Path(sys.argv[1])) as stream:
        print("begun", flush=True)
        sys.stdin.readline()
        stream.write(b"whole")
else:
    with replacing_file(Path(sys.argv[1])) as path:
        path.write_bytes(b"whole")
        print("begun", flush=True)
        sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["stream", "path"])
@pytest.mark.parametrize("killed", [False, True])
def test_what_another_process_is_writing_stays_for_as_long_as_it_lives(
    tmp_path: Path, how: str, killed: bool
) -> None:
    command = [sys.executable, "-c", WRITING, str(tmp_path / "a.csv"), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin
        assert writer.stdout
        assert writer.stdout.readline() == b"begun\n"
        sweep(tmp_path)
        write_text(tmp_path / "b.csv", "whole")
        assert len(names(tmp_path)) == 2
        if killed:
            writer.kill()
        else:
            writer.stdin.write(b"\n")
            writer.stdin.flush()
        writer.wait()
    sweep(tmp_path)
    assert names(tmp_path) == (["b.csv"] if killed else ["a.csv", "b.csv"])


def test_where_a_file_system_knows_no_locks_age_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(files.fcntl, "flock", flock)
    old, new = (left_by(files._node(), name) for name in (".old.17.tmp", ".new.17.tmp"))
    for name in (old, new):
        (tmp_path / name).touch()
    os.utime(tmp_path / old, (0, 0))
    write_text(tmp_path / "a.csv", "whole")
    assert names(tmp_path) == [new, "a.csv"]


def test_a_failed_write_leaves_what_was_there_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    write_text(path, "old")

    def fsync(_: int) -> None:
        raise OSError(errno.EIO, "failed")

    monkeypatch.setattr(os, "fsync", fsync)
    for way in (replacing, replacing_file):
        with pytest.raises(OSError, match="failed") as caught, way(path):
            pass
        assert caught.value.filename == str(path)
    assert names(tmp_path) == ["a.csv"]
    assert path.read_text() == "old"


def test_a_folder_that_has_gone_does_not_come_back_with_one_image_in_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_into(tmp_path / "out", "images/000/000000.png", b"pixels")
    assert names(tmp_path) == []
    (tmp_path / "out").mkdir()
    write_into(tmp_path / "out", "images/000/000000.png", b"pixels")
    assert (tmp_path / "out/images/000/000000.png").read_bytes() == b"pixels"


def test_a_file_system_that_cannot_be_asked_to_settle_says_where(tmp_path: Path) -> None:
    settle(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        settle(tmp_path / "gone")
    assert caught.value.filename == str(tmp_path / "gone")


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to("elsewhere")])
def test_only_a_folder_is_removed_as_one(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "elsewhere").mkdir()
    make(tmp_path / "folder")
    with pytest.raises(NotADirectoryError):
        remove_folder(tmp_path / "folder")  # and a pipe is not waited for
    os.unlink(tmp_path / "folder")
    remove_folder(tmp_path / "folder")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    os.mkfifo(tmp_path / "folder" / "inside" / "pipe")
    remove_folder(tmp_path / "folder")
    assert names(tmp_path) == ["elsewhere"]
