"""predictions.csv: one row per image with its truth and its probabilities, ours or another tool's."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bccli.core.errors import DataError
from bccli.core.files import write_text
from bccli.core.records import Sample

_IDENTITY = ("path", "split", "fold", "patient", "source", "label", "predicted")
_PREFIX = "p_"
_WANTED = "give a CSV with the columns path,label and either p_<class>… or predicted"
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Predictions:
    """n images: `labels` class numbers, `probabilities` (n, classes) or None, `predicted` class numbers."""

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    patients: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None

    def of_split(self, split: str) -> "Predictions":
        """Those of one split."""
        chosen = np.array([name == split for name in self.splits], bool)
        return Predictions(
            classes=self.classes,
            splits=tuple(np.array(self.splits, object)[chosen]),
            patients=tuple(np.array(self.patients, object)[chosen]),
            labels=self.labels[chosen],
            predicted=self.predicted[chosen],
            probabilities=None if self.probabilities is None else self.probabilities[chosen],
        )


def write_predictions(
    path: Path, rows: Sequence[tuple[Sample, str]], probabilities: np.ndarray, classes: Sequence[str]
) -> None:
    """Write the samples, each with the split it had in this run, and their probabilities (n, classes)."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_IDENTITY, *(_PREFIX + name for name in classes)])
    for (sample, split), values in zip(rows, probabilities, strict=True):
        predicted = classes[int(values.argmax())]
        fold = "" if sample.fold is None else sample.fold
        identity = [sample.path, split, fold, sample.patient, sample.source, sample.label, predicted]
        writer.writerow([*identity, *(f"{value:.9g}" for value in values.tolist())])
    write_text(path, stream.getvalue())


def read_predictions(path: Path, classes: Sequence[str] = ()) -> Predictions:
    """Read predictions; `classes` is their order, by default that of the probability columns.

    Raises DataError naming the row or column that cannot be used.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise DataError(
            f"{path}: {(error.strerror or str(error)).lower()}; name a run or a predictions.csv"
        ) from None
    return parse_predictions(text, str(path), classes)


def parse_predictions(text: str, name: str, classes: Sequence[str] = ()) -> Predictions:
    """`read_predictions` for text that is already here; `name` stands for it in messages."""
    columns, rows = _read_table(text, name)
    scored = [column[len(_PREFIX) :] for column in columns if column.startswith(_PREFIX)]
    for column in ("path", "label", *(_PREFIX + label for label in scored)):
        if column not in columns:
            raise DataError(f"{name}: has no column {column!r}; {_WANTED}")
        if columns.count(column) > 1:
            raise DataError(f"{name}: has the column {column!r} twice; remove one of the two")
    if not scored and "predicted" not in columns:
        raise DataError(f"{name}: has neither p_<class> columns nor a column 'predicted'; {_WANTED}")
    if not rows:
        raise DataError(f"{name}: has no rows; there is nothing to evaluate")
    named = {row[key] for row in rows for key in ("label", "predicted") if row.get(key)}
    order = list(classes) or scored or sorted(named)
    numbers = {label: number for number, label in enumerate(order)}
    labels = _numbers([row["label"] for row in rows], numbers, f"{name}: label")
    probabilities = _probabilities(rows, order, name) if scored else None
    predicted = (
        _numbers([row["predicted"] for row in rows], numbers, f"{name}: predicted")
        if "predicted" in columns or probabilities is None
        else probabilities.argmax(axis=1)
    )
    return Predictions(
        classes=tuple(order),
        splits=tuple(row.get("split") or "" for row in rows),
        patients=tuple(row.get("patient") or "" for row in rows),
        labels=labels,
        predicted=predicted,
        probabilities=probabilities,
    )


def _read_table(text: str, name: str) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and rows of CSV text, without the mark that some programs put before it."""
    if "\0" in text:
        raise DataError(f"{name}: is no text but a binary file; {_WANTED}")
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        return list(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise DataError(f"{name}: not valid CSV after line {reader.line_num} ({error}); {_WANTED}") from None


def _numbers(values: list[str], numbers: dict[str, int], where: str) -> np.ndarray:
    for row, value in enumerate(values, 2):
        if value not in numbers:
            found = f"{where} {value!r}" if value else f"{where} (empty)"
            raise DataError(f"{found} in row {row} is none of the classes {', '.join(numbers)}; correct it")
    return np.array([numbers[value] for value in values], np.int64)


def _probabilities(rows: list[dict[str, str]], order: list[str], name: str) -> np.ndarray:
    for label in order:
        if _PREFIX + label not in rows[0]:
            raise DataError(f"{name}: has no column {_PREFIX + label!r} for the class {label!r}")
    return np.array(
        [
            [
                _probability(row[_PREFIX + label], f"{name}: {_PREFIX}{label} in row {number}")
                for label in order
            ]
            for number, row in enumerate(rows, 2)
        ],
        np.float64,
    )


def _probability(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise DataError(
            f"{where} is {text or 'empty'}, not a probability from 0 to 1; correct or remove the row"
        )
    return value
