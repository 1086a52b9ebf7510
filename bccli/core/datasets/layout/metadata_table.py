"""A table of one's own with a row for each image or patient, whose further columns become metadata."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from bccli.core.catalog import nearest
from bccli.core.data.manifest import Metadata, is_metadata
from bccli.core.data.patients import compact, known_patient, names_patients, plain_number, says_who
from bccli.core.datasets.layout.cell_forms import CellForms
from bccli.core.datasets.layout.image_files import is_image_name
from bccli.core.datasets.layout.indexes import Line, plain, read_index
from bccli.core.datasets.layout.listings import key_of
from bccli.core.errors import DataError
from bccli.core.reading.regular_files import explained

SOURCE, PATIENT = "source", "patient"
FIELDS = ("view", "side")
"""Columns that are no metadata, but fields of every sample."""
KEYS = ("path", SOURCE, PATIENT)
"""What a table may be joined by; path and source are the same before images are prepared."""
_SOURCES = frozenset(
    {
        *("path", "source", "image", "imagepath", "imagename", "imageid", "imagefile", "imagefilepath"),
        *("imagefilename", "file", "filename", "filepath"),
    }
)


@dataclass(frozen=True)
class Key:
    """The column that a table is joined by: its plain name, that in the file, and what it names."""

    name: str
    column: str
    names: str


@dataclass(frozen=True)
class Row:
    """What a table says of an image or a patient, which it calls `text`."""

    where: str
    text: str
    metadata: Metadata


@dataclass(frozen=True)
class MetadataTable:
    """The rows of a table by what they name, and what was remarkable about it.

    Images are named by their paths in small letters; `by_stem` has the same without the endings of images,
    None where rows with several endings are meant. `repeated` are rows that were there before, `nameless`
    those without a name, `without_meaning` and `identifying` columns that are left out.
    """

    path: Path
    key: Key
    rows: Mapping[str, Row]
    by_stem: Mapping[str, Row | None]
    columns: tuple[str, ...]
    repeated: int
    nameless: int
    passed_over: tuple[str, ...]
    identifying: tuple[str, ...]
    with_commas: tuple[str, ...]
    doubtful: tuple[str, ...]

    @property
    def total(self) -> int:
        """All rows."""
        return len(self.rows) + self.repeated + self.nameless


def read_metadata(path: Path, key: str, root: Path) -> MetadataTable:
    """Read a table; `key` is a column, or what it names and the column, as in `patient=StudyCode`; where it
    is empty, the one column that is called like a path, a source or a patient. Images are below `root`.

    Raises DataError where there is no such column or there are several, two rows contradict each other, or
    the file cannot be read.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({explained(error)}); check the name of the table of --metadata"
        ) from None
    return _read(path, key, os.path.abspath(root), status.st_mtime_ns, status.st_size)


# The images are gone through several times.
@lru_cache(maxsize=2)
def _read(path: Path, key: str, root: str, _time: int, _size: int) -> MetadataTable:
    if path.suffix.lower() == ".xls":
        raise DataError(f"{path}: is a workbook of old Excel, which bccli does not read; save it as XLSX")
    if not path.is_file():
        raise DataError(f"{path}: is not a file; name a table as CSV, TSV or XLSX")
    lines = list(read_index(path, ()))
    if not lines:
        raise DataError(f"{path}: has no rows below the names of its columns; is it the right file?")
    columns = _columns(path, lines[0].columns)
    found = _key(path, key, columns)
    forms = CellForms()
    for line in lines:
        forms.see(line.cells)
    kept, passed_over, identifying = _sorted_out(columns, found)
    if not kept:
        raise DataError(
            f"{path}: has no column that becomes metadata beside {found.column!r}, only {_listed(columns)}; "
            "rename those that are meant"
        )
    reading = _Reading(found, os.path.abspath(path.parent), root, kept, forms)
    for line in lines:
        reading.add(line)
    decimal, doubtful = forms.with_commas()
    return MetadataTable(
        path,
        found,
        reading.rows,
        _by_stem(reading.rows) if found.names == SOURCE else {},
        tuple(kept.values()),
        reading.repeated,
        reading.nameless,
        passed_over,
        identifying,
        tuple(columns[name] for name in decimal if name in kept),
        tuple(columns[name] for name in doubtful if name in kept),
    )


