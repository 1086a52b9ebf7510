"""No command looks for a network, whatever it does; `bccli train --fetch-weights` is the only exception."""

import json
import subprocess
import sys
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
