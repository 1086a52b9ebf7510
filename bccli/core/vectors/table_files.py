"""Vectors in tables: a column `path` and columns of numbers, in CSV or Parquet."""

import csv
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from bccli.core.data.foreign_tables import number_in, records
from bccli.core.errors import DataError, first_line
from bccli.core.reading.limits import ARRAYS_BYTES, SMALL_VECTORS, VECTORS_RATIO
from bccli.core.reading.regular_files import explained, open_file
from bccli.core.vectors.contents import Contents, check_shape, contents

_PATH = "path"
_ABOUT_IMAGES = {
    *("label", "labels", "class", "class_id", "target", "diagnosis", "split", "fold", "patient"),
    *("patient_id", "case_id", "slide_id", "image_id", "index"),
}
"""Columns of tables of images. Numbers in them would be learned from as if they were features: a label by 0
and 1 gives the answer away."""
_ROW_NUMBERS = "unnamed:"
"""How pandas calls numbers of rows that it has written and read again."""
_AT_ONCE = 1024
"""So many rows are made numbers at once."""
_NOT_FINITE = ("nan", "inf", "-inf", "+inf", "infinity", "-infinity")


def read_csv(path: Path) -> Contents:
    """What a CSV holds, read line by line. Raises DataError naming the cell that is no number."""
    try:
        with open_file(path) as raw, TextIOWrapper(raw, "utf-8-sig", newline="") as stream:
            separator, rows = records(stream, str(path), (_PATH,))
            return _read_rows(path, rows, separator)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; name vectors that are there") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({explained(error)}); check its permissions") from None
    except UnicodeError:
        raise DataError(f"{path}: is not in UTF-8; save it again as CSV UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}: not valid CSV ({error}); mend the line") from None


def _read_rows(path: Path, rows: Iterator[list[str]], separator: str) -> Contents:
    header = [cell.strip() for cell in next(rows, [])]
    index, columns = _columns(path, header)
    names, blocks, waiting = [], [], []
    for number, cells in enumerate(rows, 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{path} row {number}: has {len(cells):,} cells, and the first row names {len(header):,} "
                "columns; mend the row"
            )
        names.append(cells.pop(index).strip())
        waiting.append(cells)
        if len(waiting) == _AT_ONCE:
            blocks.append(_numbers(path, waiting, columns, names, separator))
            waiting = []
    if waiting:
        blocks.append(_numbers(path, waiting, columns, names, separator))
    values = np.concatenate(blocks) if blocks else np.empty((0, len(columns)), np.float32)
    return contents(path, values, names=names)


def _columns(path: Path, header: Sequence[str]) -> tuple[int, list[str]]:
    """Where the column of paths is, and the names of the others."""
    found = [index for index, name in enumerate(header) if name.lower() == _PATH]
    if len(found) != 1:
        shown = ", ".join(repr(name[:40]) for name in header[:5]) or "nothing"
        raise DataError(
            f"{path}: has {'no' if not found else 'more than one'} column {_PATH!r} among {shown}; name the "
            "column of the images' paths so"
        )
    columns = [name for index, name in enumerate(header) if index != found[0]]
    if "" in columns:
        raise DataError(
            f"{path}: has a column without a name, such as the numbers of rows that pandas writes; leave it "
            "out (index=False)"
        )
    for name in columns:
        if name.strip().lower().startswith(_ROW_NUMBERS) or name.strip().lower() in _ABOUT_IMAGES:
            raise DataError(
                f"{path}: has a column {name[:40]!r}, which is no feature, though it may hold numbers; leave "
                "it out"
            )
    check_shape(path, (0, len(columns)))
    return found[0], columns


def _numbers(
    path: Path, rows: list[list[str]], columns: Sequence[str], names: Sequence[str], separator: str
) -> np.ndarray:
    """The numbers of rows, float32 (rows, columns); `names` end with theirs."""
    with np.errstate(over="ignore"):
        try:
            if any("_" in cell for row in rows for cell in row):  # which Python takes for a number
                raise ValueError
            return np.array(rows, np.float64).astype(np.float32)
        except ValueError:
            return np.array(
                [
                    [
                        _number(path, name, column, cell, separator)
                        for column, cell in zip(columns, row, strict=True)
                    ]
                    for name, row in zip(names[-len(rows) :], rows, strict=True)
                ],
                np.float64,
            ).astype(np.float32)


