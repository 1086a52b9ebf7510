"""Who makes which part of a work that several processes share, also where a file system's locks do not reach.

A claim is a file that one process has made by exclusive creation, which every shared file system grants to
one alone; it is locked besides. It says who its holder is, and is touched while its holder lives. What a dead
process has claimed is not taken from it but claimed in the next generation (NAME.claim1 after NAME.claim0),
so that two heirs cannot both have it.
"""

import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from bccli.core import interruption
from bccli.core.errors import LockedError
from bccli.core.files import begin, unless_gone
from bccli.core.runs.locks import (
    ADVICE,
    Holder,
    holder_in,
    is_locked_elsewhere,
    patience,
    sign,
    try_to_lock,
)

BEAT_SECONDS = 15.0
"""So often a claim is touched."""

DEAD_SECONDS = 90.0
"""A claim that was not touched for so long is that of a dead process, where nothing tells it sooner."""

_POLL = 0.5
_LOOKS, _LOOK_SECONDS = 50, 0.01
_MARK, _NAME = ".claim", re.compile(r"(.+)\.claim([0-9]+)", re.DOTALL)


@dataclass(frozen=True)
class Sign:
    """What is seen of a claim: its holder, if it says so, and when it was touched. It is `certain` that the
    holder lives where it holds a lock."""

    path: Path
    holder: Holder | None
    touched: float
    certain: bool

    def moved_since(self, before: "Sign | None") -> bool:
        """Whether it was touched since an earlier look."""
        return before is not None and self.touched != before.touched

    def __str__(self) -> str:
        return str(self.holder or "another process")


@dataclass(frozen=True)
class Claims:
    """The claims below a folder, made for the share of the work that `shard` names in words."""

    folder: Path
    shard: str = ""

    def is_free(self, name: str) -> bool:
        """Whether no living process has claimed a part."""
        return self._living(name) is None

    @contextmanager
    def taken(self, name: str) -> Iterator[bool]:
        """Have a part for this process if no living one has it, which is said; it is free again afterwards.

        Whoever had it may have made it by now: look again.
        """
        claim = self._take(name)
        if claim is None:
            yield False
            return
        path, stream = claim
        ended = threading.Event()
        beating = threading.Thread(target=_beat, args=(path, ended), daemon=True)
        beating.start()
        try:
            yield True
        finally:
            ended.set()
            beating.join()
            for generation in [*self._generations(name), path]:
                generation.unlink(missing_ok=True)
            stream.close()

    def living(self) -> list[Sign]:
        """All claims of living processes."""
        return [sign for name in self.names() if (sign := self._living(name))]

    def names(self) -> list[str]:
        """The parts that somebody has claimed, who may be dead."""
        files = (Path(at, name) for at, _, names in os.walk(self.folder) for name in names)
        parts = {path.with_name(part) for path in files if (part := _part(path.name))}
        return sorted(str(part.relative_to(self.folder)) for part in parts)

    def clear(self) -> None:
        """Remove the claims of the dead, where nobody alive has any and the folder can be written."""
        if self.folder.exists() and not self.living():
            shutil.rmtree(self.folder, ignore_errors=True)

    def wait_until_free(self, what: Path) -> None:
        """Wait for the claims of the dead to show that they are. Raises LockedError where one lives longer
        than `locks.patient` allows."""
        began, known, announced = time.monotonic(), {sign.path: sign for sign in self.living()}, False
        while signs := self.living():
            alive = [sign for sign in signs if sign.certain or sign.moved_since(known.get(sign.path))]
            allowed, watcher = patience()
            if alive and time.monotonic() - began >= allowed:
                raise LockedError(f"{what}: {alive[0]} is working here; {ADVICE}")
            if not announced:
                watcher.note(f"{what}: waiting for {signs[0]}")
                announced = True
            interruption.stop_if_requested()
            time.sleep(_POLL)

    def _take(self, name: str) -> tuple[Path, IO[Any]] | None:
        """A claim that is ours alone, and its file, open and locked; None where another process has it."""
        while True:
            last = self._last(name)  # the one look by which we are its only heir, or none
            if last and self._look(last):
                return None
            path = self.folder / f"{name}{_MARK}{_generation(last) + 1 if last else 0}"
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                stream = self._make(path)
            except FileExistsError:
                continue  # another heir was faster
            except FileNotFoundError:
                continue  # the folder was removed just now, with all that is done
            if not any(map(self._look, set(self._generations(name)) - {path})):
                return path, stream
            path.unlink()  # all was released and claimed anew between our look and our claim
            stream.close()

    def _make(self, path: Path) -> IO[Any]:
        """A new claim, locked and signed. Raises FileExistsError where another process was faster."""
        holder = replace(Holder.this(), shard=self.shard)
        temporary, stream = begin(path)
        try:
            sign(stream, holder)
            if _linked(temporary, path):
                return stream
        except BaseException:
            stream.close()
            raise
        finally:
            temporary.unlink(missing_ok=True)
        stream.close()
        return _made_alone(path, holder)

    def _generations(self, name: str) -> list[Path]:
        """The claims of a part, of whoever had it."""
        path = self.folder / name
        with unless_gone():
            return [path.with_name(entry) for entry in os.listdir(path.parent) if _part(entry) == path.name]
        return []

    def _living(self, name: str) -> Sign | None:
        """The last claim of a part, where its holder lives."""
        last = self._last(name)
        return self._look(last) if last else None

    def _last(self, name: str) -> Path | None:
        return max(self._generations(name), key=_generation, default=None)

    def _look(self, path: Path) -> Sign | None:
        """A claim, if its holder lives."""
        with unless_gone(), path.open("r+") as stream:
            certain = is_locked_elsewhere(stream)
            sign = Sign(path, holder_in(stream), os.fstat(stream.fileno()).st_mtime, certain)
            return sign if certain or not self._is_dead(sign) else None
        return None

    def _is_dead(self, sign: Sign) -> bool:
        """Whether the holder of a claim that is not locked has died; one that was touched in the future has
        not been since somebody set the clock."""
        holder = sign.holder
        gone = holder is not None and (holder.precedes(Holder.this()) or holder.has_ended_here())
        return gone or abs(self._now() - sign.touched) > DEAD_SECONDS

    def _now(self) -> float:
        """The time by the clock of the file system, which a node's may differ from."""
        probe = self.folder / f".{os.uname().nodename}-{os.getpid()}.now"
        try:
            probe.touch()
            return probe.stat().st_mtime
        except OSError:
            return time.time()
        finally:
            with suppress(OSError):  # as where nothing can be written
                probe.unlink(missing_ok=True)


