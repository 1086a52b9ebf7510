"""Tables beside the images of a dataset, CSV or XLSX, that say what is in them."""

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from bccli.core.catalog import nearest
from bccli.core.data.foreign_tables import SEPARATORS, encoding_of
from bccli.core.errors import DataError
from bccli.core.reading.archives import ArchiveError, Bounds, open_archive
from bccli.core.reading.limits import TABLE_CELL, WORKBOOK_BYTES, WORKBOOK_CELLS
from bccli.core.reading.regular_files import explained, open_file
from bccli.core.reading.texts import lines_of

TABLES = (".csv", ".xlsx")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # by which Excel is told, and tells others
_QUOTED = re.compile(r'"[^"]*"')
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Line:
    """One line of a table: where it is, its cells by the plain names of their columns, and those beyond.

    `columns` are all names as the table has them.
    """

    where: str
    cells: dict[str, str]
    number: int = 0
    beyond: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def get(self, column: str) -> str:
        """The content of a column, or an empty text."""
        return self.cells.get(plain(column), "")

    def filled(self, column: str) -> str:
        """The content of a column. Raises DataError where it is empty."""
        if text := self.get(column):
            return text
        raise DataError(f"{self.where}: {column} is empty; restore the line")

    def coded(self, column: str, codes: Mapping[str, str]) -> str:
        """The meaning of a cell, whatever its capitals. Raises DataError for one that is no code."""
        text = self.filled(column)
        for code, meaning in codes.items():
            if code.lower() == text.lower():
                return meaning
        raise DataError(f"{self.where}: {column} {text!r} is none of {', '.join(codes)}; correct it")


def plain(column: str) -> str:
    """A column's name without regard to capitals, and with spaces for underscores."""
    return " ".join(column.lower().replace("_", " ").split())


def read_index(path: Path, needed: Sequence[str], *, errors: str = "strict") -> Iterator[Line]:
    """Yield the lines of a table that has the columns `needed`, blank ones left out; of a workbook the
    first sheet that has them.

    A CSV is in UTF-8 or UTF-16; commas, semicolons, tabs or `|` separate its cells. `errors` is what becomes
    of bytes that are not UTF-8. Raises DataError where the file cannot be read, or a column is missing or
    there twice: it names that, and those found.
    """
    header: list[str] | None = None
    columns: tuple[str, ...] = ()
    lacking: tuple[list[str], list[str]] | None = None
    for sheet in _worksheets(path, errors):
        for number, cells in sheet:
            if not any(cells):
                continue
            if header is not None:
                named = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
                beyond = tuple(cell.strip() for cell in cells[len(header) :] if cell.strip())
                yield Line(f"{path} line {number}", named, number, beyond, columns)
                continue
            names = [plain(cell) for cell in cells]
            missing = [name for name in needed if plain(name) not in names]
            if missing:
                found = [cell.strip() for cell in cells if cell.strip()]
                if lacking is None or len(missing) < len(lacking[0]):
                    lacking = missing, found
                break
            if twice := [name for name in needed if names.count(plain(name)) > 1]:
                raise DataError(f"{path}: has the column {twice[0]!r} twice; rename one of the two")
            header, columns = names, tuple(cell.strip() for cell in cells if cell.strip())
        if header is not None:
            return
    if lacking is None:
        lost = f"has no column {needed[0]!r}, as it is empty" if needed else "is empty"
        raise DataError(f"{path}: {lost}; the first line must name the columns")
    raise _missing(path, *lacking)


def _missing(path: Path, missing: list[str], found: list[str]) -> DataError:
    names = [name[:_LONGEST_NAME] for name in found[:20]]
    return DataError(
        f"{path}: has no column {missing[0]!r}{nearest(missing[0], names)}, only "
        f"{', '.join(map(repr, names))}; the first line must name the columns, with commas, semicolons or "
        "tabs between them, in UTF-8 or UTF-16"
    )


