"""A paper's tables and figures beside what runs of both protocols reach: Markdown, CSV and plots.

    python compare.py PAPER.toml RESULTS [--instead PATTERN=RUN]… [--made-up]

RESULTS holds the folders `paper` and `honest` with prepared datasets and runs. What is written there:
tables.md, tables.csv, a forest plot for each table, and the papers' figures in figures/.
"""

import argparse
import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cells import PROTOCOLS, Cell, Paper, Picture, Source, Table, read_paper
from drawing import DRAW, draw_forest
from measured import NOT_YET, Measured, measure

from bccli.core.files import replacing

HEADINGS = ("paper", "paper protocol here", "patients apart (interval)")
COLUMNS = (
    *("table", "section", "row", "column", "paper", "paper_protocol", "patients_apart", "low", "high", "n"),
    *("state", "reason", "of", "run_paper_protocol", "run_patients_apart", "remark"),
)
MADE_UP = "All images are made up: the figures show that each line works, and nothing else."


@dataclass(frozen=True)
class Row:
    """A cell with what was measured under each protocol."""

    cell: Cell
    paper: Measured
    apart: Measured

    @property
    def state(self) -> str:
        """`made`, at least under one protocol, `not possible`, or `not made yet` as far as it could be."""
        if NOT_YET in self.reason:
            return NOT_YET
        return "not possible" if self.empty else "made"

    @property
    def empty(self) -> bool:
        """Whether neither protocol has a value."""
        return self.paper.value is None and self.apart.value is None

    @property
    def reason(self) -> str:
        """Why there is no value, where there is none."""
        whys = dict.fromkeys(found.why for found in (self.paper, self.apart) if found.value is None)
        return "; ".join(why for why in whys if why)


def rows_of(table: Table, results: Path, instead: Sequence[tuple[str, str]]) -> list[Row]:
    """Measure all cells of a table."""
    return [
        Row(cell, *(_measured(cell, protocol, results, instead) for protocol in PROTOCOLS))
        for cell in table.cells
    ]


def _measured(cell: Cell, protocol: str, results: Path, instead: Sequence[tuple[str, str]]) -> Measured:
    found = measure(stood_in(cell.sources[protocol], instead), results / protocol)
    value, low, high = (_scaled(number, cell.scale) for number in (found.value, found.low, found.high))
    return Measured(value, low, high, found.n, found.why)


def _scaled(value: Any, scale: float) -> Any:
    """A number in the paper's unit; what is no number stays."""
    return value * scale if scale != 1 and isinstance(value, int | float) else value


def stood_in(source: Source, instead: Sequence[tuple[str, str]]) -> Source:
    """The source with the run that stands in for its own, by the first pattern that fits."""
    for pattern, run in instead:
        if source.folder and fnmatch(source.folder, pattern):
            return replace(source, folder=run)
    return source


def in_words(value: float | str | None, digits: int = 3) -> str:
    """A value as the tables have it: counts as they are, other numbers to so many digits."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if isinstance(value, float) else f"{value}"


def with_interval(found: Measured, digits: int) -> str:
    """A value, and its interval where there is one."""
    text = in_words(found.value, digits)
    if found.low is None:
        return text
    return f"{text} ({in_words(found.low, digits)}–{in_words(found.high, digits)})"


def printed(cell: Cell) -> str:
    """What the paper prints."""
    return in_words(cell.printed, cell.digits) if cell.printed != "" else "not printed"


def markdown(
    paper: Paper, rows: dict[str, list[Row]], pictures: Sequence[str], notes: Sequence[str] = ()
) -> str:
    """All tables and figures as a page; `notes` are said first."""
    parts = [f"# {paper.title}", *notes, *([paper.remark] if paper.remark else ())]
    for table in paper.tables:
        parts += [f"## {_title(table)}", *_table_lines(table, rows[table.name])]
    return "\n\n".join([*parts, "## Figures", *pictures]) + "\n"


def _title(table: Table) -> str:
    return f"{table.name[:1].upper()}{table.name[1:]}: {table.caption}"


def _table_lines(table: Table, rows: Sequence[Row]) -> Iterator[str]:
    """The cells that are made, line by line; below them the others by their reasons."""
    made = [row for row in rows if not row.empty]
    if made:
        yield _grid(made)
    remarks = dict.fromkeys(row.cell.remark for row in rows if row.cell.remark)
    yield from (f"* {remark}" for remark in remarks)
    left: dict[tuple[str, str], list[Cell]] = {}
    for row in rows:
        if row.reason:
            state = "in part" if row.state == "made" else row.state
            left.setdefault((state, row.reason.replace(f"{NOT_YET}: ", "")), []).append(row.cell)
    for (state, reason), cells in left.items():
        names = _listed([cell.row for cell in cells], table.rows, "all rows")
        columns = _listed([cell.column for cell in cells], table.columns, "all columns")
        number = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
        yield f"* {state[:1].upper()}{state[1:]} ({number}: {names}; {columns}): {reason}."
    if made and table.plot:
        yield f"![{table.name}](figures/{slug(table.name)}.png)"


def _listed(names: Sequence[str], everything: Sequence[str], all_of_them: str) -> str:
    """Names once each, or two words for all of several."""
    found = list(dict.fromkeys(names))
    return all_of_them if len(found) == len(everything) > 1 else ", ".join(found)


def _grid(rows: Sequence[Row]) -> str:
    lines = [("", "", *HEADINGS), ("---",) * 5]
    for row in rows:
        digits = row.cell.digits
        values = printed(row.cell), in_words(row.paper.value, digits), with_interval(row.apart, digits)
        lines.append((row.cell.row, row.cell.column, *values))
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)


def table_csv(rows: dict[str, list[Row]], instead: Sequence[tuple[str, str]]) -> str:
    """All cells, one a line."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in (row for group in rows.values() for row in group):
        cell, apart = row.cell, row.apart
        sources = [stood_in(cell.sources[protocol], instead) for protocol in PROTOCOLS]
        writer.writerow(
            ["" if value is None else value for value in (
                *(cell.table, cell.section, cell.row, cell.column, cell.printed),
                *(row.paper.value, apart.value, apart.low, apart.high, apart.n),
                *(row.state, row.reason, sources[0].of or sources[1].of),
                *(source.folder for source in sources),
                cell.remark,
            )]
        )  # fmt: skip
    return stream.getvalue()