def _linked(temporary: Path, path: Path) -> bool:
    """Give a file its name, by which it is whole from the first moment; False where links are not known.

    Raises FileExistsError where another file has it, FileNotFoundError.
    """
    try:
        os.link(temporary, path)
    except (FileExistsError, FileNotFoundError):
        if temporary.exists() and temporary.stat().st_nlink > 1:
            return True  # a server was asked twice and had done it at the first time
        raise
    except OSError:
        return False
    return True


def _made_alone(path: Path, holder: Holder) -> IO[str]:
    """A claim that is made first and signed then; for a moment nobody knows whose it is."""
    stream = path.open("x")
    try:
        _lock(stream)
        sign(stream, holder)
    except BaseException:
        stream.close()
        path.unlink(missing_ok=True)
        raise
    return stream


def _lock(stream: IO[str]) -> None:
    """Lock a claim that was made just now, which somebody may be looking at; without locks it is one, too."""
    with suppress(OSError):
        for _ in range(_LOOKS):
            if try_to_lock(stream):
                return
            time.sleep(_LOOK_SECONDS)


def _part(name: str) -> str:
    """The part that a file of this name claims; empty for a file that is no claim."""
    match = _NAME.fullmatch(name)
    return match[1] if match else ""


def _generation(path: Path) -> int:
    return int(path.name.rpartition(_MARK)[2])


def _beat(path: Path, ended: threading.Event) -> None:
    """Touch a claim until its work has ended, or it is no more."""
    while not ended.wait(BEAT_SECONDS):
        try:
            os.utime(path)
        except FileNotFoundError:
            return
        except OSError:
            continue  # the file system may be back at the next beat
