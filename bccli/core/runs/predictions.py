"""predictions.csv: one row per image with its truth and its probabilities, ours or another tool's."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from bccli.core.data.foreign_tables import patients_named, split_of, text_of
from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError
from bccli.core.files import write_text
from bccli.core.reading.limits import TABLE_LINE
from bccli.core.reading.regular_files import explained, open_file
from bccli.core.runs.class_probabilities import (
    class_names_of,
    class_numbers,
    probabilities_in_order,
    refuse_unreadable,
    without_other_columns,
)
from bccli.core.runs.column_meanings import owners_hint, patients_in, splits_hint
from bccli.core.runs.contradictions import one_sided, other_than_most_probable, without_none
from bccli.core.runs.prediction_table import FURTHER_COLUMNS, IDENTITY, PREFIX, PredictionTable, read_table

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Predictions:
    """n images: `labels` class numbers, `probabilities` (n, classes) or None, `predicted` class numbers.

    `further` holds further columns of the table by name; `without_truth` are the paths of the images whose
    label is not given, which are not among the n. `owners` (n,) number what intervals may not separate,
    where that has been found out; `notes` are sentences on how the table was read.
    """

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    patients: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None
    paths: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    further: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without_truth: tuple[str, ...] = ()
    owners: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def frame(self) -> "DataFrame":
        """The same as a frame of pandas: probabilities are numbers, all else is text, empty if unknown."""
        from bccli.core.runs.frames import frame_of_predictions

        return frame_of_predictions(self)

    def of_split(self, split: str) -> "Predictions":
        """Those of one split."""
        return self.where(np.array([name == split for name in self.splits], bool))

    def where(self, chosen: np.ndarray) -> "Predictions":
        """Those that a boolean mask (n,) chooses."""
        return self.taken(np.flatnonzero(chosen))

    def taken(self, indexes: np.ndarray) -> "Predictions":
        """Those of some indexes (m,), in their order."""
        numbers = indexes.tolist()

        def of(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(map(values.__getitem__, numbers)) if values else ()

        return replace(
            self,
            splits=of(self.splits),
            patients=of(self.patients),
            paths=of(self.paths),
            sources=of(self.sources),
            labels=self.labels[indexes],
            predicted=self.predicted[indexes],
            probabilities=None if self.probabilities is None else self.probabilities[indexes],
            owners=None if self.owners is None else self.owners[indexes],
            further={name: of(values) for name, values in self.further.items()},
        )


def read_any(path: Path, classes: Sequence[str]) -> Predictions | None:
    """A table of predictions, as `read_predictions` reads it; None where it has no row."""
    with open_file(path) as stream:
        if sum(bool(stream.readline(TABLE_LINE)) for _ in range(2)) < 2:
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
    metadata: Sequence[str] = (),
) -> None:
    """Write the samples, each with the split it had in this run, and their probabilities (n, classes).

    `chosen` (n,) are the numbers of the predicted classes, by default the most probable ones; `columns` are
    further numbers (n,), behind all others, NaN where there is none. `metadata` are the names of those that
    are written, whichever samples have them.
    """
    chosen = probabilities.argmax(axis=1) if chosen is None else chosen
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*IDENTITY, *(PREFIX + name for name in classes), *FURTHER_COLUMNS, *metadata, *columns])
    for index, ((sample, split), values) in enumerate(zip(rows, probabilities, strict=True)):
        predicted = classes[int(chosen[index])]
        fold = "" if sample.fold is None else sample.fold
        identity = [sample.path, split, fold, sample.patient, sample.source, sample.label, predicted]
        further = ("" if (value := getattr(sample, name)) is None else value for name in FURTHER_COLUMNS)
        more = ("" if np.isnan(value) else f"{value:.9g}" for value in (of[index] for of in columns.values()))
        told = dict(sample.metadata)
        texts = (told.get(name, "") for name in metadata)
        writer.writerow([*identity, *map(as_stored, values.tolist()), *further, *texts, *more])
    write_text(path, stream.getvalue())


def as_stored(probability: float) -> str:
    """A probability as predictions.csv has it."""
    return f"{probability:.9g}"


def read_predictions(path: Path, classes: Sequence[str] = ()) -> Predictions:
    """Read predictions; `classes` is their order, by default that of their severity or of the columns.

    Raises DataError naming the row or column that cannot be used.
    """
    try:
        with open_file(path) as stream, text_of(stream) as lines:
            return parse_predictions(lines, str(path), classes)
    except OSError as error:
        raise DataError(f"{path}: {explained(error)}; name a run or a predictions.csv") from None


def parse_predictions(lines: Iterable[str], name: str, classes: Sequence[str] = ()) -> Predictions:
    """`read_predictions` for lines that come from elsewhere; `name` stands for it in messages."""
    table = read_table(lines, name)
    notes: list[str] = []
    if not classes:
        table, notes = without_other_columns(table)
    refuse_unreadable(table)
    columns = table.columns
    if "predicted" in columns:
        columns["predicted"] = without_none(columns["predicted"], {*columns["label"], *classes})
    order = list(classes) or class_names_of(table, name)
    labels = class_numbers(table, "label", order, name)
    probabilities, more = probabilities_in_order(table, order, name) if table.scored else (None, [])
    notes += more
    predicted = (
        class_numbers(table, "predicted", order, name)
        if probabilities is None or "predicted" in columns
        else probabilities.argmax(axis=1)
    )
    _refuse_twice(table, name)
    columns["split"] = _splits(table, name)
    found, hints = patients_in(columns)
    columns["patient"], several = patients_named(found or [""] * len(labels))
    if several:
        shown = "; ".join(" and ".join(found) for found in list(several.values())[:3])
        notes.append(f"patients whose numbers differ in zeros only are one ({shown})")
    if not classes:
        notes += [*hints, *splits_hint(columns), *([] if _is_ours(columns) else owners_hint(columns))]
        notes += [] if table.scored else one_sided(columns["label"], columns["predicted"])
    if not _is_ours(columns) and "predicted" in columns and probabilities is not None:
        notes += other_than_most_probable(predicted, probabilities)

    def column(key: str) -> tuple[str, ...]:
        return tuple(columns[key]) if key in columns else ("",) * len(labels)

    return Predictions(
        classes=tuple(order),
        splits=column("split"),
        patients=column("patient"),
        labels=labels,
        predicted=predicted,
        probabilities=probabilities,
        paths=column("path"),
        sources=column("source"),
        further={key: column(key) for key in columns if key == "fold" or key not in (*IDENTITY, "")},
        without_truth=table.without_truth,
        notes=tuple(notes),
    )


def _is_ours(columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether bccli wrote the table, which then has all columns that it writes."""
    return {*IDENTITY, *FURTHER_COLUMNS} - {"side"} <= set(columns)  # that is younger than some tables


def _splits(table: PredictionTable, name: str) -> list[str]:
    """train, val or test of each row. Raises DataError for a row that is in none, where others are."""
    given = table.columns.get("split")
    if given is None or not any(given):
        return [""] * len(table.rows)
    known = {text: split_of(text) for text in set(given)}
    if not all(known.values()):
        row, text = next(pair for pair in zip(table.rows, given, strict=True) if not known[pair[1]])
        found = f"split {text!r} in row {row}" if text else f"split (empty) in row {row}"
        raise DataError(f"{name}: {found} is none of train, val and test; correct it or remove the column")
    return [known[text] for text in given]


def _refuse_twice(table: PredictionTable, name: str) -> None:
    """An image may be there once in each split and fold, and its patches by their corners."""
    if len(set(table.columns["path"])) == len(table.rows):
        return
    keys = [table.columns[key] for key in ("path", "split", "fold", "row", "col") if key in table.columns]
    rows: dict[tuple[str, ...], int] = {}
    for row, key in zip(table.rows, zip(*keys, strict=True), strict=True):
        if rows.setdefault(key, row) != row:
            raise DataError(
                f"{name}: the path {key[0]!r} is in row {rows[key]} and again in row {row}; remove one"
            )
