"""predictions.csv: one row per image with its truth and its probabilities, ours or another tool's."""

import csv
import io
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain, compress, islice
from pathlib import Path
from types import MappingProxyType

import numpy as np

from bccli.core.errors import DataError
from bccli.core.files import write_text
from bccli.core.patients import Spellings
from bccli.core.records import Sample

_IDENTITY = ("path", "split", "fold", "patient", "source", "label", "predicted")
TRAITS = ("magnification", "subtype", "view", "variant", "group")
"""What else is known of an image, behind the probabilities: to break figures down, to tell children, and to
draw those together that may not be separated."""

_PREFIX = "p_"
_WANTED = "give a CSV with the columns path,label and either p_<class>… or predicted"
_ROUNDING = 1e-6
_HEAD = 10


@dataclass(frozen=True)
class Predictions:
    """n images: `labels` class numbers, `probabilities` (n, classes) or None, `predicted` class numbers.

    `traits` holds further columns of the table by name; `without_truth` are the paths of the images whose
    label is not given, which are not among the n.
    """

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    patients: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None
    paths: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    traits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without_truth: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def of_split(self, split: str) -> "Predictions":
        """Those of one split."""
        return self.where(np.array([name == split for name in self.splits], bool))

    def where(self, chosen: np.ndarray) -> "Predictions":
        """Those that a boolean mask (n,) chooses."""
        picked = {
            entry.name: tuple(compress(value, chosen.tolist()))
            for entry in fields(self)
            if entry.name in ("splits", "patients", "paths", "sources")
            and (value := getattr(self, entry.name))
        }
        return replace(
            self,
            **picked,
            labels=self.labels[chosen],
            predicted=self.predicted[chosen],
            probabilities=None if self.probabilities is None else self.probabilities[chosen],
            traits={name: tuple(compress(values, chosen.tolist())) for name, values in self.traits.items()},
        )


def read_any(path: Path, classes: Sequence[str]) -> Predictions | None:
    """A table of predictions, as `read_predictions` reads it; None where it has no row."""
    with path.open("rb") as stream:
        if len(list(islice(stream, 2))) < 2:
            return None
    return read_predictions(path, classes)


def write_predictions(
    path: Path,
    rows: Sequence[tuple[Sample, str]],
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    chosen: np.ndarray | None = None,
    columns: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> None:
    """Write the samples, each with the split it had in this run, and their probabilities (n, classes).

    `chosen` (n,) are the numbers of the predicted classes, by default the most probable ones; `columns` are
    further numbers (n,), behind all others, NaN where there is none.
    """
    chosen = probabilities.argmax(axis=1) if chosen is None else chosen
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_IDENTITY, *(_PREFIX + name for name in classes), *TRAITS, *columns])
    for place, ((sample, split), values) in enumerate(zip(rows, probabilities, strict=True)):
        predicted = classes[int(chosen[place])]
        fold = "" if sample.fold is None else sample.fold
        identity = [sample.path, split, fold, sample.patient, sample.source, sample.label, predicted]
        traits = (getattr(sample, name) for name in TRAITS)
        more = ("" if np.isnan(value) else f"{value:.9g}" for value in (of[place] for of in columns.values()))
        writer.writerow([*identity, *(f"{value:.9g}" for value in values.tolist()), *traits, *more])
    write_text(path, stream.getvalue())


