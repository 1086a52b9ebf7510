"""Tables as wide as a terminal: cells wrap between words, and only what has to be shortened ends in "…".

A table that is still too wide becomes several, each beginning with the first column.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bccli.terminal.visible import spelled, visible


@dataclass(frozen=True)
class Column:
    """A heading and the cells below it; numbers go to the right."""

    name: str
    cells: Sequence[str]
    numeric: bool

    def shown(self, encoding: str) -> "Column":
        """The same without anything that would steer the terminal, in characters of the encoding."""
        cells = [spelled(visible(cell, "\n"), encoding) for cell in self.cells]
        return replace(self, name=spelled(visible(self.name), encoding), cells=cells)

    @property
    def texts(self) -> Iterator[str]:
        """The heading, then the cells."""
        yield self.name
        yield from self.cells

    @property
    def natural(self) -> int:
        """The width at which nothing wraps."""
        return max(cell_len(line) for text in self.texts for line in text.splitlines() or ("",))

    @property
    def least(self) -> int:
        """The width at which every word is whole."""
        return max((cell_len(word) for text in self.texts for word in text.split()), default=0)


@dataclass(frozen=True)
class _Style:
    """How a table looks, and how many cells its lines and gaps take for a number of columns."""

    options: dict[str, Any]
    lines: Callable[[int], int]

    def room(self, columns: int, width: int) -> int:
        return width - self.lines(columns)


_BOXED = _Style({}, lambda columns: 3 * columns + 1)
_OPEN = _Style(
    {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)},
    lambda columns: 2 * columns - 2,
)


def print_table(columns: Sequence[Column], stream: IO[str], title: str = "") -> None:
    """Write columns of equal length as a table that the stream has the width for."""
    if not columns:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    columns, title = [column.shown(encoding) for column in columns], spelled(visible(title), encoding)
    terminal = Console(file=stream)
    with terminal.capture() as shown:  # rich itself would end the program with 1 where the pipe is closed
        for number, (style, group, widths) in enumerate(_laid_out(columns, terminal.width)):
            terminal.print(end="\n" * (number > 0))
            terminal.print(_table(style, group, widths, "" if number else title))
    stream.write(spelled(shown.get().replace("…", _cut_mark(encoding)), encoding))


def _cut_mark(encoding: str) -> str:
    """What ends a word that is too long, in one cell."""
    return "…" if spelled("…", encoding) == "…" else "~"


def _table(style: _Style, columns: Sequence[Column], widths: Sequence[int], title: str) -> Table:
    table = Table(title=title or None, title_justify="left", **style.options)
    for column, width in zip(columns, widths, strict=True):
        side: Any = "right" if column.numeric else "left"
        table.add_column(Text(_wrapped(column.name, width)), justify=side, width=width, no_wrap=True)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(_wrapped(*pair)) for pair in zip(cells, widths, strict=True)))
    return table


def _wrapped(text: str, width: int) -> str:
    """A cell in lines of whole words; a word that is longer than a line ends in "…"."""
    return "\n".join(row for line in text.splitlines() for row in _lines_of(line, width))


def _lines_of(line: str, width: int) -> Iterator[str]:
    if cell_len(line) <= width:
        yield line
        return
    row = ""
    for word in line.split():
        if row and cell_len(f"{row} {word}") > width:
            yield row
            row = ""
        row = f"{row} {word}" if row else _cut(word, width)
    yield row


def _cut(word: str, width: int) -> str:
    """A word that is too long loses its end, and a path, which differs from others at its end, its start."""
    if cell_len(word) <= width:
        return word
    if "/" in word:
        return "…" + set_cell_size(word[::-1], width - 1).rstrip()[::-1]
    return set_cell_size(word, width - 1).rstrip() + "…"


def _laid_out(
    columns: Sequence[Column], width: int
) -> Iterator[tuple[_Style, Sequence[Column], Sequence[int]]]:
    """One table, in lines or without, without wrapping or with; else as many as are needed."""
    for wrapping in (False, True):
        for style in (_BOXED, _OPEN):
            if widths := _widths(columns, style.room(len(columns), width), wrapping=wrapping):
                yield style, columns, widths
                return
    for group in _groups(columns, width):
        room = _OPEN.room(len(group), width)
        yield _OPEN, group, _widths(group, room, wrapping=True) or _shortened(group, width)


def _widths(columns: Sequence[Column], room: int, *, wrapping: bool) -> list[int] | None:
    """A width for each column; None where they do not fit in the room."""
    widths = [column.natural for column in columns]
    least = [column.least if wrapping else column.natural for column in columns]
    if sum(least) > room:
        return None
    return _narrowed(widths, least, room)


def _shortened(columns: Sequence[Column], width: int) -> list[int]:
    """Widths at which the longest words are shortened."""
    least = [_short(column, width) for column in columns]
    return _narrowed([column.least for column in columns], least, _OPEN.room(len(columns), width))


def _short(column: Column, width: int) -> int:
    """What a column needs at least: whole words, but no more than half of the terminal."""
    return min(column.least, (width - 2) // 2)


def _narrowed(widths: list[int], least: Sequence[int], room: int) -> list[int]:
    """The widths, of which the widest give way until all fit or none can."""
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda index: (widths[index] > least[index]) * widths[index])
        if widths[widest] <= least[widest]:
            break
        widths[widest] -= 1
    return widths


def _groups(columns: Sequence[Column], width: int) -> Iterator[list[Column]]:
    """The first column with as many of the others as there is room for, again and again."""
    first, *others = columns
    group = [first]
    for column in others:
        wider = [*group, column]
        if len(group) > 1 and sum(_short(one, width) for one in wider) > _OPEN.room(len(wider), width):
            yield group
            wider = [first, column]
        group = wider
    yield group
