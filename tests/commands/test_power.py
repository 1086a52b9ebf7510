"""What a power failure, a limit, or somebody who removes folders leaves of a dataset."""

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bccli.core.preparation import chunks
from tests.conftest import PATIENT, Bccli, tree
from tests.sentences import refused

MakeFolder = Callable[..., Path]


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_bytes(b""), "000003.png: is empty"),
        (shorten, "bytes, and"),
        (Path.unlink, "000003.png: is missing"),
        (lambda path: (path.parents[2] / "manifest.csv").unlink(), "manifest.csv: is missing"),
    ],
)
def test_prepare_sees_that_files_of_a_complete_dataset_are_not_whole(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    command = "prepare", "folder", make_folder(), tmp_path / "data", *PATIENT
    bccli(*command)
    expected = tree(tmp_path / "data")
    harm(tmp_path / "data/images/000/000003.png")
    refused(bccli(*command, exit=3), said, "prepare it again with --overwrite")
    bccli(*command, "--overwrite")
    assert tree(tmp_path / "data") == expected
    assert "nothing to do" in bccli(*command).stderr


@pytest.mark.parametrize("kind", ["prepare", "augment"])
def test_images_are_on_the_disk_before_the_journal_that_vouches_for_them(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The order of what is written and settled; nobody can pull the plug of a test."""
    acts: list[str] = []
    write_into, settle, write_text = chunks.write_into, chunks.settle, chunks.write_text

    def note(act: str, function: Callable[..., object]) -> Callable[..., object]:
        return lambda *args: (acts.append(act), function(*args))[1]

    monkeypatch.setattr(chunks, "write_into", note("image", write_into))
    monkeypatch.setattr(chunks, "settle", note("settled", settle))
    monkeypatch.setattr(chunks, "write_text", note("journal", write_text))
    raw, out = prepared.parent / "raw", tmp_path / "out"
    if kind == "prepare":
        bccli("prepare", "folder", raw, out, *PATIENT, "--workers", 1, "--patch", 12)
    else:
        bccli("augment", prepared, out, "--policy", "flips", "--per-image", 20, "--workers", 1)
    order = [act for act, before in zip(acts, ["", *acts], strict=False) if act != before]
    assert len(order) > 3
    assert order == ["image", "settled", "journal"] * (len(order) // 3)


@pytest.fixture
def few_files() -> Iterator[None]:
    """There can be no more open files than there are."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_files")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_limit_of_open_files_is_said_and_no_image_is_taken_for_bad(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    command = "prepare", "folder", make_folder(), tmp_path / "data", *PATIENT, "--workers", workers
    bccli(*command[:3], tmp_path / "expected", *command[4:])
    used = set(map(int, os.listdir("/proc/self/fd")))
    free = [number for number in range(max(used) + 20) if number not in used]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    ends = set()
    for spare in range(12):
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[spare], limit))
        try:
            result = bccli(*command, exit=None)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        ends.add(result.exit_code)
        if result.exit_code:
            refused(result, "too many files are open", "ulimit -n")
    assert ends <= {0, 3}
    assert 3 in ends
    bccli(*command)
    assert tree(tmp_path / "data") == tree(tmp_path / "expected")


@pytest.mark.parametrize("after", [0, 3, 8])
def test_a_folder_that_is_removed_during_the_work_is_said_and_made_again(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    command = "prepare", "folder", make_folder(), tmp_path / "data", *PATIENT, "--workers", 1
    written: list[object] = []
    write_into = chunks.write_into

    def removing(folder: Path, *rest: object) -> None:
        written.append(rest)
        if len(written) == after + 1:
            shutil.rmtree(folder)
        write_into(folder, *rest)

    with monkeypatch.context() as patches:
        patches.setattr(chunks, "write_into", removing)
        refused(bccli(*command, exit=3), "no such file or folder")
    assert not (tmp_path / "data").exists()
    bccli(*command)
    assert "nothing to do" in bccli(*command).stderr


def test_a_folder_of_which_only_the_cache_came_back_is_made_again(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    command = "prepare", "folder", make_folder(), tmp_path / "data", *PATIENT
    bccli(*command)
    for path in (tmp_path / "data").iterdir():
        if path.name != ".cache":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    bccli(*command)
    assert "nothing to do" in bccli(*command).stderr
