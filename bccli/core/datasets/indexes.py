"""Tables beside the images of a dataset, CSV or XLSX, that say what is in them."""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bccli.core.errors import DataError

TABLES = (".csv", ".xlsx")
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


@dataclass(frozen=True)
class Line:
    """One line of a table: where it is, and its cells by the plain names of their columns."""

    where: str
    cells: dict[str, str]

    def get(self, column: str) -> str:
        """What is in a column, empty where nothing is."""
        return self.cells.get(plain(column), "")

    def filled(self, column: str) -> str:
        """What is in a column. Raises DataError where nothing is."""
        if text := self.get(column):
            return text
        raise DataError(f"{self.where}: {column} is empty; restore the line")

    def coded(self, column: str, codes: Mapping[str, str]) -> str:
        """What a cell stands for, whatever its capitals. Raises DataError for one that is no code."""
        text = self.filled(column)
        for code, meaning in codes.items():
            if code.lower() == text.lower():
                return meaning
        raise DataError(f"{self.where}: {column} {text!r} is none of {', '.join(codes)}; correct it")


def plain(column: str) -> str:
    """A column's name without regard to capitals, and with spaces for underscores."""
    return " ".join(column.lower().replace("_", " ").split())


def read_index(path: Path, needed: Sequence[str]) -> Iterator[Line]:
    """Yield the lines of a table that has the columns `needed`, blank ones left out; of a workbook the
    first sheet that has them.

    Raises DataError where the file cannot be read, or a column is missing: it names that, and those found.
    """
    header: list[str] | None = None
    lacking: tuple[list[str], list[str]] | None = None
    for sheet in _sheets(path):
        for number, cells in sheet:
            if not any(cells):
                continue
            if header is not None:
                named = zip(header, cells, strict=False)
                yield Line(f"{path} line {number}", {name: cell.strip() for name, cell in named})
                continue
            names = [plain(cell) for cell in cells]
            missing = [name for name in needed if plain(name) not in names]
            if missing:
                found = [cell.strip() for cell in cells if cell.strip()]
                if lacking is None or len(missing) < len(lacking[0]):
                    lacking = missing, found
                break
            header = names
        if header is not None:
            return
    if lacking is None:
        raise DataError(f"{path}: is empty; download it again")
    missing, found = lacking
    raise DataError(
        f"{path}: has no column {missing[0]!r}, only {', '.join(map(repr, found[:20]))}; "
        "correct the first line"
    )


def _sheets(path: Path) -> Iterator[Iterable[tuple[int, list[str]]]]:
    if path.suffix.lower() == ".xlsx":
        yield from _workbook(path)
    else:
        yield _lines(path)


def _workbook(path: Path) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """The sheets of an XLSX file, line by line."""
    import zipfile

    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except OSError as error:
        raise _unreadable(path, error) from None
    except (KeyError, ValueError, zipfile.BadZipFile, openpyxl.utils.exceptions.InvalidFileException):
        raise DataError(f"{path}: is not a whole XLSX file; download it again") from None
    try:
        for sheet in book.worksheets:
            yield (
                (number, ["" if cell is None else str(cell) for cell in row])
                for number, row in enumerate(sheet.iter_rows(values_only=True), 1)
            )
    finally:
        book.close()


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file; cells may have line breaks in them."""
    try:
        with path.open("rb") as raw:
            start = raw.read(3)
        encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")
        with path.open(newline="", encoding=encoding) as stream:
            reader = csv.reader(stream)
            for cells in reader:
                yield reader.line_num, cells
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeError:
        raise DataError(f"{path}: is not in UTF-8; save it as CSV UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}: not valid CSV ({error}); mend the line") from None


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({error.strerror}); check its name and permissions")


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