def read_predictions(path: Path, classes: Sequence[str] = ()) -> Predictions:
    """Read predictions; `classes` is their order, by default that of the probability columns.

    Raises DataError naming the row or column that cannot be used.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            return parse_predictions(stream, str(path), classes)
    except OSError as error:
        raise DataError(
            f"{path}: {(error.strerror or str(error)).lower()}; name a run or a predictions.csv"
        ) from None


def parse_predictions(lines: Iterable[str], name: str, classes: Sequence[str] = ()) -> Predictions:
    """`read_predictions` for lines that come from elsewhere; `name` stands for it in messages."""
    table = _read_table(lines, name)
    columns = table.columns
    order = list(classes) or table.scored or sorted({*columns["label"], *columns.get("predicted", ())} - {""})
    for label in order if table.scored else ():
        if label not in table.scored:
            raise DataError(f"{name}: has no column {_PREFIX + label!r} for the class {label!r}")
    labels = _numbers(table, "label", order, name)
    probabilities = _in_order(table, order, name) if table.scored else None
    predicted = (
        _numbers(table, "predicted", order, name)
        if probabilities is None or "predicted" in columns
        else probabilities.argmax(axis=1)
    )
    _refuse_twice(table, name)

    def column(key: str) -> tuple[str, ...]:
        return tuple(columns[key]) if key in columns else ("",) * len(labels)

    return Predictions(
        classes=tuple(order),
        splits=column("split"),
        patients=tuple(map(Spellings().first, column("patient"))),
        labels=labels,
        predicted=predicted,
        probabilities=probabilities,
        paths=column("path"),
        sources=column("source"),
        traits={key: column(key) for key in columns if key not in (*_IDENTITY, "")},
        without_truth=table.without_truth,
    )


@dataclass(frozen=True)
class _Table:
    """A table by columns: text by name, and the probabilities (rows × scored classes) row after row.

    `rows` are the numbers of the rows in the file, those without a label left out.
    """

    columns: dict[str, list[str]]
    scored: list[str]
    probabilities: "array[float]"
    rows: "array[int]"
    without_truth: tuple[str, ...]


def _read_table(lines: Iterable[str], name: str) -> _Table:
    """Read CSV a line at a time: of a million rows, only what is needed stays."""
    reader = csv.reader(_text_lines(lines, name))
    shared: dict[str, str] = {}  # one string for each patient, split and label, however often it comes
    probabilities, rows, without = array("d"), array("q"), []
    try:
        header = next(reader, [])
        scored = _check_header(header, name)
        texts = [(key, place) for place, key in enumerate(header) if not key.startswith(_PREFIX)]
        places = [(key, header.index(_PREFIX + key)) for key in scored]
        label, path = header.index("label"), header.index("path")
        columns: dict[str, list[str]] = {key: [] for key, _ in texts}
        for number, row in enumerate(filter(None, reader), 2):
            row += [""] * (len(header) - len(row))
            if not row[label]:
                without.append(row[path])
                continue
            rows.append(number)
            for key, place in texts:
                own = key in ("path", "source")
                columns[key].append(row[place] if own else shared.setdefault(row[place], row[place]))
            for key, place in places:
                probabilities.append(_probability(row[place], name, key, number))
    except csv.Error as error:
        raise DataError(f"{name}: not valid CSV after line {reader.line_num} ({error}); {_WANTED}") from None
    if not rows:
        which = "no row has a label" if without else "has no rows"
        raise DataError(f"{name}: {which}; there is nothing to evaluate")
    return _Table(columns, scored, probabilities, rows, tuple(without))


def _text_lines(lines: Iterable[str], name: str) -> Iterator[str]:
    """The lines of a text, without the mark that some programs put before the first."""
    rest = iter(lines)
    first = list(islice(rest, _HEAD))  # a binary file is told before its first line is taken for a header
    for number, line in enumerate(chain(first, rest)):
        if "\0" in line or (not number and any("\0" in other for other in first)):
            raise DataError(f"{name}: is no text but a binary file; {_WANTED}")
        yield line if number else line.removeprefix("\ufeff")


def _check_header(header: Sequence[str], name: str) -> list[str]:
    """The classes that have a column of probabilities, in its order."""
    scored = [column[len(_PREFIX) :] for column in header if column.startswith(_PREFIX)]
    for column in ("path", "label"):
        if column not in header:
            raise DataError(f"{name}: has no column {column!r}; {_WANTED}")
    for column, times in Counter(header).items():
        if times > 1 and column:
            raise DataError(f"{name}: has the column {column!r} twice; remove one of the two")
    if not scored and "predicted" not in header:
        raise DataError(f"{name}: has neither p_<class> columns nor a column 'predicted'; {_WANTED}")
    return scored


def _numbers(table: _Table, column: str, order: Sequence[str], name: str) -> np.ndarray:
    """The class numbers of a column."""
    numbers = {label: number for number, label in enumerate(order)}
    for row, value in zip(table.rows, table.columns[column], strict=True):
        if value not in numbers:
            found = f"{name}: {column} {value!r}" if value else f"{name}: {column} (empty)"
            raise DataError(f"{found} in row {row} is none of the classes {', '.join(numbers)}; correct it")
    return np.array([numbers[value] for value in table.columns[column]], np.int64)


def _in_order(table: _Table, order: Sequence[str], name: str) -> np.ndarray:
    """Probabilities (rows, classes), whose rows sum to 1 but for what a table of two decimals rounds off."""
    found = np.frombuffer(table.probabilities, np.float64).reshape(-1, len(table.scored))
    sums = found.sum(axis=1)
    off = np.abs(sums - 1) > max(0.01, 0.005 * len(table.scored)) + _ROUNDING
    if off.any():
        row = int(off.argmax())
        raise DataError(
            f"{name}: the probabilities in row {table.rows[row]} sum to {sums[row]:.4g}, not to 1; "
            "give each class's share, or leave the p_ columns out and name the class in predicted"
        )
    return found[:, [table.scored.index(label) for label in order]]


def _probability(text: str, name: str, label: str, row: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise DataError(
            f"{name}: {_PREFIX}{label} in row {row} is {text or 'empty'}, "
            "not a probability from 0 to 1; correct or remove the row"
        )
    return value


def _refuse_twice(table: _Table, name: str) -> None:
    """An image may be there once in each split and fold."""
    keys = [table.columns[key] for key in ("path", "split", "fold") if key in table.columns]
    rows: dict[tuple[str, ...], int] = {}
    for row, key in zip(table.rows, zip(*keys, strict=True), strict=True):
        if rows.setdefault(key, row) != row:
            raise DataError(
                f"{name}: the path {key[0]!r} is in row {rows[key]} and again in row {row}; remove one"
            )
