"""One process at a time works in a folder, and none takes a dataset away from those that read it.

A lock is a file that its holder has locked for itself; what it holds says who that is. It ends with the
process, however that ends. Where a file system knows no locks, everybody may work.
"""

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO, Any, cast

from bccli.core import interruption
from bccli.core.data.dataset import DATASET_FILE
from bccli.core.errors import LockedError
from bccli.core.files import naming, unless_gone
from bccli.core.progress import SILENT, Watcher

_POLL = 0.5
_PREDECESSOR_SECONDS = 60
"""How long a requeued job waits for its own earlier start, which a batch system is still about to end."""

_READERS = ".readers"


@dataclass(frozen=True)
class Holder:
    """Who works somewhere and since when; `restart` counts the earlier starts of the same batch job, `shard`
    is the share of a work that it does, such as 2/8."""

    process: int
    host: str
    since: str
    user: str = ""
    job: str = ""
    restart: int = 0
    shard: str = ""

    @classmethod
    def this(cls) -> "Holder":
        """This process, from now on."""
        count = os.environ.get("SLURM_RESTART_COUNT", "")
        return cls(
            os.getpid(),
            os.uname().nodename,
            time.strftime("%Y-%m-%d %H:%M:%S"),
            os.environ.get("USER", ""),
            _batch_job(),
            int(count) if count.isdecimal() else 0,
        )

    @classmethod
    def read(cls, text: str) -> "Holder | None":
        """Who a lock file names, None where it does not."""
        try:
            found = cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
        return found if found._has_its_types() else None

    def _has_its_types(self) -> bool:
        """Whether each fact is what others take it for."""
        return all(isinstance(getattr(self, each.name), cast(Any, each.type)) for each in fields(self))

    def __str__(self) -> str:
        known = {"shard": self.shard, "job": self.job, "user": self.user}
        facts = [f"{name} {value}" for name, value in known.items() if value]
        return f"process {self.process} on {self.host} ({', '.join([*facts, f'since {self.since}'])})"

    def precedes(self, other: "Holder") -> bool:
        """Whether this is an earlier start of the same batch job."""
        return bool(self.job) and self.job == other.job and self.restart < other.restart

    def is_this(self) -> bool:
        """Whether it is this process."""
        return (self.process, self.host) == (os.getpid(), os.uname().nodename)

    def has_ended_here(self) -> bool:
        """Whether this was a process of this host that is no more."""
        if self.host != os.uname().nodename:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False


