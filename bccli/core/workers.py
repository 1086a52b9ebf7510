"""Worker processes that end with their parent and leave signals to it."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from bccli.core import interruption
from bccli.core.errors import WorkerError

Job = TypeVar("Job")
Result = TypeVar("Result")

# Jobs begun ahead of the one whose result comes next, per worker: enough to keep each busy, few enough
# to keep memory flat.
_AHEAD = 2

# Seconds that a running job has to finish after a signal; batch systems kill after 30.
_GRACE = 10
_POLL = 0.2

# What tells NumPy's linear algebra and OpenCV how many threads to start.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def in_order(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[Result, None, None]:
    """Yield `work(job)` for each job, in order; with one worker in this process, otherwise in fresh ones.

    Jobs are taken from the iterable only as they are needed. Raises WorkerError when a worker is killed,
    Stopped when jobs go on for long after a signal; closing the iterator ends the workers at once.
    """
    if workers <= 1:
        yield from map(work, jobs)
        return
    with Team(work, workers) as team:
        yield from team.in_order(jobs)


class Team:
    """Processes that each do one job at a time, started when there is a job for them."""

    # concurrent.futures waits for running jobs when it shuts down, and for ever when one of its processes
    # was killed and the others ignore SIGTERM.

    def __init__(self, work: Callable[[Any], Any], size: int) -> None:
        self._work, self._size = work, size
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[Any] = []
        self._idle: list[Connection] = []
        self.busy: dict[Connection, int] = {}

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()

    def in_order(self, jobs: Iterable[Any]) -> Generator[Any, None, None]:
        """Yield the result of each job, in order. Once they all are taken, the team is free for more.

        Whoever takes a result may take long over it: before, everybody gets something to do.
        """
        numbered = enumerate(jobs)
        done: dict[int, Any] = {}
        given = following = 0
        while True:
            while self.takes_more and given - following < self._size * _AHEAD:
                if (one := next(numbered, None)) is None:
                    break
                self.give(*one)
                given += 1
            if following in done:
                following += 1
                yield done.pop(following - 1)
                done |= self.collect(waiting=False)
            elif self.busy:
                done |= self.collect()
            else:
                return

    @property
    def takes_more(self) -> bool:
        """Whether somebody has nothing to do, or could be started."""
        return bool(self._idle) or len(self._processes) < self._size

    def give(self, number: int, job: Any) -> None:
        """Have a job done; `number` comes back with its result."""
        if not self._idle:
            self._idle.append(self._start())
        line = self._idle.pop()
        try:
            line.send(job)
        except OSError:
            raise _killed() from None
        self.busy[line] = number

    def collect(self, *, waiting: bool = True) -> dict[int, Any]:
        """The results that are ready; `waiting`, at least one where there are jobs.

        Raises what a job raised.
        """
        results = {}
        ready: list[Any] = self._ready() if waiting else wait(list(self.busy), 0)
        for line in ready:
            try:
                value, error, where = line.recv()
            except (EOFError, OSError):
                del self.busy[line]  # what others do can still be waited for
                raise _killed() from None
            if error is not None:
                raise error from _InWorker(where)
            results[self.busy.pop(line)] = value
            self._idle.append(line)
        return results

    def _ready(self) -> list[Any]:
        patience: float | None = None
        while self.busy:
            if ready := wait(list(self.busy), _POLL):
                return ready
            if interruption.stop_requested():
                patience = patience or time.monotonic() + _GRACE
                if time.monotonic() > patience:
                    interruption.stop_if_requested()
        return []

    def _start(self) -> Connection:
        """Start a process with the signals blocked, so that one to the whole group does not hit it."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self._work, theirs), daemon=True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, interruption.SIGNALS)
        added = [name for name in _THREADS if name not in os.environ]
        try:
            resource_tracker.ensure_running()  # which unblocks some
            signal.pthread_sigmask(signal.SIG_BLOCK, interruption.SIGNALS)
            os.environ.update(dict.fromkeys(added, "1"))  # a process is the work of one core
            process.start()
            self._processes.append(process)
        finally:
            for name in added:
                os.environ.pop(name, None)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # now the end of the process is the end of the line
        return ours


class _InWorker(Exception):  # noqa: N818 (it only carries the other process's traceback)
    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _killed() -> WorkerError:
    return WorkerError(
        "a worker process was killed, probably for want of memory; "
        "run the same command again with fewer --workers"
    )


def _serve(work: Callable[[Any], Any], line: Connection) -> None:
    """A worker's life: jobs in, results or errors out, until the parent hangs up."""
    _end_with_parent()
    while True:
        try:
            job = line.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[Any, Exception | None, str] = work(job), None, ""
        except Exception as error:
            answer = None, _sendable(error), traceback.format_exc()
        line.send(answer)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
