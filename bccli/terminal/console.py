"""Results go to stdout and nothing else does; progress, notes and warnings go to stderr."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from bccli.core.evaluation.checklists.catalogue import Filled
from bccli.core.files import replacing, to_json
from bccli.core.progress import Watcher
from bccli.terminal.visible import message, visible
from bccli.terminal.writers import WRITERS, Rows, write_all

FORMATS = ("auto", "table", "csv", "json")


class Console(Watcher):
    """What a command shows while it works: live on a terminal, plain lines elsewhere."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose
        self._log: IO[str] | None = None
        self._live: Any = None
        self._table: Any = None

    @contextmanager
    def logging(self, path: Path) -> Iterator[None]:
        """Also append everything that is said inside the block to `path`, with the time."""
        before = self._log
        with open(path, "a", encoding="utf-8", errors="backslashreplace", opener=_no_link) as self._log:
            try:
                yield
            finally:
                self._log = before

    def note(self, text: str) -> None:
        """One line that `--quiet` suppresses."""
        self._say(text, silent=self.quiet)

    def warn(self, text: str) -> None:
        """One line that is always shown."""
        self._say(f"Warning: {text}", silent=False)

    def error(self, text: str) -> None:
        """The one sentence that ends a failed command."""
        self._say(f"Error: {text}", silent=False)

    def _say(self, text: str, *, silent: bool) -> None:
        text = message(text)
        if self._log:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self._log.flush()
        if silent:
            return
        text = _fitted(text, sys.stderr)
        if self._live:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def track(self, total: int, what: str) -> Iterator[Callable[[int], None]]:
        """A live bar on a terminal, otherwise a line for each tenth of the work."""
        if sys.stderr.isatty() and not self.quiet:
            with self._bar(total, what) as advance:
                yield advance
        else:
            yield self._tenths(total, what)

    @contextmanager
    def _bar(self, total: int, what: str) -> Iterator[Callable[[int], None]]:
        from bccli.terminal.training_table import bars, live_terminal

        with bars(live_terminal(), transient=True) as progress:
            task = progress.add_task(what, total=total)
            self._live = progress
            try:
                yield lambda amount: progress.advance(task, amount)
            finally:
                self._live = None

    def _tenths(self, total: int, what: str) -> Callable[[int], None]:
        done = 0

        def advance(amount: int) -> None:
            nonlocal done
            before, done = done, done + amount
            if total and done * 10 // total > before * 10 // total:
                self.note(f"{what}: {done} of {total}")

        return advance

    @contextmanager
    def training(self) -> Iterator[None]:
        """On a terminal, a table that grows with the epochs, and a bar for the steps of the current one."""
        if not sys.stderr.isatty() or self.quiet:
            yield
            return
        from bccli.terminal.training_table import TrainingTable, live_terminal

        with TrainingTable(live_terminal()) as self._table:
            self._live = self._table.live
            try:
                yield
            finally:
                self._live = self._table = None

    def step(self, number: int, of: int) -> None:
        """Moves the bar, where there is one."""
        if self._table:
            self._table.step(number, of)

    def epoch(self, number: int, of: int, row: dict[str, float], best: int = 0) -> None:
        """A row of the table on a terminal, otherwise one plain line; in a log file a line in any case."""
        figures = "  ".join(
            f"{name} {figure_text(name, value)}" for name, value in shown_figures(row).items()
        )
        self._say(f"epoch {number}/{of}  {figures}", silent=self.quiet or self._table is not None)
        if self._table:
            self._table.epoch(number, of, shown_figures(row), best)


def _no_link(path: str, flags: int) -> int:
    """Open a log in a run, which may be a stranger's, and not what a link or a pipe leads to."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def shown_figures(row: Mapping[str, float]) -> dict[str, float]:
    """An epoch's figures with β~: train over val accuracy as training saw them, augmented and with dropout.

    The β of a finished run is measured in inference mode on images as they are.
    """
    accuracy, val_accuracy = row.get("accuracy"), row.get("val_accuracy")
    return {**row, "beta~": accuracy / val_accuracy} if accuracy is not None and val_accuracy else dict(row)


def figure_text(name: str, value: float) -> str:
    """A figure of an epoch with four decimals, a learning rate with two digits."""
    return f"{value:.2g}" if name == "lr" else f"{value:.4f}"


class Counted:
    """Rows that are counted as they pass, and among them those with an error."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self.total, self.errors = rows, 0, 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for row in self._rows:
            self.total += 1
            self.errors += bool(row.get("error"))
            yield row


