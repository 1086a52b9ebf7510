"""Sample, the record behind every row of a manifest, and how manifests are written and read.

A manifest is the CSV of a prepared dataset (contract, "prepare"). Its columns and their order are
the fields of `Sample`; all columns behind them are metadata, whoever wrote them.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bccli.core.data.foreign_tables import whole
from bccli.core.errors import DataError
from bccli.core.reading.texts import table_rows

SPLITS = ("train", "val", "test")
MOST_FOLDS = 1000
_BETWEEN_MASKS = "\0"  # which no path has


Metadata = tuple[tuple[str, str], ...]
"""Names of columns and their texts."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: where it is, what it shows, whose it is, and where it belongs.

    `path` is relative to the prepared dataset, `source` to the raw one. Unknown text is empty,
    unknown numbers are None. Pixels are counted from the top-left corner. Of a raw sample, `mask` may
    name several files (see `join_masks`) and `box` several boxes with `;` between them; its `age`, the
    patient's in years, is no column of a manifest. `group` names who it may not be separated from.
    `metadata` are further columns and their texts, such as the density of a breast, empty ones left out.
    """

    path: str = ""
    label: str = ""
    split: str = ""
    fold: int | None = None
    patient: str = ""
    dataset: str = ""
    source: str = ""
    parent: str = ""
    variant: int = 0
    subtype: str = ""
    magnification: str = ""
    view: str = ""
    side: str = ""
    row: int | None = None
    col: int | None = None
    width: int | None = None
    height: int | None = None
    mask: str = ""
    box: str = ""
    sha256: str = ""
    group: str = ""
    age: int | None = None
    metadata: Metadata = ()

    @property
    def masks(self) -> tuple[str, ...]:
        """The files that `mask` names."""
        return tuple(self.mask.split(_BETWEEN_MASKS)) if self.mask else ()

    @property
    def owner(self) -> str:
        """Who it may not be separated from; where nobody said so, its patient or the image it comes from."""
        return self.group or self.patient or self.source or self.path

    def to_row(self) -> list[str]:
        """The sample's cells in the order of `COLUMNS`."""
        return self.cells(COLUMNS)

    def cells(self, columns: Iterable[str]) -> list[str]:
        """The sample's cells in this order."""
        values = (getattr(self, column) for column in columns)
        return ["" if value is None else str(value) for value in values]

    def to_cells(self) -> list[str]:
        """All that a manifest has of it, as `sample_from_cells` reads it: the metadata's names, too."""
        return [*self.cells(MANIFEST), *(text for pair in self.metadata for text in pair)]

    def to_manifest(self, metadata: Iterable[str]) -> list[str]:
        """Its row in a manifest with these further columns."""
        known = dict(self.metadata)
        return [*self.cells(MANIFEST), *(known.get(name, "") for name in metadata)]


COLUMNS = tuple(field.name for field in fields(Sample) if field.name not in ("group", "age", "metadata"))
"""What a manifest must have, and what the content hash covers."""
MANIFEST = (*COLUMNS, "group")
"""What bccli writes of it."""
NUMBERS = ("fold", "variant", "row", "col", "width", "height")


def join_masks(names: Iterable[str]) -> str:
    """Several mask files as one cell of a raw sample."""
    return _BETWEEN_MASKS.join(names)


def sample_from_cells(cells: Sequence[str], where: str) -> Sample:
    """Read what `Sample.to_cells` wrote. Raises DataError for a cell that is no number."""
    known, rest = cells[: len(MANIFEST)], cells[len(MANIFEST) :]
    metadata = tuple(zip(rest[::2], rest[1::2], strict=True))
    return sample_from_row(dict(zip(MANIFEST, known, strict=True)), where, metadata)


def sample_from_row(row: Mapping[str, str], where: str, metadata: Metadata = ()) -> Sample:
    """Read one manifest row; `where` names it in errors. Raises DataError for a cell that is no number."""
    values: dict[str, object] = {column: row.get(column) or "" for column in MANIFEST}
    for column in NUMBERS:
        text = values[column]
        try:
            values[column] = _number(str(text)) if text != "" else None
        except ValueError:
            raise DataError(
                f"{where}: {column} {text!r} is not a whole number; prepare the dataset again"
            ) from None
    values["variant"] = values["variant"] or 0
    if (hashed := str(values["sha256"])) and not is_sha256(hashed):
        raise DataError(
            f"{where}: sha256 {hashed[:80]!r} is not 64 hexadecimal digits; prepare the dataset again"
        )
    return Sample(**values, metadata=metadata)  # type: ignore[arg-type]


_TAKEN = frozenset({*COLUMNS, *MANIFEST, "predicted"})


def is_metadata(name: str) -> bool:
    """Whether a further column of a table is kept: not one that predictions have a meaning for."""
    plain = name.strip().casefold()
    return bool(plain) and plain not in _TAKEN and not plain.startswith("p_")


def metadata_of(samples: Iterable[Sample]) -> tuple[str, ...]:
    """The names of all metadata of some samples, in the order in which they first come."""
    names: dict[str, None] = {}
    last: Metadata = ()
    for sample in samples:
        if sample.metadata is not last:
            last = sample.metadata
            names |= dict.fromkeys(name for name, _ in last)
    return tuple(names)


_LARGEST = 2**31
_SHA256 = re.compile("[0-9a-f]{64}")


def is_sha256(text: str) -> bool:
    """Whether a text is a hash as manifests have it: 64 hexadecimal digits, small letters."""
    return _SHA256.fullmatch(text) is not None


def _number(text: str) -> int:
    value = whole(text)
    if abs(value) > _LARGEST:
        raise ValueError
    return value


def read_rows(path: Path) -> Iterator[Sample]:
    """Yield the samples of a manifest in file order. Raises DataError if the file or a column is missing."""
    shared: dict[Any, Any] = {}  # one tuple for all images of a patient, and one pair for each text
    try:
        for number, row in table_rows(path, "prepare the dataset again", COLUMNS):
            pairs = (
                shared.setdefault(pair, pair) for pair in row.items() if pair[1] and is_metadata(pair[0])
            )
            metadata: Metadata = tuple(pairs)
            yield sample_from_row(row, f"{path} row {number}", shared.setdefault(metadata, metadata))
    except FileNotFoundError:
        raise DataError(f"{path}: no such manifest; is this a prepared dataset?") from None


class ContentHash:
    """SHA-256 over the manifest columns of many samples, in order, fed one sample at a time."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, sample: Sample) -> None:
        """Add one sample's cells; `\\x1f` and `\\x1e` separate cells and rows, as ASCII meant them to."""
        self._digest.update(("\x1f".join(sample.to_row()) + "\x1e").encode("utf-8", "surrogateescape"))

    def hexdigest(self) -> str:
        """The hash so far, as 64 hexadecimal digits."""
        return self._digest.hexdigest()


def content_hash(samples: Iterable[Sample]) -> str:
    """SHA-256 over the manifest columns of the samples, in order."""
    digest = ContentHash()
    for sample in samples:
        digest.add(sample)
    return digest.hexdigest()