def slug(name: str) -> str:
    """A file's name of a table's or figure's."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def make_pictures(paper: Paper, results: Path, instead: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Copy or draw the paper's figures under both protocols; yields a line of Markdown for each."""
    for picture in paper.pictures:
        yield f"### {picture.name[:1].upper()}{picture.name[1:]}: {picture.caption}"
        if picture.not_possible:
            yield f"Not possible: {picture.not_possible}."
            continue
        for protocol, heading in zip(PROTOCOLS, HEADINGS[1:], strict=True):
            yield _made(picture.under(protocol), results, protocol, heading.partition(" (")[0], instead)


def _made(
    picture: Picture, results: Path, protocol: str, heading: str, instead: Sequence[tuple[str, str]]
) -> str:
    if picture.not_possible:
        return f"{heading[:1].upper()}{heading[1:]}: not possible: {picture.not_possible}."
    folder = stood_in(Source("file", picture.folder), instead).folder
    target = results / "figures" / f"{slug(picture.name)}-{protocol}.png"
    try:
        if picture.draw:
            DRAW[picture.draw](results / protocol / folder, target)
        else:
            shutil.copyfile(results / protocol / folder / picture.file, target)
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).relative_to(results)
        return f"{heading[:1].upper()}{heading[1:]}: {NOT_YET}: {missing}."
    return f"![{picture.name}, {heading}](figures/{target.name}) {heading}"


def write(path: Path, text: str) -> None:
    """Replace a file as a whole."""
    with replacing(path) as stream:
        stream.write(text.encode())


def compare(path: Path, results: Path, instead: Sequence[tuple[str, str]], *, made_up: bool = False) -> None:
    """Write tables.md, tables.csv and figures/ into the folder of results."""
    paper = read_paper(path)
    (results / "figures").mkdir(parents=True, exist_ok=True)
    rows = {table.name: rows_of(table, results, instead) for table in paper.tables}
    for table in paper.tables:
        if table.plot:
            found = [(row.cell, row.paper, row.apart) for row in rows[table.name] if not row.empty]
            draw_forest(_title(table), table.columns, found, results / "figures" / f"{slug(table.name)}.png")
    pictures = list(make_pictures(paper, results, instead))
    write(results / "tables.csv", table_csv(rows, instead))
    notes = [MADE_UP] * made_up + [f"`{run}` stands in for `{pattern}`." for pattern, run in instead]
    write(results / "tables.md", markdown(paper, rows, pictures, notes))
    states = [row.state for group in rows.values() for row in group]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    print(f"{results / 'tables.md'}: {len(states)} cells, {counts}")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="A paper's tables beside what runs reach.")
    parser.add_argument("paper", type=Path, help="its TOML file")
    parser.add_argument("results", type=Path, help="the folder with paper/ and honest/")
    parser.add_argument(
        "--instead",
        action="append",
        default=[],
        metavar="PATTERN=RUN",
        help="a run that stands in for others",
    )
    parser.add_argument("--made-up", action="store_true", help="say that the images are made up")
    asked = parser.parse_args(arguments)
    instead = [(pattern, run) for pattern, _, run in (text.partition("=") for text in asked.instead)]
    compare(asked.paper, asked.results, instead, made_up=asked.made_up)


if __name__ == "__main__":
    main()
