"""Claims: one process has a part, a dead one's goes to one heir, and a living one's is respected."""

import errno
import json
import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from bccli.core.errors import LockedError
from bccli.core.runs import claims
from bccli.core.runs.claims import Claims
from bccli.core.runs.locks import Holder
from bccli.core.runs.shard import Shard

OTHER_HOST = "a-node-that-is-not-this-one"


def leave(folder: Path, name: str, *, age: float = 0, **holder: Any) -> Path:
    """A claim as a process leaves it that was killed `age` seconds after its last beat."""
    facts = {"process": 1, "host": OTHER_HOST, "since": "2026-01-01 00:00:00", **holder}
    path = folder / f"{name}.claim0"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts))
    beat = path.stat().st_mtime - age
    os.utime(path, (beat, beat))
    return path


def test_one_at_a_time(tmp_path: Path) -> None:
    first, second = Claims(tmp_path, "1/2"), Claims(tmp_path, "2/2")
    with first.taken("a/b") as mine:
        assert mine
        with second.taken("a/b") as theirs:
            assert not theirs
        assert not second.is_free("a/b")
        assert second.is_free("a/c")
        (sign,) = second.living()
        assert sign.certain
        assert "shard 1/2" in str(sign)
    assert second.is_free("a/b")
    assert [*tmp_path.rglob("*.claim*")] == []
    with second.taken("a/b") as mine:
        assert mine


@pytest.mark.parametrize("links", [True, False])
def test_nobody_sees_a_claim_before_it_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Who is killed while it claims leaves one that says whose it is, or none; disks may know no links."""

    def killed(*_: object) -> None:
        seen.extend(Claims(tmp_path).names())
        raise KeyboardInterrupt

    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    seen: list[str] = []
    if not links:
        monkeypatch.setattr(os, "link", refused)
    with Claims(tmp_path).taken("part") as mine:
        assert mine
        assert [path.name for path in tmp_path.iterdir()] == ["part.claim0"]
        with Claims(tmp_path).taken("part") as theirs:
            assert not theirs
    monkeypatch.setattr(claims, "sign", killed)
    with pytest.raises(KeyboardInterrupt), Claims(tmp_path).taken("part"):
        pass
    assert seen == []
    assert [*tmp_path.iterdir()] == []


def test_a_dotted_name_is_not_a_generation(tmp_path: Path) -> None:
    with Claims(tmp_path).taken("net-0.25") as mine, Claims(tmp_path).taken("net-0") as other:
        assert mine
        assert other


@pytest.mark.parametrize("name", ["a.claim", "a.claims", "a.claim0", "a.claim0.b", "a\n.claim", "é.claim1"])
def test_any_name_can_be_claimed(tmp_path: Path, name: str) -> None:
    with Claims(tmp_path).taken(f"x/{name}") as mine:
        assert mine
        assert Claims(tmp_path).names() == [f"x/{name}"]
        assert not Claims(tmp_path).is_free(f"x/{name}")


@pytest.mark.parametrize(
    "name",
    ["part.claim0~", ".part.claim0.swp", "part.claim", "part.claim0.bak", "part.claims.done", "part.claim²"],
)
def test_what_only_resembles_a_claim_is_none(tmp_path: Path, name: str) -> None:
    """An editor, a mirror or a mark of ours leaves such files."""
    (tmp_path / name).touch()
    assert Claims(tmp_path).names() == []
    assert Claims(tmp_path).living() == []
    with Claims(tmp_path).taken("part") as mine:
        assert mine


@pytest.mark.parametrize(
    "content",
    [b"", b'{"process": 1, "ho', b"\0" * 80, b'{"user": "\xe9"}', b"[1]", b"null"]
    + [
        json.dumps({"process": 1, "host": os.uname().nodename, "since": "", "job": "7", **facts}).encode()
        for facts in ({"process": "1"}, {"restart": None}, {"host": ["a"]}, {"shard": 3}, {"later": 1})
    ],
)
@pytest.mark.parametrize("age", [claims.DEAD_SECONDS + 1, claims.DEAD_SECONDS - 60])
def test_a_claim_that_names_nobody_counts_by_its_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, age: float
) -> None:
    """Half written, damaged, or as another version writes it."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    path = leave(tmp_path, "part", age=age)
    times = (path.stat().st_mtime,) * 2
    path.write_bytes(content)
    os.utime(path, times)
    assert Claims(tmp_path).is_free("part") == (age > claims.DEAD_SECONDS)
    assert [str(sign) for sign in Claims(tmp_path).living()] == ["another process"] * (
        age < claims.DEAD_SECONDS
    )


def test_a_claim_that_another_node_removes_as_we_look_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, "part")

    def stale(number: int) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    assert not Claims(tmp_path).is_free("part")
    with monkeypatch.context() as patch:
        patch.setattr(claims.os, "fstat", stale)
        free = Claims(tmp_path).is_free("part")
    assert free


