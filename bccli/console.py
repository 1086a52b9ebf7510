"""Results go to stdout and nothing else does; progress, notes and warnings go to stderr."""

import csv
import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bccli.core.files import replacing
from bccli.core.watching import Watcher

FORMATS = ("auto", "table", "csv", "json")

# The measures that the table of figures shows; JSON and CSV have them all.
_SHOWN = (
    "protocol", "n", "patients", "positive", "accuracy", "majority_accuracy", "balanced_accuracy", "f1",
    "roc_auc", "tpr", "tnr", "loss", "patient_accuracy", "train_accuracy", "val_accuracy", "beta", "overfit",
)  # fmt: skip
_PATH_WIDTH = 34
_NESTED = frozenset({"classes", "confusion_matrix", "per_class", "ci", "calibration", "leakage"})


class Console(Watcher):
    """What a command shows while it works: live on a terminal, plain lines elsewhere."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose
        self._log: IO[str] | None = None
        self._live: Any = None

    @contextmanager
    def logging(self, path: Path) -> Iterator[None]:
        """Also append everything that is said inside the block to `path`, with the time."""
        with path.open("a", encoding="utf-8", errors="backslashreplace") as self._log:
            try:
                yield
            finally:
                self._log = None

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
        text = text.replace("\n", "\\n")  # only a file's name has a line's end in it
        if self._log:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self._log.flush()
        if silent:
            return
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
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Terminal(stderr=True), transient=True) as progress:
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

    def epoch(self, number: int, of: int, row: dict[str, float]) -> None:
        """One plain line per epoch, in a terminal and in a log file alike."""
        figures = "  ".join(f"{name} {value:.4f}" for name, value in row.items())
        self.note(f"epoch {number}/{of}  {figures}")


class Counted:
    """Rows that are counted as they pass, and among them those with an error."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows, self.total, self.errors = rows, 0, 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for row in self._rows:
            self.total += 1
            self.errors += bool(row.get("error"))
            yield row


Rows = Iterable[Mapping[str, Any]]


def show_rows(rows: Rows, format: str = "auto", *, title: str = "") -> None:
    """Print records of equal keys to stdout: a table on a terminal, CSV in a pipe, or as asked."""
    chosen = format if format != "auto" else "table" if sys.stdout.isatty() else "csv"
    WRITERS[chosen](rows, sys.stdout, title)
    sys.stdout.flush()


def write_rows(rows: Rows, format: str, output: Path) -> None:
    """`show_rows` to a file, whole or not at all; `-` is stdout. In a file, auto is CSV."""
    if str(output) == "-":
        show_rows(rows, format)
        return
    with replacing(output) as binary:
        text = io.TextIOWrapper(
            binary, encoding="utf-8", errors="surrogateescape", newline="", write_through=True
        )
        WRITERS["csv" if format == "auto" else format](rows, text, "")
        text.flush()
        text.detach()


def show_figures(figures: Sequence[Mapping[str, Any]], format: str = "auto") -> None:
    """Print figures of the contract: the main ones as a table, all that fit into a cell as CSV."""
    if format == "json":
        show_json(figures)
    elif format == "table" or (format == "auto" and sys.stdout.isatty()):
        _show_main_figures(figures)
    else:
        flat = [{key: value for key, value in row.items() if key not in _NESTED} for row in figures]
        show_rows(flat, "csv")


def _show_main_figures(figures: Sequence[Mapping[str, Any]]) -> None:
    """A column per run and split, a row per measure, and below it what leaked."""
    from bccli.core.leakage import leak_sentences

    columns = [" ".join(filter(None, (row["name"], row["split"]))) for row in figures]
    rows = [
        {
            "measure": measure.replace("_", " "),
            **{name: cell(row[measure]) for name, row in zip(columns, figures, strict=True)},
        }
        for measure in _SHOWN
        if any(row[measure] is not None for row in figures)
    ]
    show_rows(rows, "table")
    for row in figures:
        for sentence in leak_sentences({row["split"]: row["leakage"] or {}}):
            print(f"{row['name']}: {sentence}")


def show_json(value: Any) -> None:
    """Print one JSON value to stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def cell(value: Any, *, digits: int = 4) -> str:
    """A value for the eye: nothing for None, four decimals for a fraction."""
    if value is None:
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _as_table(rows: Rows, stream: IO[str], title: str) -> None:
    from rich.console import Console as Terminal
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    names = [name for name in (rows[0] if rows else ()) if any(row[name] is not None for row in rows)]
    table = Table(title=title or None, title_justify="left")
    for name in names:
        numeric = all(isinstance(row[name], int | float | None) for row in rows)
        heading = name if name.startswith("p_") else name.replace("_", " ")
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shortened(name, row[name])) for name in names))
    Terminal(file=stream).print(table)


def _shortened(name: str, value: Any) -> str:
    """A cell of a table; of a long path the end, which is what tells files apart."""
    text = cell(value)
    return "…" + text[-_PATH_WIDTH:] if name == "path" and len(text) > _PATH_WIDTH else text


def _as_csv(rows: Rows, stream: IO[str], title: str) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row.keys())
        writer.writerow(["" if value is None else value for value in row.values()])


def _as_json(rows: Rows, stream: IO[str], title: str) -> None:
    json.dump(list(rows), stream, indent=2, ensure_ascii=False)
    stream.write("\n")


def _as_json_lines(rows: Rows, stream: IO[str], title: str) -> None:
    for row in rows:
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        stream.flush()


WRITERS: dict[str, Callable[[Rows, IO[str], str], None]] = {
    "table": _as_table,
    "csv": _as_csv,
    "json": _as_json,
    "jsonl": _as_json_lines,
}
