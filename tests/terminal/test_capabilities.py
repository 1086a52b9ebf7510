"""Every command that prints, on pseudo-terminals of several widths: nothing is cut, nothing is lost."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.cells import cell_len

from bccli.terminal.capabilities import wrapped
from tests.conftest import PATIENT, REPOSITORY, Bccli, draw, save
from tests.library import Library, bccli_in

WIDTHS = 60, 80, 120
WIDE = 1000
"""Here nothing wraps: what is shown elsewhere is compared with it."""
NUMBER = re.compile(r"\(?[−+±]?\d+\.\d+(–\d+\.\d+)?\)?")
END = "=== end of command ==="
# All commands in one process, so that three widths take three starts.
PROGRAM = f"""
import json, sys
from bccli.cli import cli
for words in json.loads(sys.argv[1]):
    try:
        cli.main(words)
    except SystemExit as end:
        assert not end.code, (words, end.code)
    print({END!r}, flush=True)
"""


def on_terminal(commands: Sequence[Sequence[object]], width: int) -> list[str]:
    """What commands print on stdout, a terminal so wide; colours are left out."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "PYTHONPATH": str(REPOSITORY)}
    for name in ("COLUMNS", "LINES", "FORCE_COLOR"):
        environment.pop(name, None)
    words = json.dumps([[str(word) for word in command] for command in commands])
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, words],
        stdin=follower, stdout=follower, stderr=subprocess.PIPE, env=environment,
    ) as process:  # fmt: skip
        os.close(follower)
        text = _read(leader)
        said = process.stderr.read().decode() if process.stderr else ""
    assert process.returncode == 0, said
    pieces = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r\n", "\n").split(f"{END}\n")
    assert pieces.pop() == ""
    return pieces


def _read(leader: int) -> str:
    """All that is written to a pseudo-terminal."""
    found = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # nobody holds its other end any more
            piece = b""
        if not piece:
            os.close(leader)
            return found.decode()
        found += piece


def words_of(text: str) -> set[str]:
    """All words, without the lines and bars of tables."""
    return set(re.sub("[┏┳┓┡╇┩│┃└┴┘├┼┤─━█▏▎▍▌▋▊▉]+", " ", text).split())


def check(shown: str, reference: str, width: int, *, whole: bool = True) -> None:
    """Nothing is broken, or lost where it is shown `whole`, but for what has an ellipsis."""
    lines = [
        line for line in shown.splitlines() if not re.fullmatch(r" *https?://\S+", line)
    ]  # whole, to copy
    assert all(cell_len(line) <= width for line in lines), shown
    found, wanted = words_of(shown), words_of(reference)
    for word in found - wanted:
        assert "…" in word, f"{word!r} is a piece of a word\n{shown}"
    if whole and "…" not in shown:
        assert found == wanted, shown
    assert not whole or {word for word in wanted if NUMBER.fullmatch(word)} <= found, shown