def show_rows(rows: Rows, format: str = "auto", *, title: str = "") -> None:
    """Print records of equal keys to stdout: a table on a terminal, CSV in a pipe, or as asked."""
    WRITERS[_resolved(format, sys.stdout)](rows, sys.stdout, title)
    sys.stdout.flush()


def write_predictions(
    rows: Rows,
    classes: Sequence[str],
    format: str,
    output: Path,
    *,
    positive: str | None = None,
    patch: int | None = None,
) -> None:
    """Write predict's rows to stdout (`-`) or to a file, whole or not at all; in a file, auto is CSV.

    `classes` are in the order of the run, and patches have a side of `patch` pixels. Rows are written as they
    come.
    """
    with _destination(output) as stream:
        chosen = _resolved(format, stream)
        if chosen == "table":
            from bccli.terminal.predictions_table import table_lines

            write_all((f"{line}\n" for line in table_lines(rows, classes, stream, positive=positive)), stream)
        elif chosen == "geojson":
            from bccli.terminal.geojson import write_geojson

            write_geojson(rows, stream, classes, patch, positive)
        else:
            WRITERS[chosen](rows, stream, "")


def _resolved(format: str, stream: IO[str]) -> str:
    return format if format != "auto" else "table" if stream.isatty() else "csv"


@contextmanager
def _destination(output: Path) -> Iterator[IO[str]]:
    """Where results go: stdout for `-`, else a file that is there only when the block has ended well."""
    if str(output) == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    with replacing(output, through=True) as binary:
        text = io.TextIOWrapper(
            binary, encoding="utf-8", errors="surrogateescape", newline="", write_through=True
        )
        yield text
        text.flush()
        text.detach()


def show_figures(
    figures: Sequence[Mapping[str, Any]],
    format: str = "auto",
    *,
    comparison: Mapping[str, Any] | None = None,
    columns: Sequence[str] = (),
) -> None:
    """Print figures of the contract: tables for people and papers, one flat table as CSV.

    With `columns`, one table of these in every format but JSON.
    """
    from bccli.terminal.figure_remarks import remarks

    chosen = _resolved(format, sys.stdout)
    if chosen == "json":
        show_json(figures)
        return
    for number, table in enumerate(_tables(figures, chosen, comparison, columns)):
        print(end="\n" * (number > 0 and chosen in _PUBLISHED))
        show_rows(table, chosen)
    if chosen == "table":
        _show_lines(remarks(figures, comparison))
    elif chosen in _PUBLISHED:
        sys.stdout.write(_below(figures, comparison, chosen))


_PUBLISHED = {"markdown": "md", "latex": "tex"}
"""The formats that papers are written in, and the endings of their files."""


def _tables(
    figures: Sequence[Mapping[str, Any]],
    format: str,
    comparison: Mapping[str, Any] | None,
    columns: Sequence[str],
) -> Iterator[list[dict[str, Any]]]:
    """The tables of figures for a format, or the one of these columns."""
    from bccli.terminal import figure_columns, figure_rows, figures_table

    if columns:
        choose = figure_columns.chosen_rows if format == "csv" else figure_columns.chosen_table
        yield choose(columns, figures, comparison)
    elif format == "csv":
        yield figure_rows.flat_rows(figures, comparison)
    else:
        made = figures_table.tables if format == "table" else figures_table.published
        yield from made(figures, comparison)


def _below(figures: Sequence[Mapping[str, Any]], comparison: Mapping[str, Any] | None, format: str) -> str:
    """What has to be known about tables for a paper, below them."""
    from bccli.terminal.figure_remarks import remarks

    return "\n" + _noted(remarks(figures, comparison), format)


