"""The classes of a table of predictions, and the probabilities that it gives them."""

from array import array
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bccli.core.data.patients import plain_number
from bccli.core.data.positive_class import class_order, severity
from bccli.core.errors import DataError
from bccli.core.runs.prediction_table import PREFIX, PredictionTable, no_probability

_ROUNDING = 1e-6


def without_other_columns(table: PredictionTable) -> tuple[PredictionTable, list[str]]:
    """The table without p_ columns that are no class's probabilities, such as p_value, and which they are.

    A column is one if no label has its name, and the others sum to 1 without it and not with it.
    """
    named = {*table.columns["label"], *table.columns.get("predicted", ())} - {""}
    values = np.frombuffer(table.probabilities, np.float64).reshape(-1, len(table.scored) or 1)
    extra = [key for key in table.scored if key not in named]
    known = [key for key in extra if key.casefold() in _STATISTICS]
    others = [[key] for key in extra] + ([extra] if len(extra) > 1 else [])
    for passed in [known] if known else [] if _are_shares(values, named) else others:
        chosen = [index for index, key in enumerate(table.scored) if key not in passed]
        rest = values[:, chosen]
        if known or (chosen and _are_shares(rest, named)):
            note = f"{' and '.join(PREFIX + key for key in passed)} names no class and is passed over"
            scored = [table.scored[index] for index in chosen]
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


def refuse_unreadable(table: PredictionTable) -> None:
    """Raises DataError for the first cell of probabilities that is no number."""
    if table.unreadable:
        raise min(table.unreadable.values(), key=lambda found: found[0])[1]


def class_names_of(table: PredictionTable, name: str) -> list[str]:
    """The classes by severity where their names say it, else by name, in whatever order the columns are."""
    named = {*table.columns["label"], *table.columns.get("predicted", ())} - {""}
    if not table.scored:
        _refuse_other_names(table, name)
    classes = table.scored or class_order(named)
    if len(table.scored) == 1:
        classes = _two_of(table.scored[0], named, name)
    return list(class_order(classes))


def _refuse_other_names(table: PredictionTable, name: str) -> None:
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
        f"{name}: has one column of probabilities, {PREFIX + scored}, and the classes {found}; one is "
        f"enough for two classes, if it names one of them: give {PREFIX}<class> for each class"
    )


def class_numbers(table: PredictionTable, column: str, order: Sequence[str], name: str) -> np.ndarray:
    """The class numbers of a column."""
    numbers = {label: number for number, label in enumerate(order)}
    values = table.columns[column]
    if unknown := set(values) - set(numbers):
        row, value = next(pair for pair in zip(table.rows, values, strict=True) if pair[1] in unknown)
        found = f"{name}: {column} {value!r}" if value else f"{name}: {column} (empty)"
        raise DataError(f"{found} in row {row} is none of the classes {', '.join(numbers)}; correct it")
    return np.fromiter(map(numbers.__getitem__, values), np.int64, len(values))


def probabilities_in_order(
    table: PredictionTable, order: Sequence[str], name: str
) -> tuple[np.ndarray, list[str]]:
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
        notes.append(f"{PREFIX}{other} is what {PREFIX}{scored[0]} leaves")
    for label in order:
        if label not in scored:
            raise DataError(f"{name}: has no column {PREFIX + label!r} for the class {label!r}")
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


def _check_range(table: PredictionTable, values: np.ndarray, name: str) -> None:
    outside = (values < -_ROUNDING) | (values > 1 + _ROUNDING)
    if outside.any():
        row, column = (int(index) for index in np.argwhere(outside)[0])
        text, label = f"{values[row, column]:.6g}", table.scored[column]
        raise no_probability(text, f"{name}: {PREFIX}{label}", table.rows[row])
