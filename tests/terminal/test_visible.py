"""What names and messages may hold: a terminal shows it, and does not obey it."""

import json
import sys
from pathlib import Path

import pytest

from bccli.core.files import to_json
from bccli.core.reading.limits import MESSAGE
from bccli.terminal.console import Console, show_rows
from bccli.terminal.visible import message, spelled, visible
from tests.conftest import Bccli

STEERING = (
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\r",
    "\b",
    "\x7f",
    "\x85",
    "\x9b2J",
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
)
HARMLESS = ("ä", "乳腺", "سرطان", "рак", "a b", "🙂", "β ≥ 1")


@pytest.mark.parametrize("mark", STEERING, ids=ascii)
def test_what_steers_a_terminal_is_written_out(
    mark: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown = visible(f"a{mark}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    console = Console()
    with console.logging(tmp_path / "log.txt"):
        for say in (console.note, console.warn, console.error):
            say(f"a{mark}b")
    for text in (capsys.readouterr().err, (tmp_path / "log.txt").read_text()):
        assert text.count(shown) == 3
        assert all(line.isprintable() for line in text.splitlines())
    show_rows([{f"c{mark}d": f"a{mark}b", "n": 1}], "table")
    assert mark not in capsys.readouterr().out
    show_rows([{"name": f"a{mark}b"}], "csv")
    assert f"a{mark}b" in capsys.readouterr().out.replace('"', "")


@pytest.mark.parametrize("text", HARMLESS)
def test_names_in_any_script_stay(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("size", [MESSAGE, MESSAGE + 1, 10_000, 629_000])
@pytest.mark.parametrize("letter", ["a", "\x1b", "\n"])
def test_a_message_is_never_long(size: int, letter: str) -> None:
    text = message("start" + letter * size + "end")
    assert len(text) <= MESSAGE
    assert text.startswith("start")
    assert text.endswith("end")
    assert "…" in text


def test_an_unexpected_error_is_shown_in_the_same_way(
    bccli: Bccli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ArithmeticError("\x1b[2J" + "x" * 10_000)

    monkeypatch.setattr("bccli.core.evaluation.subjects.runs_at", fail)
    monkeypatch.setattr("bccli.core.runs.run_folder.is_sweep", fail)
    for options in ((), ("-v",)):
        stderr = bccli(*options, "evaluate", tmp_path, exit=None).stderr
        assert "\x1b" not in stderr
        assert max(map(len, stderr.splitlines())) <= MESSAGE + len("Error: ")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_knows_finite_numbers_only(number: float, capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": [number, 1.5], "b": {"c": number}}
    assert json.loads(to_json(value), parse_constant=sys.exit) == {"a": [None, 1.5], "b": {"c": None}}
    for format in ("json", "jsonl"):
        show_rows([{"p": number}], format)
        text = capsys.readouterr().out
        assert "null" in text
        assert "NaN" not in text
        assert "Infinity" not in text


def test_plots_do_not_warn_of_glyphs(recwarn: pytest.WarningsRecorder, tmp_path: Path) -> None:
    from bccli.core.metrics.plots import plot_confusion

    classes = ["乳腺癌", "سرطان", "ก้อน", "🙂"]
    plot_confusion([[1, 0, 0, 0]] * 4, classes, tmp_path / "a.png", title="乳腺")
    assert [str(warning.message) for warning in recwarn if "lyph" in str(warning.message)] == []


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("κ ≥ 0.5 ± 0.1", "kappa >= 0.5 +- 0.1"),
        ("224×224 → β…", "224x224 -> beta..."),
        ("Präparat", "Pr\\xe4parat"),
    ],
)
def test_ascii_has_words_for_what_bccli_writes(text: str, written: str) -> None:
    assert spelled(text, "ascii") == written
    assert spelled(text, "utf-8") == text


def test_every_letter_that_bccli_writes_has_a_word() -> None:
    """What only draws has other characters in ASCII; letters of names of people are escaped."""
    sources = Path(message.__code__.co_filename).parent.glob("*.py")
    letters = {char for path in sources for char in path.read_text("utf-8") if not char.isascii()}
    unknown = {char for char in letters if "\\" in spelled(char, "ascii")}
    assert unknown <= set("─▏▎▍▌▋▊▉█▁▂▃▄▅▆▇íúéćä")
