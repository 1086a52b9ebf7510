"""`bccli prepare --shard I/N`: the same dataset, made by several."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Bccli, tree
from tests.library import Library, bccli_in
from tests.sentences import refused

pytestmark = pytest.mark.pictures

COMMAND = "prepare", "phantom", "histology"
OPTIONS = "--count", 24, "--patients", 8, "--stain", "macenko", "--patch", 60, "--size", "24x24"


@pytest.fixture(scope="module")
def whole(library: Library) -> Path:
    """What an unsharded `prepare` makes."""
    return library.folder("shards", fill) / "whole"


def fill(place: Path) -> None:
    bccli_in(*COMMAND, place / "whole", *OPTIONS, pictures=True)


def orders() -> Iterator[object]:
    """All orders in which three shards can run: one always, one more in CI, the others on demand."""
    marks = {(3, 1, 2): (), (1, 2, 3): pytest.mark.slow}
    for order in itertools.permutations((1, 2, 3)):
        yield pytest.param(order, marks=marks.get(order, pytest.mark.full))


@pytest.mark.parametrize("order", list(orders()))
def test_shards_in_any_order_make_the_same_dataset(
    bccli: Bccli, whole: Path, tmp_path: Path, order: tuple[int, ...]
) -> None:
    out = tmp_path / "sharded"
    for place, number in enumerate(order, 1):
        result = bccli(*COMMAND, out, *OPTIONS, "--shard", f"{number}/3")
        if place < 3:
            assert result.stdout == ""
            missing = [f"{left}/3" for left in sorted(set(order[place:]))]
            assert f"still needs {', '.join(missing)}" in result.stderr
            assert not (out / "dataset.json").exists()
    assert "train,benign" in result.stdout
    assert tree(out) == tree(whole)
    assert not (out / ".unfinished").exists()


def test_a_shard_that_is_missing_is_named_by_whoever_needs_it(bccli: Bccli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bccli(*COMMAND, out, *OPTIONS, "--shard", "1/3")
    refused(bccli("train", out, tmp_path / "run", exit=3), "unfinished", "the same bccli prepare again")
    again = bccli(*COMMAND, out, *OPTIONS, "--shard", "1/3").stderr
    assert "were ready from an earlier start" in again
    assert "still needs 2/3, 3/3" in again


def test_a_shard_with_other_settings_is_refused(bccli: Bccli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bccli(*COMMAND, out, *OPTIONS, "--shard", "1/3")
    refused(bccli(*COMMAND, out, *OPTIONS, "--seed", 1, "--shard", "2/3", exit=3), "seed 0, now 1")
    refused(bccli(*COMMAND, out, *OPTIONS, "--fit", "pad", "--shard", "2/3", exit=3), "fit stretch, now pad")
    refused(bccli(*COMMAND, out, *OPTIONS, "--shard", "2/4", exit=3), "3 shards, not 4", "--shard 2/3")
    (out / ".unfinished" / "plan.json").write_text(
        (out / ".unfinished" / "plan.json").read_text().replace('"parts": "', '"parts": "0')
    )
    refused(bccli(*COMMAND, out, *OPTIONS, "--shard", "2/3", exit=3), "other splits")


def test_the_whole_goes_on_where_shards_ended(bccli: Bccli, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bccli(*COMMAND, out, *OPTIONS, "--shard", "2/2")
    result = bccli(*COMMAND, out, *OPTIONS)
    assert "were ready from an earlier start" in result.stderr
    assert tree(out) == tree(whole)
    assert "nothing to do" in bccli(*COMMAND, out, *OPTIONS, "--shard", "1/2").stderr


def test_shards_at_the_same_time(whole: Path, tmp_path: Path) -> None:
    """Three processes at once: one plans, all work, one merges."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "bccli", *COMMAND, out, *OPTIONS, "--workers", 1]
    running = [
        subprocess.Popen(
            [str(part) for part in (*command, "--shard", f"{number}/3")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in (1, 2, 3)
    ]  # fmt: skip
    ends = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], ends
    assert sum("train,benign" in output for output, _ in ends) >= 1
    assert tree(out) == tree(whole)


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"ARRAY_TASK_ID": "0"}, "1/2"),
        ({"ARRAY_TASK_ID": "2", "ARRAY_TASK_MIN": "1"}, "2/2"),
        ({"ARRAY_TASK_ID": "12", "ARRAY_TASK_MIN": "10", "ARRAY_TASK_STEP": "2"}, "2/2"),
        ({"ARRAY_TASK_ID": "1", "ARRAY_TASK_MIN": "1", "ARRAY_TASK_STEP": "0"}, "1/2"),
        ({"ARRAY_TASK_ID": "1", "ARRAY_TASK_MIN": "", "ARRAY_TASK_STEP": "x"}, "2/2"),
        ({"PROCID": "1"}, "2/2"),
        ({"ARRAY_TASK_ID": "7", "ARRAY_TASK_MIN": "7", "PROCID": "1", "STEP_NUM_TASKS": "2"}, "2/2"),
        ({"ARRAY_TASK_ID": "2", "ARRAY_TASK_MIN": "1", "PROCID": "0", "STEP_NUM_TASKS": "1"}, "2/2"),
    ],
)
def test_auto_takes_its_place_from_slurm(
    bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], place: str
) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    stderr = bccli(*COMMAND, tmp_path / "out", *OPTIONS, "--shard", "auto/2").stderr
    assert f"shard {place} is done" in stderr


def test_shards_that_cannot_be_are_refused(
    bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ARRAY_TASK_ID", "PROCID"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    for text in ("0/3", "4/3", "x/3", "3", "1/0", "auto/3"):
        refused(bccli(*COMMAND, tmp_path / "out", *OPTIONS, "--shard", text, exit=2), "--shard")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    refused(bccli(*COMMAND, tmp_path / "out", *OPTIONS, "--shard", "auto/3", exit=2), "task 8 of Slurm")
    refused(
        bccli(*COMMAND, tmp_path / "out", *OPTIONS, "--shard", "1/3", "--overwrite", exit=2), "--overwrite"
    )
