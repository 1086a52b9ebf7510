"""`bccli predict --shard I/N`: tasks answer the same inputs together; their file is that of one command."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Bccli, draw, save
from tests.sentences import refused

FORMATS = (
    ("--format", "csv"),
    ("--format", "json"),
    ("--format", "jsonl", "--top", 1),
    ("--format", "table"),
    ("--tta", "--batch-size", 3),
)
TASKS = 4


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """70 images, which are nine steps; the last one cannot be read, and one is white."""
    for number in range(69):
        save(tmp_path / "images" / f"{number:02}.png", draw(number % 2, number))
    save(tmp_path / "images" / "07.png", np.full((24, 24, 3), 255, np.uint8))
    (tmp_path / "images" / "bad.png").write_text("no image")
    return tmp_path / "images"


def beside(output: Path) -> set[str]:
    """The files that have to do with an output file."""
    return {path.name for path in output.parent.iterdir() if output.name in path.name}


def made_of(output: Path) -> bytes:
    return output.with_name(f".{output.name}.made").read_bytes()


@pytest.mark.parametrize("options", FORMATS)
def test_the_joined_file_is_that_of_one_command(
    bccli: Bccli, finished: Path, images: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    command = "predict", finished, images, *options, "--output"
    whole, output = tmp_path / "whole", tmp_path / "shared"
    serial = bccli(*command, whole, exit=4)
    result = bccli(*command, output, "--shard", "2/3", exit=4)
    assert output.read_bytes() == whole.read_bytes()
    assert made_of(output) == made_of(whole)
    assert result.stdout == ""
    warnings = [line for line in serial.stderr.splitlines() if line.startswith("Warning")]
    assert len(warnings) == 2
    assert [line for line in result.stderr.splitlines() if line.startswith("Warning")] == warnings
    assert beside(output) == {"shared", ".shared.made"}
    for shard in ((), ("--shard", "1/3"), ("--shard", "3/9")):
        assert "shared is complete; nothing to do" in bccli(*command, output, *shard, exit=4).stderr
    bccli(*command, output, "--shard", "1/3", "--skip-bad")


def test_tasks_at_the_same_time(bccli: Bccli, finished: Path, images: Path, tmp_path: Path) -> None:
    """Who writes the file, or finds it written, has the exit code of all inputs; others end with 0."""
    command, output = ("predict", finished, images, "--output"), tmp_path / "shared"
    bccli(*command, tmp_path / "whole", exit=4)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "bccli", *map(str, (*command, output, "--shard", f"{number}/{TASKS}"))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(1, TASKS + 1)
    ]  # fmt: skip
    ends = [process.communicate() for process in running]
    assert [stdout for stdout, _ in ends] == [""] * TASKS
    for process, (_, stderr) in zip(running, ends, strict=True):
        knows = "images have no label" in stderr
        assert process.returncode == (4 if knows else 0), stderr
        assert knows != ("is done; " in stderr or "was written by another task" in stderr), stderr
    assert sum("1 of 70 images have no label" in stderr for _, stderr in ends) == 1
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()
    assert beside(output) == {"shared", ".shared.made"}


def test_paths_on_standard_input(bccli: Bccli, finished: Path, images: Path, tmp_path: Path) -> None:
    paths = "\n".join(sorted(map(str, images.iterdir()), reverse=True))
    command, output = ("predict", finished, "-", "--output"), tmp_path / "shared"
    whole = tmp_path / "whole"
    bccli(*command, whole, input=paths, exit=4)
    bccli(*command, output, "--shard", "1/2", input=paths, exit=4)
    assert output.read_bytes() == whole.read_bytes()
    refused(bccli(*command, output, "--shard", "2/2", input=paths[:-9], exit=3), str(output), "other images")


def test_a_single_image(bccli: Bccli, finished: Path, images: Path, tmp_path: Path) -> None:
    command = "predict", finished, images / "01.png", "--output"
    bccli(*command, tmp_path / "whole")
    bccli(*command, tmp_path / "shared", "--shard", "5/8")
    assert (tmp_path / "shared").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("output", ["-", "folder", "pipe", os.devnull])
def test_shards_need_a_file(bccli: Bccli, finished: Path, images: Path, tmp_path: Path, output: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    place = output if output == "-" else tmp_path / output
    result = bccli("predict", finished, images, "--output", place, "--shard", "1/2", exit=2)
    refused(result, "--shard needs --output FILE")


def test_shards_that_cannot_be_are_refused(
    bccli: Bccli, finished: Path, images: Path, tmp_path: Path
) -> None:
    command = "predict", finished, images, "--output", tmp_path / "shared"
    refused(bccli(*command, "--shard", "1/2", "--overwrite", exit=2), "--overwrite")
    refused(bccli(*command, "--shard", "3/2", exit=2), "--shard")
    (tmp_path / "shared").write_text("mine")
    refused(bccli(*command, "--shard", "1/2", exit=3), "was not made by bccli predict", "; remove it or")
    (tmp_path / "shared.parts").write_text("mine")
    (tmp_path / "shared").unlink()
    refused(bccli(*command, "--shard", "1/2", exit=3), "shared.parts", "no folder")


def test_a_folder_that_cannot_be_written_is_refused(
    bccli: Bccli, finished: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "mkdir", read_only)
    result = bccli("predict", finished, images, "--output", tmp_path / "x.csv", "--shard", "1/2", exit=3)
    refused(result, "x.csv.parts", "read-only")


MODULES = """
import sys
from bccli.cli import cli
try:
    cli.main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
print(*sys.modules, sep='\\n', file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("options", "loaded"),
    [
        ((), ()),
        (("--output",), ("output_file",)),
        (("--shard", "1/2", "--output"), ("output_file", "shared_output")),
    ],
)
def test_only_what_is_needed_is_loaded(
    finished: Path, images: Path, tmp_path: Path, options: tuple[str, ...], loaded: tuple[str, ...]
) -> None:
    output = [tmp_path / "labels.csv"] if options else []
    command = [sys.executable, "-c", MODULES, "predict", finished, images / "01.png", *options, *output]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = set(ended.stderr.splitlines())
    room = "bccli.core.prediction"
    known = {name for name in ("output_file", "shared_output") if f"{room}.{name}" in modules}
    assert known == set(loaded)
    assert not modules & {"tensorflow", "pandas", "skimage", "sklearn"}
