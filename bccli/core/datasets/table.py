"""Any images listed in a table: path,label and, where known, patient, split, fold, mask, view and side.

It is a CSV as any program writes it, or an XLSX. Relative paths start at the table's folder. An absolute
path into that folder becomes relative; any other, and one that leaves the folder by `..`, stays as it is in
the manifest's column `source`.
"""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from bccli.core.data.foreign_tables import split_of, whole
from bccli.core.data.manifest import MOST_FOLDS, SPLITS, Metadata, Sample, is_metadata
from bccli.core.data.patients import names_patients, says_who
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.layout.cell_forms import CellForms, side_of
from bccli.core.datasets.layout.class_names import DistinctNames
from bccli.core.datasets.layout.indexes import Line, not_unicode, read_index
from bccli.core.datasets.layout.named_after import NamedAfter
from bccli.core.errors import DataError

_NEEDED = ("path", "label")
_NO_LABELS = ("", "nan", "<na>")
_NO_VALUES = ("nan", "<na>", "na", "none")
_MEANT = frozenset({"path", "label", "patient", "split", "fold", "mask", "view", "side"})
_WINDOWS = re.compile(r"[a-z]:|\\\\", re.IGNORECASE)


@dataclass(frozen=True)
class _Columns:
    """How a table writes the cells of its metadata, which column has its patients, and those left out."""

    forms: CellForms
    patient: str
    identifying: tuple[str, ...]
    passed_over: tuple[str, ...]