@pytest.mark.parametrize("age", [claims.DEAD_SECONDS + 1, claims.DEAD_SECONDS - 60, -7200])
def test_another_host_is_dead_once_it_is_silent(tmp_path: Path, age: float) -> None:
    """A clock that was put back leaves claims of the future, which nobody touches any more."""
    leave(tmp_path, "part", age=age)
    assert Claims(tmp_path).is_free("part") == (abs(age) > claims.DEAD_SECONDS)


def test_a_process_of_this_host_is_known_to_be_dead(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=print)
    child.start()
    child.join()
    leave(tmp_path, "part", host=os.uname().nodename, process=child.pid)
    with Claims(tmp_path).taken("part") as mine:
        assert mine
        assert sorted(path.name for path in tmp_path.iterdir()) == ["part.claim0", "part.claim1"]
    assert [*tmp_path.iterdir()] == []


def test_a_requeued_job_inherits_from_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tmp_path, "part", job="7_2", restart=0)
    for task, restart, free in (("2", "0", False), ("1", "1", False), ("2", "1", True)):
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        monkeypatch.setenv("SLURM_RESTART_COUNT", restart)
        assert Claims(tmp_path).is_free("part") == free


def test_a_living_one_is_waited_for_and_named(tmp_path: Path) -> None:
    with (
        Claims(tmp_path, "2/8").taken("part"),
        pytest.raises(LockedError, match=r"sweep: process \d+ on .*shard 2/8.* is working here; stop it"),
    ):
        Claims(tmp_path).wait_until_free(Path("sweep"))


def test_a_silent_one_is_waited_for_until_it_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last beat lies in the future of the moment at which it counts as dead, so that somebody waits."""
    path = leave(tmp_path, "part", age=claims.DEAD_SECONDS - 60)
    waits = iter([lambda: None, lambda: os.utime(path, (1, 1))])
    monkeypatch.setattr(claims.time, "sleep", lambda _: next(waits)())
    Claims(tmp_path).wait_until_free(tmp_path)
    assert next(waits, None) is None


def test_a_beating_one_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = leave(tmp_path, "part", age=claims.DEAD_SECONDS - 60)
    monkeypatch.setattr(claims.time, "sleep", lambda _: os.utime(path))
    with pytest.raises(LockedError, match=OTHER_HOST):
        Claims(tmp_path).wait_until_free(tmp_path)


def test_its_holder_touches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = threading.Event()
    utime: Callable[..., None] = os.utime
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(claims.os, "utime", lambda path: (utime(path), touched.set()))
    with Claims(tmp_path).taken("part"):
        assert touched.wait(60)


def test_claims_of_the_dead_alone_are_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    Claims(folder).clear()
    leave(folder, "dead", age=2 * claims.DEAD_SECONDS)
    with Claims(folder).taken("alive") as mine:
        assert mine
        Claims(folder).clear()
        assert len([*folder.iterdir()]) == 2
    leave(folder, "dead", age=2 * claims.DEAD_SECONDS)
    Claims(folder).clear()
    assert not folder.exists()


def test_a_removed_folder_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    with Claims(folder).taken("part") as mine:
        assert mine
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    with Claims(folder).taken("part") as mine:
        assert mine


def contend(folder: Path, number: int, barrier: Any, taken: Any) -> None:
    """Take each of 40 dead claims once all contenders are there, and hold on to them."""
    share = Claims(folder, f"{number}/4")
    for part in range(40):
        barrier.wait(60)
        with share.taken(f"part{part}") as mine:
            if mine:
                taken.put(part)
            barrier.wait(60)


def test_a_dead_claim_has_one_heir(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, taken = context.Barrier(4), context.Queue()
    for part in range(40):
        leave(tmp_path, f"part{part}", age=1000)
    heirs = [
        context.Process(target=contend, args=(tmp_path, number, barrier, taken)) for number in range(1, 5)
    ]
    for heir in heirs:
        heir.start()
    found = sorted(taken.get(timeout=120) for _ in range(40))
    for heir in heirs:
        heir.join()
    assert found == [*range(40)]
    with pytest.raises(Empty):
        taken.get(timeout=0.1)


def test_own_parts_come_first() -> None:
    assert Shard(2, 3).own_first("abcdefg") == ["b", "e", "c", "f", "a", "d", "g"]
    assert Shard(3, 2 + 1).own_first("ab") == ["a", "b"]
    assert sorted(Shard(5, 9).own_first(range(7))) == [*range(7)]


def test_a_holder_of_an_older_lock_file_is_read() -> None:
    text = json.dumps({"process": 3, "host": "n1", "since": "2026-01-01 00:00:00", "user": "me", "job": "7"})
    assert str(Holder.read(text)) == "process 3 on n1 (job 7, user me, since 2026-01-01 00:00:00)"
