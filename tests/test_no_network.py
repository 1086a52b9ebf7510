"""No command looks for a network, whatever it does; `bccli train --fetch-weights` is the only exception."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

# Runs commands in one process, which ends where something resolves a name or connects.
WATCHED = """
import json, os, sys
def look(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.bind", "socket.gethostname"):
        if not (event == "socket.connect" and isinstance(args[1], str)):  # a path: within this machine
            os.write(2, f"asked a network: {event} {args[1:]}".encode())
            os._exit(99)
sys.addaudithook(look)
from bccli.cli import cli
for command in json.loads(sys.argv[1]):
    try:
        cli.main(command)
    except SystemExit as end:
        print("exit", end.code, command, file=sys.stderr)
"""


def run_watched(*commands: tuple[object, ...]) -> list[str]:
    """Run commands one after the other; their exit codes."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, words], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return [line.split()[1] for line in ended.stderr.splitlines() if line.startswith("exit ")]


def test_missing_weights_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    train = "train", tmp_path / "data", tmp_path / "run", "--backbone", "vgg16"
    listing = "train", "--list-backbones"
    assert run_watched(train, (*train, "--weights", "imagenet"), listing) == ["3", "3", "0"]


def test_the_watch_sees_what_asks_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AssertionError, match="asked a network"):
        run_watched(("train", "--fetch-weights", "--backbone", "vgg16"))


@pytest.mark.slow
def test_no_command_looks_for_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    data, run = tmp_path / "data", tmp_path / "run"
    frozen = "--weights", "none", "--trainable", "none", "--epochs", 1
    size = "--count", 24, "--patients", 6, "--size", "32x32", "--workers", 2
    codes = run_watched(
        ("prepare", "phantom", "mammography", data, *size),
        ("augment", data, tmp_path / "larger", "--policy", "table5", "--per-image", 1),
        ("train", data, run, "--backbone", "mobilenet-0.25", *frozen, "--tensorboard"),
        ("finetune", run, tmp_path / "tuned", "--blocks", 1, "--epochs", 1),
        ("hierarchy", data, tmp_path / "tree", *frozen, "--tree", "benign, malignant"),
        ("evaluate", run, "--data", data, "--output", tmp_path / "figures"),
        ("evaluate", data, "--audit"),
        ("predict", run, data / "images"),
        ("predict", run, data / "images", "--device", "gpu"),
    )
    assert codes[:-1] == ["0"] * (len(codes) - 1)


# --- by the system's calls -------------------------------------------------------------------------

# A network of its own: none at all, or one whose packets vanish, those to the resolver as well.
NETWORKS = {
    "none": "",
    "vanishing": "ip link set lo up && ip address add 10.8.8.1/32 dev lo && ip route add default dev lo && ",
}
ENTER = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
CALLS = "trace=connect,sendto,sendmsg,sendmmsg"


class Isolated:
    """Runs commands in such a network; `asked` are the calls with which they looked for another machine."""

    def __init__(self, place: Path, network: str) -> None:
        self.place, self.script, self.asked = place, NETWORKS[network] + ENTER, list[str]()
        (place / "resolv.conf").write_text("nameserver 10.9.9.53\n")

    def run(self, *command: object) -> "subprocess.CompletedProcess[str]":
        calls = self.place / "calls"
        own = () if os.geteuid() == 0 else ("-r",)
        enter = "unshare", *own, "-n", "-m", "sh", "-c", self.script, self.place / "resolv.conf"
        watch = "strace", "-f", "--seccomp-bpf", "-qq", "-e", CALLS, "-o", calls
        words = [str(word) for word in (*enter, *watch, *command)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        lines = calls.read_text(errors="replace").splitlines() if calls.exists() else []
        self.asked += [line for line in lines if "AF_INET" in line]
        return ended

    def bccli(self, *command: object) -> "subprocess.CompletedProcess[str]":
        return self.run(sys.executable, "-m", "bccli", *command)

    def all_end_well(self, commands: Sequence[tuple[object, ...]]) -> None:
        for command in commands:
            ended = self.bccli(*command)
            assert ended.returncode == 0, f"{command}: exit {ended.returncode}\n{ended.stderr}"


@pytest.fixture(params=NETWORKS)
def isolated(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Isolated:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    if missing := [name for name in ("unshare", "strace", "ip", "mount") if not shutil.which(name)]:
        pytest.skip(f"no {', '.join(missing)} here")
    there = Isolated(tmp_path, request.param)
    if (tried := there.run("true")).returncode:
        pytest.skip(f"no network of its own can be made here: {tried.stderr.strip()}")
    return there


def test_the_calls_show_what_asks_a_network(isolated: Isolated) -> None:
    lookup = "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('10.9.9.53', 53))"
    isolated.run(sys.executable, "-c", lookup)
    assert [call for call in isolated.asked if "10.9.9.53" in call]


def test_weights_that_are_not_there_are_refused_without_a_look(isolated: Isolated, tmp_path: Path) -> None:
    data, train = tmp_path / "data", ("train", tmp_path / "data", tmp_path / "run", "--backbone", "mobilenet")
    isolated.all_end_well([("prepare", "phantom", "mammography", data, *SMALL)])
    for more in ((), ("--dry-run",), ("--backbone", "vgg16")):
        ended = isolated.bccli(*train, "--weights", "imagenet", *more)
        assert ended.returncode == 3
        assert "--fetch-weights" in ended.stderr.splitlines()[-1]
    assert isolated.asked == []


SMALL = "--count", 24, "--patients", 6, "--size", "32x32", "--workers", 2


def _each_command(data: Path, place: Path) -> Iterator[tuple[object, ...]]:
    frozen = "--weights", "none", "--trainable", "none", "--epochs", 1
    run, labels = place / "run", place / "labels.csv"
    yield "prepare", "phantom", "mammography", data, *SMALL
    yield "augment", data, place / "larger", "--policy", "table5", "--per-image", 1
    yield "train", data, run, "--backbone", "mobilenet-0.25", *frozen, "--shard", "1/2", "--seeds", 1
    yield "finetune", run, place / "tuned", "--blocks", 1, "--epochs", 1
    yield "hierarchy", data, place / "tree", *frozen, "--tree", "benign, malignant"
    yield "evaluate", run, "--data", data, "--output", place / "figures"
    yield "predict", run / "mobilenet-0.25-seed0", data / "images", "--output", labels, "--shard", "1/2"


@pytest.mark.slow
def test_no_command_makes_a_call_that_asks_a_network(isolated: Isolated, tmp_path: Path) -> None:
    """Whoever does not ask does not wait for an answer either, however long a resolver is silent."""
    isolated.all_end_well([*_each_command(tmp_path / "data", tmp_path)])
    assert isolated.asked == []
