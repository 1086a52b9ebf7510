"""Signals as requests: work that can stop cleanly asks here at its safe points.

`bccli.cli` passes every SIGTERM, SIGUSR1 and Ctrl-C to `request`. Inside `deferred()` the request
waits until the work calls `stop_if_requested()` or the block ends; elsewhere, and on a second signal, it
acts at once.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from bccli.core.errors import Stopped

EXIT_CODES = {signal.SIGINT: 130}
STOPPED = 75


class _State:
    deferring = 0
    requested: int | None = None


def request(signum: int) -> None:
    """Ask the running work to stop. Raises Stopped where nobody has deferred it, or on the second call.

    It stays requested: where Python swallows the exception (in a callback of the garbage collector), the
    next safe point raises it again, or `insist`.
    """
    again, _State.requested = _State.requested is not None, signum
    if _State.deferring == 0 or again:
        raise _stopped(signum)


def forget() -> None:
    """Take back a request: a new command begins."""
    _State.requested = None


@contextmanager
def deferred() -> Iterator[None]:
    """While inside, a request waits for `stop_if_requested` or, at the latest, for the end of the block."""
    stop_if_requested()
    _State.deferring += 1
    try:
        yield
    finally:
        _State.deferring -= 1
    if _State.deferring == 0:
        stop_if_requested()


def insist() -> None:
    """Raise Stopped for a request whose exception was lost, where nobody has deferred it."""
    if _State.deferring == 0:
        stop_if_requested()


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