@dataclass
class _Reading:
    """The rows of a table so far; `kept` has the names of its metadata by those of their columns."""

    key: Key
    folder: str
    root: str
    kept: Mapping[str, str]
    forms: CellForms
    rows: dict[str, Row] = field(default_factory=dict)
    repeated: int = 0
    nameless: int = 0
    shared: dict[object, object] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Take up a line. Raises DataError for one that contradicts another."""
        if line.beyond:
            raise DataError(
                f"{line.where}: has more cells than the first line names columns ({line.beyond[0]!r}); put a "
                "cell that has the separator in it into quotes"
            )
        text = known_patient(line.cells.get(self.key.name, ""))
        if not text.isprintable():
            raise DataError(
                f"{line.where}: {self.key.column} {text[:40]!r} has a line break or a control character "
                "in it; look for a quotation mark that nothing closes"
            )
        if not text:
            self.nameless += 1
            return
        row = Row(line.where, text, self._metadata(line))
        first = self.rows.setdefault(self._name(text), row)
        if first is row:
            return
        if first.metadata != row.metadata:
            raise _contradiction(self.key, first, row)
        self.repeated += 1

    def _name(self, text: str) -> str:
        if self.key.names == PATIENT:
            return plain_number(text)
        return image_key(_from_root(text, self.folder, self.root), self.root)

    def _metadata(self, line: Line) -> Metadata:
        pairs = (
            (name, self.forms.tidied(column, line.cells.get(column, "")))
            for column, name in self.kept.items()
        )
        found = tuple(self.shared.setdefault(pair, pair) for pair in pairs if pair[1])
        return self.shared.setdefault(found, found)  # type: ignore[return-value]


def _contradiction(key: Key, first: Row, row: Row) -> DataError:
    one, other = dict(first.metadata), dict(row.metadata)
    name = next(name for name in {**one, **other} if one.get(name) != other.get(name))
    said = (repr(values[name]) if name in values else "empty" for values in (other, one))
    here, there = said
    further = "" if key.names == SOURCE else ", or give each image a row of its own, with a column path"
    return DataError(
        f"{row.where}: {name} of {key.column} {row.text!r} is {here} here, and {there} in line "
        f"{first.where.rpartition(' line ')[2]}; remove one of the two rows{further}"
    )


def _from_root(text: str, folder: str, root: str) -> str:
    """A path of a table that seems to start from the table's folder as one that starts from the images'."""
    path = text.replace("\\", "/").removeprefix("./")
    if not path.startswith(("../", os.path.basename(root) + "/")) or os.path.exists(os.path.join(root, path)):
        return text
    whole = os.path.normpath(os.path.join(folder, path))
    return whole if whole.startswith(os.path.join(root, "")) else text


def image_key(text: str, root: str) -> str:
    """An image's path in small letters with `/`, relative to `root` where it is in that."""
    path = text.replace("\\", "/")
    inside = os.path.join(root, "")
    if os.path.isabs(path):
        path = os.path.normpath(path).removeprefix(inside)
    return path.removeprefix("./").strip("/").lower()


def _by_stem(rows: Mapping[str, Row]) -> dict[str, Row | None]:
    found: dict[str, Row | None] = {}
    for key, row in rows.items():
        stem = key_of(key)
        found[stem] = None if stem in found else row
    return found


def _columns(path: Path, header: tuple[str, ...]) -> dict[str, str]:
    """The columns by their plain names. Raises DataError for two of one name."""
    columns: dict[str, str] = {}
    for column in header:
        first = columns.setdefault(plain(column), column)
        if first is not column:
            also = "" if first == column else f" ({first!r} and {column!r})"
            raise DataError(f"{path}: has the column {plain(column)!r} twice{also}; rename one of the two")
    return columns


def _key(path: Path, wanted: str, columns: Mapping[str, str]) -> Key:
    names, _, column = wanted.rpartition("=")
    if column:
        return _chosen(path, names.strip().casefold(), column.strip(), columns)
    alike = [name for name in columns if _named(name)]
    if len(alike) > 1:
        found = " and ".join(repr(columns[name]) for name in alike)
        raise DataError(
            f"{path}: could be joined by {found}; choose one, such as --metadata-key {columns[alike[0]]!r}"
        )
    if not alike:
        raise DataError(
            f"{path}: has no column path, source or patient, only {_listed(columns)}; name the one that says "
            "which image or patient a row is about, such as --metadata-key patient=COLUMN"
        )
    return Key(alike[0], columns[alike[0]], _named(alike[0]))


def _chosen(path: Path, names: str, column: str, columns: Mapping[str, str]) -> Key:
    """The column that was asked for. Raises DataError where it is not there or nobody knows what it names."""
    if plain(column) not in columns:
        hint = nearest(plain(column), columns)
        raise DataError(
            f"{path}: has no column {column!r}{hint}, only {_listed(columns)}; correct --metadata-key"
        )
    names = names or _named(column)
    if names not in KEYS:
        what = f"{names!r} is none of {', '.join(KEYS)}" if names else "does it name images or patients?"
        raise DataError(
            f"--metadata-key {column}: {what}; say --metadata-key 'patient={column}' or 'path={column}'"
        )
    return Key(plain(column), columns[plain(column)], PATIENT if names == PATIENT else SOURCE)


def _named(column: str) -> str:
    """What a column names by its own name: images, patients, or nothing that is known."""
    return SOURCE if compact(column) in _SOURCES else PATIENT if names_patients(column) else ""


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(repr(column[:40]) for column in list(columns.values())[:20])


def _sorted_out(
    columns: Mapping[str, str], key: Key
) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """The names of metadata by their columns; columns that mean something else, and that say who it is."""
    others = [name for name in columns if name != key.name]
    identifying = [name for name in others if says_who(name)]
    kept = {name: name.replace(" ", "_") for name in others if name not in identifying and not _named(name)}
    kept = {name: text for name, text in kept.items() if is_metadata(text) or text in FIELDS}
    passed_over = (columns[name] for name in others if name not in kept and name not in identifying)
    return kept, tuple(passed_over), tuple(columns[name] for name in identifying)


def row_of(table: MetadataTable, source: str, root: str) -> Row | None:
    """The row about an image below the absolute path `root`: by its path or the end of that, with or without
    the ending of an image.

    A row whose own image lies beside this one is not about this one.
    """
    path = image_key(source, root)
    stem = key_of(path)
    while True:
        if row := table.rows.get(path):
            return row
        row = table.by_stem.get(stem)
        if row and not (is_image_name(row.text) and _is_beside(row.text, source, root)):
            return row
        if "/" not in path:
            return None
        path, stem = (text.partition("/")[2] for text in (path, stem))


def _is_beside(text: str, source: str, root: str) -> bool:
    return Path(root, source).with_name(text.replace("\\", "/").rpartition("/")[2]).exists()
