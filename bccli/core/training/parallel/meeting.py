"""How the workers of a cluster find that all are here, before TensorFlow waits for them.

TensorFlow waits where Python hears no signal, says nothing meanwhile, and does not notice that two workers
have unlike lists. So each worker first calls on the one that leads, at the port where TensorFlow's server
will be, with one line of JSON, and gets one back once all have called.
"""

import json
import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from bccli.core import interruption
from bccli.core.errors import TrainingError, UsageError
from bccli.core.progress import Watcher
from bccli.core.training.parallel.cluster import Cluster

_PATIENCE = 5.0
"""After so many seconds of waiting for the others, it is said."""

_LIMIT = 1800.0
"""After so many seconds, nobody is waited for any more."""

_TICK = 0.2
"""Seconds between two looks at signals."""

_LINE = 1 << 20
"""A line is no longer than this."""

_SILENCE = 5.0
"""After so many seconds, a stranger who says nothing is left alone."""

_UNLIKE = (
    "the workers are not told the same: worker {} has {}, and worker 0 {}; give all the same TF_CONFIG but "
    "for their index"
)


def meet(cluster: Cluster, watcher: Watcher) -> None:
    """Wait until all workers are here, and say so.

    Raises UsageError where the port of one is in use, and in all where they are told unlike things;
    TrainingError where one does not come within half an hour; Stopped.
    """
    waiting = _Waiting(cluster, watcher)
    with _listener(cluster) as listener:
        if cluster.leads:
            _host(cluster, listener, waiting)
    if not cluster.leads:
        _call(cluster, waiting)


class _Waiting:
    """Says once that others are waited for, obeys signals, and does not wait for ever."""

    def __init__(self, cluster: Cluster, watcher: Watcher) -> None:
        self._cluster, self._watcher = cluster, watcher
        self._since, self._is_said = time.monotonic(), False

    def tick(self, missing: list[int]) -> None:
        """Another moment has passed without these workers. Raises Stopped; TrainingError after too long."""
        interruption.stop_if_requested()
        waited = time.monotonic() - self._since
        names = ", ".join(f"worker {number} at {self._cluster.workers[number]}" for number in missing)
        if waited > _PATIENCE and not self._is_said:
            self._is_said = True
            self._watcher.warn(f"waiting for {names}")
        if waited > _LIMIT:
            raise TrainingError(
                f"{names} did not come within {_LIMIT / 60:.0f} minutes; see why it did not start there, and "
                "run the same command again on all"
            )


def _listener(cluster: Cluster) -> socket.socket:
    """A socket at this worker's port. TensorFlow's server would share it silently with another program."""
    dual = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", cluster.port), family=socket.AF_INET6 if dual else socket.AF_INET, dualstack_ipv6=dual
        )
    except OSError as error:
        raise UsageError(
            f"port {cluster.port} of this worker ({cluster.workers[cluster.index]}) cannot be used "
            f"({os.strerror(error.errno or 0)}); end the program that has it, or "
            "choose another port"
        ) from None


def _host(cluster: Cluster, listener: socket.socket, waiting: _Waiting) -> None:
    """Wait for the calls of all others, and answer them all at once."""
    listener.settimeout(_TICK)
    callers: dict[int, _Line] = {}
    with ExitStack() as stack:
        while missing := [number for number in range(1, len(cluster.workers)) if number not in callers]:
            waiting.tick(missing)
            with suppress(TimeoutError):
                line = _Line(stack.enter_context(listener.accept()[0]))
                said = line.read(lambda: waiting.tick(missing), _SILENCE)
                callers = {number: each for number, each in callers.items() if not each.is_closed()}
                try:
                    number = _identified(cluster, said, callers)
                except UsageError as error:
                    for each in (line, *callers.values()):
                        each.write({"error": str(error)})
                    raise
                if number is not None:
                    callers[number] = line
        for line in callers.values():
            line.write({"error": None})


def _identified(cluster: Cluster, said: Any, callers: dict[int, Any]) -> int | None:
    """The number of a worker that calls, None for a stranger. Raises UsageError where it is told other things
    than this one."""
    if not isinstance(said, dict) or said.keys() != {"workers", "index"}:
        return None
    if not isinstance(said["workers"], list) or not isinstance(said["index"], int):
        return None
    number, own = said["index"], list(cluster.workers)
    if said["workers"] != own:
        raise UsageError(_UNLIKE.format(number, ", ".join(map(str, said["workers"])), ", ".join(own)))
    if number == 0 or number in callers:
        raise UsageError(f"worker {number} is here twice; give each its own index in TF_CONFIG")
    return int(number)


def _call(cluster: Cluster, waiting: _Waiting) -> None:
    """Call on the worker that leads until it answers."""
    host, _, port = cluster.workers[0].rpartition(":")
    about = {"workers": list(cluster.workers), "index": cluster.index}
    while True:
        waiting.tick([0])
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=_TICK * 5) as connection:
                line = _Line(connection)
                line.write(about)
                answer = line.read(lambda: waiting.tick([0]))
        except OSError:
            answer = None
        if isinstance(answer, dict) and "error" in answer:  # not an echo of the call
            if answer.get("error"):
                raise UsageError(str(answer["error"]))
            return
        time.sleep(_TICK)


class _Line:
    """A connection on which each side says one line of JSON."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(_TICK)

    def write(self, value: Any) -> None:
        """Say it, if anybody is there."""
        with suppress(OSError):
            self._connection.sendall(json.dumps(value).encode() + b"\n")

    def read(self, tick: Callable[[], None], patience: float = float("inf")) -> Any:
        """What the other side says, None where it goes, says something else, or nothing for too long."""
        said, limit = b"", time.monotonic() + patience
        while time.monotonic() < limit and not said.endswith(b"\n") and len(said) < _LINE:
            try:
                more = self._connection.recv(4096)
            except TimeoutError:
                tick()
                continue
            except OSError:
                return None
            if not more:
                return None
            said += more
        with suppress(ValueError):
            return json.loads(said)
        return None

    def is_closed(self) -> bool:
        """Whether the other side has gone."""
        if not select.select([self._connection], [], [], 0)[0]:
            return False
        try:
            return self._connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True
