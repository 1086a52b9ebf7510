"""Records as text: a table for the eye, and CSV and JSON that stream, for programs."""

import csv
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

from bccli.core.files import to_json

Rows = Iterable[Mapping[str, Any]]

# Seconds between two flushes of a flood of rows, and how many seconds' worth of them come at once.
_PAUSE, _BURST = 0.001, 0.2


def cell(value: Any, *, digits: int = 4) -> str:
    """A value for the eye: nothing for None, four decimals for a fraction."""
    if value is None:
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _as_table(rows: Rows, stream: IO[str], title: str) -> None:
    from bccli.terminal.tables import Column, print_table

    rows = list(rows)
    columns = [
        Column(
            name.replace("_", " "),
            [cell(row[name]) for row in rows],
            all(isinstance(row[name], int | float | None) for row in rows),
        )
        for name in (rows[0] if rows else ())
        if any(row[name] not in (None, "") for row in rows)
    ]
    print_table(columns, stream, title)


def _as_csv(rows: Rows, stream: IO[str], title: str) -> None:
    writer, flush = csv.writer(stream, lineterminator="\n"), _flushing(stream)
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row.keys())
        writer.writerow(row.values())
        flush()


def _as_json(rows: Rows, stream: IO[str], title: str) -> None:
    """An array whose end is written also where the rows end with an exception."""
    flush, before = _flushing(stream), "["
    try:
        for row in rows:
            text = to_json(row, indent=2).replace("\n", "\n  ")
            stream.write(f"{before}\n  {text}")
            before = ","
            flush()
    finally:
        if before == ",":
            stream.write("\n]\n")
    if before == "[":
        stream.write("[]\n")


def _as_json_lines(rows: Rows, stream: IO[str], title: str) -> None:
    for row in rows:
        stream.write(to_json(row) + "\n")
        stream.flush()


def _as_markdown(rows: Rows, stream: IO[str], title: str) -> None:
    """A table as GitHub and Pandoc read it."""
    from bccli.terminal.paper_tables import to_markdown

    names, lines = _cells(rows)
    numeric = _numeric(lines)
    stream.write(
        to_markdown([*map(_for_markdown, names)], [[*map(_for_markdown, line)] for line in lines], numeric)
    )


def _as_latex(rows: Rows, stream: IO[str], title: str) -> None:
    """A tabular that needs no package."""
    from bccli.terminal.paper_tables import to_latex

    names, lines = _cells(rows)
    numeric = _numeric(lines)
    stream.write(to_latex([*map(_for_latex, names)], [[*map(_for_latex, line)] for line in lines], numeric))


def _for_markdown(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


_LATEX = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "|": r"\textbar{}", "–": "--", "−": "$-$", "β": r"$\beta$", "γ": r"$\gamma$", "κ": r"$\kappa$",
    "±": r"$\pm$", "×": r"$\times$", "²": r"$^2$", "<": "$<$", ">": "$>$", "≥": r"$\geq$", "χ": r"$\chi$",
}  # fmt: skip


REMARKS: dict[str, Callable[[str], str]] = {
    "markdown": lambda line: f"* {_one_line(line)}\n",
    "latex": lambda line: f"\\par\\noindent {_for_latex(line)}\n",
}
"""A line of text below a table, for each format that papers are written in."""


_JOINED = re.compile("[-–](?=[-–])|,(?=,)|'(?=')|[`?!](?=`)")
"""Marks that fonts draw as one with the next: two hyphens as a dash."""
_OPTIONAL = ("[", "*")
"""What LaTeX takes for an option of the line's end that stands before a cell."""


def _for_latex(text: str) -> str:
    line = _one_line(text)
    joined = {match.start() for match in _JOINED.finditer(line)}
    marks = (_LATEX.get(mark, mark) + "{}" * (index in joined) for index, mark in enumerate(line))
    return "{}" * line.startswith(_OPTIONAL) + "".join(marks)


def _one_line(text: str) -> str:
    """A text without ends of lines and other marks that nobody can print, bytes that are no text included."""
    return "".join(mark if mark.isprintable() else " " if mark.isspace() else "?" for mark in text)


def _cells(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """The names of the columns that hold anything, and the cells of each row as text."""
    rows = list(rows)
    keys = [key for key in (rows[0] if rows else ()) if any(row[key] not in (None, "") for row in rows)]
    return [key.replace("_", " ") for key in keys], [[cell(row[key]) for key in keys] for row in rows]


def _numeric(lines: list[list[str]]) -> list[bool]:
    """Which columns hold numbers, or nothing, and go to the right."""
    columns = list(zip(*lines, strict=True))
    return [all(not text or text[0].isdigit() or text[0] in "-−" for text in column) for column in columns]


def write_all(texts: Iterable[str], stream: IO[str]) -> None:
    """Write each text and show it soon; nothing is collected."""
    flush = _flushing(stream)
    for text in texts:
        stream.write(text)
        flush()


def _flushing(stream: IO[str]) -> Callable[[], None]:
    """A flush to call after each row: done at once for a batch of rows, rarely for a flood of them."""
    due = 0.0

    def flush() -> None:
        nonlocal due
        now = time.monotonic()
        if due <= now:
            stream.flush()
            due = max(due, now - _BURST) + _PAUSE

    return flush


WRITERS: dict[str, Callable[[Rows, IO[str], str], None]] = {
    "table": _as_table,
    "csv": _as_csv,
    "json": _as_json,
    "jsonl": _as_json_lines,
    "markdown": _as_markdown,
    "latex": _as_latex,
}
