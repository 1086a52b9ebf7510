"""The table of predictions for a person: a line per image as soon as it is known, and a summary at the end.

Nothing is collected, so that a million images need no more memory than one; the widths of the columns are
fixed before the first line.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from rich.cells import cell_len

from bccli.core.data.positive_class import gravest, most_harmless
from bccli.terminal.capabilities import Colour, Terminal, padded
from bccli.terminal.writers import Rows

_SURE = 3  # times as probable as the runner-up is beyond doubt

# Close to colours of Okabe and Ito (2008), which differ for the colour-blind; these are among the 256 of a
# terminal, and have a contrast of at least 4.5:1 to black and 3:1 to white.
_FIRST, _LAST = ("#0087D7", "cyan"), ("#D75F00", "red")
_BETWEEN = (("#00875F", "green"), ("#AF5FAF", "magenta"))
_ERROR = ("red", "red")

_GAP = "  "
_MARK = " ?"
_NUMBER = 6  # 0.1234
_BAR = 10
_LEAST = 6  # for anything that is shortened
_PATH, _WIDE_PATH, _LONGEST_PATH = 20, 30, 80


def class_colours(classes: Sequence[str], positive: str | None = None) -> dict[str, Colour]:
    """A colour per class: the most harmless blue, the gravest (or else the positive one) vermilion, the
    others between in turn."""
    ends = {most_harmless(classes, positive): _FIRST, gravest(classes, positive): _LAST}
    others = [name for name in reversed(classes) if name not in ends]
    between = {name: _BETWEEN[(k + 1) % len(_BETWEEN)] for k, name in enumerate(others)}
    return {name: ends.get(name) or between[name] for name in classes}


@dataclass(frozen=True)
class _Layout:
    """Widths in cells: of the path, a class's name and the bar, and of the columns that follow them."""

    path: int
    label: int
    bar: int
    more: tuple[tuple[str, int], ...] = ()

    @property
    def columns(self) -> tuple[tuple[str, int], ...]:
        """The headings and widths from left to right."""
        probability = _NUMBER + len(" ") + self.bar if self.bar else len("probability")
        label = self.label + len(_MARK)
        return ("path", self.path), ("predicted", label), ("probability", probability), *self.more

    @property
    def width(self) -> int:
        """The cells of a whole line."""
        return sum(width for _, width in self.columns) + len(_GAP) * (len(self.columns) - 1)