def _worksheets(path: Path, errors: str) -> Iterator[Iterable[tuple[int, list[str]]]]:
    if path.suffix.lower() == ".xlsx":
        yield from _workbook(path)
    else:
        yield _lines(path, errors)


def _workbook(path: Path) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """The sheets of an XLSX file, line by line."""
    import openpyxl

    try:
        with open_file(path) as stream, open_archive(stream, Bounds(WORKBOOK_BYTES)):
            stream.seek(0)
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            for sheet in book.worksheets:
                yield _cells_of(sheet, path)
    except (DataError, MemoryError):
        raise
    except ArchiveError as error:
        raise DataError(f"{path}: {error}; download it again, or save the table as CSV") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception:  # openpyxl raises whatever its steps raise
        raise _damaged_workbook(path) from None


def _cells_of(sheet: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a sheet, whatever it says of its own size."""
    sheet.reset_dimensions()
    left, rows = WORKBOOK_CELLS, sheet.iter_rows(values_only=True)
    for number in count(1):
        try:
            row = next(rows, None)
        except Exception:
            raise _damaged_workbook(path) from None
        if row is None:
            return
        left -= max(len(row), 1)
        cells = ["" if cell is None else str(cell) for cell in row]
        if left < 0 or any(len(cell) > TABLE_CELL for cell in cells):
            raise DataError(
                f"{path} line {number}: has more cells, or more in a cell, than any list of images; "
                "is it the right file?"
            )
        yield number, cells


def _damaged_workbook(path: Path) -> DataError:
    return DataError(f"{path}: is not a whole XLSX file; download it again")


def _lines(path: Path, errors: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file; cells may have line breaks in them."""
    try:
        with open_file(path) as raw:
            encoding = encoding_of(raw.read(1 << 12))
        with open_file(path) as raw, TextIOWrapper(raw, encoding, errors, newline="") as stream:
            mark = separator_of(_first_line(stream))
            stream.seek(0)
            reader = csv.reader(lines_of(stream, str(path)), delimiter=mark)
            for cells in reader:
                if not (reader.line_num == 1 and _SEPARATOR_LINE.fullmatch(mark.join(cells))):
                    yield reader.line_num, cells
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeError:
        raise not_unicode(path) from None
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: not valid CSV ({error}); mend the line") from None


def _first_line(stream: TextIO) -> str:
    """The first line with anything in it, whose end may be missing."""
    while line := stream.readline(1 << 16):
        if line.strip():
            return line.strip("\r\n")
    return ""


def separator_of(line: str) -> str:
    """The separator of a table's first line: the one that it names, else the most frequent one."""
    if named := _SEPARATOR_LINE.fullmatch(line):
        return named[1]
    bare = _QUOTED.sub("", line)
    return max(SEPARATORS, key=bare.count)


def not_unicode(path: Path) -> DataError:
    """The error for a table that is neither in UTF-8 nor in UTF-16."""
    return DataError(f"{path}: is not in UTF-8; save it again as CSV UTF-8, so that names keep their letters")


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({explained(error)}); check its name and permissions")


def path_inside(text: str, column: str, where: str) -> str:
    """A relative path with `/` that stays in the table's folder. Raises DataError for any other."""
    path = PurePosixPath(text.strip().replace("\\", "/"))
    if "\0" in text:
        raise DataError(f"{where}: the {column} has a NUL in it; correct it")
    if str(path) == ".":
        raise DataError(f"{where}: the {column} is empty; fill it in or remove the row")
    if path.is_absolute() or path.drive or (len(path.parts[0]) == 2 and path.parts[0][1] == ":"):
        raise DataError(f"{where}: {column} {text!r} is absolute; make it relative to the CSV's folder")
    normal = os.path.normpath(str(path))
    if normal.split("/")[0] == "..":
        raise DataError(f"{where}: {column} {text!r} leaves the CSV's folder; move the CSV above the images")
    return normal