def _batch_job() -> str:
    """The batch job that this process belongs to, with its number in an array; empty outside of one."""
    known = os.environ.get
    if array := known("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{known('SLURM_ARRAY_TASK_ID', '')}"
    return known("SLURM_JOB_ID") or known("PBS_JOBID") or known("LSB_JOBID") or ""


class _Patience:
    seconds = 0.0
    watcher: Watcher = SILENT


@contextmanager
def patient(minutes: float, watcher: Watcher) -> Iterator[None]:
    """Inside, wait so long for a lock that somebody else holds; the `watcher` is told for whom."""
    before = _Patience.seconds, _Patience.watcher
    _Patience.seconds, _Patience.watcher = minutes * 60, watcher
    try:
        yield
    finally:
        _Patience.seconds, _Patience.watcher = before


def patience() -> tuple[float, Watcher]:
    """For so many seconds a lock is waited for, and who is told."""
    return _Patience.seconds, _Patience.watcher


@contextmanager
def locked(what: Path, *, file: Path | None = None, shard: str = "") -> Iterator[None]:
    """Hold a folder for this process, or what another lock `file` stands for; the lock ends with the process.

    A `shard` waits for other shards however long they take, as they hold it for short. Raises LockedError
    where another process holds it, longer than `patient` allows.
    """
    path, this = file or what / ".lock", replace(Holder.this(), shard=shard)
    with _waiting_for(path, what, this) as stream:
        with naming(path):
            sign(stream, this)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def reading(dataset: Path) -> Iterator[None]:
    """Read a dataset, which nobody replaces meanwhile; of one that cannot be written, nothing is said.

    Raises LockedError where it is being made, longer than `patient` allows.
    """
    _wait_for_maker(dataset)
    _forget_dead_readers(dataset)
    mark = _leave_mark(dataset)
    try:
        _wait_for_maker(dataset)  # who came before the mark could be seen
        yield
    finally:
        if mark is not None:
            with suppress(OSError):
                Path(mark.name).unlink()
            mark.close()
            with suppress(OSError):
                (dataset / _READERS).rmdir()


def refuse_readers(dataset: Path) -> None:
    """Raises LockedError where somebody reads a dataset that is about to be replaced."""
    for path in (dataset / _READERS).glob("*.lock"):
        with suppress(OSError), path.open("r+") as stream:
            if not try_to_lock(stream):
                raise LockedError(
                    f"{dataset}: {holder_in(stream)} is reading it; wait for it or choose another folder"
                )
            path.unlink(missing_ok=True)  # of a process that was killed


def _forget_dead_readers(dataset: Path) -> None:
    """Remove the marks of those that were killed."""
    for path in (dataset / _READERS).glob("*.lock"):
        with suppress(OSError), path.open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _leave_mark(dataset: Path) -> IO[str] | None:
    """A file that says who reads, locked; None where none can be written."""
    holder = Holder.this()
    path = dataset / _READERS / f"{holder.host}-{holder.process}-{os.urandom(3).hex()}.lock"
    while (dataset / DATASET_FILE).is_file():
        try:
            path.parent.mkdir(exist_ok=True)
            stream = path.open("x")
        except FileNotFoundError:
            continue  # the last reader removed the folder just now
        except OSError:
            return None
        with suppress(OSError):
            try_to_lock(stream)
        with suppress(OSError):  # the lock is what counts
            sign(stream, holder)
        return stream
    return None


def sign(stream: IO[str] | IO[bytes], holder: Holder) -> None:
    """Say who holds a lock, at once: what waits in a buffer for a full disk would fail again at the end."""
    os.ftruncate(stream.fileno(), 0)
    os.write(stream.fileno(), json.dumps(asdict(holder)).encode())


def _wait_for_maker(dataset: Path) -> None:
    with suppress(OSError), (dataset / ".lock").open("r") as stream:
        _wait(stream, dataset, "is making it", Holder.this(), shared=True)


@contextmanager
def _waiting_for(path: Path, what: Path, this: Holder) -> Iterator[IO[str]]:
    """The lock file, open and locked by us, or by nobody where that cannot be."""
    while True:
        stream = path.open("a+")
        try:
            with unless_gone():
                if not _wait(stream, what, "is working here", this):
                    break
                if os.fstat(stream.fileno()).st_ino == path.stat().st_ino:
                    break
        except BaseException:
            stream.close()
            raise
        stream.close()  # the holder before us removed the file between our open and our lock
    with stream:
        yield stream


def _wait(stream: IO[str], what: Path, deed: str, this: Holder, *, shared: bool = False) -> bool:
    """Lock a file once nobody else has; False where the file system knows no locks.

    Raises LockedError, and OSError for a file that another node has removed: its lock keeps nobody out.
    """
    began, announced = time.monotonic(), False
    while True:
        try:
            if try_to_lock(stream, shared=shared):
                return True
        except OSError as error:
            if error.errno == errno.ESTALE:
                raise
            return False
        holder = holder_in(stream)
        if time.monotonic() - began >= _patience_with(holder, this):
            raise LockedError(f"{what}: {holder or 'another process'} {deed}; {ADVICE}")
        if not announced:
            _Patience.watcher.note(f"{what}: waiting for {holder or 'another process'}")
            announced = True
        interruption.stop_if_requested()
        time.sleep(_POLL)


ADVICE = "stop it, or wait for it with --wait MINUTES"


def _patience_with(holder: Holder | None, this: Holder) -> float:
    if holder is None:  # of shards, one that is about to say who it is
        return max(_Patience.seconds, _PREDECESSOR_SECONDS * bool(this.shard))
    if holder.shard and this.shard:
        return float("inf")
    return max(_Patience.seconds, _PREDECESSOR_SECONDS * holder.precedes(this))


def is_locked_elsewhere(stream: IO[str]) -> bool:
    """Whether another process has locked a file for itself; False, too, where its lock cannot be seen."""
    try:
        return not try_to_lock(stream, shared=True)
    except OSError:
        return False


def try_to_lock(stream: IO[str], *, shared: bool = False) -> bool:
    """Lock a file; False where somebody else has. Raises OSError where the file system knows no locks."""
    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder_in(stream: IO[str]) -> Holder | None:
    """Who a lock file names, None where it does not."""
    stream.seek(0)
    try:
        return Holder.read(stream.read())
    except UnicodeDecodeError:
        return None
