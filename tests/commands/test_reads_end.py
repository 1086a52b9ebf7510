"""Only regular files are read: whatever else is in the place of one ends in an error, and at once."""

import csv
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bccli.core.errors import BccliError, ImageError
from bccli.core.imaging.formats.decoding import decode, is_dicom_file, read_size
from bccli.core.prediction.image_paths import LeftOut, find_images
from bccli.core.reading.regular_files import open_file, read_bytes
from tests.conftest import Bccli


def pipe(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def nothing(path: Path) -> None:
    path.symlink_to("/dev/null")


def listening(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def folder(path: Path) -> None:
    path.mkdir()


def lost(path: Path) -> None:
    path.symlink_to("nowhere")


KINDS = (pipe, zeros, nothing, listening, folder, lost)
odd = pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
Make = Callable[[Path], None]


@odd
def test_an_image_is_a_regular_file(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    make(path)
    for read in (decode, read_size):
        with pytest.raises(ImageError) as caught:
            read(path)
        assert str(caught.value).split()[0] in ("is", "cannot", "does")
    assert not is_dicom_file(path)
    for read in (open_file, lambda name: read_bytes(name, 10)):
        with pytest.raises(OSError, match=r"x\.png"):
            read(path)


def test_a_folder_with_such_names_lists_them(tmp_path: Path) -> None:
    for make in KINDS:
        make(tmp_path / f"{make.__name__}.png")
    pipe(tmp_path / "notes.txt")
    found = {Path(name).stem for name in find_images([str(tmp_path)], LeftOut())}
    assert found == {"pipe", "zeros", "nothing", "listening", "lost"}


@odd
def test_prepare_puts_them_into_the_quarantine(
    make: Make, bccli: Bccli, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    raw = make_folder()
    label = next(path for path in sorted(raw.rglob("*")) if path.suffix == ".png").parent
    make(label / "p0_99.png")
    code = 0 if make is folder else 4
    bccli("prepare", "folder", raw, tmp_path / "data", "--patient-regex", "p[0-9]+", exit=code)
    if code:
        with (tmp_path / "data" / "quarantine.csv").open(newline="") as stream:
            (row,) = csv.DictReader(stream)
        assert row["path"].endswith("p0_99.png")


@odd
def test_tables_and_texts_are_regular_files(make: Make, bccli: Bccli, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    make(path)
    for args in (
        ("evaluate", path),
        ("prepare", "csv", path, tmp_path / "out"),
        ("prepare", "phantom", "histology", tmp_path / "out", "--recipe", path),
        ("augment", tmp_path, tmp_path / "out", "--policy", path),
        ("hierarchy", tmp_path, tmp_path / "out", "--tree", path),
        ("predict", path, tmp_path),
        ("train", tmp_path, tmp_path / "run", "--weights", path, "--backbone", "cnn-15"),
    ):
        assert bccli(*args, exit=None).exit_code in (2, 3), args


@odd
def test_a_marker_is_a_regular_file(make: Make, bccli: Bccli, tmp_path: Path) -> None:
    for name in ("run.json", "dataset.json", "manifest.csv"):
        (tmp_path / name).mkdir()
        place = tmp_path / name / name
        make(place)
        bccli("evaluate", place.parent, exit=3)
        bccli("train", place.parent, tmp_path / "run", exit=3)
        bccli("predict", place.parent, "-", exit=3, input="a.png\n")
        shutil.rmtree(tmp_path / name)


@odd
def test_a_log_is_not_written_through_what_is_there(make: Make, tmp_path: Path) -> None:
    from bccli.terminal.console import Console

    make(tmp_path / "log.txt")
    with pytest.raises((OSError, BccliError)), Console().logging(tmp_path / "log.txt"):
        pass
    assert not (tmp_path / "nowhere").exists()