def read_table(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the rows in file order. Raises DataError naming the row that cannot be meant."""
    if not source.is_file():
        what = "is a folder" if source.is_dir() else "no such file"
        raise DataError(f"{source}: {what}; name the CSV with the columns path,label{_tables_in(source)}")
    folder = os.path.abspath(source.parent)
    labels, columns = DistinctNames(), _columns(source, skip)
    lines_of_paths: dict[str, int] = {}
    for line in read_index(source, _NEEDED, errors="surrogateescape"):
        sample = _to_sample(line, folder, columns)
        if not _is_unicode(sample.label) or not _is_unicode(sample.patient):
            raise not_unicode(source)
        if not _is_unicode(sample.source) and not os.path.exists(os.path.join(folder, sample.source)):
            raise not_unicode(source)
        if sample.label not in labels:
            labels.add(sample.label, f"line {line.number}")
        first = lines_of_paths.setdefault(sample.source, line.number)
        if first != line.number:
            raise DataError(
                f"{line.where}: {sample.source!r} is already in line {first}; remove one of the two"
            )
        if sample.mask and not reading.needs_masks and not (source.parent / sample.mask).exists():
            skip(sample.mask, "mask_missing")
            sample = replace(sample, mask="")
        yield sample
    NamedAfter(lambda name: skip(name, "twin_row")).add_all(lines_of_paths)


def _tables_in(source: Path) -> str:
    """The only table in a folder, as a hint."""
    if not source.is_dir():
        return ""
    tables = [path for path in sorted(source.iterdir()) if path.suffix.lower() in (".csv", ".tsv", ".xlsx")]
    return f", such as {tables[0]}" if tables else ""


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _to_sample(line: Line, folder: str, columns: _Columns) -> Sample:
    where = line.where
    if line.beyond:
        raise DataError(
            f"{where}: has more cells than the first line names columns ({line.beyond[0]!r}); put a cell "
            "that has the separator in it into quotes"
        )
    label = line.get("label")
    if any(unicodedata.category(character) == "Cc" for character in label):
        raise DataError(
            f"{where}: the label {label[:40]!r} has a line break or another control character in it; look "
            "for a quotation mark that nothing closes"
        )
    if label.lower() in _NO_LABELS:
        state = f"is {label}, which is none" if label else "is empty"
        raise DataError(f"{where}: the label {state}; fill it in or remove the row")
    return Sample(
        label=label,
        split=_split(line),
        fold=_fold(line),
        patient=line.get(columns.patient),
        dataset="csv",
        source=_relative_path(line.get("path"), "path", where, folder),
        mask=_relative_path(mask, "mask", where, folder) if (mask := _value(line, "mask")) else "",
        view=_value(line, "view"),
        side=side_of(_value(line, "side")),
        metadata=_metadata(line, columns.forms),
    )


def _metadata(line: Line, forms: CellForms) -> Metadata:
    """All further columns, by names that a shell need not quote; cells may say anything in one line."""
    pairs = (
        (name.replace(" ", "_"), forms.tidied(name, text))
        for name, text in line.cells.items()
        if name in forms.columns
    )
    return tuple((name, text) for name, text in pairs if text and is_metadata(name))


def _columns(source: Path, skip: Skip) -> _Columns:
    """The columns of a table. Those that say who a patient is, and such as predictions have a meaning for,
    are left out."""
    status = os.stat(source)
    columns = _columns_of(source, status.st_mtime_ns, status.st_size)
    for kind, names in (
        ("patient_column", () if columns.patient == "patient" else (columns.patient,)),
        ("identifying", columns.identifying),
        ("meaning", columns.passed_over),
    ):
        for column in names:
            skip(column, kind)
    return columns


# The table is gone through several times.
@lru_cache(maxsize=2)
def _columns_of(source: Path, _time: int, _size: int) -> _Columns:
    columns: _Columns | None = None
    for line in read_index(source, _NEEDED, errors="surrogateescape"):
        columns = columns or _sorted_out(tuple(line.cells))
        left_out = (*_MEANT, columns.patient, *columns.identifying, *columns.passed_over)
        columns.forms.see({name: text for name, text in line.cells.items() if name not in left_out})
    return columns or _sorted_out(())


def _sorted_out(names: tuple[str, ...]) -> _Columns:
    """The columns of a table by their names; of several that may be of patients, none is."""
    others = [name for name in names if name not in _MEANT]
    patients = [name for name in others if names_patients(name)]
    patient = patients[0] if len(patients) == 1 and "patient" not in names else "patient"
    identifying = tuple(name for name in others if name != patient and (name in patients or says_who(name)))
    passed_over = (name for name in others if name not in (patient, *identifying))
    meant = tuple(name for name in passed_over if name and not is_metadata(name.replace(" ", "_")))
    return _Columns(CellForms(), patient, identifying, meant)


def _value(line: Line, column: str) -> str:
    """The content of a column; empty where a program has written a word for nothing, too."""
    text = line.get(column)
    return "" if text.lower() in _NO_VALUES else text


def _split(line: Line) -> str:
    text = _value(line, "split")
    split = split_of(text)
    if text and not split:
        raise DataError(f"{line.where}: split {text!r} is none of {', '.join(SPLITS)}; correct it")
    return split


def _fold(line: Line) -> int | None:
    text = _value(line, "fold")
    number = text.removesuffix(".0")
    if not text:
        return None
    try:
        if 0 <= (fold := whole(number)) < MOST_FOLDS:
            return fold
    except ValueError:
        pass
    raise DataError(f"{line.where}: fold {text!r} is no number from 0 to {MOST_FOLDS - 1}; correct it")


def _relative_path(text: str, column: str, where: str, folder: str) -> str:
    """A path with `/`, relative to the table's folder where it is in that. Raises DataError for none."""
    if "\0" in text:
        raise DataError(f"{where}: the {column} has a NUL in it; correct it")
    if _WINDOWS.match(text):
        raise DataError(
            f"{where}: {column} {text!r} is absolute on Windows; make it relative to the table's folder"
        )
    if str(PurePosixPath(text)) == "." or text.lower() in _NO_LABELS:
        raise DataError(f"{where}: the {column} is empty; fill it in or remove the row")
    path = os.path.normpath(text.replace("\\", "/"))
    inside = os.path.join(folder, "")
    return path.removeprefix(inside) if path.startswith(inside) else path
