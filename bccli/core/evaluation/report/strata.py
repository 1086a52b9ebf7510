"""What a report says of strata: those that `--by` asked for and their tests, or else all columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.data.manifest import is_metadata
from bccli.core.data.patients import names_patients, says_who
from bccli.core.evaluation.breakdown.columns import Chosen, Column, Strata, choose, in_words, value_in
from bccli.core.evaluation.evaluate import Evaluation, figures_of_groups
from bccli.core.evaluation.report.absent import Absent
from bccli.core.evaluation.report.forest import Estimate, estimate
from bccli.core.metrics.figures import Figures

ROUNDS = 1000
"""Rounds of the intervals of strata that nobody asked for."""
MOST_CLASSES = 6
"""Of more classes, a stratum does not say how many images each has."""

_OF_TWO = {"tpr": "sensitivity", "tnr": "specificity", "roc_auc": "AUC"}
_OF_MORE = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "roc_auc": "AUC"}
_OWN = frozenset({"variant", "row", "col", "group", "fold"})
"""Columns of a run's predictions that are neither metadata nor traits of an image."""


@dataclass(frozen=True)
class Stratum:
    """A group of cases: how many, of how many patients (None where unknown), how many are of each class, and
    its measures, in the order of `StrataPart.measures`."""

    name: str
    n: int
    patients: int | None
    classes: tuple[int, ...]
    estimates: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class Difference:
    """The p-value of "this measure is the same in all groups", how many groups and patients it rests on, and
    whether groups were dealt within patients; None where there are too few."""

    measure: str
    p: float | None
    groups: int = 0
    patients: int = 0
    within: bool = False


@dataclass(frozen=True)
class StrataPart:
    """All cases, and strata column by column; `by` is what was asked for, empty where nothing was.

    `measures` are the names of those that are shown, and `plotted` those of them with a plot. `positive` is
    the positive class of two, else None. `tests` are those of what was asked for; `left_out` names columns
    that are not shown, and why.
    """

    by: str
    measures: tuple[str, ...]
    plotted: tuple[str, ...]
    classes: tuple[str, ...]
    positive: str | None
    whole: Stratum
    columns: tuple[tuple[Stratum, ...], ...]
    tests: tuple[Difference, ...]
    left_out: str

    @property
    def intervals(self) -> int:
        """How many intervals are shown of strata."""
        found = (each for rows in self.columns for row in rows for each in row.estimates)
        return sum(each is not None and each.low is not None for each in found)


def strata_part(entry: Evaluation) -> StrataPart | Absent:
    """The strata of an evaluation: those that were asked for, or else of all columns that tell some apart."""
    if by := entry.asked.terms.by:
        return _part(entry, by, [entry.groups], "")
    chosen = _chosen(entry)
    columns = [_figures_by(entry, column) for column in chosen.columns]
    if not columns:
        return Absent("The predictions have no column by which their images could be told apart.")
    return _part(entry, "", columns, in_words(chosen.left_out))


def _part(entry: Evaluation, by: str, columns: Sequence[Sequence[Figures]], left_out: str) -> StrataPart:
    whole = entry.whole
    two = whole.positive is not None and len(whole.classes) == 2
    tested = {"accuracy": "accuracy"} if by else {}
    measures = {**tested, **_OF_TWO} if two else _OF_MORE
    there = [key for key in measures if any(getattr(row, key) is not None for row in (whole, *entry.groups))]
    return StrataPart(
        by,
        tuple(measures[key] for key in there),
        ("sensitivity", "specificity") if two else ("accuracy",),
        tuple(whole.classes) if len(whole.classes) <= MOST_CLASSES else (),
        whole.positive if two else None,
        _stratum("all", whole, there),
        tuple(tuple(_stratum(row.group or "", row, there) for row in rows) for rows in columns),
        tuple(_tests(whole.heterogeneity or {})),
        left_out,
    )


def _stratum(name: str, figures: Figures, measures: Sequence[str]) -> Stratum:
    counts = tuple(sum(line) for line in figures.confusion_matrix or ())
    return Stratum(
        name, figures.n, figures.patients, counts, tuple(estimate(figures, key) for key in measures)
    )


def _tests(found: Mapping[str, Any]) -> Iterator[Difference]:
    for measure, test in found.items():
        if measure != "by":
            yield Difference(measure, **test) if test else Difference(measure, None)


def _chosen(entry: Evaluation) -> Chosen:
    """The columns worth a look, by the same rules as in stats.png."""
    rows, strata = entry.rows, Strata()
    labels = [rows.classes[number] for number in rows.labels.tolist()]
    names = [name for name in rows.further if _is_trait(name)]
    for label, *texts in zip(labels, *(rows.further[name] for name in names), strict=True):
        strata.add(tuple(zip(names, texts, strict=True)), label)
    totals = {name: labels.count(name) for name in rows.classes}
    return choose(strata, totals, entry.whole.positive or rows.classes[-1])


def _is_trait(name: str) -> bool:
    """Whether a column is of metadata that do not say who it is, or of magnifications, views and subtypes."""
    if says_who(name) or names_patients(name):
        return False
    return name not in _OWN and ":" not in name and (is_metadata(name) or name in _TRAITS)


_TRAITS = frozenset({"magnification", "subtype", "view", "side"})


def _figures_by(entry: Evaluation, column: Column) -> list[Figures]:
    """The figures of a column's values, rare ones together."""
    texts = entry.rows.further[column.name]
    groups = np.array([f"{column.name} {value_in(column, text)}" for text in texts], object)
    asked = entry.asked.terms.rounds
    rounds = ROUNDS if asked is None else min(asked, ROUNDS)
    return figures_of_groups(entry, groups, [f"{column.name} {value}" for value in column.values], rounds)