def _laid_out(width: int, classes: Sequence[str], ranks: int | None) -> _Layout:
    """The richest layout that leaves the path enough room.

    With `ranks`, the classes from the second rank on are shown, as many as fit; otherwise the probabilities
    of all classes, or none.
    """
    label = max(map(cell_len, (*classes, "predicted")))
    if ranks is None:
        more = tuple((f"p_{name}", max(_NUMBER, cell_len(f"p_{name}"))) for name in classes)
        choices = [(_WIDE_PATH, _BAR, more)]
    else:
        more = tuple((f"predicted {rank}", label + len(" ") + _NUMBER) for rank in range(2, ranks + 1))
        choices = [(_PATH, bar, more[:count]) for count in range(len(more), 0, -1) for bar in (_BAR, 0)]
    for least, bar, columns in [*choices, (_PATH, _BAR, ()), (_PATH, 0, ())]:
        path = width - _Layout(0, label, bar, columns).width
        if path >= least:
            return _Layout(min(path, _LONGEST_PATH), label, bar, columns)
    rest = width - _Layout(0, 0, 0).width  # for the path and the classes' names
    path = max(min(_PATH, rest // 2), _LEAST)
    return _Layout(path, max(rest - path, _LEAST), 0)


@dataclass
class _Tally:
    """What the summary says of the images with one label."""

    images: int = 0
    probability: float = 0.0
    doubtful: int = 0


class _Table:
    """The lines of one table; `first` is a row that tells which keys the rows have."""

    def __init__(
        self, first: Mapping[str, Any], classes: Sequence[str], terminal: Terminal, positive: str | None
    ) -> None:
        self._terminal, self._colours = terminal, class_colours(classes, positive)
        self._names = {name: terminal.text(name) for name in classes}
        self._scores = [f"p_{name}" for name in classes if f"p_{name}" in first]
        ranks = None if self._scores else sum(key.startswith("predicted") for key in first)
        self._layout = _laid_out(terminal.width, tuple(self._names.values()), ranks)
        self._others = "all others together" if ranks == 1 and len(classes) > 2 else "the runner-up"
        self._tallies = {name: _Tally() for name in classes}
        self._without = 0

    def heading(self) -> Iterator[str]:
        """The names of the columns, and a rule."""
        columns = self._layout.columns
        yield _GAP.join(self._terminal.start(name, width) for name, width in columns).rstrip()
        yield self._terminal.rule * self._layout.width

    def line(self, row: Mapping[str, Any]) -> str:
        """An image's answer, or why there is none."""
        terminal, layout = self._terminal, self._layout
        corner = "" if row.get("row") is None else f" {row['row']},{row['col']}"
        path = terminal.end(terminal.text(row["path"]) + corner, layout.path)
        if row["predicted"] is None:
            self._without += 1
            return self._failed(path, terminal.text(f"error: {row['error']}"))
        doubtful = self._doubtful(row)
        self._count(row, doubtful)
        label = self._label(row["predicted"], layout.label + len(_MARK), _MARK if doubtful else "")
        return _GAP.join((path, label, *self._numbers(row))).rstrip()

    def _failed(self, path: str, reason: str) -> str:
        """Why an image has no label, moved to the left of its column where it needs the room."""
        terminal = self._terminal
        shown = path.rstrip()
        column = min(self._layout.path, terminal.width - len(_GAP) - cell_len(reason))
        path = padded(shown, max(column, cell_len(shown)))
        room = max(terminal.width - cell_len(path) - len(_GAP), _LEAST)
        return path + _GAP + terminal.painted(terminal.start(reason, room).rstrip(), _ERROR)

    def _label(self, name: str, room: int, mark: str = "") -> str:
        """A class's name in its colour, and the mark, in exactly `room` cells."""
        shown = self._terminal.start(self._names[name], min(room, self._layout.label)).rstrip()
        rest = " " * (room - cell_len(shown + mark))
        return self._terminal.painted(shown, self._colours[name]) + mark + rest

    def _numbers(self, row: Mapping[str, Any]) -> Iterator[str]:
        layout, best = self._layout, row["probability"]
        _, _, (_, room), *more = layout.columns
        bar = self._terminal.bar(best, layout.bar)
        painted = self._terminal.painted(bar, self._colours[row["predicted"]])
        yield f"{best:.4f} {painted}" + " " * (room - _NUMBER - len(" ") - cell_len(bar))
        if self._scores:
            shown = zip(self._scores, more, strict=False)
            yield from (f"{row[score]:.4f}".ljust(width) for score, (_, width) in shown)
        else:
            for rank, _ in enumerate(more, 2):
                label = self._label(row[f"predicted_{rank}"], layout.label)
                yield f"{label} {row[f'probability_{rank}']:.4f}"

    def _doubtful(self, row: Mapping[str, Any]) -> bool:
        best = row["probability"]
        if "probability_2" in row:
            second = row["probability_2"]
        elif len(self._scores) > 1:
            second = sorted(row[score] for score in self._scores)[-2]
        else:
            second = 1 - best
        return bool(best < _SURE * second)

    def _count(self, row: Mapping[str, Any], doubtful: bool) -> None:
        tally = self._tallies[row["predicted"]]
        tally.images += 1
        tally.probability += row["probability"]
        tally.doubtful += doubtful

    def closing(self) -> Iterator[str]:
        """What all the lines say together: for several images a line per class, and what the marks mean."""
        labelled = sum(tally.images for tally in self._tallies.values())
        doubtful = sum(tally.doubtful for tally in self._tallies.values())
        images = labelled + self._without
        if labelled and images > 1:
            yield ""
            yield from self._summary(labelled)
        notes = []
        if self._without and images > 1:
            notes.append(f"{self._without} of {images} images have no label.")
        if doubtful:
            notes.append(f"? doubtful: less than {_SURE} times as probable as {self._others}.")
        if notes:
            yield ""
        yield from (self._terminal.start(note, self._terminal.width).rstrip() for note in notes)

    def _summary(self, labelled: int) -> Iterator[str]:
        figures = {"images": 7, "share": 7, "mean probability": 16, "doubtful": 8}
        while (left := self._terminal.width - sum(figures.values()) - len(_GAP) * len(figures)) < _LEAST:
            figures.popitem()
        room = min(self._layout.label, left)
        headings = (name.rjust(width) for name, width in figures.items())
        yield _GAP.join((self._terminal.start("class", room), *headings))
        for name, tally in self._tallies.items():
            share = f"{100 * tally.images / labelled:.1f} %"
            mean = f"{tally.probability / tally.images:.4f}" if tally.images else ""
            cells = zip((tally.images, share, mean, tally.doubtful), figures.values(), strict=False)
            values = (str(value).rjust(width) for value, width in cells)
            yield _GAP.join((self._label(name, room), *values))


def table_lines(
    rows: Rows, classes: Sequence[str], stream: IO[str], *, positive: str | None = None
) -> Iterator[str]:
    """Yield the table of predictions line by line, as wide and as colourful as the stream allows.

    `rows` are those of `core.inference.to_rows`, `classes` the run's in clinical order, of which one may
    be positive.
    """
    table = None
    for row in rows:
        if table is None:
            table = _Table(row, classes, Terminal(stream), positive)
            yield from table.heading()
        yield table.line(row)
    if table is not None:
        yield from table.closing()
