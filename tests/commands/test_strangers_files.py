"""Files of a run or a dataset from a stranger: whole, with the right hashes, and not what they should be."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bccli.core.files import replacing
from tests.commands.test_strangers_runs import run as run
from tests.conftest import Bccli
from tests.sentences import refused


@pytest.fixture
def theirs(run: Path, tmp_path: Path) -> Path:
    """A run and its dataset to be changed."""
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run.parent / "data", tmp_path / "data")
    return tmp_path


def forge(run: Path, name: str, write: Callable[[Path], object]) -> None:
    """Change a file of a run, and its hash in run.json."""
    write(run / name)
    facts = json.loads((run / "run.json").read_text())
    facts["files"][name] = hashlib.sha256((run / name).read_bytes()).hexdigest()
    (run / "run.json").write_text(json.dumps(facts))


def test_words_that_are_not_the_classifiers(bccli: Bccli, theirs: Path) -> None:
    run, (image, *_) = theirs / "run", sorted((theirs / "data" / "images").rglob("*.png"))
    with np.load(run / "words.npz") as content:
        centres = content["centres"]
    forge(run, "words.npz", lambda path: np.savez(path, centres=np.concatenate([centres, centres[:1]])))
    refused(bccli("predict", run, image, exit=3), "its classifier wants", "copy the whole folder again")


@pytest.mark.parametrize("wrong", ["g" * 64, "a" * 63, "A" * 64, "images/000/000001.png"])
def test_hashes_that_are_none(bccli: Bccli, theirs: Path, wrong: str) -> None:
    def write(path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True)
        place = lines[0].strip().split(",").index("sha256")
        cells = lines[1].rstrip("\n").split(",")
        cells[place] = wrong
        path.write_text("".join([lines[0], ",".join(cells) + "\n", *lines[2:]]))

    forge(theirs / "run", "seen.csv", write)
    command = "evaluate", theirs / "run", "--data", theirs / "data"
    refused(bccli(*command, exit=3), "seen.csv", "64 hexadecimal digits")
    write(theirs / "data" / "manifest.csv")
    command = "train", theirs / "data", theirs / "other", "--classifier", "bovw"
    refused(bccli(*command, exit=3), "manifest.csv", "64 hexadecimal digits")


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_in_a_cache_is_replaced_and_not_written_to(
    bccli: Bccli, theirs: Path, tmp_path: Path, linked: bool
) -> None:
    """Neither is it waited for, nor does a link lead what is written to where it leads."""
    (cache,) = (theirs / "data" / ".cache" / "audits").iterdir()
    before = cache.read_bytes()
    cache.unlink()
    os.mkfifo(tmp_path / "pipe" if linked else cache)
    if linked:
        cache.symlink_to(tmp_path / "pipe")
    bccli("evaluate", theirs / "run", "--data", theirs / "data", exit=None)
    assert cache.read_bytes() == before
    assert not cache.is_symlink()


def test_only_what_a_user_has_named_is_written_through(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with replacing(tmp_path / "pipe") as stream:
        stream.write(b"mine")
    assert (tmp_path / "pipe").read_bytes() == b"mine"
    with replacing(Path(os.devnull), through=True) as stream:
        stream.write(b"gone")
    assert not Path(os.devnull).is_file()
