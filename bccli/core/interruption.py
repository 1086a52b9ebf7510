"""Signals as requests: work that can stop cleanly asks here at its safe points.

`bccli.cli` calls `listen`, which passes every one of `obeyed()` to `request`. Inside `deferred()` the request
waits until the work calls `stop_if_requested()` or the block ends; elsewhere it acts at once. Whatever is
sent after the first signal is the same request, as batch systems send several; only a second Ctrl-C acts at
once everywhere but inside `saving()`, which nothing interrupts.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bccli.core.errors import Stopped

SIGNALS = (
    signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGHUP,
)  # fmt: skip
"""What asks a command to stop."""

EXIT_CODES = {signal.SIGINT: 130}
STOPPED = 75


class _State:
    deferring = 0
    saving = 0
    requested: int | None = None
    interrupts = 0


def obeyed() -> tuple[signal.Signals, ...]:
    """The signals that ask this process to stop: SIGHUP only where it is not ignored, as below nohup."""
    hung_up = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return tuple(number for number in SIGNALS if not (hung_up and number == signal.SIGHUP))


def listen() -> list[Any]:
    """Hear these signals in this process, again where a library has taken one for itself; what was done about
    each before. Raises ValueError outside the main thread."""
    return [signal.signal(number, _hear) for number in obeyed()]


def _hear(signum: int, frame: object) -> None:
    request(signum)


def request(signum: int) -> None:
    """Ask the running work to stop. Raises Stopped for the first request where nobody has deferred it, and
    for each Ctrl-C from the second on.

    It stays requested: where Python swallows the exception (in a callback of the garbage collector), the
    next safe point raises it again, or `insist`.
    """
    first = _State.requested is None
    _State.interrupts += signum == signal.SIGINT
    urgent = signum == signal.SIGINT and _State.interrupts > 1
    if first or urgent:
        _State.requested = signum
    if not _State.saving and (urgent or (first and not _State.deferring)):
        raise _stopped(signum)


def forget() -> None:
    """Take back a request: a new command begins."""
    _State.requested, _State.interrupts = None, 0


@contextmanager
def deferred() -> Iterator[None]:
    """While inside, a request waits for `stop_if_requested` or, at the latest, for the end of the block."""
    stop_if_requested()
    _State.deferring += 1
    try:
        yield
    finally:
        _State.deferring -= 1
    insist()


@contextmanager
def saving() -> Iterator[None]:
    """While inside, no signal is obeyed, so that what is written is whole; a second Ctrl-C is at its end."""
    _State.saving += 1
    try:
        yield
    finally:
        _State.saving -= 1
    if _State.interrupts > 1 and not _State.saving:
        stop_if_requested()
    insist()


def insist() -> None:
    """Raise Stopped for a request that nobody has deferred: it came in a block, or its exception was lost."""
    if not _State.deferring and not _State.saving:
        stop_if_requested()


def insisted() -> bool:
    """Whether Ctrl-C was pressed more than once."""
    return _State.interrupts > 1


def stop_requested() -> bool:
    """Whether a signal is waiting to be honoured."""
    return _State.requested is not None


def stop_if_requested() -> None:
    """A safe point: raises Stopped if a signal came since the last one."""
    if _State.requested is not None:
        raise _stopped(_State.requested)


def _stopped(signum: int) -> Stopped:
    name = "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
    code = EXIT_CODES.get(signal.Signals(signum), STOPPED)
    return Stopped(f"stopped by {name}; run the same command again to continue", code)
