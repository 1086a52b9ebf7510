"""The samples of a dataset joined with a table of one's own: the columns of --metadata."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bccli.core.data.manifest import Sample
from bccli.core.data.patients import known_patient, plain_number
from bccli.core.datasets import Skip
from bccli.core.datasets.layout.cell_forms import side_of
from bccli.core.datasets.layout.metadata_table import (
    FIELDS,
    PATIENT,
    MetadataTable,
    Row,
    read_metadata,
    row_of,
)
from bccli.core.datasets.loading import root_of
from bccli.core.datasets.traits import TRAITS
from bccli.core.datasets.verification import JOINED, Tally
from bccli.core.errors import DataError

WITHOUT_ROW, WITHOUT_IMAGE = JOINED


def table_of(metadata: Path, key: str, source: Path) -> MetadataTable:
    """The table that the images of a source are joined with. Raises DataError as `read_metadata`."""
    return read_metadata(metadata, key, root_of(source))


def joined(
    samples: Iterator[Sample], table: MetadataTable, dataset: str, source: Path, skip: Skip
) -> Iterator[Sample]:
    """Yield the samples with what the table says of them.

    Raises DataError where the dataset has a column already, a row is about two images, or none is about any.
    """
    _refuse_known(table, dataset, [trait.name for trait in TRAITS.get(dataset, ())])
    root, met = os.path.abspath(root_of(source)), dict[str, str]()
    example = None
    for sample in samples:
        example = example or sample
        row = _row_of(table, sample, root)
        if row is None:
            skip(sample.source, WITHOUT_ROW)
            yield sample
            continue
        _check_one_image(table, row, sample, met)
        known = [name for name, _ in sample.metadata]
        _refuse_known(table, dataset, known + [name for name in FIELDS if getattr(sample, name)])
        yield _with_row(sample, row)
    if example and not met:
        raise _strange(table, example)
    for row in table.rows.values():
        if row.where not in met:
            skip(row.text, WITHOUT_IMAGE)


def _with_row(sample: Sample, row: Row) -> Sample:
    fields = {name: text for name, text in row.metadata if name in FIELDS}
    more = [pair for pair in row.metadata if pair[0] not in FIELDS]
    return replace(
        sample,
        view=fields.get("view", sample.view),
        side=side_of(fields.get("side", sample.side)),
        metadata=(*sample.metadata, *more),
    )


def _row_of(table: MetadataTable, sample: Sample, root: str) -> Row | None:
    if table.key.names != PATIENT:
        return row_of(table, sample.source, root)
    patient = known_patient(sample.patient)
    return table.rows.get(plain_number(patient)) if patient else None


def _check_one_image(table: MetadataTable, row: Row, sample: Sample, met: dict[str, str]) -> None:
    first = met.setdefault(row.where, sample.source)
    if table.key.names != PATIENT and first != sample.source:
        raise DataError(
            f"{row.where}: {row.text!r} is both {first} and {sample.source}; write it with its folder"
        )


def _refuse_known(table: MetadataTable, dataset: str, known: list[str]) -> None:
    if twice := next((name for name in known if name in table.columns), None):
        raise DataError(
            f"{table.path}: its column {twice!r} is one that the lists of {dataset} have, too; rename it, "
            f"such as my_{twice}"
        )


def _strange(table: MetadataTable, sample: Sample) -> DataError:
    """The error for a table that is about none of the images."""
    first = next(iter(table.rows.values()), None)
    theirs = repr(first.text) if first else "nothing"
    by_patient = table.key.names == PATIENT
    what = "patient" if by_patient else "image"
    ours = (sample.patient or "unknown") if by_patient else sample.source
    return DataError(
        f"{table.path}: none of its {table.total} rows is about an image here: its column "
        f"{table.key.column!r} has {theirs}, and the first {what} is {ours!r}; is it the right table, and "
        "the right --metadata-key?"
    )


def sentence(table: MetadataTable, tally: Tally) -> str:
    """How the table and the images went together, as a note."""
    images = sum(tally.counts.values())
    missing, first = tally.remarks.get(WITHOUT_ROW, (0, []))
    strange, strangers = tally.remarks.get(WITHOUT_IMAGE, (0, []))
    names = ", ".join(table.columns) or "no columns"
    parts = [f"{table.path}: {names} by {table.key.column} for {images - missing:,} of {images:,} images"]
    parts += [f"without a row: {missing:,} ({_few(missing, first)})"] if missing else []
    rows = f"of its {table.total:,} rows"
    parts += [f"{strange:,} {rows} about no image here ({_few(strange, strangers)})"] if strange else []
    parts += [f"{table.repeated:,} {rows} there before"] if table.repeated else []
    parts += [f"{table.nameless:,} {rows} without {table.key.column}"] if table.nameless else []
    for columns, fate in (
        (table.passed_over, "passed over, as such names have a meaning of their own"),
        (table.identifying, "left out, as they say who a patient is"),
        (table.with_commas, "read with decimal commas"),
        (table.doubtful, "kept as text, as its commas may be those of thousands"),
    ):
        if columns:
            parts.append(f"{', '.join(columns)} {fate}")
    return "; ".join(parts)


def _few(count: int, names: list[str]) -> str:
    return ", ".join(names) + (", …" if count > len(names) else "")
