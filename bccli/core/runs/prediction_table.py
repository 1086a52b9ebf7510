"""A table of predictions by its columns, as it is read from CSV, ours or another tool's."""

import csv
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bccli.core.data.foreign_tables import number_in, records
from bccli.core.errors import DataError

IDENTITY = ("path", "split", "fold", "patient", "source", "label", "predicted")
FURTHER_COLUMNS = ("magnification", "subtype", "view", "variant", "row", "col", "group", "side")
"""What else is known of an image, behind the probabilities: to break figures down, to know copies and
patches, to draw together what may not be separated, and to know breasts."""

PREFIX = "p_"
_WANTED = "give a CSV with the columns path,label and either p_<class>… or predicted"
NO_LABEL = frozenset({"", "na", "n/a", "nan", "<na>", "#n/a", "null"})
"""What other tools write where there is no label."""


@dataclass(frozen=True)
class PredictionTable:
    """A table by columns: text by name, and the probabilities (rows × scored classes) row after row.

    `rows` are the numbers of the rows in the file, those without a label left out. `unreadable` has, of each
    class, the first cell that is no number, by its row, and what is wrong with it; its value is NaN.
    """

    columns: dict[str, list[str]]
    scored: list[str]
    probabilities: "array[float]"
    rows: "array[int]"
    without_truth: tuple[str, ...]
    unreadable: Mapping[str, tuple[int, DataError]] = field(default_factory=dict)


def read_table(lines: Iterable[str], name: str) -> PredictionTable:
    """Read CSV a line at a time: of a million rows, only what is needed stays."""
    separator, reader = records(lines, name, ("path", "label"))
    shared: dict[str, str] = {}  # one string for each patient, split and label, however often it comes
    probabilities, rows, without = array("d"), array("q"), []
    unreadable: dict[str, tuple[int, DataError]] = {}
    number = 1

    def read_one_by_one(cells: Sequence[str], row: int) -> Iterator[float]:
        for key, cell in zip(scored, cells, strict=True):
            try:
                yield _probability(cell, separator, f"{name}: {PREFIX}{key}", row)
            except DataError as error:
                unreadable.setdefault(key, (row, error))
                yield math.nan

    try:
        first = next(reader, [])
        header = _headings(first)
        scored = _check_header(header, name)
        texts = [(key, index) for index, key in enumerate(header) if not key.startswith(PREFIX)]
        scored_indexes = [header.index(PREFIX + key) for key in scored]
        label, path = header.index("label"), header.index("path")
        unlabelled = NO_LABEL - {key.casefold() for key in scored}
        columns: dict[str, list[str]] = {key: [] for key, _ in texts}
        own = [(columns[key].append, index) for key, index in texts if key in ("path", "source")]
        common = [(columns[key].append, index) for key, index in texts if key not in ("path", "source")]
        labelled: set[str] = set()
        for number, row in enumerate(reader, 2):
            if not any(row):
                continue
            if any("\n" in cell for cell in row):
                _refuse_swallowed(row, separator, len(header), f"{name}: row {number}")
            if len(row) != len(header):
                where = f"{name}: row {number}"
                row = _of_length(row, len(header), where, separator, first=not rows)
            if row == first:
                raise DataError(f"{name}: row {number} repeats the headings; remove it")
            if row[label] not in labelled:
                if row[label].strip().casefold() in unlabelled:
                    without.append(row[path])
                    continue
                labelled.add(row[label])
            rows.append(number)
            for append, index in own:
                append(row[index])
            for append, index in common:
                cell = row[index].strip()
                append(shared.setdefault(cell, cell))
            cells = [row[index] for index in scored_indexes]
            probabilities.extend(_plain_numbers(cells) or read_one_by_one(cells, number))
    except csv.Error as error:
        raise DataError(f"{name}: not valid CSV after row {number} ({error}); {_WANTED}") from None
    if not rows:
        which = "no row has a label" if without else "has no rows"
        raise DataError(f"{name}: {which}; there is nothing to evaluate")
    return PredictionTable(columns, scored, probabilities, rows, tuple(without), unreadable)


