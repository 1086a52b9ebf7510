"""What is said on stderr: on a terminal in lines of whole words, elsewhere as one line."""

import io
import re
import sys
from pathlib import Path

import pytest

from bccli.terminal.console import Console

SENTENCE = "fewer than 10 patients of a class are measured, and figures on so few say little: val 1 of benign"


class Screen(io.StringIO):
    """A terminal that keeps what is written."""

    def isatty(self) -> bool:
        return True


def screen_of(width: int, patch: pytest.MonkeyPatch) -> Screen:
    """A terminal of so many cells behind stderr, without colours."""
    for name, value in {"COLUMNS": str(width), "TERM": "xterm", "NO_COLOR": "1"}.items():
        patch.setenv(name, value)
    screen = Screen()
    patch.setattr(sys, "stderr", screen)
    return screen


def check(lines: list[str], width: int, start: str = "") -> None:
    """Lines of whole words that together are the sentence."""
    assert len(lines) > 1
    assert max(map(len, lines)) <= width
    assert " ".join(line.strip() for line in lines) == start + SENTENCE


@pytest.mark.parametrize("width", [60, 80])
def test_a_long_sentence_breaks_between_words(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    for say, start in ((Console.note, ""), (Console.warn, "Warning: "), (Console.error, "Error: ")):
        screen = screen_of(width, monkeypatch)
        say(Console(), SENTENCE)
        check(screen.getvalue().splitlines(), width, start)


@pytest.mark.parametrize("width", [60, 80])
def test_so_it_does_above_a_bar(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = screen_of(width, monkeypatch)
    console = Console()
    with console.track(10, "images") as advance:
        advance(1)
        console.warn(SENTENCE)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue()).replace("\r", "\n")
    lines = [line.rstrip() for line in text.splitlines()]
    first = next(number for number, line in enumerate(lines) if line.startswith("Warning: "))
    check(lines[first : first + 2], width, "Warning: ")


def test_elsewhere_and_in_a_log_it_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console = Console()
    with console.logging(tmp_path / "log.txt"):
        console.note(SENTENCE)
    assert capsys.readouterr().err == f"{SENTENCE}\n"
    assert (tmp_path / "log.txt").read_text().endswith(f" {SENTENCE}\n")


def test_a_log_has_whole_lines_beside_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen_of(40, monkeypatch)
    console = Console()
    with console.logging(tmp_path / "log.txt"):
        console.note(SENTENCE)
    assert (tmp_path / "log.txt").read_text().endswith(f" {SENTENCE}\n")
