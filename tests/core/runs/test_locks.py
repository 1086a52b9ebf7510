"""Who works in a folder is named; who waits is told for whom; a dataset that is read is not replaced."""

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from bccli.core import interruption
from bccli.core.errors import LockedError, Stopped
from bccli.core.progress import Watcher
from bccli.core.runs import locks
from bccli.core.runs.locks import Holder, locked, patient, reading, refuse_readers
from tests.conftest import Bccli, draw_folder, tree

# A process that holds a folder, or reads a dataset, until its stdin ends.
HOLD = """
import sys
from pathlib import Path
from bccli.core.runs import locks
with getattr(locks, sys.argv[1])(Path(sys.argv[2])):
    print("holding", flush=True)
    sys.stdin.read()
"""
BATCH_JOB = {"SLURM_JOB_ID": "4711", "USER": "ada"}


@contextmanager
def held(folder: Path, how: str = "locked", **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process holds the folder inside the block, or until `communicate`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, how, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        yield process


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """We are no batch job, and nothing waits in vain."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "PBS_", "LSB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(locks, "_POLL", 0.01)
    interruption.forget()
    yield
    interruption.forget()


class Ending(Watcher):
    """Hears whom we wait for, and lets it end."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process, self.said = process, ""

    def note(self, text: str) -> None:
        self.said = text
        self.process.communicate()


class Impatient(Watcher):
    """Asks for a stop as soon as we wait."""

    def note(self, text: str) -> None:
        interruption.request(signal.SIGTERM)


def test_a_lock_names_process_host_job_user_and_since_when(tmp_path: Path) -> None:
    with held(tmp_path, **BATCH_JOB) as process:
        with pytest.raises(LockedError) as caught, locked(tmp_path):
            raise AssertionError("must not be let in")
        names = rf"process {process.pid} on {re.escape(socket.gethostname())}"
        since = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        assert re.search(rf"{names} \(job 4711, user ada, {since}\) is working here", str(caught.value))
        assert "--wait MINUTES" in str(caught.value)
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_task_of_an_array_is_named_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("JOB_ID", "4713"), ("ARRAY_JOB_ID", "4711"), ("ARRAY_TASK_ID", "2")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert Holder.this().job == "4711_2"


def test_who_is_patient_waits_and_is_told_for_whom(tmp_path: Path) -> None:
    with held(tmp_path) as process:
        watcher = Ending(process)
        with patient(60, watcher), locked(tmp_path):
            assert f"waiting for process {process.pid} on" in watcher.said
    assert not list(tmp_path.iterdir())


def test_who_waits_can_be_stopped(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(Stopped), patient(60, Impatient()), locked(tmp_path):
        raise AssertionError("must not be let in")


def test_waiting_for_a_moment_only_is_no_longer_than_that(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(LockedError), patient(1e-9, Watcher()), locked(tmp_path):
        raise AssertionError("must not be let in")


@pytest.mark.parametrize("count", ["1", "3"])
def test_a_requeued_job_waits_for_its_own_predecessor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: str
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    with held(tmp_path, SLURM_JOB_ID="4711", SLURM_RESTART_COUNT=str(int(count) - 1)) as process:
        watcher = Ending(process)
        with patient(0, watcher), locked(tmp_path):
            assert "waiting for" in watcher.said


@pytest.mark.parametrize(
    ("job", "count"), [("4712", "0"), ("", "0"), ("4711", "1")], ids=["other job", "no job", "same start"]
)
def test_nobody_waits_for_others_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, count: str
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with held(tmp_path, SLURM_JOB_ID=job, SLURM_RESTART_COUNT=count) as process:
        watcher = Ending(process)
        with pytest.raises(LockedError), patient(0, watcher), locked(tmp_path):
            raise AssertionError("must not be let in")
        assert not watcher.said


@pytest.mark.parametrize("call", ["flock", "fstat"])
def test_a_lock_that_another_node_removed_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """NFS calls the file stale that its holder has removed; who holds a lock on it keeps nobody out."""
    module = fcntl if call == "flock" else os
    known, calls = getattr(module, call), []

    def once_stale(*words: Any) -> Any:
        calls.append(words)
        if len(calls) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        return known(*words)

    monkeypatch.setattr(module, call, once_stale)
    with locked(tmp_path):
        assert len(calls) > 1
        with pytest.raises(LockedError), locked(tmp_path):
            raise AssertionError("must not be let in")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"process 17 on node3",
        b"[]",
        b'{"process": 17}',
        b'{"user": "\xe9"}',
        b'{"process": 17, "host": "a", "since": "", "job": "4711", "restart": null}',
    ],
)
def test_what_names_nobody_is_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    with held(tmp_path):
        (tmp_path / ".lock").write_bytes(content)
        with pytest.raises(LockedError, match="another process is working here"), locked(tmp_path):
            raise AssertionError("must not be let in")


def test_holders_survive_their_file() -> None:
    holder = replace(Holder.this(), job="4711", restart=2)
    assert Holder.read(json.dumps(asdict(holder))) == holder


# --- readers ---------------------------------------------------------------------------------------


@pytest.fixture
def again(bccli: Bccli, tmp_path: Path) -> tuple[object, ...]:
    """A command that replaces the prepared dataset `tmp_path / "data"`, which is there."""
    command = "prepare", "phantom", "histology", tmp_path / "data", "--count", 12, "--patients", 6
    bccli(*command, "--size", "24x24")
    return (*command, "--size", "32x32", "--overwrite")


def test_a_dataset_that_is_read_is_not_replaced(
    bccli: Bccli, again: tuple[object, ...], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    before = tree(data)
    with held(data, "reading", **BATCH_JOB) as first, held(data, "reading"):
        said = bccli(*again, exit=3).stderr
        assert re.search(r"data: process \d+ on .*since .* is reading it; wait for it", said)
        first.communicate()
        bccli(*again, exit=3)
        with reading(data):
            pass
    assert tree(data) == before
    bccli(*again)
    assert tree(data) != before
    assert not (data / locks._READERS).exists()


def test_what_a_killed_reader_leaves_is_no_obstacle(
    bccli: Bccli, again: tuple[object, ...], tmp_path: Path
) -> None:
    with held(tmp_path / "data", "reading") as process:
        process.kill()
    assert len(list((tmp_path / "data" / locks._READERS).iterdir())) == 1
    bccli(*again)


def test_the_same_command_again_is_no_replacing(
    bccli: Bccli, again: tuple[object, ...], tmp_path: Path
) -> None:
    with held(tmp_path / "data", "reading"):
        assert "nothing to do" in bccli(*again[:-3], "--size", "24x24").stderr


def test_a_dataset_that_is_being_made_is_not_read(tmp_path: Path) -> None:
    with held(tmp_path) as process:
        with pytest.raises(LockedError, match="is making it"), reading(tmp_path):
            raise AssertionError("must not be let in")
        with patient(60, Ending(process)), reading(tmp_path):
            pass


def test_a_dataset_that_cannot_be_written_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").touch()
    (tmp_path / locks._READERS).touch()  # no folder can be made here
    with reading(tmp_path):
        refuse_readers(tmp_path)


def test_nothing_is_left_in_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with reading(tmp_path), reading(tmp_path / "nowhere"):
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("command", ["train", "hierarchy", "prepare", "augment", "finetune", "evaluate"])
def test_every_command_that_needs_a_dataset_waits_for_who_makes_it(
    bccli: Bccli, finished: Path, tmp_path: Path, command: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it is told to."""
    draw_folder(tmp_path / "raw")
    words: dict[str, tuple[object, ...]] = {
        "train": (tmp_path / "data", tmp_path / "out"),
        "hierarchy": (tmp_path / "data", tmp_path / "out", "--tree", "benign, malignant"),
        "prepare": ("folder", tmp_path / "raw", tmp_path / "data", "--overwrite"),
        "augment": (tmp_path / "data", tmp_path / "out", "--policy", "table5"),
        "finetune": (finished, tmp_path / "out", "--blocks", 1),
        "evaluate": (finished, "--data", tmp_path / "data"),
    }
    with held(tmp_path / "data") as process:
        if waits:
            interruption.forget()
            monkeypatch.setattr(locks, "_wait", lambda *_, **__: interruption.request(signal.SIGTERM))
        said = bccli(
            command, *words[command], *(("--wait", 60) if waits else ()), exit=75 if waits else 3
        ).stderr
        assert waits or f"data: process {process.pid} on" in said
        assert waits or "wait for it with --wait MINUTES" in said
    assert not (tmp_path / "out").exists()


def test_the_mark_of_a_killed_reader_goes_with_the_next_reader(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    with held(tmp_path, "reading") as alive, held(tmp_path, "reading") as dying:
        dying.kill()
        dying.wait()
        assert len(list((tmp_path / ".readers").iterdir())) == 2
        with reading(tmp_path):
            pass
        assert [json.loads(mark.read_text())["process"] for mark in (tmp_path / ".readers").iterdir()] == [
            alive.pid
        ]
    assert not (tmp_path / ".readers").exists()


def test_a_full_disk_keeps_nobody_from_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dataset.json").write_text("{}")

    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with reading(tmp_path):
        pass
    with pytest.raises(OSError, match="No space") as caught, locked(tmp_path):
        pass
    assert caught.value.filename == str(tmp_path / ".lock")
