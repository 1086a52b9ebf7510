"""The cells of a paper's tables as its TOML file has them: what is printed, and what makes it here.

A table has `columns` and `rows` (a name, then a printed value per column; "" where the paper gives none).
`of` says what is measured, for all columns or one by one, `run` or `data` in which folder below a
protocol's own. `by_row` changes any of these for a row, `apart` for the protocol that keeps patients
apart. Instead, or for some rows, `not_possible` has the reason. `{row}` in a folder is the row's name.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROTOCOLS = ("paper", "honest")
"""What the paper did, and patients apart; also the folders that their runs lie in."""
_TABLE = {"name", "caption", "section", "columns", "rows", "by_row", "scale", "digits", "plot", "remark"}
_MADE = {"of", "run", "data", "not_possible", "remark"}


@dataclass(frozen=True)
class Source:
    """What makes a cell under one protocol: a measure `of` a folder, or the reason why nothing does."""

    of: str = ""
    folder: str = ""
    not_possible: str = ""


@dataclass(frozen=True)
class Cell:
    """One printed value, and its sources by protocol; `scale` is 100 where the paper prints percent."""

    table: str
    section: str
    row: str
    column: str
    printed: float | str
    sources: Mapping[str, Source]
    remark: str = ""
    scale: float = 1.0
    digits: int = 3


@dataclass(frozen=True)
class Table:
    """A table, or the numbers of a figure or a section."""

    name: str
    caption: str
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    plot: bool = True

    @property
    def rows(self) -> tuple[str, ...]:
        """The names of the rows, in their order."""
        return tuple(dict.fromkeys(cell.row for cell in self.cells))


@dataclass(frozen=True)
class Picture:
    """A figure of a paper: a `file` of a run, or what is to `draw` from a folder, or why there is none."""

    name: str
    caption: str
    section: str
    file: str = ""
    draw: str = ""
    folder: str = ""
    not_possible: str = ""
    apart: Mapping[str, str] | None = None

    def under(self, protocol: str) -> "Picture":
        """The same for one protocol."""
        if protocol == "paper" or not self.apart:
            return self
        return Picture(**{**self.__dict__, "apart": None, **self.apart})


@dataclass(frozen=True)
class Paper:
    """All tables and figures of a paper."""

    title: str
    remark: str
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of all tables."""
        return tuple(cell for table in self.tables for cell in table.cells)


def read_paper(path: Path) -> Paper:
    """Read a paper's TOML. Raises ValueError for a cell that has neither a source nor a reason."""
    with path.open("rb") as stream:
        content = tomllib.load(stream)
    return Paper(
        content["title"],
        content.get("remark", ""),
        tuple(_table(entry) for entry in content["table"]),
        tuple(Picture(**entry) for entry in content.get("figure", ())),
    )


def _table(entry: dict[str, Any]) -> Table:
    if unknown := set(entry) - _TABLE - _MADE - {"apart"}:
        raise ValueError(f"{entry['name']}: unknown keys {', '.join(sorted(unknown))}")
    if strange := set(entry.get("by_row", ())) - {row[0] for row in entry["rows"]}:
        raise ValueError(f"{entry['name']}: by_row names {', '.join(sorted(strange))}, which is no row")
    columns = tuple(entry["columns"])
    cells = tuple(cell for row in entry["rows"] for cell in _cells(entry, columns, row))
    return Table(entry["name"], entry["caption"], columns, cells, entry.get("plot", True))


def _cells(entry: dict[str, Any], columns: tuple[str, ...], row: list[Any]) -> Iterator[Cell]:
    name, *values = row
    own = entry.get("by_row", {}).get(name, {})
    said = {**entry, **own}
    if "not_possible" in own and "of" not in own:
        said.pop("of", None)
    for place, (column, printed) in enumerate(zip(columns, values, strict=True)):
        sources = {protocol: _source(said, protocol, name, place, len(columns)) for protocol in PROTOCOLS}
        for protocol, source in sources.items():
            if not source.of and not source.not_possible:
                raise ValueError(f"{entry['name']}, {name}, {column}: no source, no reason ({protocol})")
        yield Cell(
            entry["name"],
            entry["section"],
            name,
            column,
            printed,
            sources,
            said.get("remark", ""),
            said.get("scale", 1.0),
            said.get("digits", 3),
        )


def _source(said: dict[str, Any], protocol: str, row: str, place: int, columns: int) -> Source:
    if protocol == "honest":
        said = {**said, **said.get("apart", {})}

    def at(key: str) -> str:
        """What holds for this column: one for all, or a list."""
        value = said.get(key, "")
        if isinstance(value, list) and len(value) != columns:
            raise ValueError(f"{said['name']}, {row}: {len(value)} of {key} for {columns} columns")
        return str(value[place] if isinstance(value, list) else value)

    of = at("of").replace("{row}", row)
    folder = at("data" if of.startswith(OF_DATA) else "run")
    return Source(of, folder.format(row=row), "" if of else at("not_possible"))


OF_DATA = ("count:", "copies:", "row:", "grid:", "dataset:")
"""How measures begin that are taken of a prepared dataset."""