@pytest.fixture
def made(library: Library, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `fill` fills, which is the current one, so that paths are short."""
    place = library.folder("terminals", fill)
    monkeypatch.chdir(place)
    return place


def fill(place: Path) -> None:
    """Prepared and augmented data, a sweep with seeds, a tree, and folds, all without TensorFlow; what every
    command prints, by width, in shown.json."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        make()
        shown = {width: on_terminal(COMMANDS, width) for width in (*WIDTHS, WIDE)}
    (place / "shown.json").write_text(json.dumps(shown))


def make() -> None:
    for patient in range(12):
        for number in range(3):
            pixels = draw(patient % 2, 10 * patient + number, (32, 32))
            save(Path("raw", ("normal", "carcinoma")[patient % 2], f"p{patient}_{number}.png"), pixels)
    bccli_in("prepare", "folder", "raw", "data", *PATIENT, "--ratios", "1/1/1")
    bccli_in("prepare", "folder", "raw", "folded", *PATIENT, "--folds", 3)
    bccli_in("augment", "data", "more", "--policy", "flips", "--per-image", 1)
    bccli_in("train", "more", "sweep", "--classifier", "bovw", "--seeds", 3)
    bccli_in("train", "data", "run", "--classifier", "bovw")
    bccli_in("hierarchy", "data", "tree", "--tree", "normal, carcinoma", "--compose", "root=run")
    bccli_in("train", "folded", "folds", "--classifier", "bovw", "--fold", "all")


COMMANDS: list[Sequence[object]] = [
    ("prepare", "--list-datasets"),
    ("prepare", "folder", "raw", "data", *PATIENT, "--ratios", "1/1/1"),
    ("prepare", "folder", "raw", "dry", *PATIENT, "--dry-run"),
    ("augment", "--list-policies"),
    ("augment", "data", "more", "--policy", "flips", "--per-image", 1),
    ("augment", "data", "dry", "--policy", "flips", "--per-image", 1, "--dry-run"),
    ("train", "--list-backbones"),
    ("train", "data", "dry", "--dry-run"),
    ("train", "more", "sweep", "--classifier", "bovw", "--seeds", 3),
    ("train", "data", "run", "--classifier", "bovw"),
    ("train", "folded", "folds", "--classifier", "bovw", "--fold", "all"),
    ("hierarchy", "--list-trees"),
    ("hierarchy", "data", "tree", "--tree", "normal, carcinoma", "--compose", "root=run"),
    ("evaluate", "run", "--bootstrap", 50),
    ("evaluate", "run", "tree", "--bootstrap", 50),
    ("evaluate", "sweep", "folds", "--bootstrap", 50),
    ("evaluate", "data", "more", "--audit"),
    ("predict", "run", "raw/normal"),
]  # fmt: skip


@pytest.fixture
def shown(made: Path) -> dict[int, list[str]]:
    """What every command prints, by width."""
    return {int(width): texts for width, texts in json.loads((made / "shown.json").read_text()).items()}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=lambda k: " ".join(map(str, COMMANDS[k][:3])))
def test_a_command_fits_the_terminal(shown: dict[int, list[str]], number: int, width: int) -> None:
    assert shown[WIDE][number]
    whole = COMMANDS[number][0] != "predict"  # which shows the more columns the more room there is
    check(shown[width][number], shown[WIDE][number], width, whole=whole)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_list_of_datasets_cuts_nothing(shown: dict[int, list[str]], width: int) -> None:
    text = shown[width][0]
    assert text.startswith("breakhis\n  title: BreakHis")
    assert "…" not in text
    assert "https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis/" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sweep_ends_with_the_table_of_evaluate(shown: dict[int, list[str]], width: int) -> None:
    text = shown[width][COMMANDS.index(("train", "more", "sweep", "--classifier", "bovw", "--seeds", 3))]
    found = words_of(text)
    assert {"run", "accuracy", "majority", "AUC", "val", "β", "bovw-seed0", "bovw-seed2", "trials"} <= found
    assert "* chosen" in text
    assert len(text.splitlines()) < 40


@pytest.mark.slow
def test_a_sweep_of_layers_ends_with_that_table_too(
    bccli: Bccli, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library.copy("terminals", fill, tmp_path))
    bccli("train", "data", "base", "--backbone", "cnn-15", "--epochs", 1)
    command = ("finetune", "base", "tuned", "--from-layer", 3, "--from-layer", 6, "--epochs", 1)
    bccli(*command)
    reference = on_terminal([command], WIDE)[0]
    assert {"run", "β", "cnn-15-3-FT", "cnn-15-6-FT", "majority"} <= words_of(reference)
    for width in WIDTHS:
        check(on_terminal([command], width)[0], reference, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_line_wraps_between_words(width: int) -> None:
    line = "run test: accuracy 0.8421 (0.7001–0.9123) over 12 patients of a-path/that-is/long.png " * 3
    lines = wrapped(line, width).splitlines()
    assert " ".join(lines).split() == line.split()
    assert all(len(one) <= width for one in lines)