def _number(path: Path, name: str, column: str, cell: str, separator: str) -> float:
    text = cell.strip()
    if text.lower() in _NOT_FINITE:
        return float(text)
    try:
        return number_in(text, separator)
    except ValueError:
        _refuse(path, name, column, text)


def _refuse(path: Path, name: str, column: str, text: str) -> NoReturn:
    what = f"has {text[:40]!r} in it" if text else "is empty"
    raise DataError(
        f"{path}: the column {column[:40]!r} {what} (of {name[:80]}), which is no number; leave out columns "
        "that are no features"
    )


def read_parquet(path: Path) -> Contents:
    """What a Parquet file holds, with columns of numbers or one column of lists.

    Raises DataError where it is damaged, or a column is of another kind.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(
            f"{path}: Parquet is read by pyarrow, which is not installed; pip install 'bccli[parquet]', or "
            "write the vectors as HDF5"
        ) from None
    try:
        with open_file(path) as stream, pyarrow.parquet.ParquetFile(stream) as found:
            return _read_parquet(path, found)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; name vectors that are there") from None
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({first_line(error)}); write it again") from None


def _read_parquet(path: Path, found: Any) -> Contents:
    names: list[str] = []
    blocks: list[np.ndarray] = []
    header = [name for name in found.schema_arrow.names if not _is_index(name)]
    index, columns = _columns(path, header)
    most, total = max(SMALL_VECTORS, VECTORS_RATIO * path.stat().st_size), 0
    if found.metadata.num_rows * len(columns) * 4 > min(most, ARRAYS_BYTES):
        raise DataError(f"{path}: would unpack to {found.metadata.num_rows:,} rows; is it whole?")
    for batch in found.iter_batches(_AT_ONCE, columns=header):
        names += _paths_in(path, batch.column(header[index]))
        blocks.append(_values_in(path, batch, columns))
        if (total := total + blocks[-1].nbytes) > min(most, ARRAYS_BYTES):
            raise DataError(f"{path}: unpacks to more than {total:,} bytes; is it whole?")
    if len({block.shape[1] for block in blocks}) > 1:
        raise DataError(f"{path}: its lists are of several lengths; write one width")
    values = np.concatenate(blocks) if blocks else np.empty((0, len(columns)), np.float32)
    return contents(path, values, names=names)


def _is_index(name: str) -> bool:
    """Whether pandas has put the numbers of rows into a column of this name."""
    return name.startswith("__index_level_")


def _paths_in(path: Path, column: Any) -> list[str]:
    import pyarrow

    kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise DataError(f"{path}: its column {_PATH!r} is of type {kind}, not of text; write names there")
    return ["" if name is None else name for name in column.to_pylist()]


def _values_in(path: Path, batch: Any, columns: Sequence[str]) -> np.ndarray:
    """The vectors of some rows, float32 (rows, width)."""
    import pyarrow

    if len(columns) == 1 and _is_list(batch.column(columns[0]).type):
        return _lists(path, batch.column(columns[0]), columns[0])
    found = np.empty((batch.num_rows, len(columns)), np.float32)
    for number, name in enumerate(columns):
        column = batch.column(name)
        kind = column.type
        if not (pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind)):
            raise DataError(
                f"{path}: the column {name[:40]!r} is of type {kind}, which is no number; leave out columns "
                "that are no features"
            )
        found[:, number] = column.to_numpy(zero_copy_only=False)  # what is missing is NaN
    return found


def _is_list(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _lists(path: Path, column: Any, name: str) -> np.ndarray:
    import pyarrow

    kind = column.type.value_type
    if column.null_count or not (pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind)):
        raise DataError(f"{path}: the column {name[:40]!r} has lists of {kind}, not of numbers; write those")
    values = column.flatten().to_numpy(zero_copy_only=False)
    if not len(column) or len(values) % len(column):
        raise DataError(f"{path}: its lists are of several lengths; write one width")
    lengths = {len(one) for one in column}
    if len(lengths) > 1:
        raise DataError(f"{path}: its lists are of several lengths; write one width")
    return np.asarray(values, np.float32).reshape(len(column), -1)