def show_sweep(rows: Sequence[Mapping[str, Any]], figures: Sequence[Mapping[str, Any]]) -> None:
    """Print the leaderboard of a sweep, best first; on a terminal, the `figures` of its members as evaluate
    does."""
    from bccli.terminal import sweep_table

    if _resolved("auto", sys.stdout) != "table":
        show_rows(rows)
        return
    for table in sweep_table.tables(rows, figures):
        show_rows(table, "table")
    _show_lines(sweep_table.remarks(rows, figures))


def _show_lines(lines: Iterable[str]) -> None:
    """Print lines; on a terminal, those that are too long wrap between words."""
    for line in lines:
        print(_fitted(visible(line), sys.stdout))


def _fitted(line: str, stream: IO[str]) -> str:
    """A line as it is, or on a terminal in as many as it needs, of whole words."""
    if not stream.isatty():
        return line
    from bccli.terminal.capabilities import Terminal, wrapped

    return wrapped(line, Terminal(stream).width)


def show_counts(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print images and patients per split and class; that patients are unknown is said instead."""
    show_rows(
        [
            {**row, "patients": "unknown"} if row["images"] and row["patients"] is None else dict(row)
            for row in rows
        ]
    )


def show_audit(rows: Sequence[Mapping[str, Any]], format: str = "auto") -> None:
    """Print what splits of datasets share; on a terminal, examples stand below the table."""
    if _resolved(format, sys.stdout) != "table":
        show_rows(rows, format)
        return
    show_rows([{key: value for key, value in row.items() if key != "examples"} for row in rows], "table")
    _show_lines(
        f"{row['data']} {row['part']}: {pair}"
        for row in rows
        for pair in filter(None, row["examples"].split("; "))
    )


def show_checklist(filled: Filled, format: str = "auto") -> None:
    """Print a filled checklist; in tables, the paper that it is from and counts of states stand below."""
    chosen = _resolved(format, sys.stdout)
    if chosen == "json":
        show_json(_checklist_json(filled))
        return
    show_rows(map(asdict, filled.rows), chosen)
    if chosen == "table":
        _show_lines(_below_checklist(filled))
    elif chosen in _PUBLISHED:
        sys.stdout.write("\n" + _noted(_below_checklist(filled), chosen))


def _checklist_json(filled: Filled) -> dict[str, Any]:
    checklist = filled.checklist
    about = {"checklist": checklist.name, "title": checklist.title, "citation": checklist.citation}
    return {
        "format": 1, **about, "run": filled.name, "counts": filled.counts,
        "items": [asdict(row) for row in filled.rows],
    }  # fmt: skip


def _below_checklist(filled: Filled) -> Iterator[str]:
    """What a checklist is from, and how many of its items are in each state."""
    yield f"{filled.checklist.title}: {filled.checklist.citation}"
    counts = ", ".join(f"{number} {state}" for state, number in filled.counts.items())
    yield f"{filled.name}: of {len(filled.rows)} items {counts}"


def _noted(lines: Iterable[str], format: str) -> str:
    from bccli.terminal.writers import REMARKS

    return "".join(map(REMARKS[format], lines))


def write_checklist(folder: Path, filled: Filled) -> None:
    """Write a filled checklist as CSV and as Markdown."""
    rows = [asdict(row) for row in filled.rows]
    with _destination(folder / "checklist.csv") as stream:
        WRITERS["csv"](rows, stream, "")
    with _destination(folder / "checklist.md") as stream:
        WRITERS["markdown"](rows, stream, "")
        stream.write("\n" + _noted(_below_checklist(filled), "markdown"))


def write_figures(
    folder: Path,
    figures: Sequence[Mapping[str, Any]],
    comparison: Mapping[str, Any] | None,
    columns: Sequence[str] = (),
) -> None:
    """Write the figures as CSV, and as tables for a paper; with `columns`, these alone."""
    with _destination(folder / "figures.csv") as stream:
        for table in _tables(figures, "csv", comparison, columns):
            WRITERS["csv"](table, stream, "")
    for format, ending in _PUBLISHED.items():
        with _destination(folder / f"figures.{ending}") as stream:
            for table in _tables(figures, format, comparison, columns):
                WRITERS[format](table, stream, "")
                stream.write("\n")
            stream.write(_below(figures, comparison, format).lstrip())


def show_json(value: Any) -> None:
    """Print one JSON value to stdout."""
    print(to_json(value, indent=2))
