"""The table that a terminal shows while a network trains."""

import io
import re

import pytest
from rich.console import Console

from bccli.terminal.console import shown_figures
from bccli.terminal.training_table import MOST_ROWS, TrainingTable, bars, curve, live_terminal


def shown(table: TrainingTable) -> str:
    """What stands on the screen now."""
    terminal = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    with terminal.capture() as captured:
        terminal.print(table.render())
    return captured.get()


def row(number: int) -> dict[str, float]:
    return shown_figures(
        {"loss": 1 / number, "accuracy": 0.9, "val_loss": 0.5 + 0.1 * number, "val_accuracy": 0.6}
    )


def test_a_table_has_the_last_epochs_the_best_one_marked_and_their_curves() -> None:
    table = TrainingTable(Console(file=io.StringIO(), force_terminal=True))
    assert "epoch 1" in shown(table)
    for number in range(1, 21):
        table.step(3, 7)
        table.epoch(number, 40, row(number), 15)
    table.step(2, 7)
    lines = shown(table).splitlines()
    numbers = [line.split()[0] for line in lines if "/40" in line]
    assert numbers == [f"{number}/40" for number in range(21 - MOST_ROWS, 21)]
    assert [line for line in lines if "15/40 *" in line]
    assert lines[0].split() == ["epoch", "loss", "accuracy", "val", "loss", "val", "accuracy", "β~"]
    assert all("1.5000" in line for line in lines if "/40" in line)
    assert any(line.strip().startswith("loss █") and line.endswith("▁") for line in lines)
    assert any(line.strip().startswith("val loss ▁") and line.endswith("█") for line in lines)
    assert "epoch 21" in lines[-1]
    assert "2/7" in lines[-1]


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([0.0, 7.0, 3.5], 40, "▁█▅"),
        ([2.0, 2.0], 40, "▁▁"),
        ([0.0, 2.0, 6.0, 8.0], 2, "▁█"),
        (list(range(80)), 8, "▁▂▃▄▅▆▇█"),
    ],
)
def test_a_curve_goes_from_its_lowest_to_its_highest_number(
    values: list[float], width: int, expected: str
) -> None:
    assert curve(values, width) == expected


def test_without_val_there_is_no_beta() -> None:
    assert shown_figures({"loss": 1.0, "accuracy": 0.5}) == {"loss": 1.0, "accuracy": 0.5}
    assert "beta~" not in shown_figures({"accuracy": 0.5, "val_accuracy": 0.0})


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_cut_on_a_narrow_terminal(width: int) -> None:
    terminal = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    table = TrainingTable(terminal)
    for number in range(1, 4):
        table.epoch(number, 1000, {**row(number), "lr": 1e-5}, 2)
    with terminal.capture() as captured:
        terminal.print(table.render())
    text = captured.get()
    assert "…" not in text
    words = text.split()
    assert {"epoch", "loss", "val", "accuracy", "β~", "lr", "1e-05", "1.5000", "2/1000"} <= set(words)
    assert all(len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize("width", [60, 80, 120, 220])
@pytest.mark.parametrize(
    ("words", "done", "total"),
    [("bytes of mobilenet-0.25", 15_999_999, 16_000_000), ("images looked at for copies", 99_999, 100_000)],
)
def test_a_bar_has_room_for_its_words_and_numbers(width: int, words: str, done: int, total: int) -> None:
    terminal = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    progress = bars(terminal)
    progress.update(progress.add_task(words, total=total), completed=done)
    with terminal.capture() as captured:
        terminal.print(progress.get_renderable())
    (line,) = captured.get().splitlines()
    assert line.startswith(f"{words} ━")
    assert line.rstrip().endswith(f" {done}/{total} -:--:--")


def contrasts(colour: tuple[int, int, int]) -> tuple[float, float]:
    """To white and to black, as WCAG 2.2 computes them."""
    shares = (value / 255 for value in colour)
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05


def test_no_colour_stands_beside_a_bar_that_is_faint_on_white_or_on_black() -> None:
    """Words and numbers have the terminal's own colour, and so has the best epoch, which is bold."""
    terminal = live_terminal()
    own = ("bar.complete", "bar.finished", "progress.download", "progress.remaining")
    assert {str(terminal.get_style(name)) for name in own} == {"none"}
    back = terminal.get_style("bar.back").color
    assert back is not None
    assert min(contrasts(back.get_truecolor())) > 3.5
    table = TrainingTable(Console(file=io.StringIO(), force_terminal=True))
    for number in (1, 2):
        table.epoch(number, 2, row(number), 1)
    coloured = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="truecolor")
    with coloured.capture() as captured:
        coloured.print(table.render())
    best, other = (line for line in captured.get().splitlines() if "/2" in line and "epoch" not in line)
    assert "\x1b[1m" in best
    assert not re.search(r"\x1b\[[0-9;]*3\d", best + other)
