"""Workers wait for each other, and end where they are told unlike things."""

import json
import socket
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest

from bccli.core import interruption
from bccli.core.errors import Stopped, TrainingError, UsageError
from bccli.core.progress import SILENT, Watcher
from bccli.core.training.parallel import meeting
from bccli.core.training.parallel.cluster import Cluster
from bccli.core.training.parallel.meeting import meet

PATIENCE = 60


def free_ports(count: int) -> list[int]:
    """So many, at which nobody listens."""
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def addresses(count: int) -> tuple[str, ...]:
    """Those of so many workers on this machine."""
    return tuple(f"localhost:{port}" for port in free_ports(count))


def met(clusters: Sequence[Cluster]) -> list[Future[None]]:
    """What became of each of them."""
    with ThreadPoolExecutor(len(clusters)) as pool:
        return [pool.submit(meet, each, SILENT) for each in clusters]


def test_all_go_on_once_all_are_here() -> None:
    workers = addresses(5)
    for future in met([Cluster(workers, index) for index in (3, 0, 4, 1, 2)]):
        assert future.result(PATIENCE) is None


@pytest.mark.parametrize("other", ["more", "another"])
def test_unlike_lists_are_said_to_all_who_are_here(other: str) -> None:
    two = addresses(3)
    unlike = {"more": (*two[:2], "x:1"), "another": (two[0], two[2])}[other]
    for future in met([Cluster(two[:2], 0), Cluster(unlike, 1)]):
        with pytest.raises(UsageError, match=r"the workers are not told the same: worker 1 has .*x:1|:\d+, "):
            future.result(PATIENCE)


def test_a_port_in_use_is_said() -> None:
    with closing(socket.create_server(("", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError, match=f"^port {port} of this worker .* cannot be used .Address already"
        ):
            meet(Cluster((f"localhost:{port}", "localhost:1"), 0), SILENT)


class Ear(Watcher):
    """Hears warnings; the first one is answered by a worker who comes, or by a signal."""

    def __init__(self, answer: object) -> None:
        self.heard: list[str] = []
        self.answer = answer

    def warn(self, text: str) -> None:
        """Do what is to be done."""
        self.heard.append(text)
        self.answer()  # type: ignore[operator]


@pytest.mark.parametrize("late", [0, 1])
def test_who_is_late_is_waited_for_by_name(late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_PATIENCE", 0.0)
    workers = addresses(2)
    with ThreadPoolExecutor(1) as pool:
        ear = Ear(lambda: pool.submit(meet, Cluster(workers, late), SILENT))
        meet(Cluster(workers, 1 - late), ear)
    assert ear.heard == [f"waiting for worker {late} at {workers[late]}"]


@pytest.mark.parametrize("index", [0, 1])
def test_a_signal_ends_the_waiting(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_PATIENCE", 0.0)

    def ask() -> None:
        with pytest.raises(Stopped):
            interruption.request(15)

    try:
        with pytest.raises(Stopped, match="stopped by SIGTERM"):
            meet(Cluster(addresses(2), index), Ear(ask))
    finally:
        interruption.forget()


@pytest.mark.parametrize("index", [0, 1])
def test_nobody_is_waited_for_for_ever(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_LIMIT", 0.0)
    workers = addresses(2)
    with pytest.raises(
        TrainingError, match=f"^worker {1 - index} at {workers[1 - index]} did not come within"
    ):
        meet(Cluster(workers, index), SILENT)


def test_strangers_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing, something else, or goes again."""
    monkeypatch.setattr(meeting, "_SILENCE", 0.1)
    workers = addresses(3)
    host = "localhost", int(workers[0].split(":")[1])
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(meet, Cluster(workers, 0), SILENT)
        strangers = []
        while len(strangers) < 5:
            try:
                strangers.append(socket.create_connection(host))
            except ConnectionRefusedError:
                continue  # it does not listen yet
        strangers[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
        strangers[1].close()
        for stranger, index, said in ((strangers[2], [1], list(workers)), (strangers[3], 1, 2)):
            stranger.sendall(json.dumps({"workers": said, "index": index}).encode() + b"\n")
        gone = {"workers": list(workers), "index": 1}
        with socket.create_connection(host) as leaver:
            leaver.sendall(json.dumps(gone).encode() + b"\n")
        other = pool.submit(meet, Cluster(workers, 1), SILENT)
        meet(Cluster(workers, 2), SILENT)
        other.result(PATIENCE)
        leader.result(PATIENCE)
        for each in strangers:
            each.close()


def test_an_echo_of_the_own_call_is_no_answer() -> None:
    """A system may connect a port to itself where nobody listens yet."""
    workers = addresses(2)
    with ThreadPoolExecutor(2) as pool:
        with socket.create_server(("", int(workers[0].split(":")[1]))) as mirror:
            other = pool.submit(meet, Cluster(workers, 1), SILENT)
            with mirror.accept()[0] as connection:
                connection.sendall(connection.recv(4096))
        leader = pool.submit(meet, Cluster(workers, 0), SILENT)
        leader.result(PATIENCE)
        other.result(PATIENCE)
