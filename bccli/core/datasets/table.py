"""Any images listed in a CSV with the columns path,label and, where known, patient, split, fold, mask."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.indexes import path_inside
from bccli.core.errors import DataError
from bccli.core.records import MOST_FOLDS, SPLITS, Sample

_NEEDED = ("path", "label")


def read_table(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the rows in file order. Raises DataError naming the row that cannot be meant."""
    if not source.is_file():
        raise DataError(f"{source}: no such file; name the CSV with the columns path,label")
    lines_of_paths: dict[str, int] = {}
    with source.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
        reader = csv.DictReader(stream)
        for row in _rows(reader, source):
            where = f"{source} line {reader.line_num}"
            sample = _to_sample(row, where)
            first = lines_of_paths.setdefault(sample.source, reader.line_num)
            if first != reader.line_num:
                raise DataError(
                    f"{where}: {sample.source!r} is already in line {first}; remove one of the two"
                )
            if sample.mask and not reading.needs_masks and not (source.parent / sample.mask).exists():
                skip(sample.mask, "mask_missing")
                sample = replace(sample, mask="")
            yield sample


def _rows(reader: "csv.DictReader[str]", source: Path) -> Iterator[dict[str, str]]:
    """The rows of a table with the columns that are needed. Raises DataError where it is none."""
    try:
        for column in _NEEDED:
            if column not in (reader.fieldnames or ()):
                raise DataError(f"{source}: has no column {column!r}; the first line must name the columns")
        yield from reader
    except csv.Error as error:
        where = f"{source} line {reader.line_num + 1}"
        raise DataError(f"{where}: not valid CSV ({error}); mend the line") from None


def _to_sample(row: dict[str, str], where: str) -> Sample:
    label = (row["label"] or "").strip()
    if not label:
        raise DataError(f"{where}: the label is empty; fill it in or remove the row")
    split = (row.get("split") or "").strip()
    if split and split not in SPLITS:
        raise DataError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}; correct it")
    fold = (row.get("fold") or "").strip()
    if fold and not (fold.isdecimal() and int(fold) < MOST_FOLDS):
        raise DataError(f"{where}: fold {fold!r} is no number from 0 to {MOST_FOLDS - 1}; correct it")
    return Sample(
        label=label,
        split=split,
        fold=int(fold) if fold else None,
        patient=(row.get("patient") or "").strip(),
        dataset="csv",
        source=path_inside(row["path"] or "", "path", where),
        mask=path_inside(row["mask"], "mask", where) if row.get("mask") else "",
    )
