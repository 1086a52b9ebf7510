"""Images by the values of each column of metadata and by class, and which columns are worth a picture."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bccli.core.data.manifest import Metadata
from bccli.core.evaluation.strata import in_order, stratum_of

MOST_VALUES = 100
"""A column with more different values, ages in bands, is not counted any further."""
UNKNOWN = "unknown"
MOST_COLUMNS, MOST_ROWS = 8, 8
"""Columns in a picture, and values of one of them; of more values, the most frequent ones and all others."""


@dataclass
class Strata:
    """The number of images by column, value and class; `many` are columns with too many values to count."""

    columns: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    many: dict[str, None] = field(default_factory=dict)

    def add(self, metadata: Metadata, label: str) -> None:
        """Count one more image of a class."""
        for name, text in metadata:
            if name in self.many or not (value := stratum_of(name, text)):
                continue
            values = self.columns.setdefault(name, {})
            values.setdefault(value, Counter())[label] += 1
            if len(values) > MOST_VALUES:
                del self.columns[name]
                self.many[name] = None


@dataclass(frozen=True)
class Column:
    """A column as it is drawn: its values, how many images have each, and how many of these are positive.

    `association` is how far its classes differ among its values, see `association`; `others` the index of
    what stands for rare values, where some do.
    """

    name: str
    values: tuple[str, ...]
    images: tuple[int, ...]
    positive: tuple[int, ...]
    association: float
    others: int = -1


@dataclass(frozen=True)
class Chosen:
    """The columns that are drawn, and the names of those that are not, by why."""

    columns: tuple[Column, ...]
    left_out: Mapping[str, tuple[str, ...]]


def choose(strata: Strata, totals: Mapping[str, int], positive: str) -> Chosen:
    """Of the columns with several values, those among whose values classes differ most, in their order.

    `totals` has the images of each class, of which some have no value, and are called unknown.
    """
    left_out: dict[str, list[str]] = {"too many values": list(strata.many)}
    found = []
    for name, values in strata.columns.items():
        if len(values) < 2:
            left_out.setdefault("one value", []).append(name)
        elif (rows := _rows(name, values)) is None:
            left_out["too many values"].append(name)
        else:
            found.append(_column(name, values, rows, totals, positive))
    ranked = sorted(found, key=lambda column: -column.association)
    shown = {column.name for column in ranked[:MOST_COLUMNS]}
    left_out["classes differ less among their values"] = [
        column.name for column in found if column.name not in shown
    ]
    return Chosen(
        tuple(column for column in found if column.name in shown),
        {why: tuple(names) for why, names in left_out.items() if names},
    )


def _rows(name: str, values: Mapping[str, Counter[str]]) -> dict[str, Counter[str]] | None:
    """The values in their order, rare ones of very many together; None where these are most of all."""
    ordered = [text[len(name) + 1 :] for text in in_order([f"{name} {value}" for value in values])]
    if len(values) <= MOST_ROWS:
        return {value: values[value] for value in ordered}
    frequent = sorted(ordered, key=lambda value: -values[value].total())[: MOST_ROWS - 1]
    rest: Counter[str] = sum((values[value] for value in values if value not in frequent), Counter())
    if 2 * rest.total() > sum(counts.total() for counts in values.values()):
        return None
    kept = {value: values[value] for value in ordered if value in frequent}
    return kept | {f"{len(values) - len(frequent)} others": rest}


def _column(
    name: str,
    values: Mapping[str, Counter[str]],
    rows: Mapping[str, Counter[str]],
    totals: Mapping[str, int],
    positive: str,
) -> Column:
    known = sum(values.values(), Counter[str]())
    unknown = Counter({label: number - known[label] for label, number in totals.items()})
    shown = {**rows, **({UNKNOWN: unknown} if unknown.total() else {})}
    return Column(
        name,
        tuple(shown),
        tuple(counts.total() for counts in shown.values()),
        tuple(counts[positive] for counts in shown.values()),
        association([[counts[label] for label in totals] for counts in values.values()]),
        len(rows) - 1,
    )


def value_in(column: Column, text: str) -> str:
    """The value of a column, as it is drawn, that an image with this text has."""
    value = stratum_of(column.name, text) or UNKNOWN
    return value if value in column.values else column.values[column.others]


def association(table: Sequence[Sequence[int]]) -> float:
    """How far rows of counts (values, classes) differ in their classes, from 0 to 1: Cramér's V.

    It is corrected for what chance makes of many values, as in Bergsma 2013, "A bias-correction for Cramér's
    V and Tschuprow's T", DOI 10.1016/j.jkss.2012.10.002.

    >>> association([[10, 0], [0, 10]]), association([[10, 10], [10, 10]])
    (1.0, 0.0)
    """
    counts = np.array(table, float)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    total, (rows, columns) = counts.sum(), counts.shape
    if min(rows, columns) < 2 or total < 2:
        return 0.0
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / total
    squared = ((counts - expected) ** 2 / expected).sum() / total
    squared = max(squared - (rows - 1) * (columns - 1) / (total - 1), 0.0)
    smaller = min(side - (side - 1) ** 2 / (total - 1) for side in (rows, columns)) - 1
    return float(min((squared / smaller) ** 0.5, 1.0)) if smaller > 0 else 0.0


def in_words(left_out: Mapping[str, Sequence[str]]) -> str:
    """What is not drawn, and why, such as `a, b (too many values); c (one value)`."""
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in left_out.items())
