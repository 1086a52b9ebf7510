"""predictions.csv: one row per image with its truth and its probabilities, ours or another tool's."""

import csv
import io
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import numpy as np

from bccli.core.data.foreign_tables import number_in, patients_named, records, split_of, text_of
from bccli.core.data.manifest import Sample
from bccli.core.data.patients import plain_number
from bccli.core.data.positive_class import class_order, positive_of, severity
from bccli.core.errors import DataError
from bccli.core.files import write_text
from bccli.core.runs.column_meanings import owners_hint, patients_in, splits_hint

_IDENTITY = ("path", "split", "fold", "patient", "source", "label", "predicted")
TRAITS = ("magnification", "subtype", "view", "variant", "row", "col", "group")
"""What else is known of an image, behind the probabilities: to break figures down, to tell children and
patches, and to draw those together that may not be separated."""

_PREFIX = "p_"
_WANTED = "give a CSV with the columns path,label and either p_<class>… or predicted"
_ROUNDING = 1e-6
_NO_LABEL = frozenset({"", "na", "n/a", "nan", "<na>", "#n/a", "null"})
"""What other tools write where there is no label."""


@dataclass(frozen=True)
class Predictions:
    """n images: `labels` class numbers, `probabilities` (n, classes) or None, `predicted` class numbers.

    `traits` holds further columns of the table by name; `without_truth` are the paths of the images whose
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
    traits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without_truth: tuple[str, ...] = ()
    owners: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def of_split(self, split: str) -> "Predictions":
        """Those of one split."""
        return self.where(np.array([name == split for name in self.splits], bool))

    def where(self, chosen: np.ndarray) -> "Predictions":
        """Those that a boolean mask (n,) chooses."""
        return self.taken(np.flatnonzero(chosen))

    def taken(self, places: np.ndarray) -> "Predictions":
        """Those at some places (m,), in their order."""
        numbers = places.tolist()

        def of(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(map(values.__getitem__, numbers)) if values else ()

        return replace(
            self,
            splits=of(self.splits),
            patients=of(self.patients),
            paths=of(self.paths),
            sources=of(self.sources),
            labels=self.labels[places],
            predicted=self.predicted[places],
            probabilities=None if self.probabilities is None else self.probabilities[places],
            owners=None if self.owners is None else self.owners[places],
            traits={name: of(values) for name, values in self.traits.items()},
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
        traits = ("" if (value := getattr(sample, name)) is None else value for name in TRAITS)
        more = ("" if np.isnan(value) else f"{value:.9g}" for value in (of[place] for of in columns.values()))
        writer.writerow([*identity, *(f"{value:.9g}" for value in values.tolist()), *traits, *more])
    write_text(path, stream.getvalue())


def read_predictions(path: Path, classes: Sequence[str] = ()) -> Predictions:
    """Read predictions; `classes` is their order, by default that of their severity or of the columns.

    Raises DataError naming the row or column that cannot be used.
    """
    try:
        with path.open("rb") as stream, text_of(stream) as lines:
            return parse_predictions(lines, str(path), classes)
    except OSError as error:
        raise DataError(
            f"{path}: {(error.strerror or str(error)).lower()}; name a run or a predictions.csv"
        ) from None


def parse_predictions(lines: Iterable[str], name: str, classes: Sequence[str] = ()) -> Predictions:
    """`read_predictions` for lines that come from elsewhere; `name` stands for it in messages."""
    table = _read_table(lines, name)
    notes: list[str] = []
    if not classes:
        table, notes = _of_classes(table)
    _refuse_unreadable(table)
    columns = table.columns
    order = list(classes) or _order(table, name)
    labels = _numbers(table, "label", order, name)
    probabilities, more = _in_order(table, order, name) if table.scored else (None, [])
    notes += more
    predicted = (
        _numbers(table, "predicted", order, name)
        if probabilities is None or "predicted" in columns
        else probabilities.argmax(axis=1)
    )
    _refuse_twice(table, name)
    columns["split"] = _splits(table, name)
    found, told = patients_in(columns)
    columns["patient"], several = patients_named(found or [""] * len(labels))
    if several:
        shown = "; ".join(" and ".join(found) for found in list(several.values())[:3])
        notes.append(f"patients whose numbers differ in zeros only are one ({shown})")
    if not classes:
        notes += [*told, *splits_hint(columns), *([] if _is_ours(columns) else owners_hint(columns))]

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
        traits={key: column(key) for key in columns if key == "fold" or key not in (*_IDENTITY, "")},
        without_truth=table.without_truth,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Table:
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


def _read_table(lines: Iterable[str], name: str) -> _Table:
    """Read CSV a line at a time: of a million rows, only what is needed stays."""
    separator, reader = records(lines, name, ("path", "label"))
    shared: dict[str, str] = {}  # one string for each patient, split and label, however often it comes
    probabilities, rows, without = array("d"), array("q"), []
    unreadable: dict[str, tuple[int, DataError]] = {}
    number = 1

    def read_one_by_one(cells: Sequence[str], row: int) -> Iterator[float]:
        for key, cell in zip(scored, cells, strict=True):
            try:
                yield _probability(cell, separator, f"{name}: {_PREFIX}{key}", row)
            except DataError as error:
                unreadable.setdefault(key, (row, error))
                yield math.nan

    try:
        first = next(reader, [])
        header = _headings(first)
        scored = _check_header(header, name)
        texts = [(key, place) for place, key in enumerate(header) if not key.startswith(_PREFIX)]
        places = [header.index(_PREFIX + key) for key in scored]
        label, path = header.index("label"), header.index("path")
        unlabelled = _NO_LABEL - {key.casefold() for key in scored}
        columns: dict[str, list[str]] = {key: [] for key, _ in texts}
        own = [(columns[key].append, place) for key, place in texts if key in ("path", "source")]
        common = [(columns[key].append, place) for key, place in texts if key not in ("path", "source")]
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
            for append, place in own:
                append(row[place])
            for append, place in common:
                cell = row[place].strip()
                append(shared.setdefault(cell, cell))
            cells = [row[place] for place in places]
            probabilities.extend(_plain_numbers(cells) or read_one_by_one(cells, number))
    except csv.Error as error:
        raise DataError(f"{name}: not valid CSV after row {number} ({error}); {_WANTED}") from None
    if not rows:
        which = "no row has a label" if without else "has no rows"
        raise DataError(f"{name}: {which}; there is nothing to evaluate")
    return _Table(columns, scored, probabilities, rows, tuple(without), unreadable)


def _of_classes(table: _Table) -> tuple[_Table, list[str]]:
    """The table without p_ columns that are no class's probabilities, such as p_value, and which they are.

    A column is one if no label has its name, and the others sum to 1 without it and not with it.
    """
    named = {*table.columns["label"], *table.columns.get("predicted", ())} - {""}
    values = np.frombuffer(table.probabilities, np.float64).reshape(-1, len(table.scored) or 1)
    extra = [key for key in table.scored if key not in named]
    known = [key for key in extra if key.casefold() in _STATISTICS]
    others = [[key] for key in extra] + ([extra] if len(extra) > 1 else [])
    for passed in [known] if known else [] if _are_shares(values, named) else others:
        places = [place for place, key in enumerate(table.scored) if key not in passed]
        rest = values[:, places]
        if known or (places and _are_shares(rest, named)):
            note = f"{' and '.join(_PREFIX + key for key in passed)} names no class and is passed over"
            scored = [table.scored[place] for place in places]
            left = {key: found for key, found in table.unreadable.items() if key in scored}
            return replace(table, scored=scored, probabilities=array("d", rest.tobytes()), unreadable=left), [
                note
            ]
    return table, []


_STATISTICS = frozenset({"value", "val", "adj", "adjusted", "fdr"})
"""What follows p_ in the names of columns of tests."""


def _are_shares(values: np.ndarray, named: set[str]) -> bool:
    """Whether rows (n, classes) sum to 1 or to 100; one column does for two classes."""
    if np.isnan(values).any() or not values.shape[1]:
        return False
    if values.shape[1] == 1:
        return len(named) == 2
    if _are_percentages(values):
        return True
    return bool((np.abs(values.sum(axis=1) - 1) <= _off_by(values) + _ROUNDING).all())


def _refuse_unreadable(table: _Table) -> None:
    """Raises DataError for the first cell of probabilities that is no number."""
    if table.unreadable:
        raise min(table.unreadable.values(), key=lambda found: found[0])[1]


def _refuse_swallowed(row: Sequence[str], separator: str, columns: int, where: str) -> None:
    """Raises DataError for a row with rows of the table in a cell, which an open quotation mark joins."""
    for cell in row:
        if any(line.count(separator) >= max(columns - 2, 1) for line in cell.split("\n")):
            raise DataError(
                f"{where} has several rows in one cell ({cell[:40]!r}); look for a quotation mark that "
                "nothing closes"
            )


def _is_ours(columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether bccli wrote the table, which then has all columns that it writes."""
    return {*_IDENTITY, *TRAITS} <= set(columns)


