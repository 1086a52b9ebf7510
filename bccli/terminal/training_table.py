"""A training as a terminal shows it: the last epochs, their curves, and the steps of the current one; and the
bars of all that takes long."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.theme import Theme

from bccli.terminal.console import figure_text

MOST_ROWS = 12
"""Epochs that are shown; log.txt and history.csv have all of them."""
_CURVE_WIDTH = 40
_BLOCKS = "▁▂▃▄▅▆▇█"
_REFRESHES = 8
_GAP = 2

_LONGEST_BAR, _SHORTEST_BAR = 40, 4
_BESIDE_A_BAR = 50
"""Cells that the longest words, numbers and times beside a bar need."""

_LIVE = Theme(
    dict.fromkeys(("bar.complete", "bar.finished", "progress.download", "progress.remaining"), "none")
    | {"bar.back": "#808080"}
)
"""Bars and the numbers beside them in the terminal's own colour, and what is left to do in a grey that shows
on white and on black: rich's cyan is faint on the one, its grey on the other."""


class TrainingTable:
    """A live table; `live` is what prints lines above it."""

    def __init__(self, terminal: Console) -> None:
        self._progress = bars(terminal)
        self._task = self._progress.add_task("epoch 1", total=None)
        self._terminal = terminal
        self._rows: list[tuple[int, Mapping[str, float]]] = []
        self._best = self._of = 0
        self.live = Live(
            get_renderable=self.render, console=terminal, refresh_per_second=_REFRESHES, redirect_stdout=False
        )

    def __enter__(self) -> "TrainingTable":
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.remove_task(self._task)
        self.live.stop()

    def step(self, number: int, of: int) -> None:
        """So many steps of the epoch are done."""
        self._progress.update(self._task, completed=number, total=of)

    def epoch(self, number: int, of: int, figures: Mapping[str, float], best: int) -> None:
        """An epoch is over; `best` is the best one so far."""
        self._rows.append((number, figures))
        self._best, self._of = best, of
        self._progress.reset(self._task, description=f"epoch {min(number + 1, of)}")

    def render(self) -> RenderableType:
        """The table, the curves of the losses, and the bar."""
        blocks: list[RenderableType] = []
        if self._rows:
            blocks += [self._epochs(), *self._curves()]
        return Group(*blocks, self._progress)

    def _epochs(self) -> Table:
        names = list(self._rows[-1][1])
        table = Table(box=None, pad_edge=False, header_style="bold")
        heads = [name.replace("_", " ").replace("beta", "β") for name in ("epoch", *names)]
        lines = [self._cells(row, names) for row in self._rows[-MOST_ROWS:]]
        for head in heads if self._has_room(heads, lines) else (head.replace(" ", "\n") for head in heads):
            table.add_column(head, justify="right")
        for (number, _), cells in zip(self._rows[-MOST_ROWS:], lines, strict=True):
            table.add_row(*cells, style="bold" if number == self._best else "")
        return table

    def _cells(self, row: tuple[int, Mapping[str, float]], names: Sequence[str]) -> list[str]:
        """An epoch, with a mark if it is the best one, and its figures."""
        number, figures = row
        shown = (figure_text(name, figures[name]) if name in figures else "" for name in names)
        return [f"{number}/{self._of}" + " *" * (number == self._best), *shown]

    def _has_room(self, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> bool:
        """Whether headings of several words fit on one line."""
        widths = (max(map(len, column)) for column in zip(heads, *lines, strict=True))
        return sum(widths) + _GAP * (len(heads) - 1) <= self._terminal.width

    def _curves(self) -> list[str]:
        series = {
            name: [figures[name] for _, figures in self._rows if name in figures]
            for name in ("loss", "val_loss")
        }
        drawn = {name: curve(values) for name, values in series.items() if len(values) > 1}
        return [f"{name.replace('_', ' '):>8} {text}" for name, text in drawn.items()]


def curve(values: Sequence[float], width: int = _CURVE_WIDTH) -> str:
    """Numbers as a row of blocks, the lowest and highest of them at its bottom and top; means where there
    are more numbers than `width`."""
    if len(values) > width:
        edges = [len(values) * index // width for index in range(width + 1)]
        values = [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
    low, high = min(values), max(values)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in values)


def live_terminal() -> Console:
    """The terminal behind stderr, for what changes while it is looked at."""
    return Console(stderr=True, theme=_LIVE)


def bars(terminal: Console, *, transient: bool = False) -> Progress:
    """Bars with words on their left and numbers on their right, which a narrow terminal shows whole."""
    cells = max(_SHORTEST_BAR, min(_LONGEST_BAR, terminal.width - _BESIDE_A_BAR))
    columns = (
        TextColumn("{task.description}"), BarColumn(cells), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=terminal, transient=transient)
