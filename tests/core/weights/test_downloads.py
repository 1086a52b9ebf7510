"""Fetching weights, from a server on this machine; and nothing else looks for a network."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import h5py
import numpy as np
import pytest

from bccli.core.catalog import BACKBONES
from bccli.core.errors import UsageError, WeightsError
from bccli.core.weights import pretrained as weights
from bccli.core.weights.downloads import fetch_weights
from tests.conftest import Bccli, rows_of

MOBILENET = BACKBONES["mobilenet-0.25"]


@dataclass
class Server:
    """What a server on this machine answers to everybody, and what it was asked."""

    content: bytes
    length: int | None = None
    status: int = 200
    asked: list[str] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that has weights, in place of Keras's; the cache is empty."""
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        group = file.create_group("conv1")
        group.attrs["weight_names"] = [b"conv1/kernel:0"]
        group["conv1/kernel:0"] = np.zeros((3, 3, 3, 8), np.float32)
    answers = Server((tmp_path / "weights.h5").read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.asked.append(self.path)
            self.send_response(answers.status)
            self.send_header("Content-Length", str(answers.length or len(answers.content)))
            self.end_headers()
            self.wfile.write(answers.content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        answers.port = http.server_port
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setattr(weights, "BASE", f"http://127.0.0.1:{http.server_port}")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        yield answers
        http.shutdown()
        thread.join()


def files_in_cache() -> list[str]:
    return sorted(path.name for path in (weights.keras_home() / "models").glob("*"))


def test_the_command_fills_the_cache_once(bccli: Bccli, server: Server) -> None:
    command = "train", "--fetch-weights", "--backbone", "mobilenet-0.25", "--backbone", "cnn-15"
    (row,) = rows_of(bccli(*command).stdout)
    file = weights.cached_file(MOBILENET)
    assert row == {
        "name": "mobilenet-0.25",
        "state": "fetched",
        "bytes": str(len(server.content)),
        "file": str(file),
    }
    assert file.read_bytes() == server.content
    assert server.asked == [f"/{MOBILENET.weights}"]
    assert [row["state"] for row in rows_of(bccli(*command).stdout)] == ["here"]
    assert len(server.asked) == 1
    assert weights.find_weights(MOBILENET, "imagenet").file == file


def test_a_proxy_is_asked_for_what_it_is_to_fetch(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "BASE", "http://weights.invalid")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    fetch_weights([MOBILENET])
    assert server.asked == [f"http://weights.invalid/{MOBILENET.weights}"]


def test_a_file_that_was_cut_short_is_fetched_anew(server: Server) -> None:
    file = weights.cached_file(MOBILENET)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\x89HDF")
    assert [row["state"] for row in fetch_weights([MOBILENET])] == ["fetched"]
    assert file.read_bytes() == server.content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": 404}, "could not be fetched (Not Found)"),
        ({"content": b"<html>please log in</html>"}, "web page"),
        ({"length": 1 << 20}, "could not be fetched (IncompleteRead"),
    ],
)
def test_what_goes_wrong_is_said_and_leaves_nothing(
    server: Server, change: dict[str, object], words: str
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(WeightsError) as caught:
        fetch_weights([MOBILENET])
    assert words in str(caught.value)
    assert files_in_cache() == []


def test_nobody_there_is_said_with_the_proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "BASE", "http://127.0.0.1:9")  # where nothing listens
    with pytest.raises(WeightsError, match=r"https_proxy.*put it at .*mobilenet_2_5_224"):
        fetch_weights([MOBILENET])


def test_where_nothing_is_published_another_backbone_is_asked_for() -> None:
    with pytest.raises(UsageError, match="name another --backbone"):
        fetch_weights([BACKBONES["cnn-15"]])


def test_arguments_are_needed_unless_weights_are_fetched(bccli: Bccli, tmp_path: Path) -> None:
    assert bccli("train", "--epochs", 1, exit=2).stderr == "Error: DATA is missing; see bccli train --help\n"
    assert "RUN is missing" in bccli("train", tmp_path, "--epochs", 1, exit=2).stderr
    assert "leave DATA and RUN out" in bccli("train", tmp_path, "--fetch-weights", exit=2).stderr