def _refuse_swallowed(row: Sequence[str], separator: str, columns: int, where: str) -> None:
    """Raises DataError for a row with rows of the table in a cell, which an open quotation mark joins."""
    for cell in row:
        if any(line.count(separator) >= max(columns - 2, 1) for line in cell.split("\n")):
            raise DataError(
                f"{where} has several rows in one cell ({cell[:40]!r}); look for a quotation mark that "
                "nothing closes"
            )


def _headings(cells: Sequence[str]) -> list[str]:
    """The names of columns, those that mean something here in their own spelling."""
    known = {name: name for name in (*IDENTITY, *FURTHER_COLUMNS)}
    bare = [cell.strip() for cell in cells]
    return [
        PREFIX + cell[len(PREFIX) :]
        if cell[: len(PREFIX)].lower() == PREFIX
        else known.get(cell.casefold(), cell)
        for cell in bare
    ]


def _of_length(row: list[str], length: int, where: str, separator: str, *, first: bool) -> list[str]:
    """The cells of a row, made as many as the header has. Raises DataError where something would be lost.

    R's write.table names rows in a column that has no heading, so that its `first` row is longer by one.
    """
    if first and len(row) == length + 1 and row[-1]:
        raise DataError(
            f"{where} has {len(row)} cells, and the header has {length}: write it without the names of rows "
            f"(in R write.table(..., row.names=FALSE)), or put cells that contain {separator!r} in quotation "
            "marks"
        )
    if any(row[length:]):
        raise DataError(
            f"{where} has {len(row)} cells, and the header has {length}; "
            f"put cells that contain {separator!r} in quotation marks"
        )
    return [*row[:length], *[""] * (length - len(row))]


def _check_header(header: Sequence[str], name: str) -> list[str]:
    """The classes that have a column of probabilities, in its order."""
    scored = [column[len(PREFIX) :] for column in header if column.startswith(PREFIX)]
    for column in ("path", "label"):
        if column not in header:
            wanted = _BY_BLANKS if _parted_by_blanks(header) else _WANTED
            raise DataError(f"{name}: has no column {column!r}; {wanted}")
    for column, times in Counter(header).items():
        if times > 1 and column:
            raise DataError(f"{name}: has the column {column!r} twice; remove one of the two")
    if not scored and "predicted" not in header:
        raise DataError(f"{name}: has neither p_<class> columns nor a column 'predicted'; {_WANTED}")
    return scored


_BY_BLANKS = (
    "blanks part its headings, which paths may hold, too: write it with commas (in R "
    'write.table(..., sep=",", row.names=FALSE))'
)


def _parted_by_blanks(header: Sequence[str]) -> bool:
    """Whether the headings stand in one cell, or few, with blanks between them."""
    words = [word.strip('"').casefold() for cell in header for word in cell.split()]
    return "path" in words and "label" in words and len(words) > len(header)


def _plain_numbers(cells: Sequence[str]) -> list[float]:
    """The numbers in cells, if all are finite and as `real` wants them; none if one is not."""
    text = "".join(cells)
    if "_" in text or not text.isascii():
        return []
    try:
        found = [float(cell) for cell in cells]
    except ValueError:
        return []
    return found if math.isfinite(sum(found)) else []


def _probability(text: str, separator: str, where: str, row: int) -> float:
    """The number in a cell, not yet known to be one from 0 to 1."""
    try:
        value = number_in(text, separator)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise no_probability(text, where, row)
    return value


def no_probability(text: str, where: str, row: int) -> DataError:
    return DataError(
        f"{where} in row {row} is {text.strip() or 'empty'}, "
        "not a probability from 0 to 1; correct or remove the row"
    )