def _headings(cells: Sequence[str]) -> list[str]:
    """The names of columns, those that mean something here in their own spelling."""
    known = {name: name for name in (*_IDENTITY, *TRAITS, "side", "group")}
    bare = [cell.strip() for cell in cells]
    return [
        _PREFIX + cell[len(_PREFIX) :]
        if cell[: len(_PREFIX)].lower() == _PREFIX
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
    scored = [column[len(_PREFIX) :] for column in header if column.startswith(_PREFIX)]
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


def _order(table: _Table, name: str) -> list[str]:
    """The classes by their severity where their names say it, else as their columns stand."""
    named = {*table.columns["label"], *table.columns.get("predicted", ())} - {""}
    if not table.scored:
        _refuse_other_names(table, name)
    classes = table.scored or class_order(named)
    if len(table.scored) == 1:
        classes = _two_of(table.scored[0], named, name)
    known = positive_of(classes) or None not in map(severity, classes)
    return list(class_order(classes) if known or not table.scored else classes)


def _refuse_other_names(table: _Table, name: str) -> None:
    """Raises DataError where the labels and what is predicted seem to be two ways to write the classes."""
    labels, predicted = set(table.columns["label"]), set(table.columns["predicted"]) - {""}
    plain: dict[str, str] = {}
    alike = [
        (plain[key], text)
        for text in sorted(labels | predicted)
        if plain.setdefault(key := plain_number(text).casefold(), text) != text
    ]
    if alike or (len(labels) > 1 and len(predicted) > 1 and not labels & predicted):
        one, other = alike[0] if alike else (sorted(labels)[0], sorted(predicted)[0])
        raise DataError(
            f"{name}: label and predicted name the classes in different ways, such as {one!r} and {other!r}; "
            "write them alike"
        )


def _two_of(scored: str, named: set[str], name: str) -> list[str]:
    """The two classes of a table with a single column of probabilities, that of the second."""
    others = sorted(named - {scored})
    if len(others) == 1 and (scored in named or severity(scored) is not None):
        return [others[0], scored]
    found = ", ".join(sorted(named))
    raise DataError(
        f"{name}: has one column of probabilities, {_PREFIX + scored}, and the classes {found}; one is "
        f"enough for two classes, if it names one of them: give {_PREFIX}<class> for each class"
    )


def _numbers(table: _Table, column: str, order: Sequence[str], name: str) -> np.ndarray:
    """The class numbers of a column."""
    numbers = {label: number for number, label in enumerate(order)}
    values = table.columns[column]
    if unknown := set(values) - set(numbers):
        row, value = next(pair for pair in zip(table.rows, values, strict=True) if pair[1] in unknown)
        found = f"{name}: {column} {value!r}" if value else f"{name}: {column} (empty)"
        raise DataError(f"{found} in row {row} is none of the classes {', '.join(numbers)}; correct it")
    return np.fromiter(map(numbers.__getitem__, values), np.int64, len(values))


def _in_order(table: _Table, order: Sequence[str], name: str) -> tuple[np.ndarray, list[str]]:
    """Probabilities (rows, classes) whose rows sum to 1 but for what is rounded off, and remarks."""
    found = np.frombuffer(table.probabilities, np.float64).reshape(-1, len(table.scored))
    notes = []
    if _are_percentages(found):
        found = found / 100
        notes.append("probabilities are given in per cent")
    _check_range(table, found, name)
    scored = table.scored
    if len(scored) == 1 and len(order) == 2 and scored[0] in order:
        other = next(label for label in order if label != scored[0])
        found, scored = np.concatenate([found, 1 - found], axis=1), [scored[0], other]
        notes.append(f"{_PREFIX}{other} is what {_PREFIX}{scored[0]} leaves")
    for label in order:
        if label not in scored:
            raise DataError(f"{name}: has no column {_PREFIX + label!r} for the class {label!r}")
    sums = found.sum(axis=1)
    off = np.abs(sums - 1) > _off_by(found) + _ROUNDING
    if off.any():
        row = int(off.argmax())
        raise DataError(
            f"{name}: the probabilities in row {table.rows[row]} sum to {sums[row]:.4g}, not to 1; "
            "give each class's share, or leave the p_ columns out and name the class in predicted"
        )
    return found[:, [scored.index(label) for label in order]], notes


def _off_by(values: np.ndarray) -> float:
    """By how much rounding at the last decimal may move the sum of a row of probabilities (n, classes).

    Two significant digits move no more than ten of the classes by half a per cent.
    """
    classes = values.shape[1]
    decimals = next((k for k in (2, 3) if np.abs(values - values.round(k)).max() <= _ROUNDING), 4)
    return max(0.01, 0.005 * min(classes, 10), 0.5 / 10**decimals * classes)


def _are_percentages(values: np.ndarray) -> bool:
    """Whether rows sum to 100, or, of a single column, most values are beyond 1 and none beyond 100."""
    if values.max() <= 1 + _ROUNDING or values.min() < 0:
        return False
    if values.shape[1] > 1:
        return bool((np.abs(values.sum(axis=1) - 100) <= max(1, values.shape[1] / 2)).all())
    return bool(values.max() <= 100 and (values > 1).mean() > 0.5)


def _check_range(table: _Table, values: np.ndarray, name: str) -> None:
    outside = (values < -_ROUNDING) | (values > 1 + _ROUNDING)
    if outside.any():
        row, column = (int(place) for place in np.argwhere(outside)[0])
        text, label = f"{values[row, column]:.6g}", table.scored[column]
        raise _no_probability(text, f"{name}: {_PREFIX}{label}", table.rows[row])


def _plain_numbers(cells: Sequence[str]) -> list[float]:
    """The numbers in cells, if all are finite and as `real` wants them; none if one is not."""
    together = "".join(cells)
    if "_" in together or not together.isascii():
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
        raise _no_probability(text, where, row)
    return value


def _no_probability(text: str, where: str, row: int) -> DataError:
    return DataError(
        f"{where} in row {row} is {text.strip() or 'empty'}, "
        "not a probability from 0 to 1; correct or remove the row"
    )


def _splits(table: _Table, name: str) -> list[str]:
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


def _refuse_twice(table: _Table, name: str) -> None:
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
